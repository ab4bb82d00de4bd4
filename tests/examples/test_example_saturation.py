"""saturation.py: each objective's pull against its formula; the stalled run against the healthy."""

import re

import numpy as np
import pytest
from PIL import Image
from running import module, run
from scipy.special import expit

from minigan import cpu, losses, plots
from minigan.training import Session


@pytest.fixture
def example(monkeypatch):
    return module("saturation")


def test_the_stalled_run_ends_an_order_of_magnitude_further_away(tmp_path):
    out, _ = run("saturation", "--out", tmp_path)
    pattern = r"W1 ([\d.]+) at the start; minimax ends at ([\d.]+), non-saturating at ([\d.]+)"
    start, stalled, healthy = map(float, re.search(pattern, out).groups())
    assert stalled > 10 * healthy and healthy < 0.1 * start
    assert stalled > 0.9 * start, "it stood still, it did not run away"
    with Image.open(tmp_path / "saturation.png") as picture:
        assert picture.size == (1100, 800)


# What pulls at G, ∂J(G) / ∂D(G(z)), by hand; the relative ones see D(x) = −D(G(z)).
PULLS = {
    "minimax": lambda x: -expit(x),
    "zero-sum": lambda x: -expit(x),
    "non-saturating": lambda x: expit(x) - 1,
    "relativistic": lambda x: -2 * expit(-2 * x),
    "least-squares": lambda x: x - 1,
    "hinge": lambda x: -1,
    "wasserstein": lambda x: -1,
}


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_each_objective_pulls_as_its_formula_says(name, example):
    assert name in plots.OBJECTIVE_COLORS
    for output in (-10.0, -3.0, 0.0, 2.5):
        value, slope = example.pull(losses.OBJECTIVES[name](), output)
        assert np.isfinite(value) and slope == pytest.approx(PULLS[name](output), rel=1e-5)


def trained(example, objective, folder, *argv):
    options = "--steps", "60", "--head-start", "200", "--out", str(folder)
    args = example.parse([*options, *argv])
    with Session(args, total=args.head_start + args.steps) as session:
        return example.train(objective(), args, cpu, session)


def test_the_two_runs_start_from_the_same_networks(example, tmp_path):
    minimax, other = (trained(example, o, tmp_path) for o in (losses.Minimax, losses.NonSaturating))
    assert minimax.distances[0] == other.distances[0]
    assert minimax.scores[0] == other.scores[0], "D had learned the same before G's first step"
    assert (minimax.scores[1:] != other.scores[1:]).all()


def test_it_is_the_head_start_that_stalls_plain_descent(example, tmp_path):
    def change(*argv):
        run = trained(example, losses.Minimax, tmp_path, "--steps", "150", *argv)
        return abs(run.distances[-1] / run.distances[0] - 1)

    assert change("--head-start", "1500") < 0.02
    assert change("--head-start", "0") > 0.1
    assert change("--head-start", "1500", "--optimizer", "adam") > 0.2
