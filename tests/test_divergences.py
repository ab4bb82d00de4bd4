"""Distances between distributions, held against distributions whose distance is known."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.divergences import (
    cross_entropy,
    entropy,
    game_value,
    js,
    kl,
    optimal_discriminator,
    pushforward_density,
    total_variation,
    wasserstein,
    wasserstein1_to_quantiles,
)


def quantiles(mean=0.0, std=1.0):
    return np.vectorize(NormalDist(mean, std).inv_cdf, otypes=[float])


def cdf(x, mean=0.0, std=1.0):
    return np.array([NormalDist(mean, std).cdf(v) for v in np.ravel(x)])


# --- The optimal discriminator -------------------------------------------------------------------

DENSITIES = st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)), min_size=1, max_size=6)


@given(DENSITIES)
def test_optimal_discriminator(pairs):
    p, q = zip(*pairs, strict=True)
    expected = [a / (a + b) if a + b > 0 else 0.5 for a, b in pairs]
    d = optimal_discriminator(p, q)
    assert d.dtype == np.float64
    np.testing.assert_allclose(d, expected, rtol=1e-12)


def test_optimal_discriminator_where_nothing_is():
    d = optimal_discriminator(np.array([0.0, 2.0, 0.0, 3.0]), np.array([0.0, 0.0, 5.0, 1.0]))
    assert d.tolist() == [0.5, 1.0, 0.0, 0.75]


@given(DENSITIES)
def test_optimal_discriminator_maximises_the_game(pairs):
    """No other D(x) has more p ln D + q ln (1 − D)."""
    for p, q in pairs:
        if min(p, q) < 1e-3:
            continue
        best = optimal_discriminator(p, q).item()
        value = lambda d, p=p, q=q: p * math.log(d) + q * math.log1p(-d)
        for other in (best * 0.9, best + 0.1 * (1 - best), 0.5):
            assert value(other) <= value(best) + 1e-9 * (p + q)


# --- Wasserstein ---------------------------------------------------------------------------------

LEVELS = (np.arange(2000) + 0.5) / 2000


@given(st.floats(-20, 20), st.integers(0, 1000))
def test_wasserstein_of_a_shift(shift, seed):
    """W₁ between N(0, 1) and N(a, 1) is |a|, in whatever order the samples come."""
    samples = np.random.default_rng(seed).permutation(quantiles()(LEVELS) + shift)
    assert wasserstein1_to_quantiles(samples, quantiles()) == pytest.approx(abs(shift), abs=1e-9)


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_wasserstein_of_a_scale(s, t):
    """W₁ between N(0, s²) and N(0, t²) is |s − t| E|z| = |s − t| √(2/π)."""
    distance = wasserstein1_to_quantiles(quantiles(std=s)(LEVELS), quantiles(std=t))
    assert distance == pytest.approx(abs(s - t) * math.sqrt(2 / math.pi), rel=2e-3)
    assert isinstance(distance, float)


def test_wasserstein_of_drawn_samples():
    """Of 10,000 samples of the very distribution some 1/√n is left; of another, its distance."""
    samples = np.random.default_rng(0).standard_normal((10_000, 1)).astype(np.float32)
    assert wasserstein1_to_quantiles(samples, quantiles()) < 0.03
    assert wasserstein1_to_quantiles(samples, quantiles(3.0)) == pytest.approx(3, abs=0.05)


def test_wasserstein_of_a_point():
    """Everything at c: E|z − c|, for c = 0 √(2/π)."""
    assert wasserstein1_to_quantiles(np.zeros(2000), quantiles()) == pytest.approx(
        math.sqrt(2 / math.pi), rel=1e-3
    )


def test_wasserstein_of_few_samples():
    """Three samples against the uniform density on [0, 6]: quantiles 1, 3 and 5."""
    assert wasserstein1_to_quantiles([5.5, 0.0, 3.0], lambda u: 6 * u) == pytest.approx(0.5)


# --- The density of G(z) -------------------------------------------------------------------------

Z = np.linspace(-6, 6, 2401)
MASS = np.diff(cdf(Z))


@given(
    scale=st.floats(0.3, 3) | st.floats(-3, -0.3), shift=st.floats(-2, 2), cells=st.integers(5, 80)
)
def test_pushforward_of_an_affine_map(scale, shift, cells):
    """a z + b is N(b, a²): each cell holds the normal's mass over its width."""
    edges = np.linspace(-4, 5, cells + 1)
    density = pushforward_density(edges, scale * Z + shift, MASS)
    expected = np.diff(cdf(edges, shift, abs(scale))) / np.diff(edges)
    np.testing.assert_allclose(density, expected, atol=2e-5)


