"""Bounds of the likelihood against plain loops, and against a decoder whose likelihood is known."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from minigan import cpu
from minigan.engine import Tensor
from minigan.evaluation import (
    active_units,
    draw_log_weights,
    importance_bound,
    linear_log_likelihood,
    pca,
    plane_log_likelihood,
    ppca_log_likelihood,
)
from minigan.gan import GaussianLikelihood, log_weights
from minigan.models import GaussianEncoder, vae_decoder

V = 0.2


def linear(device=cpu):
    """A linear decoder, an encoder that is not its posterior, and x of that decoder."""
    weights = device.generator(0)
    E = GaussianEncoder([4, 2], rng=weights)
    G = vae_decoder(rng=weights, latent=2, hidden=(), size=2, squash=False)
    for part, size in ((E, 0.2), (G, 0.5)):
        like = cpu.generator(2)
        for p in part.parameters():
            p.data[...] = device.asarray(size * like.normal(p.shape))
    covariance = exact(G)
    x = np.random.default_rng(0).multivariate_normal(*covariance, 6).astype("float32")
    return E, G, GaussianLikelihood(V), x.reshape(6, 2, 2, 1)


def exact(G):
    W, b = (p.numpy().astype(float) for p in G.parameters())
    return b, W.T @ W + V * np.eye(4)


def test_weights_are_drawn_in_pieces_and_are_those_of_the_formula(cuda, monkeypatch):
    monkeypatch.setattr("minigan.evaluation.bounds.ROWS", 8)
    for device in (cpu, cuda):
        E, G, p, x = linear(device)
        drawn = draw_log_weights(E, G, p, x[:4], 5, rng=device.generator(7))
        rng, given = device.generator(7), Tensor(device.asarray(x[:4]))
        noise = [Tensor(rng.normal((k, 4, 2))) for k in (2, 2, 1)]
        found = [log_weights(E, G, p, given, part).numpy() for part in noise]
        assert drawn.shape == (5, 4) and drawn.dtype == float
        np.testing.assert_allclose(drawn, np.concatenate(found), rtol=1e-5)
    monkeypatch.setattr("minigan.evaluation.bounds.ROWS", 4)
    assert draw_log_weights(E, G, p, x, 3, rng=cuda.generator(7)).shape == (3, 6)


def test_importance_bounds_rise_to_the_likelihood():
    """A plain loop says the same; and the exact ln N(x; b, W Wᵀ + v I) is where they end."""
    E, G, p, x = linear()
    weights = draw_log_weights(E, G, p, x, 20_000, rng=cpu.generator(3))
    truth = multivariate_normal(*exact(G)).logpdf(x.reshape(6, 4))
    bounds = np.array([importance_bound(weights, k) for k in (1, 5, 50, 20_000)])
    assert (np.diff(bounds, axis=0) > 0).all() and (truth - bounds[0] > 0.1).all()
    np.testing.assert_allclose(bounds[-1], truth, atol=0.05)
    for n in range(6):
        groups = [np.log(np.mean(np.exp(weights[i : i + 5, n]))) for i in range(0, 20_000, 5)]
        assert bounds[1, n] == pytest.approx(np.mean(groups))
    far = weights[:4] - 1e5
    np.testing.assert_allclose(importance_bound(far, 2) + 1e5, importance_bound(weights[:4], 2))


def test_at_ppca_s_best_the_elbo_is_its_likelihood():
    """W and v in closed form and the exact posterior for an encoder: each weight is p(x) itself."""
    points = np.random.default_rng(0).standard_normal((300, 4)) * [3, 2, 1, 0.9] + 1
    mean, axes, variances = pca(points)
    v = variances[2:].mean()
    W = np.sqrt(variances[:2] - v)[:, None] * axes[:2]  # z @ W + mean
    M = variances[:2]  # W Wᵀ + v, which is diagonal
    E = GaussianEncoder([4, 2], rng=cpu.generator(0))
    G = vae_decoder(rng=cpu.generator(0), latent=2, hidden=(), size=2, squash=False)
    exactly = (W.T / M, -(mean @ W.T) / M, 0 * W.T, np.log(v / M), W, mean)
    for parameter, values in zip([*E.parameters(), *G.parameters()], exactly, strict=True):
        parameter.data[...] = values
    x, p = points.reshape(-1, 2, 2, 1), GaussianLikelihood(v)
    weights = draw_log_weights(E, G, p, x, 3, rng=cpu.generator(1))
    assert np.ptp(weights, axis=0).max() < 1e-4
    best = ppca_log_likelihood(variances, 2)
    assert importance_bound(weights, 1).mean() == pytest.approx(best, abs=1e-4)
    assert importance_bound(weights, 3).mean() == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("shape, k", [((4, 3), 3), ((4,), 2), ((0, 3), 1)])
def test_groups_that_do_not_fill(shape, k):
    with pytest.raises(ValueError, match=rf"for k = {k}: want \(count, n\)"):
        importance_bound(np.zeros(shape), k)


def test_the_plane_has_the_exact_likelihood():
    _, G, _, x = linear()
    truth = multivariate_normal(*exact(G)).logpdf(x.reshape(6, 4))
    for side in (80, 160):
        np.testing.assert_allclose(plane_log_likelihood(G, V, x, side=side), truth, atol=1e-4)
    with pytest.raises(ValueError, match="plane_log_likelihood"):
        plane_log_likelihood(G, 0.0, x)


def test_a_linear_decoder_has_the_likelihood_of_a_gaussian():
    _, G, _, x = linear()
    truth = multivariate_normal(*exact(G)).logpdf(x.reshape(6, 4))
    W, b = (p.numpy().astype(float) for p in G.parameters())
    np.testing.assert_allclose(linear_log_likelihood(W, b, V, x), truth)
    with pytest.raises(ValueError, match="linear_log_likelihood: variance is 0"):
        linear_log_likelihood(W, b, 0.0, x)


def test_active_units_by_hand():
    """Variances 1 / 2 · 0.2², and 0.3², and none."""
    means = np.array([[0.1, 0.0, 5.0], [-0.1, 0.6, 5.0], [0.0, 0.3, 5.0]])
    assert means.var(axis=0, ddof=1).tolist() == pytest.approx([0.01, 0.09, 0.0])
    assert active_units(means * 1.001).tolist() == [True, True, False]
    assert active_units(means * 0.999).tolist() == [False, True, False]
    assert active_units(means, 0.1).tolist() == [False] * 3
    with pytest.raises(ValueError, match=r"means \(3,\), wanted \(n, d\)"):
        active_units(means[:, 0])
