"""Distances between distributions, held against distributions whose distance is known."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.divergences import (
    optimal_discriminator,
    pushforward_density,
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
