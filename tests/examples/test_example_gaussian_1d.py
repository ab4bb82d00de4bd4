"""gaussian_1d.py: it learns what it is given, and says why it fails on numbers as they are."""

import json
import re

import numpy as np
from PIL import Image
from running import module, run

from minigan.models import mlp

NOISES = ("normal", "uniform")


def test_it_learns_its_distribution(tmp_path):
    out, _ = run("gaussian_1d", "--steps", 1200, "--frames", 3, "--out", tmp_path)
    numbers = out.splitlines()[-1].replace(",", " ").split()
    mean, std = float(numbers[1]), float(numbers[numbers.index("std") + 1])
    assert abs(mean - 4) < 0.2 and abs(std - 1.25) < 0.2
    with (
        Image.open(tmp_path / "result.png") as picture,
        Image.open(tmp_path / "training.gif") as gif,
    ):
        assert picture.size == (1000, 580) and gif.n_frames >= 2


def test_it_learns_as_well_with_more_steps_of_d(tmp_path):
    """The bar is 3% of σ = 1.25; with G's schedule, D stands still after a third of them."""
    out, _ = run("gaussian_1d", "--k", 3, "--steps", 1000, "--frames", 0, "--out", tmp_path)
    mean, std = map(float, re.search(r"mean (\S+) .*std (\S+)", out).groups())
    assert abs(mean - 4) < 0.0375 and abs(std - 1.25) < 0.0375


def test_uniform_noise_cuts_the_tails_and_normal_noise_does_not(tmp_path):
    """Where the best G runs to infinity, the one that is learnt ends within 2.7 std or so."""
    argv = ["--steps", 1000, "--frames", 0]
    normal, uniform = (tmp_path / name for name in NOISES)
    out, _ = run("gaussian_1d", *argv, "--out", normal)
    low, high = tails(out)
    assert abs(low) < 0.25 and abs(high) < 0.25
    out, _ = run("gaussian_1d", *argv, "--noise=uniform", "--out", uniform, "--beside", normal)
    low, high = tails(out)
    assert low > 0.4 and high < -0.4
    mean, std = map(float, re.search(r"mean (\S+) .*std (\S+)", out).groups())
    assert abs(mean - 4) < 0.25 and abs(std - 1.25) < 0.25  # what is not in the tails is there
    for name in NOISES:
        ((label, quantiles),) = json.loads((tmp_path / name / "tails.json").read_text()).items()
        assert label == f"{name} z" and np.diff(quantiles).min() >= 0
    with Image.open(uniform / "tails.png") as picture:
        assert picture.size == (560, 460)


def tails(out):
    return map(float, re.search(r"quantiles off by (\S+) and (\S+) std", out).groups())


def test_it_moves_every_parameter_of_both_networks(tmp_path, monkeypatch):
    example = module("gaussian_1d")
    made = []

    def remember(*args, **kwargs):
        network = mlp(*args, **kwargs)
        made.append((network, {k: p.numpy().copy() for k, p in network.named_parameters().items()}))
        return network

    monkeypatch.setattr(example, "mlp", remember)
    assert example.main(["--steps", "3", "--frames", "0", "--out", str(tmp_path)]) == 0
    assert [network.name for network, _ in made] == ["G", "D"]
    for network, before in made:
        for key, p in network.named_parameters().items():
            assert (p.numpy() != before[key]).any(), f"{network.name}.{key} did not move"


def test_it_raw_fails_and_says_why(tmp_path):
    argv = ["--steps", 1500, "--frames", 0, "--out", tmp_path]
    assert "--raw trains on the numbers as they are" in run("gaussian_1d", *argv, "--raw")[0]
    centred = run("gaussian_1d", *argv, "--raw", "--mean", 0, "--std", 1)[0]
    assert "--raw trains" not in centred  # nothing to explain where nothing failed
