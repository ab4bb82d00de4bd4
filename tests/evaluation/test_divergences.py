"""Distances between distributions, held against distributions whose distance is known."""

import itertools
import math
import tracemalloc
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan import cpu
from minigan.evaluation import (
    cross_entropy,
    divergences,
    entropy,
    game_value,
    histogram,
    js,
    kl,
    optimal_discriminator,
    optimal_transport,
    pushforward_density,
    sliced_wasserstein,
    total_variation,
    wasserstein,
    wasserstein1_to_quantiles,
    wasserstein_discrete,
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


def test_boxes():
    """A box of width 2 inside one of width 5, and two boxes of width 4 that share a quarter."""
    cell = 0.01
    x = np.arange(0, 10, cell) + cell / 2
    inner, outer = ((x > 1) & (x < 3)) / 2, (x < 5) / 5
    assert kl(inner, outer, cell=cell) == pytest.approx(math.log(5 / 2), rel=1e-12)
    assert kl(outer, inner, cell=cell) == math.inf
    assert entropy(outer, cell=cell, unit="bits") == pytest.approx(math.log2(5), rel=1e-12)
    assert total_variation(inner, outer, cell=cell) == pytest.approx(3 / 5, rel=1e-12)
    left, right = (x < 4) / 4, ((x > 3) & (x < 7)) / 4
    assert js(left, right, cell=cell) == pytest.approx(3 / 4 * math.log(2), rel=1e-12)
    assert game_value(left, right, cell=cell) == pytest.approx(-math.log(4) / 4, rel=1e-12)


@given(distributions(3))
def test_triangle_inequalities(three):
    """Of total variation, and of the root of JS, which is a distance (Endres, Schindelin 2003)."""
    for d in (total_variation, lambda p, q: math.sqrt(max(js(p, q), 0))):
        p, q, r = three
        assert d(p, r) <= d(p, q) + d(q, r) + 1e-7
        assert d(p, q) == pytest.approx(d(q, p), abs=1e-7)


# --- Histograms ----------------------------------------------------------------------------------


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30))
def test_a_histogram_counts(samples):
    """Cells have their left border, and the last one its right border as well."""
    edges = [-3, -1, 0, 0.5, 3]
    cells = list(itertools.pairwise(edges))
    counts = [sum(a <= s < b or s == b == 3 for s in samples) for a, b in cells]
    found = histogram(samples, edges)
    assert found.tolist() == pytest.approx([count / len(samples) for count in counts])
    column = np.array(samples)[:, None]
    np.testing.assert_array_equal(found, histogram(column, edges))
    open_ended = histogram(np.append(column * 5, -99), [-math.inf, *edges[1:-1], math.inf])
    assert open_ended.sum() == pytest.approx(1)


def test_a_histogram_in_the_plane():
    points = [[0.5, 5], [1.5, 5], [1.5, 15], [1.7, 12], [9, 29]]
    found = histogram(points, [0, 1, 2, 10], [0, 10, 20, 30])
    assert found.tolist() == pytest.approx(np.array([[1, 0, 0], [1, 2, 0], [0, 0, 1]]) / 5)
    assert kl(found, np.full((3, 3), 1 / 9)) == pytest.approx(
        0.4 * math.log(0.4 * 9) + 0.6 * math.log(0.2 * 9)
    )


def test_divergences_of_samples():
    """Many samples of two normal distributions, against the divergences of the cells' masses."""
    random = np.random.default_rng(0)
    inner = np.linspace(-4, 5, 19)
    edges = np.array([-math.inf, *inner, math.inf])
    p, q = (np.diff([0, *cdf(inner, *moments), 1]) for moments in ((0, 1), (1, 1.5)))
    x = histogram(random.normal(0, 1, 100_000), edges)
    y = histogram(random.normal(1, 1.5, 100_000), edges)
    assert js(x, y) == pytest.approx(js(p, q), rel=0.02)
    assert kl(x, y) == pytest.approx(kl(p, q), rel=0.02)
    assert total_variation(x, y) == pytest.approx(total_variation(p, q), rel=0.02)


def test_the_bias_of_a_histogram_s_kl_is_as_said():
    """(k − 1) / 2n on average, for samples of the very distribution; and ∞ for empty cells."""
    random = np.random.default_rng(0)
    k, n = 11, 400
    edges, uniform = np.linspace(0, 1, k + 1), np.full(k, 1 / k)
    values = [kl(histogram(random.random(n), edges), uniform) for _ in range(2000)]
    assert np.mean(values) == pytest.approx((k - 1) / (2 * n), rel=0.05)
    assert kl(uniform, histogram([0.5], edges)) == math.inf


