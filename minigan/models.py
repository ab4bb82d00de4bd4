"""The networks that the examples share, and how they look at one.

Each network is made by a function that returns a plain `Sequential`: what is built is what one
reads.
"""

from __future__ import annotations

import itertools

import minigan.functional as F
from minigan.backend import Backend, Generator
from minigan.engine import Tensor, mean, no_grad
from minigan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    Maxout,
    Module,
    ReLU,
    Reshape,
    Sequential,
    Sigmoid,
    Tanh,
    he,
    normal,
    uniform,
)


def mlp(sizes, *, rng: Generator, activation=LeakyReLU, init=None, name="") -> Sequential:
    """Linear layers of the given sizes, an activation between any two: (n, first) -> (n, last).

    mlp([2, 128, 128, 1], …) has two hidden layers of 128; nothing follows the last layer.
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp: sizes {sizes} name no layer: want [inputs, …, outputs]")
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [Linear(inputs, outputs, rng=rng, init=init or he(0.2)), activation()]
    return Sequential(*layers[:-1], name=name)


def dcgan_generator(
    *, rng: Generator, size=28, channels=1, latent=64, width=32, hidden=0, name="G"
) -> Sequential:
    """DCGAN's generator (Radford et al. 2016): z (n, latent) -> images (n, size, size, channels).

    A linear layer makes a small image with many channels; each transposed convolution doubles
    the size and halves the channels, `width` of them before the last. Batch norm and ReLU
    everywhere but at the output, which is a tanh. Weights from N(0, 0.02²).

    hidden: units of a fully connected layer before the first, as in InfoGAN's networks for MNIST
    (Chen et al. 2016, appendix C). Without it the small image is linear in z, and whatever makes
    its parts agree is left to convolutions that see a few pixels.
    """
    start, stages = _stages(size)
    init = normal(0.02)
    inner = width * 2 ** (stages - 1)
    layers = []
    if hidden:
        layers += [
            Linear(latent, hidden, rng=rng, init=init, bias=False),
            BatchNorm(hidden, rng=rng),
            ReLU(),
        ]
    layers += [
        Linear(hidden or latent, start * start * inner, rng=rng, init=init, bias=False),
        Reshape(start, start, inner),
        BatchNorm(inner, rng=rng),
        ReLU(),
    ]
    for stage in reversed(range(1, stages)):
        inputs, outputs = width * 2**stage, width * 2 ** (stage - 1)
        layers += [
            ConvTranspose2d(
                inputs, outputs, 4, stride=2, padding=1, rng=rng, init=init, bias=False
            ),
            BatchNorm(outputs, rng=rng),
            ReLU(),
        ]
    layers += [
        ConvTranspose2d(width, channels, 4, stride=2, padding=1, rng=rng, init=init),
        Tanh(),
    ]
    return Sequential(*layers, name=name)


def dcgan_discriminator(
    *, rng: Generator, size=28, channels=1, width=32, hidden=0, batch_norm=True, name="D"
) -> Sequential:
    """DCGAN's discriminator: images (n, size, size, channels) -> logits (n, 1).

    The generator's mirror image: each convolution halves the size and doubles the channels,
    from `width` on. LeakyReLU throughout, batch norm everywhere but at the input;
    `batch_norm=False` for objectives with a gradient penalty. Weights from N(0, 0.02²).

    hidden: units of a fully connected layer before the last, as in InfoGAN's networks for MNIST
    (Chen et al. 2016, appendix C). With two convolutions a feature sees 10 pixels and the logit
    only adds them up; this layer lets D judge whether the strokes make a digit together.
    """
    start, stages = _stages(size)
    init = normal(0.02)
    layers = [
        Conv2d(channels, width, 4, stride=2, padding=1, rng=rng, init=init),
        LeakyReLU(0.2),
    ]
    for stage in range(1, stages):
        inputs, outputs = width * 2 ** (stage - 1), width * 2**stage
        layers.append(
            Conv2d(inputs, outputs, 4, stride=2, padding=1, rng=rng, init=init, bias=not batch_norm)
        )
        if batch_norm:
            layers.append(BatchNorm(outputs, rng=rng))
        layers.append(LeakyReLU(0.2))
    inner = start * start * width * 2 ** (stages - 1)
    layers.append(Flatten())
    if hidden:
        layers.append(Linear(inner, hidden, rng=rng, init=init, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(hidden, rng=rng))
        layers.append(LeakyReLU(0.2))
    layers.append(Linear(hidden or inner, 1, rng=rng, init=init))
    return Sequential(*layers, name=name)


def _stages(size) -> tuple[int, int]:
    """The size an image is halved down to, at most 7 pixels, and how many halvings that takes."""
    start, stages = size, 0
    while start > 7 and start % 2 == 0:
        start, stages = start // 2, stages + 1
    if start > 7 or stages == 0:
        raise ValueError(
            f"image size {size}: expected 8 to 7·2ᵏ pixels, halving evenly, such as 28, 32 or 64"
        )
    return start, stages


# --- The ruler -----------------------------------------------------------------------------------


def digit_classifier(
    *, rng: Generator, dropout: Generator, width=16, hidden=128, classes=10, name="C"
) -> Sequential:
    """A classifier for small grey images: (n, 28, 28, 1) -> logits (n, classes).

    Two convolutions that halve the size and a layer of `hidden` features, with batch norm and
    ReLU, then dropout of half the features, drawn from `dropout`. In evaluation, C[:-1] takes
    images to the features (n, hidden) in which samples are compared with data.
    """
    wide = 2 * width
    return Sequential(
        Conv2d(1, width, 5, stride=2, padding=2, rng=rng, bias=False),
        BatchNorm(width, rng=rng),
        ReLU(),
        Conv2d(width, wide, 5, stride=2, padding=2, rng=rng, bias=False),
        BatchNorm(wide, rng=rng),
        ReLU(),
        Flatten(),
        Linear(7 * 7 * wide, hidden, rng=rng, bias=False),
        BatchNorm(hidden, rng=rng),
        ReLU(),
        Dropout(0.5, rng=dropout),
        Linear(hidden, classes, rng=rng),
        name=name,
    )


# --- The first GAN's networks for MNIST ----------------------------------------------------------


def goodfellow_generator(
    *, rng: Generator, size=28, latent=100, hidden=1200, marginals=None, name="G"
) -> Sequential:
    """The first GAN's generator for MNIST: z (n, latent) -> images (n, size, size, 1) in [0, 1].

    Two layers of ReLUs and a sigmoid per pixel, for z from N(0, 1). The paper (Goodfellow et
    al. 2014) names the layers, its published code their sizes and weights, uniform on ±0.05.

    marginals: (size, size, 1), the mean of each pixel over the data, in [0, 1]. The output's bias
    becomes ln p / (1 − p), so that an untrained G already paints the mean image; without them 0.
    """
    init = uniform(0.05)
    output = Linear(hidden, size * size, rng=rng, init=init)
    if marginals is not None:
        xp = rng.backend.xp
        p = xp.clip(rng.backend.asarray(marginals, "float32").reshape(-1), 1e-7, 1 - 1e-7)
        output.bias.data[...] = xp.log(p / (1 - p))
    return Sequential(
        Linear(latent, hidden, rng=rng, init=init),
        ReLU(),
        Linear(hidden, hidden, rng=rng, init=init),
        ReLU(),
        output,
        Sigmoid(),
        Reshape(size, size, 1),
        name=name,
    )


def goodfellow_discriminator(
    *, rng: Generator, dropout: Generator, size=28, units=240, pieces=5, name="D"
) -> Sequential:
    """The first GAN's discriminator for MNIST: images (n, size, size, 1) -> logits (n, 1).

    Two layers of maxout (Goodfellow et al. 2013), and dropout of 20% of the pixels and half of
    the hidden units, drawn from `dropout`. Sizes and weights, uniform on ±0.005, as in the code
    published with Goodfellow et al. 2014.
    """
    init = uniform(0.005)
    return Sequential(
        Flatten(),
        Dropout(0.2, rng=dropout),
        Maxout(size * size, units, pieces, rng=rng, init=init),
        Dropout(0.5, rng=dropout),
        Maxout(units, units, pieces, rng=rng, init=init),
        Dropout(0.5, rng=dropout),
        Linear(units, 1, rng=rng, init=init),
        name=name,
    )


# --- BEGAN and EBGAN: a discriminator that rebuilds ----------------------------------------------


class Autoencoder(Module):
    """A discriminator whose verdict is an energy: how badly it rebuilds what it is shown.

        energy(x) = mean over x's values of |x − decode(encode(x))|ᵖ

    Images (n, …) -> energies (n,), each at least 0; `D.encode` and `D.decode` are its two halves.
    Zhao et al. 2017 (EBGAN) rebuild real images well and keep the energy of generated ones up;
    Berthelot et al. 2017 (BEGAN, eq. 1) have p = 1 or 2. ValueError for another p.
    """

    def __init__(self, encode: Module, decode: Module, *, power=2, name="D"):
        if power not in (1, 2):
            raise ValueError(f"Autoencoder: power is {power}, expected 1 or 2")
        self.encode, self.decode = encode, decode
        self.power, self.name = power, name

    def forward(self, x):
        error = x - self.decode(self.encode(x))
        error = F.abs(error) if self.power == 1 else error * error
        return mean(error, tuple(range(1, x.ndim)))

    def describe(self):
        return f"power={self.power}"


def began_discriminator(
    *, rng: Generator, size=28, channels=1, hidden=256, code=16, power=2, name="D"
) -> Autoencoder:
    """An autoencoder of images (n, size, size, channels), through `code` numbers and back.

    One hidden layer on either side, LeakyReLU, and a tanh at the end.
    """
    pixels = size * size * channels
    encode = Sequential(
        Flatten(),
        Linear(pixels, hidden, rng=rng),
        LeakyReLU(0.2),
        Linear(hidden, code, rng=rng),
        LeakyReLU(0.2),
    )
    decode = Sequential(
        Linear(code, hidden, rng=rng),
        LeakyReLU(0.2),
        Linear(hidden, pixels, rng=rng),
        Tanh(),
        Reshape(size, size, channels),
    )
    return Autoencoder(encode, decode, power=power, name=name)


def began_generator(
    *, rng: Generator, size=28, channels=1, latent=16, hidden=256, batch_norm=True, name="G"
) -> Sequential:
    """A generator for that discriminator: z (n, latent) -> images (n, size, size, channels).

    Two hidden layers with LeakyReLU, and a tanh at the end.

    batch_norm: BEGAN's own networks have none. It keeps every hidden unit varying over the batch,
    so that G does not as easily learn to ignore z (examples/began.py shows both).
    """
    layers = []
    for inputs in (latent, hidden):
        layers.append(Linear(inputs, hidden, rng=rng, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(hidden, rng=rng))
        layers.append(LeakyReLU(0.2))
    return Sequential(
        *layers,
        Linear(hidden, size * size * channels, rng=rng),
        Tanh(),
        Reshape(size, size, channels),
        name=name,
    )


# What rebuilds a generator from the name and the arguments that a checkpoint holds.
GENERATORS = {
    "began": began_generator,
    "dcgan": dcgan_generator,
    "goodfellow_2014": goodfellow_generator,
}


def on_line(function, x, backend: Backend):
    """The values of a network of one variable at the points x (n,), for pictures and measures.

    function: from a tensor (n, 1) on `backend` to one; a network, or one and what comes behind it.
    Returns a host array, float64 (n,); nothing is recorded.
    """
    with no_grad():
        y = function(Tensor(backend.asarray(x, "float32").reshape(-1, 1)))
    return y.numpy().astype(float).ravel()
