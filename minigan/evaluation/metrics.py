"""How good the samples are: measures of a generator's samples, against the data or other samples.

A GAN's losses don't tell, and no one number does: a measure that only asks whether samples look
real is content with one good sample, repeated. So some of these ask for quality, some for
coverage, some for both, and each docstring says what the measure doesn't see.

Everything is computed on the host in float64. Samples are arrays (n, …), taken as (n, d): n points
with d numbers each. Most measures look at all pairs of points, block by block, so that memory
stays below some 64 MB beside the arguments and the result, however many points there are.
ValueError for sets without points, for sets whose points don't have equally many numbers, and for
NaN or infinity among them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minigan.evaluation.divergences import kl

# SciPy is imported where it is used: it takes longer to load than all of minigan.

BLOCK = 1 << 20  # how many numbers the largest temporary arrays have: 8 MB each
LARGEST = 1e100  # larger numbers would overflow when they are squared and summed


# --- Modes that are known ------------------------------------------------------------------------


class Modes(NamedTuple):
    """What `modes` finds; `counts`, int64 (k,), are the high-quality samples of each mode."""

    recovered: int
    strict: int
    high_quality: float
    kl: float
    counts: np.ndarray


def modes(samples, centres, std, *, radius=3.0) -> Modes:
    """Which of the k equally likely Gaussians at `centres` the samples have found.

    recovered     modes with at least one high-quality sample, one within radius · std of its
                  nearest centre (Srivastava et al. 2017, VEEGAN)
    strict        modes with at least a tenth of their fair share, n / k, of high-quality samples
    high_quality  the share of such samples, in [0, 1]
    kl            KL(share of samples nearest to each mode ‖ uniform), in nats, from 0 to ln k;
                  here all samples count, good or not (Lin et al. 2018, PacGAN)

    At least one good sample is a lenient demand: 2,500 samples strewn at random hit most modes by
    chance. Hence `strict`.

    samples: (n, d); centres: (k, d); std: of each mode, the same in all directions. ValueError
    unless std and radius are > 0.
    """
    samples, centres = _pair("modes", samples=samples, centres=centres)
    reach = _positive("modes: std", std) * _positive("modes: radius", radius)
    distances, indices = (column[:, 0] for column in nearest(samples, centres))
    n, k = len(samples), len(centres)
    counts = np.bincount(indices[distances <= reach], minlength=k)
    shares = np.bincount(indices, minlength=k) / n
    return Modes(
        recovered=int((counts > 0).sum()),
        strict=int((10 * k * counts >= n).sum()),
        high_quality=float(counts.sum() / n),
        kl=kl(shares, np.full(k, 1 / k)),
        counts=counts,
    )


# --- Likelihood ----------------------------------------------------------------------------------

SIGMAS = np.logspace(-1, 0, 10)  # from 0.1 to 1


def parzen_log_likelihood(points, samples, sigma) -> np.ndarray:
    """ln of the density that Gaussian windows around the samples give to each point; (n,), nats.

        ln p(x) = ln 1/m Σⱼ N(x; sⱼ, σ² I)

    The measure of Goodfellow et al. 2014, table 1, as in their released code: 10,000 samples, σ
    from `parzen_sigma` on validation points, the mean over the test set ± its `standard_error`;
    pixels in [0, 1]. Theis et al. 2016 discredit it: in many dimensions it is far from the model's
    likelihood for any number of samples, and the centres of k-means score higher than real data.

    points: (n, d); samples: (m, d); sigma: the windows' standard deviation, > 0, in their units.
    """
    points, samples = _pair("parzen_log_likelihood", points=points, samples=samples)
    return _parzen(points, samples, [_positive("parzen_log_likelihood: sigma", sigma)])[0]


def parzen_sigma(points, samples, sigmas=SIGMAS) -> float:
    """The one of `sigmas` that gives validation points the highest mean Parzen log-likelihood.

    The default is the grid of Goodfellow et al. 2014's released code, for pixels in [0, 1]. If the
    first or the last of the grid comes out, the best lies beyond: move the grid. The points must
    not be among the samples, or the narrowest window wins.
    """
    points, samples = _pair("parzen_sigma", points=points, samples=samples)
    sigmas = [_positive("parzen_sigma: sigma", sigma) for sigma in np.ravel(sigmas)]
    if not sigmas:
        raise ValueError("parzen_sigma: no sigmas to choose from")
    return sigmas[int(np.argmax(_parzen(points, samples, sigmas).mean(axis=1)))]


def _parzen(points, samples, sigmas) -> np.ndarray:
    """ln p of each point for each σ, (len(sigmas), n); the distances are computed once for all."""
    total = np.full((len(sigmas), len(points)), -np.inf)
    for rows, _, squared in _squared_distances(points, samples):
        for row, sigma in zip(total, sigmas, strict=True):
            exponents = squared * (-0.5 / sigma**2)
            largest = exponents.max(axis=1)  # left out of the sum, which would be 0 far out
            exponents -= largest[:, None]
            terms = np.exp(exponents, out=exponents).sum(axis=1)
            row[rows] = np.logaddexp(row[rows], np.log(terms) + largest)
    n, d = samples.shape
    scale = math.log(n) + d * np.log(np.sqrt(2 * np.pi) * np.array(sigmas))
    return total - scale[:, None]


# --- Two sets of samples -------------------------------------------------------------------------


def mmd(x, y, *, bandwidths=None) -> float:
    """MMD²: how well the smooth functions of a kernel tell two sets of samples apart.

        1/n(n−1) Σᵢ≠ⱼ k(xᵢ, xⱼ) + 1/m(m−1) Σᵢ≠ⱼ k(yᵢ, yⱼ) − 2/nm Σ k(xᵢ, yⱼ)

    The unbiased estimate of Gretton et al. 2012, eq. 3: 0 on average, so also negative, for two
    sets from one distribution. k is a mean of RBF kernels exp(−‖x − y‖² / 2s²) with the given
    bandwidths s. By default they are ¼, ½, 1, 2 and 4 times the median distance between points of
    both sets (of up to 500 of each, the same at every call); two calls with other sets then measure
    with other kernels, so give `bandwidths` to compare models. Differences much finer than the
    least bandwidth are not seen.

    x: (n, d), y: (m, d), at least two of each. ValueError if bandwidths are not > 0, or if none are
    given and more than half of the distances are 0.
    """
    x, y = _pair("mmd", x=x, y=y, least=2)
    if bandwidths is None:
        bandwidths = _median_distance(x, y) * np.array([0.25, 0.5, 1, 2, 4])
    bandwidths = [_positive("mmd: bandwidth", s) for s in np.ravel(bandwidths)]
    if not bandwidths:
        raise ValueError("mmd: no bandwidths")
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x, bandwidths) - n) / (n * (n - 1))  # without the n k(xᵢ, xᵢ) = 1
    within_y = (_kernel_sum(y, y, bandwidths) - m) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y, bandwidths) / (n * m)


def _kernel_sum(x, y, bandwidths) -> float:
    """Σ k(xᵢ, yⱼ) over all pairs."""
    total = 0.0
    for _, _, squared in _squared_distances(x, y):
        for s in bandwidths:
            exponents = squared * (-0.5 / s**2)
            total += float(np.exp(exponents, out=exponents).sum())
    return total / len(bandwidths)


def _median_distance(x, y) -> float:
    """The median distance between two of some points of either set."""
    from scipy.spatial.distance import pdist

    # Not every k-th point: data are often in an order, such as class after class.
    random = np.random.default_rng(0)
    some = [s[random.permutation(len(s))[:500]].astype(float) for s in (x, y)]
    median = float(np.median(pdist(np.concatenate(some))))
    if median == 0:
        raise ValueError("mmd: more than half of the points coincide: give bandwidths")
    return median


def frechet_distance(x, y) -> float:
    """The squared Fréchet distance between Gaussians with the means and covariances of two sets.

        ‖μ − ν‖² + tr(Σ + Τ − 2 (Σ Τ)^½)

    Dowson and Landau 1982; of a classifier's features it is the FID of Heusel et al. 2017, which is
    squared as well. W₂² if the sets are Gaussian; otherwise it compares two moments and is blind to
    the rest. It is biased: few samples make it too large, the more so the more dimensions, so
    compare models by equally many samples, and put the distance between two sets of data beside it.

    x: (n, d), y: (m, d), at least two of each. Takes some d² numbers of memory and d³ of time.
    """
    x, y = _pair("frechet_distance", x=x, y=y, least=2)
    (mean_x, covariance_x), (mean_y, covariance_y) = _moments(x), _moments(y)
    # tr (Σ Τ)^½ is the sum of the singular values of Σ^½ Τ^½: real, and no square is rooted again.
    product = _root(covariance_x) @ _root(covariance_y)
    cross = np.linalg.svd(product, compute_uv=False).sum()
    shift = ((mean_x - mean_y) ** 2).sum()
    spread = np.trace(covariance_x) + np.trace(covariance_y) - 2 * cross
    return float(shift + max(spread, 0.0))


def _moments(x) -> tuple[np.ndarray, np.ndarray]:
    """The mean (d,) and the unbiased covariance (d, d)."""
    mean = x.mean(axis=0, dtype=float)
    covariance = np.zeros((len(mean), len(mean)))
    for rows in _slices(x):
        centred = x[rows] - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(x) - 1)


def _root(covariance) -> np.ndarray:
    """The symmetric R with R R = Σ. Eigenvalues that rounding has made negative are zeros."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float


