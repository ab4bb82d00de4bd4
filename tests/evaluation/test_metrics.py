"""Every measure against plain loops, closed forms and SciPy; whatever the size of the blocks."""

import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from minigan.data import Grid, Ring
from minigan.engine import Tensor, tensor
from minigan.evaluation import (
    class_shares,
    confidence_interval,
    diversity,
    frechet_distance,
    mmd,
    modes,
    nearest,
    pairs,
    parzen_log_likelihood,
    parzen_sigma,
    precision_recall,
    rank_correlation,
    spread,
    standard_error,
)


def random(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(params=[1, 7, 60, None], ids=lambda size: f"BLOCK={size or 'default'}")
def block(request, monkeypatch):
    """Blocks of one pair, of a few, of some points, and of everything in these tests."""
    if request.param:
        monkeypatch.setattr(pairs, "BLOCK", request.param)


def distance(a, b):
    return math.dist(np.ravel(a), np.ravel(b))


# --- Neighbours, and the distances under everything ----------------------------------------------


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("k", [1, 4, 23])
@pytest.mark.parametrize("d", [1, 3, 20])
def test_nearest_against_a_k_d_tree(k, d):
    queries, points = random().standard_normal((17, d)), random(1).standard_normal((23, d))
    distances, indices = nearest(queries, points, k=k)
    expected, expected_indices = cKDTree(points).query(queries, k=range(1, k + 1))
    np.testing.assert_allclose(distances, expected, rtol=1e-13)
    np.testing.assert_array_equal(indices, expected_indices)
    assert distances.dtype == np.float64 and indices.dtype == np.int64


@pytest.mark.usefixtures("block")
@given(
    queries=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=8),
    points=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=8),
    data=st.data(),
)
def test_nearest_with_ties(queries, points, data):
    """Of equally far points any may come, but each only once, and at its true distance."""
    k = data.draw(st.integers(1, len(points)))
    distances, indices = nearest(queries, points, k=k)
    for query, row, found in zip(queries, distances, indices, strict=True):
        everything = sorted(distance(query, point) for point in points)
        assert row.tolist() == pytest.approx(everything[:k], rel=1e-14, abs=0)
        assert row.tolist() == pytest.approx([distance(query, points[i]) for i in found], rel=1e-14)
        assert len(set(found.tolist())) == k


def test_nearest_finds_a_copy_at_distance_0_however_far_from_the_origin():
    images = random().random((200, 6, 5, 2)).astype(np.float32) + 1000
    chosen = random(1).permutation(200)[:50]
    distances, indices = nearest(images[chosen], images)
    assert (distances == 0).all()
    assert indices[:, 0].tolist() == chosen.tolist()


def test_digits_that_all_points_share_are_not_lost():
    """Without taking the mean off first, 10⁸² would swallow these distances."""
    queries, points = random().standard_normal((9, 2)), random(1).standard_normal((30, 2))
    far = np.array([1e8, -1e8])
    near, near_indices = nearest(queries, points, k=3)
    distances, indices = nearest(queries + far, points + far, k=3)
    np.testing.assert_array_equal(indices, near_indices)
    np.testing.assert_allclose(distances, near, atol=1e-7)
    likelihood = parzen_log_likelihood(queries + far, points + far, 0.5)
    np.testing.assert_allclose(
        likelihood, parzen_log_likelihood(queries, points, 0.5), rtol=1e-6, atol=1e-6
    )


