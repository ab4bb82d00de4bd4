"""A classifier of images: the ruler that samples are measured with."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.models.dcgan import halvings
from minigan.nn import BatchNorm, Conv2d, Dropout, Flatten, Linear, ReLU, Sequential


def image_classifier(
    *,
    rng: Generator,
    dropout: Generator,
    size=28,
    channels=1,
    width=16,
    hidden=128,
    classes=10,
    name="C",
) -> Sequential:
    """A classifier for small images: (n, size, size, channels) -> logits (n, classes).

    Convolutions that halve the size, down to at most 7 pixels, and double the channels, from
    `width` on; then a layer of `hidden` features. All with batch norm and ReLU. Then dropout of
    half the features, drawn from `dropout`. In evaluation, C[:-1] takes images to the features
    (n, hidden) in which samples are compared with data. ValueError for a size that does not halve
    evenly.
    """
    start, stages = halvings(size)
    layers, inputs = [], channels
    for stage in range(stages):
        outputs = width * 2**stage
        layers += [
            Conv2d(inputs, outputs, 5, stride=2, padding=2, rng=rng, bias=False),
            BatchNorm(outputs, rng=rng),
            ReLU(),
        ]
        inputs = outputs
    return Sequential(
        *layers,
        Flatten(),
        Linear(start * start * inputs, hidden, rng=rng, bias=False),
        BatchNorm(hidden, rng=rng),
        ReLU(),
        Dropout(0.5, rng=dropout),
        Linear(hidden, classes, rng=rng),
        name=name,
    )