def test_pushforward_of_a_fold():
    """|z| has twice the normal density above 0 and none below."""
    edges = np.linspace(-1, 3, 41)
    density = pushforward_density(edges, np.abs(Z), MASS)
    expected = np.where(edges[1:] > 1e-9, 2 * np.diff(cdf(edges)), 0) / np.diff(edges)
    np.testing.assert_allclose(density, expected, atol=2e-5)


def test_pushforward_of_a_curve():
    """z² is χ² with one degree of freedom: P(z² ≤ x) = 2 Φ(√x) − 1."""
    edges = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 6.0, 9.0])
    density = pushforward_density(edges, Z**2, MASS)
    expected = np.diff(2 * cdf(np.sqrt(edges)) - 1) / np.diff(edges)
    np.testing.assert_allclose(density, expected, rtol=2e-3)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30), st.integers(0, 1000))
def test_mass_is_conserved(g_of_z, seed):
    """However G folds and collapses, all its mass is in the cells that cover its range."""
    random = np.random.default_rng(seed)
    mass = random.dirichlet(np.ones(len(g_of_z) - 1))
    edges = np.sort(np.concatenate([[-10.5, 10.5], random.uniform(-10, 10, 9)]))
    density = pushforward_density(edges, np.array(g_of_z), mass)
    assert density.min() >= -1e-12
    assert np.sum(density * np.diff(edges)) == pytest.approx(1)


def test_a_collapsed_generator_is_a_spike():
    """All noise to 0.3: the whole mass in the one cell around it."""
    density = pushforward_density(
        np.array([-1.0, 0.0, 0.5, 1.0]), np.full(5, 0.3), np.full(4, 0.25)
    )
    np.testing.assert_allclose(density, [0, 2, 0], atol=1e-9)


# --- Information ---------------------------------------------------------------------------------

FAIR = [1 / 6] * 6
LOADED = [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8]


@st.composite
def distributions(draw, count=1):
    """Some distributions on the same points, with zeros among them."""
    size = draw(st.integers(1, 6))
    weights = st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any)
    return [np.array(w) / sum(w) for w in (draw(weights) for _ in range(count))]


def test_the_lectures_die_in_bits():
    """A fair die, told with a code for a loaded one: log₂ 6; (2·2 + 4·3) / 6; their difference."""
    assert entropy(FAIR, unit="bits") == pytest.approx(math.log2(6), rel=1e-12)
    assert cross_entropy(FAIR, LOADED, unit="bits") == pytest.approx(16 / 6, rel=1e-12)
    assert kl(FAIR, LOADED, unit="bits") == pytest.approx(16 / 6 - math.log2(6), rel=1e-12)


@given(distributions(2))
def test_sums_written_out(pair):
    p, q = pair
    inside = all(b > 0 for a, b in zip(p, q, strict=True) if a > 0)
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0 and b > 0)
    assert kl(p, q) == (pytest.approx(expected, abs=1e-12) if inside else math.inf)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    halves = [
        sum(a * math.log(a / m) for a, m in zip(side, middle, strict=True) if a > 0)
        for side in (p, q)
    ]
    assert js(p, q) == pytest.approx(sum(halves) / 2, abs=1e-12)
    assert js(p, q, unit="bits") == pytest.approx(sum(halves) / 2 / math.log(2), abs=1e-12)
    overlap = sum(min(a, b) for a, b in zip(p, q, strict=True))
    assert total_variation(p, q) == pytest.approx(1 - overlap, abs=1e-12)
    assert entropy(p) == pytest.approx(-sum(a * math.log(a) for a in p if a > 0), abs=1e-12)


@given(distributions(2))
def test_inequalities(pair):
    p, q = pair
    tv = total_variation(p, q)
    assert kl(p, q) >= -1e-12
    assert -1e-12 <= js(p, q) <= math.log(2) + 1e-12
    assert js(p, q) == pytest.approx(js(q, p), abs=1e-12)
    assert tv <= math.sqrt(kl(p, q) / 2) + 1e-7  # Pinsker
    assert entropy(p) <= math.log(len(p)) + 1e-12
    assert cross_entropy(p, q) >= entropy(p) - 1e-12  # Gibbs
    assert game_value(p, q) >= -math.log(4) - 1e-12
    assert game_value(p, p) == pytest.approx(-math.log(4))