@pytest.mark.usefixtures("block")
@given(
    seed=st.integers(0, 10**6),
    d=st.integers(1, 40),
    offset=st.sampled_from([0.0, 1.0, 1e4]),
    slack=st.sampled_from([0.0, 0.01]),
)
def test_the_error_of_a_squared_distance_is_as_small_as_said(seed, d, offset, slack):
    """Against sums of exactly rounded squares, for points near and far from the mean."""
    spread = 10.0 ** random(seed).uniform(-6, 2, (11, 1))
    a = random(seed).standard_normal((11, d)) * spread + offset
    b = random(seed + 1).standard_normal((5, d)) + offset
    b[0] = a[0]
    centre = b.mean(axis=0)
    seen = np.zeros((11, 5), int)
    for rows, columns, squared in pairs.squared_distances(a, b, slack=slack):
        seen[rows, columns] += 1
        for i, row in zip(range(11)[rows], squared, strict=True):
            for j, value in zip(range(5)[columns], row, strict=True):
                exact = math.fsum((u - v) ** 2 for u, v in zip(a[i], b[j], strict=True))
                norms = sum(((x - centre) ** 2).sum() for x in (a[i], b[j]))
                # (u − v)² is rounded too: by next to nothing, as the offset cancels exactly.
                bound = pairs.rounding(d) * norms + 4e-16 * exact
                assert abs(value - max(exact - slack * norms, 0)) <= bound
    assert (seen == 1).all()


def test_dtypes_and_shapes_do_not_matter():
    """Bytes, booleans, float32 images and lists are the same points."""
    a, b = random().integers(0, 2, (7, 3, 2)), random(1).integers(0, 2, (9, 3, 2))
    expected = nearest(a.reshape(7, 6).astype(float), b.reshape(9, 6).astype(float), k=2)[0]
    for dtype in ("uint8", "bool", "int8", "float16", "float32"):
        np.testing.assert_allclose(nearest(a.astype(dtype), b.astype(dtype), k=2)[0], expected)
    np.testing.assert_allclose(nearest(a.tolist(), b.tolist(), k=2)[0], expected)
    numbers = nearest([1.0, 5.0, 2.0], [0.0, 4.0])
    assert [x.ravel().tolist() for x in numbers] == [[1, 1, 2], [0, 1, 0]]


# --- Memory --------------------------------------------------------------------------------------

EVERY_PAIR = {
    "nearest": lambda x, y: nearest(x, y, k=3),
    "parzen": lambda x, y: parzen_log_likelihood(x, y, 0.2),
    "parzen_sigma": lambda x, y: parzen_sigma(x, y, [0.1, 0.2]),
    "mmd": lambda x, y: mmd(x, y, bandwidths=[0.5]),
    "precision_recall": precision_recall,
    "modes": lambda x, y: modes(x, y, 0.1),
}


def peak(function, *args):
    """The most memory that was allocated at a time, in bytes."""
    tracemalloc.start()
    try:
        function(*args)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", EVERY_PAIR)
def test_memory_is_bounded_in_the_number_of_points(name):
    """All distances of 8,000 points to 8,000 would be 512 MB, whether they are near 64 MB."""
    x, y = random().standard_normal((8000, 2)), random(1).standard_normal((8000, 2))
    assert peak(EVERY_PAIR[name], x, y) < 48e6


def test_memory_is_bounded_in_the_size_of_the_points():
    """float32 images stay float32: 12,000 of 3,072 numbers would be 295 MB in float64."""
    images = np.zeros((12_000, 32, 32, 3), np.float32)
    images[:, 0, 0, 0] = np.arange(12_000)
    for function in (lambda x, y: nearest(x, y, k=2), lambda x, y: parzen_log_likelihood(x, y, 1)):
        assert peak(function, images[:20], images) < 48e6
        assert peak(function, images, images[:20]) < 48e6
    few = images.reshape(-1, 64)
    assert peak(frechet_distance, few, few) < 48e6


# --- Modes that are known ------------------------------------------------------------------------


@pytest.mark.usefixtures("block")
@given(seed=st.integers(0, 10**6), radius=st.sampled_from([1.0, 3.0, 20.0]))
def test_modes_against_a_loop(seed, radius):
    centres = Grid(2, spacing=1.0).centres
    n = random(seed).integers(1, 60)
    samples = random(seed).uniform(-1, 1, (n, 2)) * random(seed).uniform(0, 2)
    good, near = [0] * 4, [0] * 4
    for sample in samples:
        distances = [distance(sample, centre) for centre in centres]
        closest = distances.index(min(distances))
        near[closest] += 1
        good[closest] += min(distances) <= radius * 0.05
    found = modes(samples, centres, 0.05, radius=radius)
    assert found.counts.tolist() == good
    assert found.recovered == sum(count > 0 for count in good)
    assert found.strict == sum(count >= 0.1 * n / 4 for count in good)
    assert found.high_quality == pytest.approx(sum(good) / n)
    divergence = sum(c / n * math.log(c / n * 4) for c in near if c)
    assert found.kl == pytest.approx(divergence, abs=1e-12)


