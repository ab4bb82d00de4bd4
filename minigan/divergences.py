"""How far a model's distribution is from the data's, and what a perfect discriminator would say.

The functions work on densities and samples on the host, in float64: they judge a run, they do not
train it. What is an integral in the books is a sum here, over the points of a discrete
distribution, or over the cells of a grid on which a density is known: then `cell` is their width.
"""

from __future__ import annotations

import math

import numpy as np

UNITS = {"nats": 1.0, "bits": 1 / math.log(2)}  # how many of each a nat is


# --- Information: discrete distributions, and densities on a grid --------------------------------


def entropy(p, *, cell=1.0, unit="nats") -> float:
    """H(p) = −Σ p ln p: how many nats, or bits, tell at least which x it was (Shannon 1948).

    p: (n,), probabilities that sum to 1, or densities whose sum times `cell` is 1 (then this is
    the differential entropy). ValueError otherwise, as in all functions of this section.
    """
    return cross_entropy(p, p, cell=cell, unit=unit)


def cross_entropy(p, q, *, cell=1.0, unit="nats") -> float:
    """H(p, q) = −Σ p ln q: what telling x ~ p takes with a code for q; ∞ where q misses p."""
    p, q = _distributions(p, q, cell)
    there = p > 0
    if (q[there] == 0).any():
        return math.inf
    return float(-(p[there] * np.log(q[there])).sum() * cell * _unit(unit))


def kl(p, q, *, cell=1.0, unit="nats") -> float:
    """KL(p ‖ q) = Σ p ln(p / q) ≥ 0: what the wrong code costs. Not symmetric; ∞ where q misses p.

    Source: Kullback and Leibler 1951.
    """
    p, q = _distributions(p, q, cell)
    there = p > 0
    if (q[there] == 0).any():
        return math.inf
    ratio = np.log(p[there]) - np.log(q[there])  # p / q could overflow
    return float((p[there] * ratio).sum() * cell * _unit(unit))


def js(p, q, *, cell=1.0, unit="nats") -> float:
    """JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q): symmetric, within [0, ln 2] (Lin 1991).

    It is ln 2 for any two distributions that don't overlap, however close or far they lie.
    """
    p, q = _distributions(p, q, cell)
    middle = 0.5 * (p + q)
    halves = (kl(side, middle, cell=cell, unit=unit) for side in (p, q))
    return 0.5 * sum(halves)


def total_variation(p, q, *, cell=1.0) -> float:
    """TV(p, q) = ½ Σ |p − q|, the largest difference in the probability of any event; in [0, 1]."""
    p, q = _distributions(p, q, cell)
    return float(0.5 * np.abs(p - q).sum() * cell)


def game_value(p_data, p_model, *, cell=1.0) -> float:
    """C(G) = −ln 4 + 2 JS(p_data, p_model): the game's value when D is optimal, in nats.

    Source: Goodfellow et al. 2014, eq. 6. Its minimum, −ln 4, is reached by p_model = p_data alone.
    """
    return -math.log(4) + 2 * js(p_data, p_model, cell=cell)


def _unit(unit) -> float:
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r}: wanted {' or '.join(UNITS)}")
    return UNITS[unit]


def _distributions(p, q, cell) -> tuple[np.ndarray, np.ndarray]:
    p, q = np.asarray(p, float), np.asarray(q, float)
    if p.shape != q.shape:
        raise ValueError(f"the distributions have shapes {p.shape} and {q.shape}: want the same")
    for name, values in (("p", p), ("q", q)):
        total = values.sum() * cell
        if not (values >= 0).all() or not abs(total - 1) <= 1e-6:
            raise ValueError(
                f"{name} has the sum {total:.6g} and the least value {values.min(initial=0):.6g}: "
                "want a sum of 1 and nothing negative"
            )
    return p, q


# --- Transport on the line -----------------------------------------------------------------------


def wasserstein(x, y, *, p=None, q=None, order=1) -> float:
    """W₁ or W₂ between points x and y on the line, exactly: (∫₀¹ |F⁻¹(u) − G⁻¹(u)|ᵏ du)^(1/k).

    x: (n,), y: (m,), in any order; p and q: their weights, which sum to 1, by default equal. For
    samples and for discrete distributions alike. In the points' units. Source: Peyré and Cuturi
    2019, remark 2.30. ValueError for other orders, weights that fit no distribution, or no points.
    """
    if order not in (1, 2):
        raise ValueError(f"wasserstein: order {order}: wanted 1 or 2")
    (x, up_to_x), (y, up_to_y) = _sorted_points("x", x, p), _sorted_points("y", y, q)
    # Both quantile functions are constant between neighbouring levels of either.
    levels = np.union1d(up_to_x, up_to_y)
    mass = np.diff(levels, prepend=0.0)
    here = x[np.searchsorted(up_to_x, levels)]
    there = y[np.searchsorted(up_to_y, levels)]
    return float((mass * np.abs(here - there) ** order).sum() ** (1 / order))


def _sorted_points(name, points, weights) -> tuple[np.ndarray, np.ndarray]:
    """The points in ascending order, and the probability of all up to each."""
    points = np.asarray(points, float).ravel()
    if not len(points):
        raise ValueError(f"wasserstein: {name} has no points")
    if weights is None:
        weights = np.full(len(points), 1 / len(points))
    weights = np.asarray(weights, float).ravel()
    if weights.shape != points.shape:
        raise ValueError(f"wasserstein: {name} has {len(points)} points and {len(weights)} weights")
    _distributions(weights, weights, 1.0)
    order = np.argsort(points, kind="stable")
    up_to = np.cumsum(weights[order])
    up_to[-1] = 1.0  # not 1 − ε, which would leave a level beyond the last point
    return points[order], np.minimum(up_to, 1.0)


# --- The game's theory ---------------------------------------------------------------------------


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