# --- Probabilities in other dtypes ---------------------------------------------------------------


def softmax(logits):
    """In the logits' dtype, its sum one term after the other: off by far more than 10⁻⁶."""
    exponentials = np.exp(logits - logits.max())
    return exponentials / np.cumsum(exponentials, dtype="float32")[-1].astype(logits.dtype)


@pytest.mark.parametrize(("dtype", "n"), [("float32", 50_000), ("float16", 1000)])
def test_probabilities_are_off_by_the_rounding_of_their_dtype(dtype, n):
    """The values are those of the sums written out, of the very numbers that were given."""
    p, q = (softmax(x.astype(dtype)) for x in np.random.default_rng(0).normal(size=(2, n)))
    a, b = p.astype(float).tolist(), q.astype(float).tolist()
    assert abs(math.fsum(a) - 1) > 1e-6
    exact = -math.fsum(x * math.log(x) for x in a)
    assert entropy(p) == pytest.approx(exact, rel=1e-12)
    exact = -math.fsum(x * math.log(y) for x, y in zip(a, b, strict=True))
    assert cross_entropy(p, q) == pytest.approx(exact, rel=1e-12)
    exact = math.fsum(x * math.log(x / y) for x, y in zip(a, b, strict=True))
    assert kl(p, q) == pytest.approx(exact, rel=1e-11)
    halves = [
        math.fsum(x * math.log(2 * x / (x + y)) for x, y in zip(one, other, strict=True))
        for one, other in ((a, b), (b, a))
    ]
    assert js(p, q) == pytest.approx(sum(halves) / 2, rel=1e-11)
    assert game_value(p, q) == pytest.approx(sum(halves) - math.log(4), rel=1e-11)
    exact = math.fsum(abs(x - y) for x, y in zip(a, b, strict=True)) / 2
    assert total_variation(p, q) == pytest.approx(exact, rel=1e-12)
    places = np.arange(n)
    distance = wasserstein(places, places, p=p, q=q)
    up_to_p, up_to_q = (np.cumsum(one) / math.fsum(one) for one in (a, b))
    assert distance == pytest.approx(math.fsum(np.abs(up_to_p - up_to_q)), rel=1e-9)


def test_what_rounding_leaves_over_is_moved_nowhere():
    """Points against themselves, the last of them far away, with weights that float32 rounds."""
    x = np.append(np.arange(199.0), 1e6)
    p = softmax(np.random.default_rng(1).normal(size=200).astype("float32"))
    off = p * np.float32(1 - 5e-6)
    assert abs(off.astype(float).sum() - 1) > 3e-6
    for distance in (wasserstein, wasserstein_discrete):
        assert distance(x, x, p=off, q=p) < 1e-2


def test_weights_of_points_are_off_by_the_rounding_of_their_dtype():
    """Point 0 gives 2/3 − 1/7 of its mass, over a distance of 1."""
    p, q = np.array([2 / 3, 1 / 3], "float16"), np.array([1 / 7, 6 / 7], "float16")
    assert abs(float(q.astype(float).sum()) - 1) > 1e-6
    wanted = pytest.approx(2 / 3 - 1 / 7, abs=1e-3)
    assert optimal_transport([[0.0, 1.0], [1.0, 0.0]], p=p, q=q)[0] == wanted
    assert wasserstein_discrete([0.0, 1.0], [0.0, 1.0], p=p, q=q) == wanted
    assert wasserstein([0.0, 1.0], [0.0, 1.0], p=p, q=q) == wanted


@pytest.mark.parametrize(
    ("dtype", "off", "within"),
    [("float64", 2e-6, "1e-06"), ("float32", 1e-3, "0.00011"), ("float16", 0.02, "0.01")],
)
def test_a_sum_that_is_off_by_more_is_told_with_all_its_digits(dtype, off, within):
    p = np.full(50_000, (1 + off) / 50_000, dtype)
    total = math.fsum(p.astype(float).tolist())
    assert abs(total - 1) > off / 2
    for call in (entropy, lambda p: wasserstein(p, p, p=p), lambda p: kl(p, p)):
        with pytest.raises(ValueError, match=rf"has the sum {total:.12g} .*within {within},"):
            call(p)
    with pytest.raises(ValueError, match="has the sum"):
        entropy(p.astype(float))