def test_modes_of_the_data_themselves():
    """Within 3σ in two dimensions lie 1 − e^(−9/2) of the samples."""
    for data in (Ring(), Grid()):
        k = len(data.centres)
        samples = data.centres.repeat(400, axis=0)
        samples = samples + data.std * random().standard_normal(samples.shape)
        found = modes(samples.astype(np.float32), data.centres, data.std)
        assert found.recovered == found.strict == k
        assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.005)
        assert found.kl == pytest.approx(0, abs=1e-12)
        assert found.counts.sum() == round(found.high_quality * len(samples))


def test_modes_of_a_collapsed_generator():
    data = Ring()
    found = modes(np.tile(data.centres[5], (100, 1)), data.centres, data.std)
    assert found[:3] == (1, 1, 1.0)
    assert found.kl == pytest.approx(math.log(8))
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 100, 0, 0]


def test_a_tenth_of_the_fair_share_is_the_border():
    """Of 400 samples and 4 modes the fair share is 100: 10 are enough, 9 are not."""
    centres = np.array([[0.0], [10.0], [20.0], [30.0]])
    samples = np.repeat([0.0, 10, 20, 30, 35], [10, 9, 1, 380 - 50, 50])[:, None]
    found = modes(samples, centres, 0.1)
    assert (found.recovered, found.strict, found.high_quality) == (4, 2, 0.875)
    assert found.counts.tolist() == [10, 9, 1, 330]


def test_far_samples_count_for_the_kl_alone():
    """Half of the samples are nowhere, though nearer to the second mode."""
    found = modes([[0.0], [0.0], [9.0], [9.0]], [[0.0], [4.0]], 0.1)
    assert (found.recovered, found.high_quality, found.kl) == (1, 0.5, 0.0)
    assert found.counts.tolist() == [2, 0]


# --- Parzen windows ------------------------------------------------------------------------------


def parzen_loop(points, samples, sigma):
    """ln of a mean of densities; with one factor e^c taken out of each, or all would be 0."""
    result = []
    for point in points:
        exponents = [-(distance(point, s) ** 2) / (2 * sigma**2) for s in samples]
        most = max(exponents)
        mean = math.fsum(math.exp(e - most) for e in exponents) / len(samples)
        volume = len(np.ravel(point)) * math.log(sigma * math.sqrt(2 * math.pi))
        result.append(math.log(mean) + most - volume)
    return result


@pytest.mark.usefixtures("block")
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    d=st.integers(1, 30),
    sigma=st.floats(0.01, 10),
)
def test_parzen_against_a_loop(seed, n, d, sigma):
    points, samples = random(seed).random((4, d)), random(seed + 1).random((n, d))
    found = parzen_log_likelihood(points, samples, sigma)
    assert found.shape == (4,) and found.dtype == np.float64
    assert found.tolist() == pytest.approx(parzen_loop(points, samples, sigma), rel=1e-9, abs=1e-9)


