"""vae.py: the ladder rises to the exact likelihood, and a KL that is too dear ends in collapse."""

import re

import numpy as np
import pytest
from running import module, run
from scipy.stats import norm


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(module("vae"), "TICKS", 100)


def test_the_ladder_rises_to_what_the_plane_says(coarse, tmp_path):
    argv = ["--quick", "--hidden", "64", "--steps", "6000", "--lr", "0.005"]
    out, _ = run("vae", *argv, "--out", tmp_path)
    said = re.search(r"ELBO (\S+) <= L_5 (\S+) <= L_50 (\S+) <= L_500 (\S+) <= exact (\S+)", out)
    rungs = [float(nats) for nats in said.groups()]
    assert rungs == sorted(rungs) and rungs[-1] - rungs[0] > 0.1
    assert "active units: 2 of 2" in out and "HOLD" not in out


def test_a_kl_that_is_too_dear_collapses_and_the_example_says_so(tmp_path):
    argv = ["--quick", "--hidden", "16", "--steps", "6000", "--likelihood", "bernoulli"]
    out, err = run("vae", *argv, "--beta", "50", "--out", tmp_path)
    assert "no active unit of 2 (beta = 50)" in out and "collapsed" in out
    assert "the encoder says nothing of x" in out + err


def test_a_ladder_that_does_not_hold_says_so():
    example = module("vae")
    p = example.BernoulliLikelihood()
    for rungs, holds in (((1.0, 2.0), True), ((2.0, 1.0), False)):
        rungs = {name: np.full(3, nats) for name, nats in zip("ab", rungs, strict=True)}
        said = example.in_words(rungs, 0.5, p, (3, 2, 2, 1))
        assert ("DOES NOT HOLD" in said) != holds


def test_the_points_of_the_plane_share_out_the_prior():
    z = module("vae").plane(4)
    assert z.shape == (16, 2)
    np.testing.assert_allclose(norm.cdf(z[:4, 0]), [0.125, 0.375, 0.625, 0.875])
    assert (np.diff(z[::4, 1]) < 0).all() and np.ptp(z[:4, 1]) == 0
