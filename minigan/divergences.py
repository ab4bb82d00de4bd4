"""How far a model's distribution is from the data's, and what a perfect discriminator would say.

The functions work on densities and samples on the host, in float64: they judge a run, they do not
train it.
"""

from __future__ import annotations

import numpy as np


def optimal_discriminator(p_data, p_model) -> np.ndarray:
    """D*(x) = p_data(x) / (p_data(x) + p_model(x)), Goodfellow et al. 2014, proposition 1.

    Two arrays of densities at the same points; where both are 0, D* is arbitrary and ½ here.
    """
    p_data, p_model = np.asarray(p_data, float), np.asarray(p_model, float)
    total = p_data + p_model
    return np.where(total > 0, p_data / np.where(total > 0, total, 1.0), 0.5)


def wasserstein1_to_quantiles(samples, quantile) -> float:
    """W₁ between samples and a distribution on the line, known by its quantile function.

    In one dimension the best plan moves the i-th smallest sample to the i-th n-quantile:
    W₁ = ∫ |F⁻¹(u) − G⁻¹(u)| du (Peyré and Cuturi 2019, remark 2.30), here by the midpoint rule.
    samples: (n,), in the data's units, as is the result.
    """
    ordered = np.sort(np.asarray(samples, float).ravel())
    levels = (np.arange(len(ordered)) + 0.5) / len(ordered)
    return float(np.mean(np.abs(ordered - quantile(levels))))


def pushforward_density(edges, g_of_z, mass) -> np.ndarray:
    """The density of G(z) on the line, averaged over each cell between `edges`.

    g_of_z: (m,), G along a grid of z; mass: (m − 1,), the probability of each interval of it.
    G is taken as linear in between, so an interval's mass spreads evenly over [G(zᵢ), G(zᵢ₊₁)].
    edges: (k + 1,), ascending. Returns (k,), without a histogram's sampling noise.
    """
    low = np.minimum(g_of_z[:-1], g_of_z[1:])
    width = np.maximum(np.abs(np.diff(g_of_z)), 1e-12)
    below = np.clip((edges[:, None] - low) / width, 0, 1) @ mass
    return np.diff(below) / np.diff(edges)
