"""A network on a line against the network at each point."""

import numpy as np
import pytest

from minigan.backend import cpu
from minigan.engine import tensor
from minigan.evaluation import on_line
from minigan.models import mlp


def test_on_line_is_the_network_point_by_point():
    G = mlp([1, 4, 1], rng=cpu.generator(0))
    values = on_line(G, [-1.0, 0.5, 2.0], cpu)
    one_by_one = [G(tensor([[x]])).item() for x in (-1.0, 0.5, 2.0)]
    assert values.dtype == np.float64 and values.tolist() == pytest.approx(one_by_one, rel=1e-6)
