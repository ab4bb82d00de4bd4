"""The example of mode collapse: it finds the modes, each remedy acts, runs go on, tables too."""

import json
import signal

import numpy as np
import pytest
from checks import fill
from PIL import Image
from running import complaint, module, run
from safetensors.numpy import load_file

from minigan import Tensor, cpu, losses, no_grad
from minigan.training.checkpoint import CheckpointError

SCRIPT = "mode_collapse.py"
CHECKPOINT = "checkpoint.safetensors"
SMALL = ["--width", "8", "--batch", "16", "--frames", "2"]
EVERYTHING = [
    *("--pack", "2", "--minibatch-std", "--minibatch-discrimination", "--history", "16"),
    *("--instance-noise", "0.1", "--dropout", "0.1", "--r1", "0.1", "--spectral-norm"),
    *("--unroll", "1", "--ema", "0.9", "--label-smoothing", "0.1"),
]


@pytest.fixture
def example(monkeypatch):
    example = module("mode_collapse")
    monkeypatch.setattr(example.Picture, "CELLS", 4)  # a coarse heat map is drawn sooner
    return example


def test_the_ring_is_found_whole(tmp_path):
    """In an eighth of the steps samples are not sharp yet, but every mode has its share."""
    out, _ = run(SCRIPT, "--quick", "--frames", 4, "--out", tmp_path)
    words = out.replace(",", " ").split()
    assert "modes 8/8" in out
    assert float(words[words.index("KL") + 1]) < 0.05
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


def stop_after(example, patch, steps):
    """As if somebody pressed Ctrl-C when that many steps have been made."""
    made, play = [], example.Game.play

    def counted(game):
        made.append(game)
        play(game)
        if len(made) == steps:
            signal.raise_signal(signal.SIGINT)

    patch.setattr(example.Game, "play", counted)


