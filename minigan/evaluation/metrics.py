"""How good the samples are: measures of a generator's samples, against the data or other samples.

A GAN's losses don't tell, and no one number does: a measure that only asks whether samples look
real is content with one good sample, repeated. So some of these ask for quality, some for
coverage, some for both, and each docstring says what the measure doesn't see.

Everything but `spread` is computed on the host in float64. Samples are arrays (n, …), taken as
(n, d): n points with d numbers each. However many points there are, memory stays below some 64 MB
beside the arguments and the result. ValueError for sets without points, for sets whose points
don't have equally many numbers, and for NaN or infinity among them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minigan.engine import Tensor
from minigan.engine import functional as F
from minigan.engine.operations import var
from minigan.evaluation.divergences import kl
from minigan.evaluation.neighbours import nearest
from minigan.evaluation.pairs import (
    count_up_to,
    positive,
    rounding,
    slices,
    squared_distances,
    two_sets,
)

# SciPy is imported where it is used: it takes longer to load than all of minigan.


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
    samples, centres = two_sets("modes", samples=samples, centres=centres)
    reach = positive("modes: std", std) * positive("modes: radius", radius)
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


# --- How varied samples are ----------------------------------------------------------------------


def spread(samples: Tensor) -> Tensor:
    """√ Σ of the variances over the batch (n, …): a scalar on its device, in the samples' units.

    By E ‖x − y‖² = 2 Σ Var xᵢ it is 1/√2 of the distance (root mean square) between two samples.
    """
    return F.sqrt(var(samples.detach(), 0).sum())


def diversity(samples: Tensor, real: Tensor) -> Tensor:
    """How far two samples are apart, as a share of how far two real ones are: a scalar.

    About 1 is as it should be, 0 one sample over and over. It is no proof of variety: noise has
    much, and a few modes far apart have as much as many.
    """
    return spread(samples) / spread(real)


def class_shares(classes, count) -> np.ndarray:
    """The share of the samples that each class has; `count` of them, float64 (count,).

    classes: (n,), that of each sample, from 0 to count − 1, as of a classifier or a vote.
    """
    return np.bincount(classes, minlength=count) / len(classes)


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
    x, y = two_sets("mmd", x=x, y=y, least=2)
    if bandwidths is None:
        bandwidths = _median_distance(x, y) * np.array([0.25, 0.5, 1, 2, 4])
    bandwidths = [positive("mmd: bandwidth", s) for s in np.ravel(bandwidths)]
    if not bandwidths:
        raise ValueError("mmd: no bandwidths")
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x, bandwidths) - n) / (n * (n - 1))  # without the n k(xᵢ, xᵢ) = 1
    within_y = (_kernel_sum(y, y, bandwidths) - m) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y, bandwidths) / (n * m)


def _kernel_sum(x, y, bandwidths) -> float:
    """Σ k(xᵢ, yⱼ) over all pairs."""
    total = 0.0
    for _, _, squared in squared_distances(x, y):
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
    x, y = two_sets("frechet_distance", x=x, y=y, least=2)
    (mean_x, covariance_x), (mean_y, covariance_y) = _moments(x), _moments(y)
    # tr (Σ Τ)^½ is the sum of the singular values of Σ^½ Τ^½: real, and no square is rooted again.
    product = _root(covariance_x) @ _root(covariance_y)
    cross = np.linalg.svd(product, compute_uv=False).sum()
    shift = ((mean_x - mean_y) ** 2).sum()
    shapes = np.trace(covariance_x) + np.trace(covariance_y) - 2 * cross
    return float(shift + max(shapes, 0.0))


def _moments(x) -> tuple[np.ndarray, np.ndarray]:
    """The mean (d,) and the unbiased covariance (d, d)."""
    mean = x.mean(axis=0, dtype=float)
    covariance = np.zeros((len(mean), len(mean)))
    for rows in slices(x):
        centred = x[rows] - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(x) - 1)


def _root(covariance) -> np.ndarray:
    """The symmetric R with R R = Σ. Eigenvalues that rounding has made negative are zeros."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


class PrecisionRecall(NamedTuple):
    """What `precision_recall` finds: two shares, each in [0, 1]."""

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
    real, fake = two_sets("precision_recall", real=real, fake=fake, least=2)
    count_up_to("precision_recall: k", k, min(len(real), len(fake)) - 1)
    # A point is the nearest to itself, so its k-th neighbour is the (k + 1)-th nearest of all.
    real_radii, fake_radii = (nearest(s, s, k=k + 1)[0][:, k] ** 2 for s in (real, fake))
    fake_in_real, real_in_fake = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    slack = 16 * rounding(real.shape[1])  # some for the distance, some for the radius
    for fakes, reals, least in squared_distances(fake, real, slack=slack):
        fake_in_real[fakes] |= (least <= real_radii[reals]).any(axis=1)
        real_in_fake[reals] |= (least <= fake_radii[fakes, None]).any(axis=0)
    return PrecisionRecall(float(fake_in_real.mean()), float(real_in_fake.mean()))


# --- Numbers in order ----------------------------------------------------------------------------


def rank_correlation(x, y) -> float:
    """Whether y rises (1) or falls (−1) with x, however bent the way: Spearman's ρ, in [−1, 1].

    The correlation of ranks, which values that tie share (Spearman 1904); 0 if all of x or all of y
    are one value, and so in no order. x, y: as many numbers, at least two; ValueError otherwise.
    """
    from scipy.stats import rankdata

    x, y = (_values("rank_correlation", part) for part in (x, y))
    if len(x) != len(y):
        raise ValueError(f"rank_correlation: {len(x)} and {len(y)} values: wanted as many")
    a, b = (rankdata(part) - (len(x) + 1) / 2 for part in (x, y))
    scale = math.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else 0.0


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
