"""A network on a line against the network at each point."""

import numpy as np
import pytest

from minigan import functional as F
from minigan.backend import cpu
from minigan.data import Gaussian
from minigan.engine import tensor
from minigan.evaluation import cells, critic_on_line, levels, on_line, shared_out
from minigan.models import mlp


def test_on_line_is_the_network_point_by_point():
    G = mlp([1, 4, 1], rng=cpu.generator(0))
    values = on_line(G, [-1.0, 0.5, 2.0], cpu)
    one_by_one = [G(tensor([[x]])).item() for x in (-1.0, 0.5, 2.0)]
    assert values.dtype == np.float64 and values.tolist() == pytest.approx(one_by_one, rel=1e-6)


def test_a_sum_over_cells_is_an_integral_and_tails_are_shared_out():
    x = cells(-1, 2, 0.5)
    assert x.tolist() == [-0.75, -0.25, 0.25, 0.75, 1.25, 1.75]
    x, normal = cells(-5, 5, 0.01), Gaussian()
    assert normal.pdf(x).sum() * 0.01 == pytest.approx(1 - 2 * normal.cdf(-5), abs=1e-9)
    half = cells(0, 5, 0.01)
    whole = shared_out(normal.pdf(half), 0.01)
    assert whole.sum() * 0.01 == pytest.approx(1)
    np.testing.assert_allclose(whole, 2 * normal.pdf(half), rtol=1e-5)


def test_levels_make_a_sample_without_noise():
    assert levels(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    sample = Gaussian(3, 2).quantile(levels(10_000))
    assert sample.mean() == pytest.approx(3) and sample.std() == pytest.approx(2, rel=1e-3)


def test_a_critic_is_worth_what_it_says_by_its_steepest_slope():
    """N(0, 1) and N(1.5, 1) are 1.5 apart, which f(x) = −x says, and −2x says twice."""
    x = cells(-8, 9, 0.01)
    p, q = Gaussian(0, 1).pdf(x), Gaussian(1.5, 1).pdf(x)
    for steepness in (1.0, 2.0):
        critic = critic_on_line(lambda t, s=steepness: -s * t, x, p, q, cpu)
        np.testing.assert_allclose(critic.f, -steepness * x, rtol=1e-6)
        assert critic.value == pytest.approx(1.5 * steepness, rel=1e-5)
        assert critic.steepest == pytest.approx(steepness, rel=1e-3)  # f is rounded to float32
        assert critic.bound == pytest.approx(1.5, rel=1e-3)
    bent = critic_on_line(lambda t: -F.relu(t), x, p, q, cpu)
    assert bent.steepest == pytest.approx(1, rel=1e-3) and 0 < bent.bound < 1.5
