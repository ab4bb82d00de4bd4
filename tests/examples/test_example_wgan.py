"""wgan.py: what its critics find is held against W₁ by quadrature."""

import re
from types import SimpleNamespace

import pytest
from PIL import Image
from running import module, run
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from minigan import cpu, optim
from minigan import functional as F
from minigan.evaluation import critic_on_line


def gap(x):
    """F_g − F_d of the example's two densities, by SciPy."""
    return norm.cdf(x, 0.5, 1.5) - 0.5 * (norm.cdf(x, -2, 0.5) + norm.cdf(x, 1.5, 0.5))


TURNS = [brentq(gap, *ends) for ends in ((-4, -2), (0, 1), (1, 2))]  # where mass turns round
EXACT = quad(lambda x: abs(gap(x)), -9, 9, points=TURNS, limit=200)[0]


@pytest.fixture
def example(monkeypatch):
    return module("wgan")


class Steps:
    """A session that only makes the steps."""

    def __init__(self, seed):
        self.args = SimpleNamespace(seed=seed)

    def steps(self, step, count):
        for done in range(count):
            step()
            yield done + 1


def alone(example, way, steps, seed=1):
    way = example.WAYS[way]
    rate = optim.linear_decay(way.rate, steps)
    return example.learn_alone(way, rate, [64, 64], steps, cpu, Steps(seed))[-1][-1]


def judge(example, network):
    return critic_on_line(network, example.X, example.P_DATA, example.P_MODEL, cpu)


def test_the_example_knows_the_exact_distance_and_the_best_critic(example):
    assert abs(example.W1 - EXACT) < 1e-4

    def best(x):  # slope 1, and the other way after each turn
        first, second, third = (2.0 * F.relu(x - turn) for turn in TURNS)
        return x - first + second - third

    verdict = judge(example, best)
    assert verdict.steepest == pytest.approx(1, abs=1e-3)
    assert verdict.value == pytest.approx(EXACT, rel=1e-3)
    tripled = judge(example, lambda x: 3.0 * best(x))
    assert tripled.bound == pytest.approx(verdict.bound, rel=1e-4)


def test_the_one_sided_penalty_finds_the_distance_where_the_others_do_not(example):
    """The bar: within 5% of W₁, from below if divided by K, and as it is from above."""
    penalised = alone(example, 3, steps=1500)
    assert 0.95 * EXACT < penalised.bound < EXACT
    assert abs(penalised.value / EXACT - 1) < 0.06
    for way, share in ((0, 0.85), (1, 0.85), (2, 0.95)):  # clipped twice; two-sided: trapped
        assert 0 < alone(example, way, steps=600).bound < share * EXACT
    wide, narrow = (alone(example, way, steps=50).value for way in (1, 0))
    assert wide > 100 * narrow  # the value of a clipped critic says what the clipping was


def test_gradients_vanish_and_explode_with_the_clip_and_not_with_the_penalty(example, monkeypatch):
    monkeypatch.setattr(example, "DEEP_STEPS", 30)
    ratios = []
    for way in example.DEEP:
        first, *_, last = example.norms_through_layers(way, cpu, Steps(seed=0))
        ratios.append(first / last)
    vanished, faded, exploded, penalised = ratios
    assert vanished < 1e-8 and vanished < faded < 0.1 and exploded > 1e3
    assert 0.03 < penalised < 30


def test_on_the_line_the_critic_follows_the_distance_and_the_run_ends_in_a_picture(tmp_path):
    out, _ = run("wgan", "--quick", "--out", tmp_path)
    *critics, last = out.splitlines()
    assert len(critics) == 4
    for line in critics:
        value, steepest, ratio = map(float, re.findall(r"(?:value|slope|ratio) (-?[\d.]+)", line))
        assert ratio < EXACT and ratio == pytest.approx(value / steepest, rel=0.001)
    exact, found, start, end, off = map(
        float, re.findall(r"(?:exact|critic|from|to|by) ([\d.]+)", last)
    )
    assert exact == pytest.approx(EXACT, abs=1e-4) and 0.9 * EXACT < found < EXACT
    assert end < 0.5 * start and off < 0.15 * start
    with Image.open(tmp_path / "wgan.png") as picture:
        assert picture.size == (1250, 700)
