"""How likely a decoder makes an image: bounds by an encoder, and where z has two dimensions, all.

    ELBO ≤ L₅ ≤ L₅₀ ≤ … ≤ ln p(x)                        in nats per sample, each on average

Which bound is the tighter says as much of the encoder as of the decoder: a low ELBO may be a bad
model or a good one whose encoder misses where z is.
"""

from __future__ import annotations

import math

import numpy as np

from minigan.backend import Generator
from minigan.engine import Tensor, no_grad
from minigan.engine.checks import whole_number
from minigan.evaluation.pairs import positive, squared_distances
from minigan.gan import log_mean_exp, log_weights
from minigan.nn import Module

ROWS = 2000  # images that are drawn at once


def draw_log_weights(
    encoder: Module, decoder: Module, likelihood, x, count, *, rng: Generator
) -> np.ndarray:
    """ln w of `count` z from q(z | x) for each x (n, …), an array: float64 (count, n), in nats.

    See `gan.log_weights`. On rng's device, in pieces of some 2,000 images that the decoder draws.
    """
    whole_number("draw_log_weights: count", count, 1)
    backend, columns = rng.backend, []
    with no_grad():
        for start in range(0, len(x), ROWS):
            some = Tensor(backend.asarray(x[start : start + ROWS], "float32"))
            shape, at_once = encoder(some)[0].shape, max(1, ROWS // len(some))
            rows = []
            for first in range(0, count, at_once):
                noise = Tensor(rng.normal((min(at_once, count - first), *shape)))
                rows.append(log_weights(encoder, decoder, likelihood, some, noise).numpy())
            columns.append(np.concatenate(rows))
    return np.concatenate(columns, axis=1).astype(float)


def importance_bound(log_weights, k) -> np.ndarray:
    """L_k = E ln 1/k Σ wᵢ of each x (Burda et al. 2016, eq. 8): (count, n) -> (n,), in nats.

    The mean over the count / k groups of k that follow each other; L₁ is the ELBO. Of the same
    weights L_k can't fall from k to its multiples (their theorem 1 is Jensen's inequality). It is
    ln p(x) for k without end, but a k that finds nothing new may be far from it. ValueError unless
    k divides the count.
    """
    log_weights = np.asarray(log_weights, float)
    k = whole_number("importance_bound: k", k, 1)
    if log_weights.ndim != 2 or not len(log_weights) or len(log_weights) % k:
        shape = log_weights.shape
        raise ValueError(
            f"importance_bound: weights {shape} for k = {k}: want (count, n), k | count"
        )
    groups = log_weights.reshape(-1, k, log_weights.shape[1])
    return log_mean_exp(Tensor(groups), axis=1).numpy().mean(axis=0)


def plane_log_likelihood(decoder: Module, variance, x, *, side=700, reach=7.0) -> np.ndarray:
    """ln ∫ N(x; G(z), v I) N(z; 0, I) dz for z in the plane, by a sum over a grid: (n,), in nats.

    No bound, and no chance in it: what bounds and annealed importance sampling are held against.
    The trapezoidal rule is exact to many digits once the steps, 2 · reach / (side − 1), are no
    wider than the posterior of z, whose width is about √v over the slope of G: with half the side
    it should say the same.

    decoder    z (n, 2) -> the means (n, …)
    variance   v > 0
    x          samples (n, …), on the decoder's device
    side       points of the grid along each axis; there are side² of them
    reach      |z| up to which there are any; encoders put images farther out than the prior has z
    """
    variance, reach = (positive("plane_log_likelihood", value) for value in (variance, reach))
    ticks = np.linspace(-reach, reach, whole_number("plane_log_likelihood: side", side, 2))
    backend = decoder.parameters()[0].backend
    x = backend.to_numpy(x).astype(float).reshape(len(x), -1)
    total = np.full(len(x), -np.inf)
    for height in ticks:
        z = np.stack([ticks, np.full_like(ticks, height)], axis=1)
        with no_grad():
            made = decoder(Tensor(backend.asarray(z, "float32"))).numpy().reshape(side, -1)
        for rows, columns, squared in squared_distances(x, made):
            joint = squared * (-0.5 / variance) - 0.5 * (z[columns] ** 2).sum(axis=1)
            largest = joint.max(axis=1)
            terms = np.log(np.exp(joint - largest[:, None]).sum(axis=1)) + largest
            total[rows] = np.logaddexp(total[rows], terms)
    cell = 2 * math.log(ticks[1] - ticks[0])
    return (
        total + cell - math.log(2 * math.pi) - 0.5 * x.shape[1] * math.log(2 * math.pi * variance)
    )


def linear_log_likelihood(weight, bias, variance, x) -> np.ndarray:
    """ln N(x; b, Wᵀ W + v I), exact, of the linear decoder G(z) = z W + b: (n,), in nats.

    weight (latent, d), bias (d,), x (n, …) of d numbers each, host arrays; variance v > 0.
    """
    variance = positive("linear_log_likelihood: variance", variance)
    covariance = weight.T @ weight + variance * np.eye(len(bias))
    gap = np.reshape(x, (len(x), -1)) - bias
    squares = (gap * np.linalg.solve(covariance, gap.T).T).sum(axis=1)
    return -0.5 * (squares + np.linalg.slogdet(2 * math.pi * covariance)[1])


def active_units(means, threshold=0.01) -> np.ndarray:
    """Which dimensions of z the encoder uses: Var over x of E(u | x) > 0.01 (Burda et al. 2016).

    means: μ(x) of many x, (n, d), with n ≥ 2. Booleans (d,). For the others q(u | x) is the prior
    whatever x is; where there are none, the posterior has collapsed and the decoder hears nothing.
    """
    means = np.asarray(means, float)
    if means.ndim != 2 or len(means) < 2:
        raise ValueError(f"active_units: means {means.shape}, wanted (n, d) with n >= 2")
    return means.var(axis=0, ddof=1) > threshold
