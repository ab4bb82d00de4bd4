"""The study of remedies: each of them acts; its table is right and goes on where it ended."""

import json
import signal

import numpy as np
import pytest
from PIL import Image
from running import complaint, module, run

from minigan import cpu, losses

SCRIPT = "remedies_table"
SMALL = ["--width", "8", "--batch", "16"]
EVERYTHING = [
    *("--pack", "2", "--minibatch-std", "--minibatch-discrimination", "--history", "16"),
    *("--instance-noise", "0.1", "--dropout", "0.1", "--r1", "0.1", "--spectral-norm"),
    *("--unroll", "1", "--ema", "0.9", "--label-smoothing", "0.1"),
]


@pytest.fixture
def example():
    return module("remedies_table")


def stop_after(example, patch, steps):
    """As if somebody pressed Ctrl-C when that many steps have been made."""
    made, play = [], example.Game.play

    def counted(game):
        made.append(game)
        play(game)
        if len(made) == steps:
            signal.raise_signal(signal.SIGINT)

    patch.setattr(example.Game, "play", counted)


# --- What the options do -------------------------------------------------------------------------


def weights_after(example, argv, steps=3, device=cpu):
    game = example.Game(example.parse([*SMALL, "--steps", "20", *argv]), device)
    step = device.capture(game.play)
    for _ in range(steps):
        step()
    assert steps == 0 or game.healthy()
    arrays = [*game.G.state().values(), *game.D.state().values(), *game.average.state().values()]
    return [np.array(a if np.isscalar(a) else device.to_numpy(a)) for a in arrays]


def differ(a, b):
    shapes = [x.shape for x in a] != [x.shape for x in b]
    return shapes or any((x != y).any() for x, y in zip(a, b, strict=True))


def test_every_remedy_of_the_table_changes_the_run(example):
    plain = weights_after(example, [])
    for name, options in example.REMEDIES.items():
        if options:
            options = options.replace("2048", "16").replace("--unroll 5", "--unroll 2")
            assert differ(weights_after(example, options.split()), plain), name
    for published in example.PUBLISHED.values():
        assert set(published) <= set(example.REMEDIES)


@pytest.mark.parametrize("loss", losses.OBJECTIVES)
def test_every_loss_trains(loss, example):
    assert differ(weights_after(example, ["--loss", loss]), weights_after(example, [], 0))


def test_one_seed_gives_one_run(example):
    a, b, c = (weights_after(example, [*EVERYTHING, "--seed", seed]) for seed in "112")
    assert not differ(a, b) and differ(a, c)


def test_a_captured_game_is_the_eager_one(cuda, example, monkeypatch):
    captured = weights_after(example, EVERYTHING, 6, cuda)
    monkeypatch.setattr(cuda, "capture", lambda step: step)
    for a, b in zip(captured, weights_after(example, EVERYTHING, 6, cuda), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


# --- The table -----------------------------------------------------------------------------------


def test_the_table_goes_on_where_it_was_interrupted(tmp_path, example, monkeypatch, capsys):
    argv = [*SMALL, "--steps", "5", "--seeds", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(example, "REMEDIES", {"none": "", "packing, 2": "--pack 2"})
    with monkeypatch.context() as patch:
        stop_after(example, patch, 12)  # in the third of four runs
        assert example.main(argv) == 130
    out = capsys.readouterr().out
    assert "2 of 4 runs" in out and "the same command goes on" in out
    first = json.loads((tmp_path / "table.json").read_text())
    assert sorted(first) == ["none/0", "packing, 2/0"]

    assert example.main(argv) == 0
    out = capsys.readouterr().out
    assert "4 of 4 runs" in out and "±" in out and "6.3 / 98.2 / 0.45 (PacGAN)" in out
    whole = json.loads((tmp_path / "table.json").read_text())
    assert len(whole) == 4 and all(whole[key] == first[key] for key in first)
    assert (tmp_path / "table.png").exists()

    with monkeypatch.context() as patch:
        patch.setattr(example.Game, "play", None)  # nothing is run again
        assert example.main(argv) == 0
        assert example.main([*argv, "--only", "none"]) == 0
        assert "2 of 2 runs" in capsys.readouterr().out
    assert example.main([*argv, "--batch", "32"]) == 0  # other options: all are
    changed = json.loads((tmp_path / "table.json").read_text())
    assert all(changed[key]["found"] != whole[key]["found"] for key in whole)


def test_the_table_says_what_its_runs_found(tmp_path, example, capsys):
    """Means and intervals by hand, from results that are written into its file."""
    argv = ["--seeds", "2", "--out", str(tmp_path)]
    runs = {}
    for name, options in example.REMEDIES.items():
        for seed in (0, 1):
            wanted = [*argv, *options.split(), "--seed", str(seed)]
            found = {"recovered": 7 + seed, "strict": 4 + seed, "high_quality": 0.9, "kl": 0.25}
            found["samples"] = [[1.0, 0.0]]
            runs[f"{name}/{seed}"] = {
                "options": example.Results._wanted(example.parse(wanted)),
                "seconds": 3.0,
                "found": None if (name, seed) == ("R1", 1) else found,
            }
    (tmp_path / "table.json").write_text(json.dumps(runs))
    assert example.main(argv) == 0
    out = capsys.readouterr().out
    half = 12.706 * 0.5  # t of one degree of freedom, times the standard error of 7 and 8
    (line,) = [line for line in out.splitlines() if line.startswith("packing, 2")]
    assert f"7.5 ± {half:.1f}" in line and f"4.5 ± {half:.1f}" in line
    assert "90.0 ± 0.0" in line and "0.250 ± 0.000" in line and "7.9 / 95.6 / 0.07" in line
    (line,) = [line for line in out.splitlines() if line.startswith("R1")]
    assert "7.0 " in line and "1 of 2 runs ended in NaN" in line


def test_a_quick_table_in_a_process_of_its_own(tmp_path):
    argv = ["--quick", "--steps", 40, "--seeds", 1, "--out", tmp_path]
    out, _ = run(SCRIPT, *argv)
    assert "2 of 2 runs" in out and out.splitlines()[2].startswith("none ")
    with Image.open(tmp_path / "table.png") as picture:
        assert picture.size[0] > 300


def test_a_run_that_loses_its_weights_stands_in_the_table(tmp_path, example, capsys):
    with np.errstate(all="ignore"):
        argv = [*SMALL, "--lr-g", "1e30", "--lr-d", "1e30", "--steps", "20", "--seeds", "1"]
        assert example.main([*argv, "--only", "none", "--out", str(tmp_path)]) == 0
    assert "1 of 1 runs ended in NaN" in capsys.readouterr().out


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_table_is_one_line(text, tmp_path):
    (tmp_path / "table.json").write_text(text)
    _, err = run(SCRIPT, "--out", tmp_path, status=2)
    assert "table.json is damaged" in complaint(err)
