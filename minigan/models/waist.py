"""A generator from images to images in which nothing keeps its place."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.models.dcgan import halvings
from minigan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Flatten,
    Linear,
    ReLU,
    Reshape,
    Sequential,
    Tanh,
    he,
)


def waist_generator(
    *, rng: Generator, size=16, inputs=3, channels=3, width=24, hidden=256, name="G"
) -> Sequential:
    """G(x): images (n, size, size, inputs) -> images (n, size, size, channels) in [−1, 1].

    Convolutions that halve the size and double the channels, from `width` on; `hidden` numbers that
    know the whole image; and the same way back. A U-Net and residual blocks take each pixel's
    surroundings to the same place, which is what most pairs of images want. Here any part of what
    comes out may depend on any part of what went in: a disc's hue may become a bar's direction.
    Batch norm and ReLU throughout, tanh at the end; an instance norm would wipe out a uniform
    image's colour. He's weights. ValueError for a size that does not halve evenly.
    """
    start, stages = halvings(size)
    widths = [width * 2**stage for stage in range(stages)]

    def normed(layer, features):
        return layer, BatchNorm(features, rng=rng), ReLU()

    def half(kind, before, after, **options):
        return kind(before, after, 4, stride=2, padding=1, rng=rng, init=he(), **options)

    def dense(before, after):
        return normed(Linear(before, after, rng=rng, init=he(), bias=False), after)

    down, up = [], []
    for before, after in zip([inputs, *widths], widths, strict=False):
        down += normed(half(Conv2d, before, after, bias=False), after)
    for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
        up += normed(half(ConvTranspose2d, before, after, bias=False), after)
    inner = start * start * widths[-1]
    return Sequential(
        *down,
        Flatten(),
        *dense(inner, hidden),
        *dense(hidden, inner),
        Reshape(start, start, widths[-1]),
        *up,
        half(ConvTranspose2d, width, channels),
        Tanh(),
        name=name,
    )
