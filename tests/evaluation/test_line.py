"""A network on a line against the network at each point; sums over cells against integrals."""

import numpy as np
import pytest

from minigan.backend import cpu
from minigan.data import Gaussian
from minigan.engine import tensor
from minigan.evaluation import Line, on_line, quantile_levels
from minigan.models import mlp


def test_on_line_is_the_network_point_by_point():
    G = mlp([1, 4, 1], rng=cpu.generator(0))
    values = on_line(G, [-1.0, 0.5, 2.0], cpu)
    one_by_one = [G(tensor([[x]])).item() for x in (-1.0, 0.5, 2.0)]
    assert values.dtype == np.float64 and values.tolist() == pytest.approx(one_by_one, rel=1e-6)


def test_cells_cover_the_line():
    line = Line(-2, 3, 0.5)
    assert line.x.tolist() == [-1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert line.integral(np.ones(10)) == 5.0
    np.testing.assert_allclose(line.slope(3 * line.x), 3)


def test_integrals_of_a_normal_density():
    line, normal = Line(-8, 8), Gaussian(0.5, 0.7)
    p = normal.pdf(line.x)
    assert line.integral(p) == pytest.approx(1, abs=1e-9)
    assert line.integral(p * line.x) == pytest.approx(0.5, abs=1e-9)
    half = Line(0.5, 8)
    assert half.integral(normal.pdf(half.x)) == pytest.approx(0.5, abs=1e-5)
    shared_out = half.density(normal.pdf(half.x))
    assert half.integral(shared_out) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(shared_out, 2 * normal.pdf(half.x), rtol=1e-4)


def test_quantiles_at_the_levels_are_a_sample_without_noise():
    levels = quantile_levels(4)
    assert levels.tolist() == [0.125, 0.375, 0.625, 0.875]
    sample = Gaussian(2.0, 3.0).quantile(quantile_levels(20_000))
    assert sample.mean() == pytest.approx(2, abs=1e-6) and sample.std() == pytest.approx(3, rel=1e-3)
