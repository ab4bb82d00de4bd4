"""What linear models are held against: angles between subspaces, PCA, and PCA's likelihood."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan.engine.checks import whole_number
from minigan.evaluation.pairs import slices


def principal_angles(a, b) -> np.ndarray:
    """The angles between two subspaces of Rᵈ, in radians, the largest first: (min(p, q),).

    The first is 0 if one lies in the other, and π/2 if one has a direction at right angles to all
    of the other. Their cosines are the singular values of Qaᵀ Qb, for orthonormal bases Q. Near 0
    a cosine has lost half its digits, so there the sines are taken, the singular values of what Qb
    has outside of the other, Qb − Qa Qaᵀ Qb (Björck and Golub 1973).

    a, b: (d, p) and (d, q), whose columns span them. ValueError unless d is the same, and the
    columns of each are linearly independent.
    """
    a, b = (_basis(name, matrix) for name, matrix in (("a", a), ("b", b)))
    if len(a) != len(b):
        raise ValueError(f"principal_angles: vectors of {len(a)} and {len(b)} numbers")
    if a.shape[1] < b.shape[1]:
        a, b = b, a
    shared = a.T @ b
    cosines = np.linalg.svd(shared, compute_uv=False)[::-1].clip(0, 1)
    sines = np.linalg.svd(b - a @ shared, compute_uv=False).clip(0, 1)
    return np.where(cosines**2 > 0.5, np.arcsin(sines), np.arccos(cosines))


def _basis(name, matrix) -> np.ndarray:
    """An orthonormal basis of the columns' span."""
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2 or not matrix.size or np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        shape = matrix.shape
        raise ValueError(
            f"principal_angles: {name} {shape}, wanted (d, k) with k columns that are independent"
        )
    return np.linalg.qr(matrix)[0]


class PCA(NamedTuple):
    """The principal axes of points (n, d): their mean (d,), the axes as rows (d, d), the variance
    along each (d,), the largest first.
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray


def pca(points) -> PCA:
    """By the eigenvectors of the covariance, Σ (x − x̄)(x − x̄)ᵀ / n, of points (n, d), n ≥ 1.

    In float64, which bytes are turned into block by block.
    """
    points = np.asarray(points)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"pca: points {points.shape}, wanted (n, d)")
    mean = points.mean(axis=0, dtype=float)
    covariance = np.zeros((len(mean), len(mean)))
    for rows in slices(points):
        centred = points[rows] - mean
        covariance += centred.T @ centred
    variances, axes = np.linalg.eigh(covariance / len(points))
    return PCA(mean, axes.T[::-1], variances[::-1])


def ppca_log_likelihood(variances, latent) -> float:
    """What the best linear decoder reaches, in nats per sample: max of E ln N(x; b, W Wᵀ + v I).

        −½ (Σ_{i ≤ q} ln λᵢ + (d − q) ln v + d + d ln 2π),      v = mean of the other λᵢ

    Tipping and Bishop 1999, eqs. 7 and 8, for points whose covariance has the eigenvalues λ₁ ≥ λ₂
    … and for q dimensions of z. A linear VAE, whose encoder then is exact, has this ELBO (Lucas et
    al. 2019). ValueError unless 1 ≤ q < d, or if the others are all 0: then there is no maximum.
    """
    variances = np.sort(np.asarray(variances, float))[::-1]
    d, q = len(variances), whole_number("ppca_log_likelihood: latent", latent, 1)
    v = variances[q:].mean() if q < d else 0.0
    if not v > 0:
        raise ValueError(f"ppca_log_likelihood: {d} variances, none > 0 beyond the first {q}")
    logs = np.log(variances[:q]).sum() + (d - q) * np.log(v)
    return float(-0.5 * (logs + d + d * np.log(2 * np.pi)))
