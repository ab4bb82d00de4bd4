"""vae.py: the ladder rises to the exact likelihood, and a KL that is too dear ends in collapse."""

import re

import numpy as np
import pytest
from running import module, run
from scipy.stats import norm

from minigan import cpu
from minigan.data import dequantised, to_unit
from minigan.evaluation import pca, ppca_log_likelihood
from minigan.models import GaussianEncoder, vae_decoder


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(module("vae"), "TICKS", 100)
    monkeypatch.setitem(module("vae").ANNEALED, "schedule", 150)


def test_the_ladder_rises_to_what_the_plane_says(coarse, tmp_path):
    argv = ["--quick", "--hidden", "64", "--steps", "6000", "--lr", "0.005"]
    out, _ = run("vae", *argv, "--out", tmp_path)
    said = re.search(r"ELBO (\S+), L_5 (\S+), L_50 (\S+), L_500 (\S+), AIS (\S+), exact (\S+)", out)
    rungs = [*map(float, said.groups())]
    assert rungs == sorted(rungs) and rungs[-1] - rungs[0] > 0.1 and rungs[-1] - rungs[4] < 0.5
    assert "active units: 2 of 2" in out and "the ladder holds" in out


def test_a_kl_that_is_too_dear_collapses_and_the_example_says_so(tmp_path):
    argv = ["--quick", "--hidden", "16", "--steps", "6000", "--likelihood", "bernoulli"]
    out, err = run("vae", *argv, "--beta", "50", "--out", tmp_path)
    assert "no active unit of 2 (beta = 50)" in out and "collapsed" in out
    assert "the encoder says nothing of x" in out + err


@pytest.mark.parametrize("top, holds", [(2.0, True), (1.0, True), (0.9, True), (0.5, False)])
def test_a_ladder_that_does_not_hold_says_so(top, holds):
    """Not if a rung is lower by less than two standard errors, which here are 0.2."""
    example, spread = module("vae"), np.array([-0.1, 0.1, -0.1, 0.1]) * 3**0.5
    rungs = {"L_500": np.ones(4), "exact": top + spread}
    said = example.in_words(rungs, 0.5, example.BernoulliLikelihood(), (4, 2, 2, 1))
    assert said.endswith("the ladder holds" if holds else "NO ladder holds")


def test_the_linear_best_is_that_of_dequantised_bytes():
    """Bytes of next to no variance, to which the noise's, 1 / 12, is much."""
    example, rng = module("vae"), cpu.generator(0)
    images = (rng.uniform((20_000, 2, 2, 1)) < 0.1).astype("uint8")
    E, G = GaussianEncoder([4, 1], rng=rng), vae_decoder(rng=rng, latent=1, hidden=(), size=2)
    said = example.linear(E, G, example.GaussianLikelihood(), images, dequantised, rng)
    best = float(re.search(r"at most (\S+)", said)[1])
    noisy = pca(dequantised(to_unit(images), rng).reshape(-1, 4)).variances
    assert best == pytest.approx(ppca_log_likelihood(noisy, 1), abs=0.1)
    assert best < ppca_log_likelihood(pca(images.reshape(-1, 4) / 256).variances, 1) - 1


def test_the_points_of_the_plane_share_out_the_prior():
    z = module("vae").plane(4)
    assert z.shape == (16, 2)
    np.testing.assert_allclose(norm.cdf(z[:4, 0]), [0.125, 0.375, 0.625, 0.875])
    assert (np.diff(z[::4, 1]) < 0).all() and np.ptp(z[:4, 1]) == 0
