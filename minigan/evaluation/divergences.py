"""How far a model's distribution is from the data's, and what a perfect discriminator would say.

The functions work on densities and samples on the host, in float64: they judge a run, they do not
train it. What is an integral in the books is a sum here, over the points of a discrete
distribution, or over the cells of a grid on which a density is known: then `cell` is their width.
Samples become such a distribution by `histogram`; the Wasserstein distances take them as they are.
"""

from __future__ import annotations

import math

import numpy as np

from minigan.backend import Generator
from minigan.data.toy import sum_error

UNITS = {"nats": 1.0, "bits": 1 / math.log(2)}  # how many of each a nat is


# --- Information: discrete distributions, and densities on a grid --------------------------------


def entropy(p, *, cell=1.0, unit="nats") -> float:
    """H(p) = −Σ p ln p: how many nats, or bits, tell at least which x it was (Shannon 1948).

    p: (n,), probabilities that sum to 1, or densities whose sum times `cell` is 1 (then this is
    the differential entropy). ValueError otherwise, as in all functions of this section.

    The sum may be off by 10⁻⁶, or by what rounding makes of it in the dtype given: a softmax in
    float32 over 50,000 classes by 10⁻⁴. Nothing is made to sum to 1: what comes out is that far
    off as well. Its sums are in float64.
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
    return _kl(*_distributions(p, q, cell)) * cell * _unit(unit)


def _kl(p, q) -> float:
    """Σ p ln(p / q) of two arrays that have been checked."""
    there = p > 0
    if (q[there] == 0).any():
        return math.inf
    ratio = np.log(p[there]) - np.log(q[there])  # p / q could overflow
    return float((p[there] * ratio).sum())


def js(p, q, *, cell=1.0, unit="nats") -> float:
    """JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q): symmetric, within [0, ln 2] (Lin 1991).

    It is ln 2 for any two distributions that don't overlap, however close or far they lie.
    """
    p, q = _distributions(p, q, cell)
    middle = 0.5 * (p + q)
    return 0.5 * (_kl(p, middle) + _kl(q, middle)) * cell * _unit(unit)


def total_variation(p, q, *, cell=1.0) -> float:
    """TV(p, q) = ½ Σ |p − q|, the largest difference in the probability of any event; in [0, 1]."""
    p, q = _distributions(p, q, cell)
    return float(0.5 * np.abs(p - q).sum() * cell)


def game_value(p_data, p_model, *, cell=1.0) -> float:
    """C(G) = −ln 4 + 2 JS(p_data, p_model): the game's value when D is optimal, in nats.

    Source: Goodfellow et al. 2014, eq. 6. Its minimum, −ln 4, is reached by p_model = p_data alone.
    """
    return -math.log(4) + 2 * js(p_data, p_model, cell=cell)


def histogram(samples, *edges) -> np.ndarray:
    """The share of the samples in each cell of a grid: what `kl`, `js` and the like take.

    samples: (n, d), or (n,) on the line; edges: for each dimension the k + 1 ascending borders of
    its k cells, of which the first may be −∞ and the last ∞. Returns (k₁, …, k_d).

        edges = np.linspace(-3, 3, 31)
        js(histogram(real, edges), histogram(fake, edges))

    Such a divergence is one between histograms. Cells as wide as the structure hide it. Small
    cells are often empty, which makes KL infinite, and noise makes it too large: of n samples in k
    cells, each with several samples, KL to their own distribution is (k − 1) / 2n on average.
    ValueError for samples in no cell, NaN among them, as their share would be missing.
    """
    samples = np.asarray(samples, float).reshape(-1, max(len(edges), 1))
    counts, _ = np.histogramdd(samples, bins=edges)
    outside = len(samples) - int(counts.sum())
    if outside or not len(samples):
        raise ValueError(
            f"histogram: {outside} of {len(samples)} samples are in no cell: want all, and at "
            "least one; the outer edges may be -inf and inf"
        )
    return counts / len(samples)


def _unit(unit) -> float:
    if unit not in UNITS:
        raise ValueError(f"unit {unit!r}: wanted {' or '.join(UNITS)}")
    return UNITS[unit]


def _distributions(p, q, cell) -> tuple[np.ndarray, np.ndarray]:
    p, q = np.asarray(p), np.asarray(q)
    if p.shape != q.shape:
        raise ValueError(f"the distributions have shapes {p.shape} and {q.shape}: want the same")
    return _distribution("p", p, cell), _distribution("q", q, cell)


def _distribution(name, values, cell=1.0) -> np.ndarray:
    """The values as float64. ValueError if they are no distribution, within rounding."""
    # Beyond a hundredth it is no rounding any more, even if float16 has such errors.
    tolerance = max(1e-6, min(sum_error(values), 0.01))
    values = np.asarray(values, float)
    total = values.sum() * cell
    if not (values >= 0).all() or not abs(total - 1) <= tolerance:
        raise ValueError(
            f"{name} has the sum {total:.12g} and the least value {values.min(initial=0):.6g}: "
            f"want a sum of 1, within {tolerance:.2g}, and nothing negative"
        )
    return values


# --- Transport on the line -----------------------------------------------------------------------


def wasserstein(x, y, *, p=None, q=None, order=1) -> float:
    """W₁ or W₂ between points x and y on the line, exactly: (∫₀¹ |F⁻¹(u) − G⁻¹(u)|ᵏ du)^(1/k).

    x: (n,), y: (m,), in any order; p and q: their weights, which sum to 1, by default equal. For
    samples and for discrete distributions alike. In the points' units. Source: Peyré and Cuturi
    2019, remark 2.30. ValueError for other orders, weights that fit no distribution, or no points.
    """
    _check_order("wasserstein", order)
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
    weights = _weights(f"wasserstein: {name}", len(points), weights)
    order = np.argsort(points, kind="stable")
    up_to = np.cumsum(weights[order])
    up_to[-1] = 1.0  # not 1 − ε, which would leave a level beyond the last point
    return points[order], np.minimum(up_to, 1.0)


def _weights(what, count, weights) -> np.ndarray:
    """The probabilities of `count` points: those given, less what rounding adds, or equal ones."""
    if not count:
        raise ValueError(f"{what} has no points")
    if weights is None:
        weights = np.full(count, 1 / count)
    weights = np.asarray(weights).ravel()
    if len(weights) != count:
        raise ValueError(f"{what} has {count} points and {len(weights)} weights")
    weights = _distribution(f"{what}: the weights", weights)
    return weights / weights.sum()


def _check_order(what, order):
    if order not in (1, 2):
        raise ValueError(f"{what}: order {order}: wanted 1 or 2")


# --- Transport in any dimension ------------------------------------------------------------------

LARGEST_PROGRAM = 250_000  # pairs of points; about ten seconds
LARGEST_ASSIGNMENT = 4_000_000  # the same where each point simply gets a partner


def optimal_transport(cost, *, p=None, q=None) -> tuple[float, np.ndarray]:
    """min Σ πᵢⱼ cᵢⱼ over all plans π ≥ 0 that move the masses p to the masses q; with such a plan.

    Kantorovich's problem (Peyré and Cuturi 2019, eq. 2.11), solved as the linear program it is; if
    equally many points weigh the same, some best plan gives each one partner, and the
    problem is an assignment (their proposition 2.1), which is much faster.

    cost: (n, m); p: (n,) and q: (m,), each with the sum 1, by default equal weights. Returns the
    least cost and π (n, m), whose rows sum to p and whose columns sum to q. ValueError for costs
    that are not finite, weights that fit no distribution, and more pairs than LARGEST_PROGRAM, or
    LARGEST_ASSIGNMENT.
    """
    cost = np.asarray(cost, float)
    if cost.ndim != 2 or not np.isfinite(cost).all():
        raise ValueError(f"optimal_transport: cost {cost.shape}: want finite numbers (n, m)")
    n, m = cost.shape
    p = _weights("optimal_transport: p", n, p)
    q = _weights("optimal_transport: q", m, q)
    plan = _assign(cost) if _check_size(p, q) else _solve(cost, p, q)
    return float((plan * cost).sum()), plan


def _check_size(p, q) -> bool:
    """Whether the problem is an assignment. ValueError if it is too large."""
    n, m = len(p), len(q)
    assignment = n == m and np.ptp(p) == np.ptp(q) == 0
    limit = LARGEST_ASSIGNMENT if assignment else LARGEST_PROGRAM
    if n * m > limit:
        raise ValueError(
            f"optimal_transport: {n} × {m} pairs of points: want at most {limit:,} "
            f"({LARGEST_ASSIGNMENT:,} for equally many of equal weight); take fewer points, or "
            "sliced_wasserstein"
        )
    return assignment


def _assign(cost) -> np.ndarray:
    """The best plan between equally many points of equal weight: a permutation's matrix / n."""
    from scipy.optimize import linear_sum_assignment

    plan = np.zeros(cost.shape)
    plan[linear_sum_assignment(cost)] = 1 / len(cost)
    return plan


