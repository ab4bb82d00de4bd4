"""DCGAN's two networks, for images of any size (Radford et al. 2016)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    LeakyReLU,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
    normal,
)


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
    start, stages = halvings(size)
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
    *,
    rng: Generator,
    size=28,
    channels=1,
    width=32,
    hidden=0,
    logits=1,
    batch_norm=True,
    name="D",
) -> Sequential:
    """DCGAN's discriminator: images (n, size, size, channels) -> logits (n, logits), as a rule one.

    The generator's mirror image: each convolution halves the size and doubles the channels,
    from `width` on. LeakyReLU throughout, batch norm everywhere but at the input;
    `batch_norm=False` for objectives with a gradient penalty. Weights from N(0, 0.02²).

    hidden: units of a fully connected layer before the last, as in InfoGAN's networks for MNIST
    (Chen et al. 2016, appendix C). With two convolutions a feature sees 10 pixels and the logit
    only adds them up; this layer lets D judge whether the strokes make a digit together.
    """
    start, stages = halvings(size)
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
    layers.append(Linear(hidden or inner, logits, rng=rng, init=init))
    return Sequential(*layers, name=name)


def halvings(size) -> tuple[int, int]:
    """The size an image is halved down to, at most 7 pixels, and how many halvings that takes."""
    start, stages = size, 0
    while start > 7 and start % 2 == 0:
        start, stages = start // 2, stages + 1
    if start > 7 or stages == 0:
        raise ValueError(
            f"image size {size}: expected 8 to 7·2ᵏ pixels, halving evenly, such as 28, 32 or 64"
        )
    return start, stages
