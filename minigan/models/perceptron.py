"""Multilayer perceptrons, for data that are points."""

from __future__ import annotations

import itertools

from minigan.backend import Generator
from minigan.nn import LeakyReLU, Linear, Sequential, he


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