def test_parzen_of_one_sample_is_a_gaussian():
    expected = scipy.stats.multivariate_normal([1.0, 2.0, 3.0], 0.3**2).logpdf([[0, 2, 3], [9] * 3])
    found = parzen_log_likelihood([[0, 2, 3], [9, 9, 9]], [[1, 2, 3]], 0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_parzen_of_a_normal_distribution():
    """Windows widen it: samples of N(0, 1) and σ = 0.5 make the density of N(0, 1.25)."""
    samples = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    x = np.linspace(-3, 3, 13)
    expected = scipy.stats.norm(0, math.sqrt(1.25)).logpdf(x)
    np.testing.assert_allclose(parzen_log_likelihood(x, samples, 0.5), expected, atol=1e-3)


@pytest.mark.usefixtures("block")
def test_parzen_sigma_is_the_best_of_the_grid():
    points, samples = random().random((20, 3)), random(1).random((50, 3))
    grid = [0.1 * 10 ** (i / 9) for i in range(10)]
    means = [sum(parzen_loop(points, samples, sigma)) for sigma in grid]
    best = max(zip(means, grid, strict=True))[1]
    assert grid[0] < best < grid[-1]
    found = parzen_sigma(points, samples)
    assert found == pytest.approx(best, rel=1e-12) and type(found) is float
    assert parzen_sigma(points, samples, [5, 0.3, 7]) == 0.3


def test_parzen_sigma_of_points_among_the_samples_is_the_least():
    samples = random().standard_normal((30, 6))
    assert parzen_sigma(samples, samples, [0.01, 0.1, 1.0]) == 0.01


# --- How varied samples are ----------------------------------------------------------------------


def test_spread_is_the_distance_of_pairs():
    """√ of half the mean squared distance over all ordered pairs, each with itself included."""
    x = np.random.default_rng(1).standard_normal((20, 3, 3, 1)).astype("float32")
    squared = 2 * (pdist(x.reshape(20, -1)) ** 2).sum() / 20**2
    assert spread(tensor(x)).item() == pytest.approx(np.sqrt(squared / 2), rel=1e-5)
    assert not spread(tensor(x, requires_grad=True)).requires_grad


def test_diversity_is_a_share_of_the_datas_and_stays_on_the_device(cuda):
    real = random(2).standard_normal((50, 4, 4, 1)).astype("float32")
    wide, alike = (Tensor(cuda.asarray(factor * real + 5)) for factor in (2, 0))
    real = Tensor(cuda.asarray(real))
    assert isinstance(diversity(wide, real).data, cuda.xp.ndarray)
    assert diversity(wide, real).item() == pytest.approx(2, rel=1e-5)
    assert diversity(alike, real).item() == 0


def test_class_shares_count_the_classes_that_nobody_has():
    assert class_shares([2, 0, 2, 2], 4).tolist() == [0.25, 0, 0.75, 0]


# --- MMD -----------------------------------------------------------------------------------------


def mmd_loop(x, y, bandwidths):
    def k(a, b):
        terms = [math.exp(-(distance(a, b) ** 2) / (2 * s * s)) for s in bandwidths]
        return sum(terms) / len(terms)

    def within(z):
        pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(k(z[i], z[j]) for i, j in pairs) / len(pairs)

    between = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between


@pytest.mark.usefixtures("block")
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 8),
    m=st.integers(2, 8),
    d=st.integers(1, 5),
    bandwidths=st.lists(st.floats(0.1, 10), min_size=1, max_size=3),
)
def test_mmd_against_a_loop(seed, n, m, d, bandwidths):
    x, y = random(seed).standard_normal((n, d)), random(seed + 1).standard_normal((m, d))
    found = mmd(x, y, bandwidths=bandwidths)
    assert type(found) is float
    assert found == pytest.approx(mmd_loop(x, y, bandwidths), abs=1e-12)
    assert found == pytest.approx(mmd(y, x, bandwidths=bandwidths), abs=1e-12)


def test_mmd_of_two_gaussians():
    """∫∫ k p q is a Gaussian integral: s / √(s² + 2) · exp(−(μ − ν)² / 2(s² + 2)) in 1-D."""
    x, y = random().standard_normal(5000), random(1).standard_normal(5000) + 1.5
    s = 0.8
    same = s / math.sqrt(s * s + 2)
    expected = 2 * same * (1 - math.exp(-(1.5**2) / (2 * (s * s + 2))))
    assert mmd(x, y, bandwidths=s) == pytest.approx(expected, rel=0.05)