# --- What is refused -----------------------------------------------------------------------------


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
        (lambda: histogram([0.5, 3.0], [0, 1, 2]), "1 of 2 samples are in no cell"),
        (lambda: histogram([0.5, math.nan], [0, 1]), "1 of 2 samples are in no cell"),
        (lambda: histogram([0.5, math.nan], [0, math.inf]), "1 of 2 samples are in no cell"),
        (lambda: histogram([], [0, 1]), "0 of 0 samples"),
        (lambda: histogram([0.5], [1, 0]), "monotonic"),
        (lambda: optimal_transport([1.0, 2.0]), r"cost \(2,\): want finite"),
        (lambda: optimal_transport([[1.0, math.nan]]), "want finite numbers"),
        (lambda: optimal_transport(np.zeros((0, 2))), "optimal_transport: p has no points"),
        (lambda: optimal_transport([[1.0, 2.0]], q=[1.0]), "q has 2 points and 1 weights"),
        (lambda: optimal_transport([[1.0, 2.0]], q=[0.5, 0.6]), "sum 1.1"),
        (lambda: optimal_transport([[1.0, 2.0]], q=[1.5, -0.5]), "least value -0.5"),
        (lambda: optimal_transport(np.zeros((500, 501))), "500 × 501 .* at most 250,000 "),
        (lambda: wasserstein_discrete(range(2001), range(2001)), "want at most 4,000,000 "),
        (lambda: wasserstein_discrete(range(9999), range(99)), "9999 × 99 pairs of points"),
        (lambda: wasserstein_discrete([], [1.0]), "wasserstein_discrete: x has no points"),
        (lambda: wasserstein_discrete([[1.0, 2.0]], [1.0]), "x has 2 dimensions, y has 1"),
        (lambda: wasserstein_discrete([1.0], [math.inf]), "y has points with NaN or infinity"),
        (lambda: wasserstein_discrete([1.0], [1.0], order=3), "order 3: wanted 1 or 2"),
        (lambda: wasserstein_discrete([1.0], [1.0], p=[2.0]), "sum 2"),
        (lambda: sliced_wasserstein([1.0], [1.0], cpu.generator(0), order=0), "sliced.*order 0"),
        (lambda: sliced_wasserstein([1.0], [1.0], cpu.generator(0), directions=0), "0 directions"),
        (lambda: sliced_wasserstein([math.nan], [1.0], cpu.generator(0)), "x has points with NaN"),
        (lambda: sliced_wasserstein([[1.0, 2.0]], [1.0], cpu.generator(0)), "2 dimensions"),
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


@given(x=POINTS, y=POINTS)
def test_the_second_order_is_the_larger_one(x, y):
    assert wasserstein(x, y) <= wasserstein(x, y, order=2) + 1e-9


@given(st.floats(-3, 3), st.floats(0.1, 3), st.floats(0.1, 3))
def test_wasserstein_2_of_gaussians_on_the_line(shift, s, t):
    """W₂² = (μ − ν)² + (σ − τ)²; the quantiles leave a little of the tails out."""
    x, y = quantiles(0, s)(LEVELS), quantiles(shift, t)(LEVELS)
    assert wasserstein(x, y, order=2) == pytest.approx(math.hypot(shift, s - t), rel=2e-3)


# --- Transport in any dimension ------------------------------------------------------------------

ORDERS = st.sampled_from([1, 2])


@st.composite
def clouds(draw, count=2):
    """Sets of points in some dimension, on a grid so that there are ties, with weights."""
    d = draw(st.integers(1, 3))
    found = []
    for _ in range(count):
        n = draw(st.integers(1, 5))
        numbers = st.lists(st.integers(-4, 4), min_size=n * d, max_size=n * d)
        weights = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n).filter(any))
        found.append((np.array(draw(numbers)).reshape(n, d), np.array(weights) / sum(weights)))
    return found


@given(
    cost=st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.floats(-5, 5), min_size=n, max_size=n), min_size=n, max_size=n
        )
    )
)
def test_equal_weights_are_an_assignment(cost):
    """The cheapest of all permutations; and weights that are almost equal cost almost the same."""
    n = len(cost)
    orders = itertools.permutations(range(n))
    cheapest = min(sum(cost[i][j] for i, j in enumerate(order)) for order in orders) / n
    found, plan = optimal_transport(cost)
    assert found == pytest.approx(cheapest, abs=1e-12)
    assert sorted(plan.ravel().tolist())[-n:] == [1 / n] * n and np.count_nonzero(plan) == n
    np.testing.assert_allclose([plan.sum(axis=0), plan.sum(axis=1)], 1 / n)
    weights = np.full(n, 1 / n)
    weights[0] += 1e-9
    weights[-1] -= 1e-9
    assert optimal_transport(cost, p=weights)[0] == pytest.approx(cheapest, abs=1e-6)