def _solve(cost, p, q) -> np.ndarray:
    """The best plan by the simplex method: Σⱼ πᵢⱼ = pᵢ, Σᵢ πᵢⱼ = qⱼ."""
    from scipy import sparse
    from scipy.optimize import linprog

    n, m = cost.shape
    rows = sparse.kron(sparse.eye(n), np.ones((1, m)))
    columns = sparse.kron(np.ones((1, n)), sparse.eye(m))
    # The solver takes 10⁻⁷ for nothing, so it gets costs and masses of order one.
    largest = np.abs(cost).max() or 1.0
    masses = np.concatenate([p, q]) * max(n, m)
    found = linprog(
        cost.ravel() / largest,
        A_eq=sparse.vstack([rows, columns], format="csr"),
        b_eq=masses,
        method="highs-ds",
    )
    if not found.success:
        raise RuntimeError(f"optimal_transport: SciPy's linprog failed: {found.message}")
    return np.maximum(found.x, 0).reshape(n, m) / max(n, m)


def wasserstein_discrete(x, y, *, p=None, q=None, order=1) -> float:
    """W₁ or W₂ between points in d dimensions, exactly: (min Σ πᵢⱼ ‖xᵢ − yⱼ‖ᵏ)^(1/k).

    For a few hundred points with weights, or up to 2,000 of each without; see `optimal_transport`.
    On the line, `wasserstein` is the same and takes any number. For samples of a density in many
    dimensions it is far too large: n samples of one distribution are still about n^(−1/d) away from
    n others (Dudley 1969).

    x: (n, d), y: (m, d); p and q: weights with the sum 1, by default equal. In the points' units.
    """
    from scipy.spatial.distance import cdist

    _check_order("wasserstein_discrete", order)
    x, y = _points("wasserstein_discrete", x, y)
    p = _weights("wasserstein_discrete: x", len(x), p)
    q = _weights("wasserstein_discrete: y", len(y), q)
    _check_size(p, q)  # before the distances take the memory
    cost, _ = optimal_transport(cdist(x, y) ** order, p=p, q=q)
    return cost ** (1 / order)