def test_mmd_is_unbiased():
    """The mean over many small samples of one distribution is 0, and some are negative."""
    values = [
        mmd(random(seed).standard_normal((5, 2)), random(seed + 5000).standard_normal((7, 2)))
        for seed in range(1000)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert min(values) < -0.05


def test_the_default_bandwidths_surround_the_median_distance():
    x, y = random().standard_normal((30, 3)), random(1).standard_normal((40, 3)) + 1
    pooled = [*x, *y]
    pairs = [distance(a, b) for i, a in enumerate(pooled) for b in pooled[:i]]
    bandwidths = np.median(pairs) * np.array([0.25, 0.5, 1, 2, 4])
    assert mmd(x, y) == pytest.approx(mmd_loop(x, y, bandwidths), abs=1e-12)
    many = random().standard_normal(1001)
    assert mmd(many, many[:700]) == mmd(many, many[:700])


# --- Fréchet distance ----------------------------------------------------------------------------


def with_moments(mean, covariance, n=200, seed=0):
    """Samples with exactly this mean and this unbiased covariance."""
    x = random(seed).standard_normal((n, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / (n - 1))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def covariance_of(d, seed):
    factor = random(seed).standard_normal((d, d))
    return factor @ factor.T + 0.1 * np.eye(d)


@pytest.mark.usefixtures("block")
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_frechet_distance_against_scipy(seed, d):
    mean, other = random(seed).standard_normal((2, d))
    sigma, tau = covariance_of(d, seed), covariance_of(d, seed + 1)
    expected = ((mean - other) ** 2).sum() + np.trace(
        sigma + tau - 2 * scipy.linalg.sqrtm(sigma @ tau).real
    )
    x, y = with_moments(mean, sigma, seed=seed), with_moments(other, tau, n=100, seed=seed + 1)
    found = frechet_distance(x, y)
    assert type(found) is float
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)
    assert found == pytest.approx(frechet_distance(y, x), rel=1e-8, abs=1e-8)
    rotation = np.linalg.qr(random(seed).standard_normal((d, d)))[0]
    assert found == pytest.approx(frechet_distance(x @ rotation, y @ rotation), rel=1e-8, abs=1e-8)


@pytest.mark.usefixtures("block")
def test_frechet_distance_where_the_covariances_commute():
    """‖μ − ν‖² + Σ (σᵢ − τᵢ)²."""
    sigma, tau = np.array([2.0, 0.5, 1.0]), np.array([1.0, 3.0, 1.0])
    x = with_moments(np.array([1.0, 0, 0]), np.diag(sigma**2))
    y = with_moments(np.array([0.0, 0, 2]), np.diag(tau**2), seed=1)
    assert frechet_distance(x, y) == pytest.approx(5 + 1 + 2.5**2, rel=1e-10)


def test_frechet_distance_of_degenerate_sets():
    """Points on a line, constants, fewer points than dimensions: no complex number, no NaN."""
    line = np.outer([1.0, 2.0, 4.0], [3.0, 4.0])
    assert frechet_distance(line, line) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(line, line + np.array([1.0, 0])) == pytest.approx(1, abs=1e-12)
    variance = 25 * np.var([1, 2, 4], ddof=1)
    constant = np.tile(line.mean(axis=0), (4, 1))
    assert frechet_distance(line, constant) == pytest.approx(variance, rel=1e-12)
    across = line @ np.array([[0.0, 1], [-1, 0]])
    shift = ((line.mean(axis=0) - across.mean(axis=0)) ** 2).sum()
    assert frechet_distance(line, across) == pytest.approx(shift + 2 * variance, rel=1e-6)
    few = random().standard_normal((5, 40))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-10)


def test_frechet_distance_keeps_its_digits_far_from_the_origin():
    x, y = with_moments(np.zeros(2), np.eye(2)), with_moments(np.ones(2), 4 * np.eye(2), seed=1)
    assert frechet_distance(x + 1e6, y + 1e6) == pytest.approx(4, rel=1e-6)


def test_frechet_distance_of_few_samples_is_too_large():
    """As the docstring says: two halves of one distribution are not at distance 0."""
    floor = [
        frechet_distance(*np.split(random(n).standard_normal((2 * n, 20)), 2))
        for n in (30, 300, 3000)
    ]
    assert floor[0] > 5 * floor[1] > 25 * floor[2] > 0