@given(clouds(), st.integers(0, 10**6))
def test_a_plan_moves_p_to_q_and_no_price_list_asks_more(pair, seed):
    """Its marginals; its cost; and that it is the least, by weak duality and by other plans.

    Kantorovich's dual: for any prices with fᵢ + gⱼ ≤ cᵢⱼ, Σ p f + Σ q g is at most the cost.
    """
    (x, p), (y, q) = pair
    cost = ((x[:, None] - y) ** 2).sum(axis=-1).astype(float)
    value, plan = optimal_transport(cost, p=p, q=q)
    assert plan.shape == cost.shape and (plan >= 0).all()
    np.testing.assert_allclose(plan.sum(axis=1), p, atol=1e-12)
    np.testing.assert_allclose(plan.sum(axis=0), q, atol=1e-12)
    assert value == pytest.approx(sum((plan * cost).ravel().tolist()), abs=1e-12)
    assert value <= p @ cost @ q + 1e-9  # everything mixed
    random = np.random.default_rng(seed)
    for _ in range(20):
        g = random.normal(size=len(y)) * 10
        f = (cost - g).min(axis=1)
        assert p @ f + q @ g <= value + 1e-9


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=5))
def test_weights_are_points_of_equal_weight_put_together(units):
    """Each unit of mass starts at some i and is wanted at some j: the cheapest of all exchanges."""
    cost = np.random.default_rng(len(units)).random((4, 3))
    starts, ends = zip(*units, strict=True)
    n = len(units)
    cheapest = min(
        sum(cost[i, j] for i, j in zip(starts, order, strict=True)) / n
        for order in set(itertools.permutations(ends))
    )
    p, q = np.bincount(starts, minlength=4) / n, np.bincount(ends, minlength=3) / n
    assert optimal_transport(cost, p=p, q=q)[0] == pytest.approx(cheapest, abs=1e-9)


def test_a_transport_that_can_be_done_by_hand():
    """Half of the first moves along to the second; the other half stays, all else is dearer."""
    value, plan = optimal_transport([[0, 1, 9], [1, 0, 2]], p=[0.5, 0.5], q=[0.25, 0.25, 0.5])
    np.testing.assert_allclose(plan, [[0.25, 0.25, 0], [0, 0, 0.5]], atol=1e-12)
    assert value == pytest.approx(1.25)


def test_weights_need_not_add_up_to_the_last_digit():
    """Sums that differ by what every function here lets pass still fit each other."""
    cost = np.random.default_rng(0).random((5, 8))
    exact, _ = optimal_transport(cost)
    for excess in (9e-7, -9e-7):
        value, _ = optimal_transport(cost, p=np.full(5, (1 + excess) / 5))
        assert value == pytest.approx(exact, abs=1e-5)


