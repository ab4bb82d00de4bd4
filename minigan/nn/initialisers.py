"""Initialisers: init(rng, shape, fan_in, fan_out) -> array."""

from __future__ import annotations

import math


def normal(std=0.02):
    """N(0, std²); 0.02 is DCGAN's (Radford et al. 2016)."""
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * std


def he(slope=0.0):
    """N(0, 2 / ((1 + slope²) fan_in)): for (leaky) ReLUs of that slope (He et al. 2015)."""
    gain = 2.0 / (1.0 + slope**2)
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * math.sqrt(gain / fan_in)


def xavier():
    """N(0, 2 / (fan_in + fan_out)): for tanh and linear layers (Glorot and Bengio 2010)."""
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * math.sqrt(2 / (fan_in + fan_out))


def uniform(bound):
    """Uniform on [−bound, bound), whatever the fans: the first GAN's (Goodfellow et al. 2014)."""
    return lambda rng, shape, fan_in, fan_out: rng.uniform(shape, -bound, bound)


def orthogonal(gain=1.0):
    """A random matrix with orthonormal rows or columns, times `gain` (Saxe et al. 2014)."""

    def init(rng, shape, fan_in, fan_out):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = rng.normal((max(rows, columns), min(rows, columns)))
        q, r = rng.backend.xp.linalg.qr(tall)
        q = q * rng.backend.xp.sign(r.diagonal())  # makes the distribution uniform
        return ((q if rows >= columns else q.T) * gain).reshape(shape)

    return init
