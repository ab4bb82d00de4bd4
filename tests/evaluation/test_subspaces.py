"""Angles between subspaces against SciPy's; PCA and its likelihood against their definitions."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal

from minigan.evaluation import pca, ppca_log_likelihood, principal_angles


@pytest.mark.parametrize("p, q", [(1, 1), (2, 3), (3, 2), (4, 4), (1, 5)])
@pytest.mark.parametrize("turn", [1.0, 1e-3, 1e-9])
def test_principal_angles_are_scipys(p, q, turn):
    """Of large and of small angles, for bases that are far from orthonormal."""
    random = np.random.default_rng(p + 7 * q)
    a = random.standard_normal((9, p)) * 3
    b = random.standard_normal((9, q))
    shared = min(p, q)
    b[:, :shared] = a[:, :shared] + turn * b[:, :shared]
    found = principal_angles(a, b)
    assert found.shape == (shared,) and (np.diff(found) <= 0).all()
    np.testing.assert_allclose(found, subspace_angles(a, b), rtol=1e-5, atol=1e-14)
    np.testing.assert_allclose(found, principal_angles(b, a), rtol=1e-5, atol=1e-14)


def test_angles_that_are_known():
    """Two planes of space that share a line and are turned about it; and what lies in the other."""
    plane = np.eye(3)[:, :2]
    for angle in (0.0, 1e-8, 0.3, np.pi / 2 - 1e-8, np.pi / 2):
        other = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)]]).T
        found = principal_angles(plane, other)
        np.testing.assert_allclose(found, [angle, 0], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(principal_angles(plane, [[3.0], [4.0], [0.0]]), 0, atol=1e-15)
    assert principal_angles(plane, [[0.0], [0.0], [2.0]])[0] == pytest.approx(np.pi / 2)


@pytest.mark.parametrize("b", [np.ones((3, 2)), np.ones(3), np.ones((3, 0)), np.ones((2, 3))])
def test_what_spans_no_subspace_is_refused(b):
    with pytest.raises(ValueError, match=r"principal_angles: b .* wanted \(d, k\)"):
        principal_angles(np.eye(3), b)
    with pytest.raises(ValueError, match="vectors of 3 and 4 numbers"):
        principal_angles(np.eye(3), np.eye(4))


def test_axes_are_where_the_variances_are():
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    points = random.standard_normal((500, 3)) * [5, 2, 0.5] @ turn + 7
    mean, axes, variances = pca(points)
    np.testing.assert_allclose(mean, points.mean(0))
    assert (np.diff(variances) < 0).all()
    along = (points - mean) @ axes.T
    np.testing.assert_allclose(along.T @ along / 500, np.diag(variances), atol=1e-10)
    with pytest.raises(ValueError, match=r"pca: points \(3,\)"):
        pca(np.ones(3))


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_no_linear_gaussian_model_is_likelier_than_ppca(latent):
    """The density of W Wᵀ + v I itself, at the closed form and around it."""
    random = np.random.default_rng(0)
    points = random.standard_normal((400, 4)) * [3, 2, 1, 0.9] + 1
    mean, axes, variances = pca(points)
    v = variances[latent:].mean()
    W = axes[:latent].T * np.sqrt(variances[:latent] - v)

    def likelihood(W, v):
        covariance = W @ W.T + v * np.eye(4)
        return multivariate_normal(mean, covariance).logpdf(points).mean()

    best = ppca_log_likelihood(variances, latent)
    assert likelihood(W, v) == pytest.approx(best, abs=1e-10)
    for _ in range(20):
        aside = 0.1 * random.standard_normal(W.shape)
        assert likelihood(W + aside, v * np.exp(0.1 * random.standard_normal())) < best


@pytest.mark.parametrize("latent", [2, 3])
def test_ppca_needs_noise(latent):
    with pytest.raises(ValueError, match=f"none > 0 beyond the first {latent}"):
        ppca_log_likelihood([2.0, 1.0, 0.0], latent)