def test_a_problem_that_is_too_large_is_refused_before_it_takes_memory():
    """The distances of 3,000 points to 3,001 would be 72 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="3000 × 3001"):
            wasserstein_discrete(range(3000), range(3001))
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@given(st.sampled_from([1e-9, 1e-3, 1e6, 1e12]))
def test_the_unit_of_cost_does_not_matter(unit):
    cost = np.random.default_rng(0).random((6, 9))
    value, plan = optimal_transport(cost)
    scaled, same = optimal_transport(cost * unit)
    assert scaled == pytest.approx(value * unit, rel=1e-12)
    np.testing.assert_allclose(plan, same, atol=1e-12)


@given(x=POINTS, y=POINTS, order=ORDERS, seed=st.integers(0, 1000))
def test_on_the_line_it_is_the_exact_distance(x, y, order, seed):
    random = np.random.default_rng(seed)
    p, q = random.dirichlet(np.ones(len(x))), random.dirichlet(np.ones(len(y)))
    for weights in ({}, {"p": p, "q": q}, {"q": q}):
        assert wasserstein_discrete(x, y, order=order, **weights) == pytest.approx(
            wasserstein(x, y, order=order, **weights), abs=1e-6
        )


@given(clouds(3), ORDERS)
def test_wasserstein_discrete_is_a_distance(three, order):
    def w(a, b, order=order):
        return wasserstein_discrete(a[0], b[0], p=a[1], q=b[1], order=order)

    a, b, c = three
    assert w(a, a) == pytest.approx(0, abs=1e-6)
    assert w(a, b) == pytest.approx(w(b, a), abs=1e-7)
    assert w(a, c) <= w(a, b) + w(b, c) + 1e-6
    assert w(a, b, order=1) <= w(a, b, order=2) + 1e-6
    moved = (a[0] + np.arange(3)[: a[0].shape[1]], a[1])
    assert w(a, moved) == pytest.approx(math.sqrt((np.arange(a[0].shape[1]) ** 2).sum()), abs=1e-6)


def test_wasserstein_discrete_in_the_plane():
    """A square's corners to its centre: half a diagonal each. And 3-4-5."""
    corners = [[0, 0], [0, 2], [2, 0], [2, 2]]
    assert wasserstein_discrete(corners, [[1, 1]]) == pytest.approx(math.sqrt(2))
    assert wasserstein_discrete(corners, [[1, 1]], order=2) == pytest.approx(math.sqrt(2))
    assert wasserstein_discrete([[0, 0]], [[3, 4], [0, 0]], q=[0.2, 0.8]) == pytest.approx(1)
    far = wasserstein_discrete([[0, 0]], [[3, 4], [0, 0]], q=[0.2, 0.8], order=2)
    assert far == pytest.approx(math.sqrt(5))


def test_the_least_plan_of_an_affine_map():
    """The gradient of a convex function moves mass at the least W₂ (Brenier): x ↦ A x, A > 0."""
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 3))
    y = x @ np.diag([2.0, 0.5, 1.0])
    expected = math.sqrt(((x - y) ** 2).sum(axis=1).mean())
    assert wasserstein_discrete(x, random.permutation(y), order=2) == pytest.approx(expected)


# --- Slices --------------------------------------------------------------------------------------


@given(x=POINTS, y=POINTS, order=ORDERS)
def test_on_the_line_every_slice_is_the_exact_distance(x, y, order):
    sliced = sliced_wasserstein(x, y, cpu.generator(0), directions=3, order=order)
    assert sliced == pytest.approx(wasserstein(x, y, order=order), abs=1e-9)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_slices_of_a_translation(d):
    """Of a shift t: E|t·θ| = ‖t‖ Γ(d/2) / √π Γ((d + 1)/2), and √E(t·θ)² = ‖t‖ / √d."""
    x = np.random.default_rng(0).standard_normal((15, d))
    shift = np.arange(1.0, d + 1)
    length = math.sqrt((shift**2).sum())
    mean = math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    for order, share in ((1, mean), (2, 1 / math.sqrt(d))):
        found = sliced_wasserstein(x + shift, x, cpu.generator(1), directions=2000, order=order)
        assert found == pytest.approx(length * share, rel=0.05)
        assert type(found) is float


@given(clouds(), ORDERS, st.integers(0, 100))
def test_no_slice_is_longer_than_the_whole(pair, order, seed):
    """A projection brings points closer; and order 1 is at most order 2, slice by slice."""
    (x, _), (y, _) = pair
    sliced = sliced_wasserstein(x, y, cpu.generator(seed), directions=5, order=order)
    assert sliced <= wasserstein_discrete(x, y, order=order) + 1e-6
    assert sliced_wasserstein(x, x, cpu.generator(seed), order=order) == pytest.approx(0, abs=1e-9)


def test_slices_are_drawn_from_the_generator_on_any_device(cuda):
    x, y = np.random.default_rng(0).standard_normal((2, 8, 3)).astype(np.float32)
    same = [sliced_wasserstein(x, y, cuda.generator(5), directions=10) for _ in range(2)]
    assert same[0] == same[1] != sliced_wasserstein(x, y, cuda.generator(6), directions=10)
    many = sliced_wasserstein(x, y, cuda.generator(5), directions=3000)
    assert many == pytest.approx(
        sliced_wasserstein(x, y, cpu.generator(5), directions=3000), rel=0.05
    )


def test_a_problem_that_the_solver_gives_up_is_an_error(monkeypatch):
    from scipy import optimize

    failed = optimize.OptimizeResult(success=False, message="time limit")
    monkeypatch.setattr(optimize, "linprog", lambda *args, **options: failed)
    with pytest.raises(RuntimeError, match="linprog failed: time limit"):
        divergences.optimal_transport([[1.0, 2.0]])