# --- Precision and recall ------------------------------------------------------------------------


def inside_loop(points, centres, k):
    """The share of points within some centre's distance to its k-th neighbour."""
    radii = []
    for i, centre in enumerate(centres):
        others = [distance(centre, other) for j, other in enumerate(centres) if j != i]
        radii.append(sorted(others)[k - 1])
    pairs = list(zip(centres, radii, strict=True))
    hits = [any(distance(p, c) <= r * (1 + 1e-12) for c, r in pairs) for p in points]
    return sum(hits) / len(hits)


@pytest.mark.usefixtures("block")
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 12),
    m=st.integers(2, 12),
    d=st.integers(1, 3),
    whole=st.booleans(),
    data=st.data(),
)
def test_precision_recall_against_a_loop(seed, n, m, d, whole, data):
    """On a grid of whole numbers, distances often equal the radii, and points coincide."""
    k = data.draw(st.integers(1, min(n, m) - 1))
    real = random(seed).uniform(-2, 2, (n, d))
    fake = random(seed + 1).uniform(-2, 2, (m, d)) * 1.5
    if whole:
        real, fake = real.round(), fake.round()
    found = precision_recall(real, fake, k=k)
    assert found.precision == pytest.approx(inside_loop(fake, real, k))
    assert found.recall == pytest.approx(inside_loop(real, fake, k))


@pytest.mark.usefixtures("block")
def test_precision_recall_of_simple_sets():
    x = random().standard_normal((40, 3))
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(x, x[::-1]) == (1, 1)
    assert precision_recall(x, x + 100) == (0, 0)
    assert precision_recall(np.repeat(x[:5], 8, axis=0), np.repeat(x[:5], 4, axis=0)) == (1, 1)


def test_a_dropped_mode_costs_recall_and_invented_samples_precision():
    left, right = random().standard_normal((50, 2)), random(1).standard_normal((50, 2)) + 50
    real = np.concatenate([left, right])
    dropped = precision_recall(real, left)
    assert dropped == (1, 0.5)
    assert precision_recall(left, real) == (0.5, 1)


def test_an_outlier_does_not_blur_the_other_distances():
    """One sample at 10⁹, as of a generator that explodes, must not make all distances alike."""
    real = np.arange(20.0)[:, None]
    fake = np.append(np.arange(20.0) + 100, 1e9)[:, None]
    assert precision_recall(real, fake, k=1) == (0, 0)
    assert precision_recall(real, np.append(real, [[1e9]], axis=0), k=1).precision == 20 / 21


# --- How sure a number is ------------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_confidence_interval_against_scipy(values, level):
    mean, half = confidence_interval(values, level)
    assert type(mean) is float and type(half) is float
    assert mean == pytest.approx(sum(values) / len(values), abs=1e-9)
    error = scipy.stats.sem(values)
    assert standard_error(values) == pytest.approx(error, abs=1e-9)
    if error > 1e-9:
        low, high = scipy.stats.t.interval(level, len(values) - 1, loc=mean, scale=error)
        assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_the_default_level_is_95_percent():
    """For five seeds and s = 1: t = 2.776, from any table, over √5."""
    values = np.array([-1.0, -1.0, 0.0, 1.0, 1.0])
    assert confidence_interval(values + 3) == (
        pytest.approx(3),
        pytest.approx(2.7764451 / math.sqrt(5), rel=1e-7),
    )


# --- What is refused -----------------------------------------------------------------------------

X = [[0.0, 1.0], [2.0, 3.0], [5.0, 5.0]]
BAD = [[0.0, 1.0], [math.nan, 3.0], [1.0, 1.0]]
TAKE_TWO_SETS = {
    "modes": lambda x, y: modes(x, y, 1.0),
    "nearest": nearest,
    "parzen_log_likelihood": lambda x, y: parzen_log_likelihood(x, y, 1.0),
    "parzen_sigma": parzen_sigma,
    "mmd": mmd,
    "frechet_distance": frechet_distance,
    "precision_recall": lambda x, y: precision_recall(x, y, k=1),
}