def precision_recall(real, fake, *, k=3) -> PrecisionRecall:
    """How many fakes look real, and how much of what is real is made: Kynkäänniemi et al. 2019.

    A set's region is the union of balls around its points, each out to the point's k-th nearest
    neighbour in the set (itself not counted). Precision is the share of fakes in the region of
    the real points, recall the share of real points in the region of the fakes (eqs. 1 and 2).
    A distance that equals the radius, as far as rounding lets one tell, is inside.

    One outlier's large ball takes in much that is nowhere near the data. Values depend on k and on
    the numbers of samples: compare only where they are the same.

    real: (n, d), fake: (m, d), best as features of a classifier; k from 1 to the smaller of n − 1
    and m − 1, or ValueError.
    """
    real, fake = _pair("precision_recall", real=real, fake=fake, least=2)
    _whole("precision_recall: k", k, min(len(real), len(fake)) - 1)
    # A point is the nearest to itself, so its k-th neighbour is the (k + 1)-th nearest of all.
    real_radii, fake_radii = (nearest(s, s, k=k + 1)[0][:, k] ** 2 for s in (real, fake))
    fake_in_real, real_in_fake = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    slack = 16 * _rounding(real.shape[1])  # some for the distance, some for the radius
    for fakes, reals, least in _squared_distances(fake, real, slack=slack):
        fake_in_real[fakes] |= (least <= real_radii[reals]).any(axis=1)
        real_in_fake[reals] |= (least <= fake_radii[fakes, None]).any(axis=0)
    return PrecisionRecall(float(fake_in_real.mean()), float(real_in_fake.mean()))


