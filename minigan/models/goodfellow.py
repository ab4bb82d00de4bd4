"""The networks of the first GAN on MNIST (Goodfellow et al. 2014)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.nn import Dropout, Flatten, Linear, Maxout, ReLU, Reshape, Sequential, Sigmoid, uniform


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
