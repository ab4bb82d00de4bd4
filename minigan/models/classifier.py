"""A classifier of images: the ruler that samples are measured with."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.nn import BatchNorm, Conv2d, Dropout, Flatten, Linear, ReLU, Sequential


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
