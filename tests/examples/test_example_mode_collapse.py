"""The example of mode collapse: it finds the modes, packs, and goes on where it ended."""

import signal

import numpy as np
import pytest
from checks import fill
from PIL import Image
from running import complaint, module, run
from safetensors.numpy import load_file

from minigan import Tensor, cpu, losses, no_grad, plots
from minigan.training import CheckpointError, OptionError, Progress

SCRIPT = "mode_collapse.py"
CHECKPOINT = "checkpoint.safetensors"
SMALL = ["--width", "8", "--batch", "16", "--frames", "2"]


@pytest.fixture
def example(monkeypatch):
    monkeypatch.setattr(plots.modes, "CELLS", 4)  # a coarse heat map is drawn sooner
    return module("mode_collapse")


def test_the_ring_is_found_whole(tmp_path):
    """In an eighth of the steps samples are not sharp yet, but every mode has its share."""
    out, _ = run(SCRIPT, "--quick", "--frames", 4, "--out", tmp_path)
    words = out.replace(",", " ").split()
    assert "modes 8/8" in out
    assert float(words[words.index("KL") + 1].rstrip(";")) < 0.05
    assert float(words[words.index("quality") + 1].rstrip("%")) > 10
    with (
        Image.open(tmp_path / "result.png") as picture,
        Image.open(tmp_path / "training.gif") as film,
    ):
        # 4.6 inches of 100 pixels; older versions of Matplotlib round down what is 459.999….
        assert picture.size in ((1000, 460), (1000, 459)) and film.n_frames == 5


def equal(a, b):
    a, b = load_file(a), load_file(b)
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def stop_after(patch, steps):
    """As if somebody pressed Ctrl-C when that many steps have been made."""
    made, advance = [], Progress.advance

    def counted(progress):
        made.append(progress)
        advance(progress)
        if len(made) == steps:
            signal.raise_signal(signal.SIGINT)

    patch.setattr(Progress, "advance", counted)


@pytest.mark.parametrize(
    "argv", [[], ["--pack", "2"], ["--loss", "wasserstein", "--data", "grid"]], ids=str
)
def test_a_run_in_two_parts_is_the_run_in_one(argv, tmp_path, example, monkeypatch):
    argv, parts = [*SMALL, *argv, "--steps", "10"], tmp_path / "parts"
    assert example.main([*argv, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        assert example.main([*argv, "--out", str(parts)]) == 130
    assert len(load_file(parts / CHECKPOINT)["record/rows"]) == 7
    assert example.main(["--resume", "--out", str(parts)]) == 0
    assert equal(parts / CHECKPOINT, tmp_path / "whole" / CHECKPOINT)


def test_one_seed_gives_one_run(tmp_path, example):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        argv = [*SMALL, "--pack", "2", "--steps", "3", "--seed", str(seed)]
        assert example.main([*argv, "--out", str(tmp_path / name)]) == 0
    a, b, c = (tmp_path / name / CHECKPOINT for name in "abc")
    assert equal(a, b) and not equal(a, c)
    for argv in (["--data", "grid"], ["--pack", "4"]):
        with pytest.raises(CheckpointError, match=argv[0]):
            example.main(["--resume", str(tmp_path / "a"), *argv])


@pytest.mark.parametrize("loss", losses.OBJECTIVES)
def test_every_loss_trains(loss, tmp_path, example):
    argv = [*SMALL, "--loss", loss, "--steps", "2", "--out", str(tmp_path)]
    assert example.main(argv) == 0
    saved, args = load_file(tmp_path / CHECKPOINT), example.parse(argv)
    assert all(np.isfinite(array).all() for array in saved.values())
    weights, _, _ = cpu.generator(args.seed).spawn(3)
    for make in (example.generator, example.discriminator):
        network = make(args, weights)
        for key, before in network.state().items():
            moved = (saved[f"{network.name}/{key}"] != before).any()
            assert moved or (loss, key) == ("wasserstein", "5.bias"), key  # it cancels out


def test_the_heat_map_shows_what_d_says_of_each_point(example):
    points, company = fill((21, 2)).astype("float32"), fill((16, 2), seed=1).astype("float32")

    def output(D, batch):
        with no_grad():
            return objective.score(D(Tensor(batch))).numpy()[:, 0]

    objective = losses.NonSaturating()
    for pack in (1, 2):
        args = example.parse([*SMALL, "--pack", str(pack)])
        D = example.discriminator(args, cpu.generator(0))
        found = example.verdicts(D, objective, points, company, pack)
        assert found.shape == (21,)
        for k, value in enumerate(found):  # each with its own company, and from the first again
            start = pack * (k % (16 // pack))
            batch = np.concatenate([points[k : k + 1], company[start + 1 : start + pack]])
            assert value == pytest.approx(output(D, batch)[0], rel=1e-5)


def test_the_heat_map_is_of_the_grid_as_d_sees_it(tmp_path, example, monkeypatch):
    """The networks see the grid's points at order one, and the heat map is asked for there."""
    asked, verdicts = [], example.verdicts

    def remember(D, objective, places, *others):
        asked.append(places)
        return verdicts(D, objective, places, *others)

    monkeypatch.setattr(example, "verdicts", remember)
    argv = [*SMALL, "--data", "grid", "--steps", "1", "--out", str(tmp_path)]
    assert example.main(argv) == 0
    reach = (1.25 * 4 + 0.15) / (2 * np.sqrt(2))
    np.testing.assert_allclose(asked[0][0], [-0.75 * reach] * 2, rtol=1e-6)
    np.testing.assert_allclose(asked[0][-1], [0.75 * reach] * 2, rtol=1e-6)


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--pack", "3"], "--batch 256 can't be packed by --pack 3"),
        (["--precision", "tf32"], "only --device cuda"),
    ],
)
def test_options_that_cannot_be_had_are_refused(argv, said, tmp_path, example):
    with pytest.raises(OptionError, match=said):
        example.main([*argv, "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--lr-g", "-1"], "expected a number > 0"),
        (["--pack", "3"], "can't be packed"),
        (["--resume"], "no such checkpoint"),
    ],
)
def test_a_users_mistake_is_one_line(argv, said, tmp_path):
    _, err = run(SCRIPT, *argv, "--out", tmp_path, status=2)
    assert said in complaint(err)


def test_a_run_that_loses_its_weights_says_so(tmp_path, example, capsys):
    with np.errstate(all="ignore"):
        argv = [*SMALL, "--lr-g", "1e30", "--lr-d", "1e30", "--steps", "20"]
        assert example.main([*argv, "--out", str(tmp_path)]) == 1
    assert "NaN or infinity: the weights are lost" in capsys.readouterr().err
    assert not (tmp_path / "result.png").exists()
