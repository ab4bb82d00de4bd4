"""Penalties on D's slope.

Each returns a function penalty(D, real, fake) of what D is shown, batches (n, …) of one shape or
tuples that begin with them. Its value is a scalar to be added to D's loss, and its gradient goes
through D's gradient in the samples; conditions are held fast. D's slope is that of its verdict,
the first of what it returns.
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import Tensor, grad, tensor
from minigan.engine import functional as F
from minigan.engine.operations import mean, sum
from minigan.gan.losses import together


def gradient_penalty(rng: Generator, *, weight=10.0, target=1.0, one_sided=False):
    """λ E (‖∇D(x̂)‖ − target)², x̂ between a real and a fake sample (Gulrajani et al. 2017, eq. 3).

    One-sided, max(0, ‖∇D‖ − target)², punishes only slopes that are too steep (Petzka et al.
    2018). The norm runs over all of a sample's values, one norm per sample. D must treat each
    sample by itself: no batch norm.

    With a finite λ the best slope is a little above 1, so the critic's value is above W₁; and
    two-sided, a slope of the wrong sign is punished on its way through 0: both are seen in
    examples/stability/wgan.py.
    Conditions are those of the real samples: show D the same ones with the fakes.
    """

    def penalty(D, real, fake):
        real, *conditions = together(real)
        fake, *_ = together(fake)
        t = Tensor(rng.uniform((len(real),) + (1,) * (real.ndim - 1), dtype=real.dtype))
        x = tensor(t * real.detach() + (1.0 - t) * fake.detach(), requires_grad=True)
        return weight * _squared_excess(D, x, conditions, target, one_sided)

    return penalty


def dragan_penalty(rng: Generator, *, weight=10.0, target=1.0, spread=0.5):
    """λ E (‖∇D(x + δ)‖ − target)² around real samples (Kodali et al. 2017, DRAGAN).

    δ ~ N(0, (spread · s)²) in every value, s the standard deviation of all of the batch's values,
    whatever rank they are on. It keeps D from growing steep next to the data, where sharp local
    optima trap G. The slope between far modes and G's samples stays free.
    """

    def penalty(D, real, fake):
        real, *conditions = together(real)
        away = real.detach() - F.mean_over_ranks(mean(real.detach()))
        s = F.mean_over_ranks(mean(away**2)).data ** 0.5
        noise = rng.normal(real.shape, dtype=real.dtype) * (s * spread)
        x = tensor(real.detach() + Tensor(noise), requires_grad=True)
        return weight * _squared_excess(D, x, conditions, target, one_sided=False)

    return penalty


def r1_penalty(*, weight=10.0):
    """γ/2 E ‖∇D(x)‖² at real samples (Mescheder et al. 2018, eq. 9).

    At the equilibrium D is flat on the data and the penalty 0, so it moves nothing; around it, it
    makes training converge even where data lie on a thin set (theorem 4.1). γ is in squared units
    of the data; a large one leaves D too flat to tell G anything.
    """

    def penalty(D, real, fake):
        return (0.5 * weight) * _mean_squared_slope(D, real)

    return penalty


def r2_penalty(*, weight=10.0):
    """γ/2 E ‖∇D(G(z))‖² at generated samples (Mescheder et al. 2018, eq. 10).

    As `r1_penalty`, with the same promise near the equilibrium. Far from it D stays steep at data.
    """

    def penalty(D, real, fake):
        return (0.5 * weight) * _mean_squared_slope(D, fake)

    return penalty


def _squared_excess(D, x, conditions, target, one_sided):
    """E (‖∇D(x)‖ − target)². ε stands under the root: at a zero gradient √ has infinite slope."""
    excess = F.sqrt(_squared_slope(D, x, conditions) + 1e-12) - target
    if one_sided:
        excess = F.relu(excess)
    return mean(excess * excess)


def _mean_squared_slope(D, shown):
    samples, *conditions = together(shown)
    return mean(_squared_slope(D, tensor(samples.detach(), requires_grad=True), conditions))


def _squared_slope(D, x, conditions):
    """‖∇D(x)‖² per sample (n,), the gradient being that in x."""
    verdict, *_ = together(D(x, *conditions))
    (gradient,) = grad(sum(verdict), [x], create_graph=True)
    return sum(gradient * gradient, tuple(range(1, x.ndim)))