@pytest.mark.parametrize("name", TAKE_TWO_SETS)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        (BAD, "go from nan to nan: wanted finite numbers"),
        ([[0.0, 1.0], [math.inf, 3.0]], "from 0.0 to inf"),
        (np.array([[0, 1], [-np.inf, 3]], "float32"), "from -inf to 3.0"),
        ([[0.0, 1e200], [1.0, 2.0]], r"to 1e\+200: wanted finite numbers below 1e\+100"),
        (np.zeros((0, 2)), r"of shape \(0, 2\): wanted \(n, …\)"),
        (np.zeros((3, 0)), r"of shape \(3, 0\)"),
        (1.0, r"of shape \(\)"),
        (np.zeros((3, 2, 2)), "4 numbers.* 2.*: wanted equally many|2 numbers.* 4"),
    ],
)
def test_sets_that_no_measure_can_take(name, x, says):
    for sets in ((x, X), (X, x)):
        with pytest.raises(ValueError, match=says) as error:
            TAKE_TWO_SETS[name](*sets)
        assert str(error.value).startswith(name)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: modes(X, X, 0.0), "modes: std is 0.0: wanted a finite number > 0"),
        (lambda: modes(X, X, 1.0, radius=-3), "modes: radius is -3"),
        (lambda: nearest(X, X, k=0), "nearest: k is 0: wanted a whole number from 1 to 3"),
        (lambda: nearest(X, X, k=4), "nearest: k is 4: wanted a whole number from 1 to 3"),
        (lambda: nearest(X, X, k=1.5), "k is 1.5"),
        (lambda: parzen_log_likelihood(X, X, 0), "sigma is 0.0"),
        (lambda: parzen_log_likelihood(X, X, math.nan), "sigma is nan"),
        (lambda: parzen_sigma(X, X, [0.1, -1]), "parzen_sigma: sigma is -1"),
        (lambda: parzen_sigma(X, X, []), "no sigmas"),
        (lambda: mmd(X, X[:1]), r"mmd: y of shape \(1, 2\): wanted \(n, …\) with n ≥ 2"),
        (lambda: mmd(X, X, bandwidths=[1.0, 0.0]), "mmd: bandwidth is 0"),
        (lambda: mmd(X, X, bandwidths=[]), "no bandwidths"),
        (lambda: mmd(np.ones((9, 2)), np.ones((9, 2))), "coincide: give bandwidths"),
        (lambda: frechet_distance(X[:1], X), "n ≥ 2"),
        (lambda: precision_recall(X, X, k=3), "k is 3: wanted a whole number from 1 to 2"),
        (lambda: precision_recall(X, X[:2], k=2), "from 1 to 1"),
        (lambda: precision_recall(X[:1], X, k=1), "real of shape"),
        (lambda: rank_correlation([1.0], [2.0]), "1 values: wanted at least 2"),
        (lambda: rank_correlation([1.0, 2.0], [1.0, 2.0, 3.0]), "2 and 3 values: wanted as many"),
        (lambda: standard_error([1.0]), "1 values: wanted at least 2"),
        (lambda: standard_error([1.0, math.nan]), "standard_error: NaN or infinity"),
        (lambda: confidence_interval([3.0]), "confidence_interval: 1 values"),
        (lambda: confidence_interval([3.0, math.inf]), "NaN or infinity"),
        (lambda: confidence_interval([3.0, 4.0], level=95), "level 95: wanted"),
    ],
)
def test_arguments_that_make_no_sense(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_importing_the_metrics_does_not_import_scipy():
    program = "import sys, minigan.evaluation; print('scipy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=9))
def test_the_rank_correlation_is_scipys(pairs):
    """With ties, of which there are many here; of one value alone there is no order: 0."""
    x, y = np.array(pairs, float).T
    if np.ptp(x) and np.ptp(y):
        expected = scipy.stats.spearmanr(x, y).statistic
        assert rank_correlation(x, y) == pytest.approx(expected, abs=1e-12)
    else:
        assert rank_correlation(x, y) == 0