# --- Neighbours ----------------------------------------------------------------------------------


def nearest(queries, points, *, k=1) -> tuple[np.ndarray, np.ndarray]:
    """The k points nearest to each query: Euclidean distances and indices, both (n, k), ascending.

    To see whether a generator has learned its training set by heart, hold the distances of its
    samples against those of test data: much smaller ones mean copies. Pixelwise distance doesn't
    notice a copy that was shifted.

    queries: (n, d); points: (m, d); 1 ≤ k ≤ m, or ValueError. The distances are exact to the
    last digits: 0 for a copy. Which of equally far points come is not defined.
    """
    queries, points = _pair("nearest", queries=queries, points=points)
    _whole("nearest: k", k, len(points))
    squared = np.full((len(queries), k), np.inf)
    indices = np.zeros((len(queries), k), int)
    for rows, columns, block in _squared_distances(queries, points):
        few = min(k, block.shape[1])
        found = np.argpartition(block, few - 1, axis=1)[:, :few]
        both = np.hstack([squared[rows], np.take_along_axis(block, found, axis=1)])
        both_indices = np.hstack([indices[rows], found + columns.start])
        best = np.argsort(both, axis=1)[:, :k]
        squared[rows] = np.take_along_axis(both, best, axis=1)
        indices[rows] = np.take_along_axis(both_indices, best, axis=1)
    # So far the distances have the error of |a|² + |b|² − 2ab.
    distances = np.empty(squared.shape)
    for rows in _slices(queries):
        for j in range(k):
            offsets = np.subtract(queries[rows], points[indices[rows, j]], dtype=float)
            distances[rows, j] = np.sqrt(np.einsum("ij,ij->i", offsets, offsets))
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


