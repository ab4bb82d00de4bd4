"""Layers whose weights are all of one size, so that an optimiser moves them all at one speed."""

from __future__ import annotations

import math

from minigan.backend import Generator
from minigan.nn.module import Module


class Equalised(Module):
    """A layer whose weights are N(0, 1), times gain / √fan_in whenever it is used.

        Equalised(Conv2d, 16, 32, 3, padding=1, rng=rng)        in the place of Conv2d(16, …)

    An "equalised learning rate" (Karras et al. 2018, section 4.1): Adam moves each weight by about
    its rate, whatever the weight's size. With He's initialisation the weights of a wide layer are
    small and are thrown about by the very rate that is too low for a narrow one; with the constant
    at run time all layers learn at the same relative speed, and the outputs are as large as with
    He's. kind: Linear, Conv2d or ConvTranspose2d, built with what comes after it. gain: √2 before
    a (leaky) ReLU, 1 before no activation. TypeError for other kinds.
    """

    def __init__(self, kind, *sizes, rng: Generator, gain=2**0.5, **options):
        if not hasattr(kind, "apply"):
            got = getattr(kind, "__name__", type(kind).__name__)
            raise TypeError(f"Equalised: got {got}, expected Linear, Conv2d or ConvTranspose2d")

        def init(rng, shape, fan_in, fan_out):
            self.factor = gain / math.sqrt(fan_in)
            return rng.normal(shape)

        self.layer = kind(*sizes, rng=rng, init=init, **options)

    def forward(self, x):
        return self.layer.apply(x, self.layer.weight * self.factor)

    def describe(self):
        return f"times {self.factor:.3g}"
