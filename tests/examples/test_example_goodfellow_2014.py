"""The first GAN: it learns, its checkpoint has the score it claims, it stops and goes on."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from running import complaint, ctrl_c_after, module, run
from safetensors.numpy import load_file
from scipy.special import logsumexp

from minigan import Tensor, no_grad, optim
from minigan.backend import cpu
from minigan.data import drawn_digits
from minigan.models import GENERATORS
from minigan.training import checkpoint

pytestmark = pytest.mark.usefixtures("drawn_once")
SCRIPT = "goodfellow_2014"
CHECKPOINT = "checkpoint.safetensors"
TINY = ["--quick", "--hidden", 8, "--units", 4, "--latent", 3, "--samples", 100, "--every", 5]


@pytest.fixture
def example(monkeypatch):
    return module("goodfellow_2014")


def score(folder):
    return json.loads((folder / "parzen.json").read_text())


# --- It learns, and what it says is so -----------------------------------------------------------


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A quick run: its folder and the line that it ends with."""
    out = tmp_path_factory.mktemp("quick")
    text, _ = run(SCRIPT, "--quick", "--out", out)
    return out, text.splitlines()[-1]


def test_quick_makes_the_digits_likelier(quick):
    out, line = quick
    said = score(out)
    validation = said["on_validation_images"]
    assert validation["log_likelihood"] > validation["untrained"] + 3 * said["standard_error"]
    number, error = map(float, re.search(r"likelihood (-?[\d.]+) ± ([\d.]+) nats", line).groups())
    assert number == pytest.approx(said["log_likelihood"], abs=0.051)
    assert error == pytest.approx(said["standard_error"], abs=0.051)
    written = sorted(path.name for path in out.iterdir())
    assert written == [CHECKPOINT, "parzen.json", "samples.png"]
    with Image.open(out / "samples.png") as picture:
        assert picture.size == (1000, 360)


def test_the_settings_stand_beside_the_score(quick):
    said = score(quick[0])
    assert (said["samples"], said["validation_images"], said["test_images"]) == (500, 1000, 1000)
    assert said["data"] == "drawn digits, 5,000 images"
    assert (said["steps"], said["epochs"]) == (700, 7.0)
    wanted = {"seed": 0, "batch": 50, "latent": 20, "hidden": 200, "units": 60, "momentum": 0.5}
    wanted |= {"lr_g": 1.0, "lr_d": 0.1, "halving": 30_000, "average": 3, "quick": True}
    assert {key: said["settings"][key] for key in wanted} == wanted


def test_the_score_is_that_of_the_generator_in_the_checkpoint(quick):
    """Built from what the checkpoint says of it, and measured with a plain sum over windows."""
    path, said = quick[0] / CHECKPOINT, score(quick[0])
    recipe = checkpoint.peek(path)["generator"]
    assert (recipe["noise"], recipe["low"]) == ("normal", 0.0)
    G = GENERATORS[recipe["network"]](rng=cpu.generator(0), **recipe["arguments"])
    average = optim.EMA(G)
    checkpoint.load(path, {"G": G, "average": average}, partial=True)
    z = cpu.generator(0).spawn(4)[3].normal((500, recipe["arguments"]["latent"]))

    def windows(network):
        with no_grad():
            return network(Tensor(z)).numpy().reshape(500, 784).astype(float)

    def likelihood(points, centres, sigma):
        squared = np.array([((centres - x) ** 2).sum(axis=1) for x in points])
        scale = np.log(500) + 392 * np.log(2 * np.pi * sigma**2)
        return logsumexp(-squared / (2 * sigma**2), axis=1) - scale

    test = drawn_digits(1000, 1).images.reshape(1000, 784) / 255
    values = likelihood(test, windows(average.network), said["sigma"])
    assert values.mean() == pytest.approx(said["log_likelihood"], abs=1e-3)
    assert values.std(ddof=1) / np.sqrt(1000) == pytest.approx(said["standard_error"], rel=1e-4)

    validation = drawn_digits(6000, 0).images[5000:].reshape(1000, 784) / 255
    grid = 10 ** np.linspace(-1, 0, 10)
    near = grid[abs(np.log(grid / said["sigma"])) < 0.3]  # the best one and its neighbours
    assert len(near) == 3
    for network, name in ((average.network, "log_likelihood"), (G, "without_averaging_weights")):
        centres = windows(network)
        means = [likelihood(validation, centres, sigma).mean() for sigma in near]
        if network is not G:
            assert said["sigma"] == pytest.approx(near[np.argmax(means)])
        assert said["on_validation_images"][name] == pytest.approx(max(means), abs=1e-3)


def test_no_image_has_two_uses(example):
    train, validation, test = example.images(example.parse(["--quick"]))
    known, unseen = drawn_digits(6000, 0).images, drawn_digits(1000, 1).images
    assert (train.images == known[:5000]).all()
    np.testing.assert_allclose(validation, known[5000:].reshape(1000, 784) / 255, rtol=1e-6)
    np.testing.assert_allclose(test, unseen.reshape(1000, 784) / 255, rtol=1e-6)


def test_the_defaults_are_the_papers_networks(example):
    args = example.parse([])
    sizes = args.batch, args.latent, args.hidden, args.units, args.samples
    assert sizes == (100, 100, 1200, 240, 10_000)


def test_the_rates_halve_as_told(example):
    rate = example.decaying(0.4, 100)
    assert [rate(1), rate(101), rate(201)] == pytest.approx([0.4, 0.2, 0.1])
    assert rate(51) == pytest.approx(0.4 / np.sqrt(2))


# --- It repeats, stops and goes on ---------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of 24 steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    run(SCRIPT, *TINY, "--steps", 24, "--out", out)
    return out


def test_ctrl_c_saves_and_scores_nothing(tmp_path):
    with ctrl_c_after(7):
        out, _ = run(SCRIPT, *TINY, "--steps", 1000, "--out", tmp_path, status=130)
    assert "interrupted and saved: go on with --resume" in out
    assert not (tmp_path / "parzen.json").exists()
    steps = checkpoint.peek(tmp_path / CHECKPOINT)["step"]
    assert len(load_file(tmp_path / CHECKPOINT)["record/rows"]) == steps == 7


# --- It complains --------------------------------------------------------------------------------


def test_resuming_with_other_sizes_is_refused(whole):
    _, err = run(SCRIPT, "--resume", whole, "--hidden", 9, status=2)
    assert "--hidden 8" in complaint(err)


def test_a_generator_that_learned_nothing_is_told(tmp_path):
    """Three steps at a rate that changes nothing: no likelier than before."""
    argv = [*TINY, "--lr-g", 1e-12, "--steps", 3, "--out", tmp_path]
    out, _ = run(SCRIPT, *argv)
    assert "no better than the untrained generator" in out
