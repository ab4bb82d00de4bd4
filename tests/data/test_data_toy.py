"""Toy densities against numerical integrals, statistics.NormalDist and their own samples."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import uniform
from tables import DENSITIES

from minigan.backend import cpu
from minigan.data import (
    Gaussian,
    GaussianMixture1D,
    GaussianModes,
    Grid,
    Ring,
    Spiral,
    Uniform,
)

MIXTURE = GaussianMixture1D([-3.0, 0.5, 4.0], [0.4, 1.0, 0.7], [0.2, 0.5, 0.3])
ONE_DIMENSIONAL = [
    Gaussian(),
    Gaussian(-2.0, 0.3),
    MIXTURE,
    GaussianMixture1D([0.0, 1e4], [1.0, 0.5]),
    GaussianMixture1D([1.5], [2.0]),
]
PLANAR = [Ring(), Grid(), Spiral()]

finite = st.floats(-50, 50)
widths = st.floats(0.01, 50)
probabilities = st.floats(1e-12, 1 - 1e-12)


@given(finite, widths, finite, probabilities)
def test_gaussian_is_the_standard_librarys(mean, std, x, u):
    ours, theirs = Gaussian(mean, std), NormalDist(mean, std)
    assert ours.pdf(x) == pytest.approx(theirs.pdf(x), rel=1e-9, abs=1e-300)
    assert ours.cdf(x) == pytest.approx(theirs.cdf(x), abs=1e-12)
    assert ours.quantile(u) == pytest.approx(theirs.inv_cdf(u), abs=1e-9)


def test_known_values():
    normal = Gaussian()
    assert normal.quantile(0.975) == pytest.approx(1.959963984540054, abs=1e-12)
    assert normal.cdf(-10.0) == pytest.approx(7.61985302416053e-24, rel=1e-9)
    assert normal.pdf(0.0) == pytest.approx(0.3989422804014327, rel=1e-12)
    assert MIXTURE.mean == pytest.approx(0.85)
    # Σ w (std² + mean²) − mean²
    assert MIXTURE.std**2 == pytest.approx(0.2 * 9.16 + 0.5 * 1.25 + 0.3 * 16.49 - 0.85**2)


def test_uniform_is_scipys():
    ours, theirs = Uniform(-2.0, 1.5), uniform(-2.0, 3.5)
    x, u = np.linspace(-3, 3, 61), np.linspace(0, 1, 21)
    for name, points in (("pdf", x), ("cdf", x), ("quantile", u)):
        wanted = theirs.ppf(u) if name == "quantile" else getattr(theirs, name)(points)
        np.testing.assert_allclose(getattr(ours, name)(points), wanted, atol=1e-12)
    assert (ours.mean, ours.std) == pytest.approx((theirs.mean(), theirs.std()))


@pytest.mark.parametrize("density", ONE_DIMENSIONAL[:3])
def test_cdf_is_the_integral_of_pdf(density):
    x = np.linspace(density.mean - 12 * density.std, density.mean + 12 * density.std, 40_001)
    pdf = density.pdf(x)
    integral = np.concatenate([[0], np.cumsum((pdf[1:] + pdf[:-1]) / 2 * np.diff(x))])
    assert integral[-1] == pytest.approx(1, abs=1e-9)
    assert np.abs(density.cdf(x) - integral).max() < 1e-6


@pytest.mark.parametrize("density", ONE_DIMENSIONAL)
def test_quantile_inverts_cdf(density):
    u = np.concatenate([[1e-15, 1e-9, 1e-3], np.linspace(0.01, 0.99, 37), [1 - 1e-9]])
    x = density.quantile(u)
    assert x.shape == u.shape and (np.diff(x) > 0).all()
    assert np.allclose(density.cdf(x), u, rtol=1e-9, atol=1e-15)
    assert density.quantile([0.0, 1.0]).tolist() == [-np.inf, np.inf]
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
            density.quantile([0.5, bad])


@given(finite, widths, probabilities)
def test_a_mixture_of_equals_is_one_gaussian(mean, std, u):
    mixture, single = GaussianMixture1D([mean] * 2, [std] * 2, [0.25, 0.75]), Gaussian(mean, std)
    assert mixture.quantile(u) == pytest.approx(single.quantile(u), abs=1e-9)
    assert (mixture.mean, mixture.std) == pytest.approx((mean, std))


@pytest.mark.parametrize("density", [*ONE_DIMENSIONAL, Uniform(-2.0, 1.5)])
def test_samples_have_the_mean_the_std_and_the_quantiles(density):
    n = 50_000
    x = density.sample(cpu.generator(1), n)
    assert x.shape == (n, 1) and x.dtype == np.float32
    x = x[:, 0].astype(float)
    assert abs(x.mean() - density.mean) < 5 * density.std / math.sqrt(n)
    assert x.std() == pytest.approx(density.std, rel=0.03)
    # Kolmogorov and Smirnov: P(sup |empirical − cdf| > 2 / √n) ≈ 7e-4.
    empirical = (np.arange(n) + 0.5) / n
    assert np.abs(density.cdf(np.sort(x)) - empirical).max() < 2 / math.sqrt(n)


def test_a_component_of_weight_nothing_is_never_drawn():
    density = GaussianMixture1D([-100.0, 0.0, 100.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0])
    assert np.abs(density.sample(cpu.generator(0), 10_000)).max() < 10


@pytest.mark.parametrize("density", [*ONE_DIMENSIONAL, *DENSITIES.values()])
def test_samples_are_float32_and_owned_by_the_generator(density):
    for n in (0, 1, 7):
        x = density.sample(cpu.generator(5), n)
        assert x.dtype == np.float32 and x.shape == (n, density.dim)
        assert np.array_equal(x, density.sample(cpu.generator(5), n))


def test_numpy_scalars_do_not_widen_the_samples():
    rng, half = cpu.generator(0), np.float64(0.5)
    for density in (Gaussian(half, half), Ring(8, half, half), Grid(2, half, half)):
        assert density.sample(rng, 3).dtype == np.float32
    assert Spiral(half, half, half).sample(rng, 3).dtype == np.float32


def test_a_ring_has_as_many_modes_as_it_says():
    ring = Ring(modes=8, radius=2.0, std=0.01)
    assert ring.centres.shape == (8, 2)
    assert np.allclose(np.hypot(*ring.centres.T), 2)
    apart = np.hypot(*(ring.centres[:, None] - ring.centres).T)
    assert apart[~np.eye(8, dtype=bool)].min() == pytest.approx(4 * math.sin(math.pi / 8))
    assert modes_hit(ring, 4000) == 8


def test_a_grid_lies_where_veegan_has_it():
    grid = Grid()
    along = [-4.0, -2.0, 0.0, 2.0, 4.0]
    assert sorted(map(tuple, grid.centres.tolist())) == [(x, y) for x in along for y in along]
    assert modes_hit(grid, 4000) == 25


def modes_hit(density, n):
    """How many modes get their share of `n` samples, all of which must lie within 6 std of one."""
    x = density.sample(cpu.generator(2), n)
    distance = np.linalg.norm(x[:, None] - density.centres, axis=-1)
    assert distance.min(axis=1).max() < 6 * density.std
    # Radially, E r² = 2 std².
    assert (distance.min(axis=1) ** 2).mean() == pytest.approx(2 * density.std**2, rel=0.1)
    share = n / len(density.centres)
    hits = np.bincount(distance.argmin(axis=1), minlength=len(density.centres))
    return int((np.abs(hits - share) < 5 * math.sqrt(share)).sum())


@pytest.mark.parametrize("density", [Ring(5, 1.0, 0.3), Grid(2, 1.0, 0.4)])
def test_log_pdf_integrates_to_one_and_agrees_with_the_plain_sum(density):
    side = np.linspace(-5, 5, 201)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    p = np.exp(density.log_pdf(points))
    assert p.sum() * (side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-6)
    one = NormalDist(0, density.std)
    x, y = 0.3, -0.2
    plain = np.mean([one.pdf(x - a) * one.pdf(y - b) for a, b in density.centres])
    assert density.log_pdf([[x, y]]) == pytest.approx([math.log(plain)])
    assert np.isfinite(density.log_pdf([[1e4, 1e4]])).all()


def test_spiral_samples_lie_about_the_curve():
    spiral = Spiral(turns=2, radius=3, noise=0.05)
    curve = spiral.curve(np.linspace(0, 1, 2000))
    assert np.hypot(*curve[-1]) == pytest.approx(3)
    x = spiral.sample(cpu.generator(3), 2000)
    distance = np.linalg.norm(x[:, None] - curve, axis=-1).min(axis=1)
    assert distance.max() < 5 * spiral.noise
    # Across the curve the noise is one-dimensional, and E d² = noise².
    assert math.sqrt((distance**2).mean()) == pytest.approx(spiral.noise, rel=0.1)
    # Both turns are visited, the outer one more: it is longer.
    inner = (np.hypot(*x.T) < 1.5).mean()
    assert 0.2 < inner < 0.3


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_widths_must_be_positive(bad):
    for make in (
        lambda: Gaussian(0, bad),
        lambda: GaussianMixture1D([0], [bad]),
        lambda: Ring(std=bad),
        lambda: Ring(radius=bad),
        lambda: Grid(std=bad),
        lambda: Grid(spacing=bad),
        lambda: Spiral(turns=bad),
        lambda: Spiral(radius=bad),
        lambda: Spiral(noise=bad),
    ):
        with pytest.raises(ValueError, match=f"got {bad}, wanted a finite number > 0"):
            make()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Gaussian(math.nan, 1), "mean: got nan"),
        (lambda: GaussianMixture1D([0, 1], [1]), "2 means, 1 stds"),
        (lambda: GaussianMixture1D([0, 1], [1, 1], [1]), "1 weights"),
        (lambda: GaussianMixture1D([0, 1], [1, 1], [0.5, 0.6]), r"sum is 1\.1; .* within 1e-09"),
        (lambda: GaussianMixture1D([0, 1], [1, 1], [0.5, 0.5 + 2e-9]), r"sum is 1\.000000002; "),
        (lambda: GaussianMixture1D([0, 1], [1, 1], [1.5, -0.5]), "sum to 1"),
        (lambda: GaussianMixture1D([0, 1], [1, 1], [math.nan, 1]), "got nan"),
        (lambda: GaussianMixture1D([], []), "got 0 means"),
        (lambda: Ring(modes=0), "modes: got 0"),
        (lambda: Ring(modes=2.5), "modes: got 2.5"),
        (lambda: Ring(modes=True), "modes: got True"),
        (lambda: Grid(side=0), "side: got 0"),
        (lambda: GaussianModes([], 1), r"wanted \(k, 2\)"),
        (lambda: GaussianModes([[1, 2, 3]], 1), r"wanted \(k, 2\)"),
    ],
)
def test_mistakes_are_named(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_weights_of_a_mixture_are_off_by_the_rounding_of_their_dtype():
    thirds = np.full(3, 1 / 3, np.float32)
    assert abs(math.fsum(thirds.tolist()) - 1) > 1e-9
    mixture = GaussianMixture1D([-1, 0, 4], [1, 1, 1], thirds)
    assert mixture.weights == thirds.astype(float).tolist()
    assert mixture.mean == pytest.approx(1, abs=1e-6)
