"""began.py: k moves as the paper says, collapse is told, a run goes on where it ended."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running import module, run
from safetensors.numpy import load_file

from minigan import cpu, data, models, optim, tensor
from minigan.evaluation import diversity
from minigan.training import CheckpointError, Record, Watch, checkpoint

pytestmark = pytest.mark.usefixtures("drawn_once")
CHECKPOINT = "checkpoint.safetensors"
LAMBDA, GAMMA = 0.2, 0.8
SMALL = ["--quick", "--hidden", 16, "--latent", 4, "--code", 5, "--batch", 16, "--every", 10]
STEPS = [*SMALL, "--rate", LAMBDA, "--gamma", GAMMA, "--steps", 40]
# A k that is too slow to keep up, and a G without batch norm.
COLLAPSING = ["--no-batch-norm", "--rate", 0.001, "--gamma", 0.5]


@pytest.fixture(scope="module")
def example():
    return module("began")


@pytest.fixture(scope="module")
def train(example):
    """Runs the example in this process; returns its exit status."""
    return lambda *argv: example.main([str(a) for a in argv])


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The folder of a run of 40 steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole")
    assert train(*STEPS, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def known():
    return data.drawn_digits(3000, 0)


def rows(out):
    return load_file(out / CHECKPOINT)["record/rows"]


def columns(out):
    return dict(zip(("real", "fake", "diversity", "k", "m"), rows(out).T, strict=True))


# --- The run -------------------------------------------------------------------------------------


def test_quick_trains_without_collapse_and_a_slow_k_does_not(tmp_path):
    """And of the two, the one that collapses has the lower M."""
    out, _ = run("began", "--quick", "--out", tmp_path / "healthy")
    assert "G has collapsed" not in out
    k, share = (float(re.search(name + r" ([\d.]+)", out)[1]) for name in ("k", "diversity"))
    near = float(re.search(r"nearest real image (\d+)% as far", out)[1])
    assert 0.1 < k < 1 and 60 < share < 120 and 30 < near < 120
    healthy = columns(tmp_path / "healthy")
    assert healthy["real"][-20:].mean() < 0.5 * healthy["real"][:20].mean()
    with Image.open(tmp_path / "healthy" / "began.png") as picture:
        assert picture.size == (1200, 520)

    argv = ["--quick", *COLLAPSING, "--out", tmp_path / "collapsed"]
    out, err = run("began", *argv)
    assert "G has collapsed" in err and "G has collapsed" in out
    collapsed = columns(tmp_path / "collapsed")
    assert collapsed["m"][-50:].mean() < healthy["m"][-50:].mean()


def test_k_and_m_are_the_papers(whole):
    """Equation 13 of Berthelot et al. 2017 and the measure below it, from the recorded energies."""
    told, k = columns(whole), 0.0
    assert len(told["k"]) == 40 and told["k"].max() > 0.01
    assert load_file(whole / CHECKPOINT)["objective/k"] == told["k"][-1]
    for real, fake, now, m in zip(*(told[c] for c in ("real", "fake", "k", "m")), strict=True):
        balance = GAMMA * real - fake
        k = min(max(k + LAMBDA * balance, 0.0), 1.0)
        np.testing.assert_allclose([now, m], [k, real + abs(balance)], rtol=1e-5, atol=1e-6)


def test_ebgan_trains_and_is_drawn_beside(train, whole, tmp_path, capsys):
    argv = [*SMALL, "--loss", "ebgan", "--steps", 20, "--out", tmp_path]
    assert train(*argv, "--beside", whole) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert "k 0" not in line and "M 0" not in line and "diversity" in line
    saved = load_file(tmp_path / CHECKPOINT)
    assert saved["record/rows"].shape == (20, 3) and "objective/k" not in saved
    train(*argv, "--pull", 0)
    assert (load_file(tmp_path / CHECKPOINT)["G/0.weight"] != saved["G/0.weight"]).any()


def test_every_option_of_the_networks_reaches_them(train, whole, tmp_path):
    def weights(*argv):
        train(*STEPS, *argv, "--steps", 1, "--out", tmp_path)
        return load_file(tmp_path / CHECKPOINT)

    usual = weights()
    assert usual["D/encode.1.weight"].shape == (784, 16)
    assert usual["D/encode.3.weight"].shape == (16, 5) and usual["G/0.weight"].shape == (4, 16)
    assert "G/1.scale" in usual and "G/1.scale" not in weights("--no-batch-norm")
    for argv in (["--power", 1], ["--lr", 0.1]):
        assert (weights(*argv)["D/encode.1.weight"] != usual["D/encode.1.weight"]).any(), argv


def test_the_checkpoint_tells_how_to_draw_samples(whole):
    recipe = checkpoint.peek(whole / CHECKPOINT)["generator"]
    assert (recipe["network"], recipe["noise"], recipe["low"]) == ("began", "uniform", -1.0)
    G = models.GENERATORS[recipe["network"]](rng=cpu.generator(1), **recipe["arguments"])
    average = optim.EMA(G)
    checkpoint.load(whole / CHECKPOINT, {"average": average}, partial=True)
    z = cpu.generator(2).uniform((3, recipe["arguments"]["latent"]), -1, 1)
    images = average.network(tensor(z)).numpy()
    assert images.shape == (3, 28, 28, 1) and abs(images).max() <= 1


def test_other_data_and_other_checkpoints_are_refused(train, whole, known, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data, "drawn_digits", lambda count, seed: known)
        with pytest.raises(CheckpointError, match="2,000 images; --data names drawn digits"):
            train("--resume", whole)
    checkpoint.save(tmp_path / CHECKPOINT, {}, options={"loss": "hinge"})
    with pytest.raises(CheckpointError, match=r"no checkpoint of began\.py"):
        train(*SMALL, "--beside", tmp_path, "--out", tmp_path)


# --- The collapse that M does not see ------------------------------------------------------------


def test_a_collapsed_batch_is_told_from_real_images(example, known):
    random, others = np.random.default_rng(0), data.drawn_digits(500, 1)
    now = {"real": 0.1, "fake": 0.05, "k": 0.0, "m": 0.1}

    def verdict(samples):
        shares = example.counted(samples, known)
        share = diversity(tensor(samples), tensor(data.to_unit(known.images[: len(samples)])))
        return example.verdict(now | {"diversity": share.item()}, shares, known.classes)

    real = data.to_unit(others.images)
    assert verdict(real).startswith("No collapse")
    one = real[:1] + 0.1 * random.standard_normal(real.shape).astype(np.float32)
    assert verdict(one).startswith("G has collapsed")
    assert "M does not show it" in verdict(one) and "k is 0" in verdict(one)
    two = verdict(real[np.isin(others.labels, [2, 7])])
    assert two.startswith("G varies, but some classes have less than 1% of the samples")
    missing = set(two.rpartition(": ")[2].split("; "))
    assert {"0", "3", "4", "5", "6", "8"} <= missing and not missing & {"2", "7"}


def test_digits_are_counted_by_their_neighbours(example, known):
    others = data.drawn_digits(500, 1)
    chosen = others.labels < 4
    shares = example.counted(data.to_unit(others.images[chosen]), known)
    true = np.bincount(others.labels[chosen], minlength=10) / chosen.sum()
    np.testing.assert_allclose(shares, true, atol=0.02)
    unlabelled = data.Dataset("plain", known.images)
    assert example.counted(data.to_unit(others.images), unlabelled) is None


def test_a_collapse_and_a_recovery_are_said_once_each(example):
    said, record = [], Record(*example.COLUMNS["began"])
    words = {"show": example.in_numbers, "troubles": {example.told: example.over}}
    watch, progress = Watch(record, early=201, **words), SimpleNamespace(say=said.append)
    progress.show = lambda text: None
    for step, share in enumerate([0.9] * 300 + [0.1] * 300 + [0.9] * 300, 1):
        record.add(0.1, 0.05, share, 0.5, 0.1)
        if step % 50 == 0:
            assert watch.look(step, None, progress)
    assert [line.partition(":")[0] for line in said] == ["step 400", "step 700"]
    assert "has collapsed" in said[0] and "k is 0" not in said[0] and "again" in said[1]
    record.add(float("nan"), 0.05, 0.9, 0.5, 0.1)
    assert not watch.look(901, None, progress) and "NaN" in said[-1]