@pytest.mark.parametrize(
    "argv", [[], EVERYTHING, ["--loss", "wasserstein", "--data", "grid"]], ids=["none", "all", "gp"]
)
def test_a_run_in_two_parts_is_the_run_in_one(argv, tmp_path, example, monkeypatch):
    argv, parts = [*SMALL, *argv, "--steps", "10"], tmp_path / "parts"
    assert example.main([*argv, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        stop_after(example, patch, 7)
        assert example.main([*argv, "--out", str(parts)]) == 130
    assert len(load_file(parts / CHECKPOINT)["record/rows"]) == 7
    assert example.main(["--resume", "--out", str(parts)]) == 0
    assert equal(parts / CHECKPOINT, tmp_path / "whole" / CHECKPOINT)


def test_one_seed_gives_one_run(tmp_path, example):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        argv = [*SMALL, *EVERYTHING, "--steps", "3", "--seed", str(seed)]
        assert example.main([*argv, "--out", str(tmp_path / name)]) == 0
    a, b, c = (tmp_path / name / CHECKPOINT for name in "abc")
    assert equal(a, b) and not equal(a, c)
    for argv in (["--table"], ["--data", "grid"], ["--pack", "4"]):
        with pytest.raises(CheckpointError, match=argv[0]):
            example.main(["--resume", str(tmp_path / "a"), *argv])


# --- What the options do -------------------------------------------------------------------------


def weights_after(example, argv, steps=3, device=cpu):
    game = example.Game(example.parse([*SMALL, "--steps", "20", *argv]), device)
    for _ in range(steps):
        game.step()
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
    assert set(example.PUBLISHED["ring"]) <= set(example.REMEDIES)


@pytest.mark.parametrize("loss", losses.OBJECTIVES)
def test_every_loss_trains(loss, example):
    assert differ(weights_after(example, ["--loss", loss]), weights_after(example, [], 0))


def test_a_captured_game_is_the_eager_one(cuda, example, monkeypatch):
    captured = weights_after(example, EVERYTHING, 6, cuda)
    monkeypatch.setattr(cuda, "capture", lambda step: step)
    for a, b in zip(captured, weights_after(example, EVERYTHING, 6, cuda), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


def test_the_heat_map_shows_what_d_says_of_each_point(example):
    points = fill((21, 2))

    def output(game, batch):
        with no_grad():
            return game.objective.score(game.D(Tensor(batch.astype("float32")))).numpy()[:, 0]

    plain = example.Game(example.parse(SMALL), cpu)
    np.testing.assert_allclose(plain.verdicts(points), output(plain, points), rtol=1e-6)

    grid = example.Game(example.parse([*SMALL, "--data", "grid"]), cpu)
    seen = points / (2 * np.sqrt(2))
    np.testing.assert_allclose(grid.verdicts(points), output(grid, seen), rtol=1e-5)

    pairs = example.Game(example.parse([*SMALL, "--pack", "2"]), cpu)
    for found, start in zip(pairs.verdicts(points)[:8], range(0, 16, 2), strict=True):
        pair = np.stack([points[start // 2], pairs.company[start + 1]])
        assert found == pytest.approx(output(pairs, pair)[0], rel=1e-5)

    crowd = example.Game(example.parse([*SMALL, "--pack", "2", "--minibatch-std"]), cpu)
    batch = crowd.company.copy()
    batch[0] = points[0]  # one point to sixteen, as all sixteen are looked at together
    assert crowd.verdicts(points[:1])[0] == pytest.approx(output(crowd, batch)[0], rel=1e-5)
    assert len(crowd.verdicts(points)) == 21


# --- The table -----------------------------------------------------------------------------------


def test_the_table_goes_on_where_it_was_interrupted(tmp_path, example, monkeypatch, capsys):
    argv = ["--table", *SMALL, "--steps", "5", "--seeds", "2", "--out", str(tmp_path)]
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
    assert example.main([*argv, "--batch", "32"]) == 0  # other options: all are
    changed = json.loads((tmp_path / "table.json").read_text())
    assert all(changed[key]["found"] != whole[key]["found"] for key in whole)


def test_the_table_says_what_its_runs_found(tmp_path, example, capsys):
    """Means and intervals by hand, from results that are written into its file."""
    argv = ["--table", "--seeds", "2", "--out", str(tmp_path)]
    runs = {}
    for name, options in example.REMEDIES.items():
        for seed in (0, 1):
            wanted = [*example.TABLE, *argv, *options.split(), "--seed", str(seed)]
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
    argv = ["--table", "--quick", "--steps", 40, "--seeds", 1, "--out", tmp_path]
    out, _ = run(SCRIPT, *argv)
    assert "2 of 2 runs" in out and out.splitlines()[2].startswith("none ")
    with Image.open(tmp_path / "table.png") as picture:
        assert picture.size[0] > 300


# --- Mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--pack", "3"], "--batch 256 can't be packed by --pack 3"),
        (["--history", "100"], "--history 100: want an even --batch"),
        (["--unroll", "1", "--feature-matching", "1"], "each replaces G's step"),
        (["--label-smoothing", "0.1", "--loss", "hinge"], "the hinge loss has no labels"),
        (["--label-smoothing", "1"], "want less than 1"),
        (["--ema", "1"], "decay is 1.0"),
        (["--precision", "tf32"], "only --device cuda"),
    ],
)
def test_options_that_cannot_be_had_are_refused(argv, said, tmp_path, example):
    with pytest.raises(example.cli.OptionError, match=said):
        example.main([*argv, "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--dropout", "-1"], "expected a number > 0"),
        (["--pack", "3"], "can't be packed"),
        (["--resume"], "no such checkpoint"),
    ],
)
def test_a_users_mistake_is_one_line(argv, said, tmp_path):
    _, err = run(SCRIPT, *argv, "--out", tmp_path, status=2)
    assert said in complaint(err)


def test_a_damaged_table_is_one_line(tmp_path):
    (tmp_path / "table.json").write_text("{")
    _, err = run(SCRIPT, "--table", "--out", tmp_path, status=2)
    assert "table.json is damaged" in complaint(err)


def test_a_run_that_loses_its_weights_says_so(tmp_path, example, capsys):
    with np.errstate(all="ignore"):
        argv = [*SMALL, "--lr-g", "1e30", "--lr-d", "1e30", "--steps", "20"]
        assert example.main([*argv, "--out", str(tmp_path)]) == 1
    assert "NaN or infinity: the weights are lost" in capsys.readouterr().out
