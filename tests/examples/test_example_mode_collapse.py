"""The example of mode collapse: it finds the modes, packs, and goes on where it ended."""

import re

import numpy as np
import pytest
from checks import fill
from PIL import Image
from running import module, run
from safetensors.numpy import load_file

from minigan import Tensor, cpu, losses, no_grad, plots
from minigan.training import CheckpointError

SCRIPT = "mode_collapse"
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


def test_a_g_that_answers_to_the_end_is_one_point_and_one_that_takes_turns_is_not(tmp_path):
    """KL to equal shares is ln 8 = 2.08 where all samples are nearest to one mode."""
    argv = ["--steps=500", "--width=64", "--batch=64", "--frames=1", "--out", tmp_path]
    for answers, low, high in ((15, 1.9, 2.1), (1, 0, 0.7)):
        out, _ = run(SCRIPT, f"--answers={answers}", *argv)
        assert "strict 0/8" in out or "strict 1/8" in out  # as yet none are sharp
        assert low < float(re.search(r"KL ([\d.]+);", out)[1]) < high


def test_other_options_do_not_go_on_with_a_run(tmp_path, example):
    argv = [*SMALL, "--pack", "2", "--steps", "3", "--seed", "1"]
    assert example.main([*argv, "--out", str(tmp_path / "a")]) == 0
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
            cancels = key == "5.bias" and loss in ("wasserstein", "relativistic")  # D(x) - D(G(z))
            assert moved or cancels, key


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