# --- How sure a number is ------------------------------------------------------------------------


def standard_error(values) -> float:
    """s / √n, the standard deviation to expect of the mean of n independent values; n ≥ 2.

    s is the unbiased one; the released code of Goodfellow et al. 2014 divides by n instead of
    n − 1, which for their 10,000 test images is the same to four digits.
    """
    values = _values("standard_error", values)
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def confidence_interval(values, level=0.95) -> tuple[float, float]:
    """The mean of a few values, as of runs with different seeds, and the interval's half width.

    mean ± half width holds the true mean in `level` of all cases if the values are independent and
    normally distributed (Student 1908). ValueError for fewer than two values, or a level outside
    (0, 1).
    """
    from scipy.special import stdtrit

    values = _values("confidence_interval", values)
    if not 0 < level < 1:
        raise ValueError(f"confidence_interval: level {level}: wanted a number between 0 and 1")
    quantile = float(stdtrit(len(values) - 1, (1 + level) / 2))
    return float(values.mean()), quantile * standard_error(values)


def _values(what, values) -> np.ndarray:
    values = np.asarray(values, float).ravel()
    if len(values) < 2:
        raise ValueError(f"{what}: {len(values)} values: wanted at least 2")
    if not np.isfinite(values).all():
        raise ValueError(f"{what}: NaN or infinity among the values")
    return values


# --- All pairs of points, block by block ---------------------------------------------------------


def _squared_distances(a, b, *, slack=0.0):
    """Yields rows, columns and ‖aᵢ − bⱼ‖² for the aᵢ and bⱼ of these slices: a block to overwrite.

    By |a|² + |b|² − 2ab, one matrix product for all pairs, with the points taken from the mean of
    b, or digits that all have in common would be lost. What is left of the error is at most
    _rounding(d) · (|a|² + |b|²): points closer to each other than some 10⁻⁷ of their distance to
    that mean may come out as equal.

    slack: taken off the distance, in shares of |a|² + |b|².
    """
    centre = b.mean(axis=0, dtype=float)
    for rows in _slices(a):
        left = a[rows] - centre
        left_norms = (1 - slack) * np.einsum("ij,ij->i", left, left)
        left *= -2
        for columns in _slices(b):
            right = b[columns] - centre
            squared = left @ right.T
            squared += left_norms[:, None]
            squared += (1 - slack) * np.einsum("ij,ij->i", right, right)
            np.maximum(squared, 0, out=squared)
            yield rows, columns, squared


def _rounding(d) -> float:
    """The relative error of a sum of d products and a few more operations, at most."""
    return (d + 8) * np.finfo(float).eps


def _slices(x):
    """Slices that cover the points of x, such that neither they nor their pairs exceed BLOCK."""
    count, d = x.shape
    step = max(1, min(math.isqrt(BLOCK), BLOCK // d))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


# --- Arguments -----------------------------------------------------------------------------------


def _pair(what, *, least=1, **sets) -> list[np.ndarray]:
    """Two sets of samples as (n, d) and (m, d), in the dtypes they have."""
    sets = {name: _points(f"{what}: {name}", x, least) for name, x in sets.items()}
    (one, a), (other, b) = sets.items()
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{what}: each of {one} has {a.shape[1]} numbers, each of {other} {b.shape[1]}: "
            "wanted equally many"
        )
    return [a, b]


def _points(what, x, least) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim == 0 or x.size == 0 or len(x) < least:
        raise ValueError(f"{what} of shape {x.shape}: wanted (n, …) with n ≥ {least}")
    x = x.reshape(len(x), -1)
    low, high = float(x.min()), float(x.max())  # NaN if any is
    if not (low > -LARGEST and high < LARGEST):
        raise ValueError(f"{what} go from {low} to {high}: wanted finite numbers below {LARGEST}")
    return x


def _positive(what, value) -> float:
    value = float(value)
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is {value}: wanted a finite number > 0")
    return value


def _whole(what, value, most):
    if value != int(value) or not 1 <= value <= most:
        raise ValueError(f"{what} is {value}: wanted a whole number from 1 to {most}")