def sliced_wasserstein(x, y, rng: Generator, *, directions=100, order=1) -> float:
    """Samples in d dimensions, seen along random directions θ: (E_θ W_k(θ·x, θ·y)^k)^(1/k).

    Each projection is on the line, where W₁ and W₂ are exact and cheap (Rabin et al. 2012;
    Bonneel et al. 2015). It is 0 for equal distributions alone, as W_k is, and at most W_k; but a
    direction sees only its share of a difference, so that it shrinks with d: shifting all points by
    t gives order 2 the distance ‖t‖ / √d. Compare it within one d.

    x: (n, d), y: (m, d); directions: how many to average over, drawn from rng, which leaves an
    error of some 1/√directions of the result. In the points' units.
    """
    _check_order("sliced_wasserstein", order)
    if directions < 1:
        raise ValueError(f"sliced_wasserstein: {directions} directions: want at least 1")
    x, y = _points("sliced_wasserstein", x, y)
    drawn = rng.backend.to_numpy(rng.normal((directions, x.shape[1]), dtype="float64"))
    thetas = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    powers = [wasserstein(x @ theta, y @ theta, order=order) ** order for theta in thetas]
    return float(np.mean(powers) ** (1 / order))


def _points(what, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of points as float64 (n, d) and (m, d)."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    for name, points in (("x", x), ("y", y)):
        if not points.size:
            raise ValueError(f"{what}: {name} has no points")
        if not np.isfinite(points).all():
            raise ValueError(f"{what}: {name} has points with NaN or infinity")
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{what}: x has {x.shape[1]} dimensions, y has {y.shape[1]}: want the same"
        )
    return x, y


# --- The game's theory ---------------------------------------------------------------------------


def optimal_discriminator(p_data, p_model) -> np.ndarray:
    """D*(x) = p_data(x) / (p_data(x) + p_model(x)), Goodfellow et al. 2014, proposition 1.

    Why it is the best: E ln D(x) + E ln(1 − D(G(z))) is the integral of a ln D(x) + b ln(1 − D(x)),
    a and b being p_data(x) and p_model(x). D is free to have any value at each x, so each point is
    a problem by itself; a / D − b / (1 − D) = 0 has the one solution D = a / (a + b), a maximum.

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