def test_gaussians_on_a_grid():
    """KL of two Gaussians: ln(s/r) + (r² + (μ − ν)²) / 2s² − ½; entropy: ½ ln(2πe r²)."""
    cell = 0.005
    x = np.arange(-20, 20, cell)
    (m, r), (n, s) = (0.5, 1.2), (-0.3, 2.0)
    p, q = (
        np.exp(-((x - a) ** 2) / (2 * b * b)) / (b * math.sqrt(2 * math.pi))
        for a, b in ((m, r), (n, s))
    )
    expected = math.log(s / r) + (r * r + (m - n) ** 2) / (2 * s * s) - 0.5
    assert kl(p, q, cell=cell) == pytest.approx(expected, rel=1e-6)
    assert entropy(p, cell=cell) == pytest.approx(0.5 * math.log(2 * math.pi * math.e * r * r))


def test_disjoint_boxes_have_a_divergence_that_knows_no_distance():
    p = np.zeros(100)
    p[:10] = 0.1
    for shift in (10, 30, 90):
        q = np.roll(p, shift)
        assert js(p, q) == pytest.approx(math.log(2)) and kl(p, q) == math.inf
        assert total_variation(p, q) == pytest.approx(1)
        x = np.arange(100.0)
        for order in (1, 2):
            assert wasserstein(x, x, p=p, q=q, order=order) == pytest.approx(shift)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: kl([0.5, 0.6], [0.5, 0.5]), "p has the sum 1.1"),
        (lambda: kl([0.5, 0.5], [1.5, -0.5]), "q has the sum 1 and the least value -0.5"),
        (lambda: js([1.0], [0.5, 0.5]), "shapes"),
        (lambda: entropy([1.0], unit="bytes"), "wanted nats or bits"),
        (lambda: entropy([math.nan, 1.0]), "p has the sum nan"),
        (lambda: wasserstein([], [1.0]), "x has no points"),
        (lambda: wasserstein([1.0], [1.0], order=3), "wanted 1 or 2"),
        (lambda: wasserstein([1.0, 2.0], [1.0], p=[1.0]), "2 points and 1 weights"),
        (lambda: wasserstein([1.0, 2.0], [1.0], p=[1.0, 1.0]), "sum 2"),
    ],
)
def test_what_is_no_distribution_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- Transport -----------------------------------------------------------------------------------

POINTS = st.lists(st.integers(-20, 20), min_size=1, max_size=6)


def brute_force(x, y, order):
    """The best of all ways to pair equally many points, each repeated to a common number."""
    n = math.lcm(len(x), len(y))
    x, y = sorted(x * (n // len(x))), y * (n // len(y))
    costs = [
        sum(abs(a - b) ** order for a, b in zip(x, other, strict=True)) / n
        for other in set(itertools.permutations(y))
    ]
    return min(costs) ** (1 / order)


@given(
    x=st.lists(st.integers(-5, 5), min_size=1, max_size=3),
    y=st.lists(st.integers(-5, 5), min_size=1, max_size=3),
    order=st.sampled_from([1, 2]),
)
def test_wasserstein_is_the_cheapest_pairing(x, y, order):
    assert wasserstein(x, y, order=order) == pytest.approx(brute_force(x, y, order), abs=1e-9)


@given(x=POINTS, y=POINTS, z=POINTS, order=st.sampled_from([1, 2]))
def test_wasserstein_is_a_distance(x, y, z, order):
    def w(a, b):
        return wasserstein(a, b, order=order)

    assert w(x, x) == pytest.approx(0, abs=1e-6)
    assert w(x, y) == pytest.approx(w(y, x))
    assert w(x, z) <= w(x, y) + w(y, z) + 1e-6
    assert w([a + 3 for a in x], x) == pytest.approx(3)


def test_weights_are_repeated_points():
    weighted = wasserstein([3.0, 1.0], [0.0, 5.0], p=[0.75, 0.25], q=[0.5, 0.5])
    assert weighted == pytest.approx(wasserstein([3, 3, 3, 1], [0, 0, 5, 5]))
