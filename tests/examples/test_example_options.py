"""Every option of every example does something: a table with a row per option.

Each example runs in this process, so small that a run takes milliseconds, on a terminal that knows
ASCII alone. Nothing is drawn: a figure's file holds the number of its lines, an image's its shape,
a film's the number of its frames.
"""

import contextlib
import functools
import io
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from running import EXAMPLES, module
from safetensors.numpy import load_file

from minigan import data, optim, plots, training
from minigan.training import checkpoint, options

# The run that a row changes by one option. IMAGES, OTHER, SAMPLES and BEGAN become paths.
SMALL = {
    "information_theory": "",
    "oscillation": "",
    "optimal_discriminator": "--steps 2 --batch 8",
    "gaussian_1d": "--steps 2 --batch 8 --frames 0",
    "saturation": "--steps 2 --batch 8 --head-start 2",
    "mode_collapse": "--steps 2 --batch 16 --width 8 --frames 1",
    "wgan": "--steps 2 --critic-steps 1",
    "remedies_table": "--only none --seeds 1 --steps 2 --batch 16 --width 8",
    "dcgan_mnist": "--data IMAGES --steps 2 --size 8 --width 4 --hidden 8 --latent 3 --batch 8 "
    "--samples 4 --every 2",
    "began": "--data IMAGES --steps 2 --size 8 --batch 8 --latent 3 --code 3 --hidden 8",
    "goodfellow_2014": "--data digits --steps 2 --batch 8 --latent 3 --hidden 8 --units 4 "
    "--samples 100 --every 2",
    "evaluate_mnist": "--data digits --steps 2 --count 100 --centres 4",
}


class Seen(NamedTuple):
    """What a run said and left."""

    status: int
    out: str  # without times and the folder's name
    err: str
    files: dict[str, str]  # by name
    rows: list[np.ndarray]  # of each record
    saves: list[int]  # the steps at which there was a checkpoint
    optimizers: list[optim.Optimizer]
    folder: Path

    @property
    def left(self):
        return self.status, self.out, self.files, self.saves, [r.tobytes() for r in self.rows]


# --- What must be seen: functions of the value, the run with it, and the run without -------------


def differs(value, seen, usual):
    assert seen.status == 0 and seen.left != usual.left


def refused(words):
    def check(value, seen, usual):
        *_, line = seen.err.strip().splitlines()
        assert seen.status == 2 and "error: " in line and words in line

    return check


def elsewhere(value, seen, usual):
    assert seen.files.keys() == usual.files.keys() and seen.folder.match(value)


def steps(value, seen, usual):
    assert max(map(len, seen.rows)) == int(value)


def epochs(value, seen, usual):
    """Of forty images, or of 500 digits, in batches of 8."""
    steps(int(value) * (62 if "digits" in seen.out else 5), seen, usual)


def quicker(value, seen, usual):
    parse = module("evaluate_mnist").parse
    usual, quick = parse([]), parse(["--quick"])
    assert all(getattr(quick, key) < getattr(usual, key) for key in ("steps", "count", "centres"))


def more_curves(value, seen, usual):
    assert int(seen.files["began.png"]) > int(usual.files["began.png"])


def saves(value, seen, usual):
    assert seen.saves == sorted({*range(int(value), 4, int(value)), 4})


def pictures(value, seen, usual):
    saves(value, seen, usual)
    found = [int(name[8:14]) for name in seen.files if name.startswith("samples_")]
    assert found == seen.saves


def images(value, seen, usual):
    grid = plots.sample_grid(np.zeros((int(value), 8, 8, 3)))
    assert seen.files["samples_000002.png"] == str(grid.shape)


def frames(value, seen, usual):
    assert seen.files["training.gif"] == str(int(value) + 1)


def windows(value, seen, usual):
    assert json.loads(seen.files["parzen.json"])["samples"] == int(value)


def scored(value, seen, usual):
    assert json.loads(seen.files["scores.json"])["test images"]["count"] == int(value)


def centres(value, seen, usual):
    assert json.loads(seen.files["scores.json"])["parzen"]["k-means"]["count"] == int(value)


def table(value, seen, usual):
    """A row of numbers for each seed."""
    assert len(json.loads(seen.files["table.json"])) == int(value)


class Row(NamedTuple):
    """Values of an option, by spaces; none if it is a flag. `on` is added to the small run."""

    values: str = ""
    seen: object = differs
    on: str = ""


TRAINING = {
    "--out": Row("elsewhere deep/er", elsewhere),
    "--device": Row("tpu cpu:1", refused("unknown device")),
    "--precision": Row("tf32", refused("only --device cuda")),
    "--seed": Row("1 2"),
    "--steps": Row("1 3", steps),
}
DCGAN = {
    "--batch": Row("4 16"),
    "--width": Row("2 6"),
    "--hidden": Row("0 6"),
    "--latent": Row("2 6"),
    "--lr-g": Row("1e-4 1e-2"),
    "--lr-d": Row("1e-4 1e-2"),
    "--data": Row("OTHER digits"),
    "--size": Row("12 16"),
    "--samples": Row("2 12", images),
    "--every": Row("1 3", pictures, "--steps 4"),
}

OPTIONS = {
    "information_theory": {"--out": Row("elsewhere deep/er", elsewhere)},
    "oscillation": {"--out": Row("deep/er", elsewhere)},
    "optimal_discriminator": TRAINING | {"--batch": Row("4 16"), "--lr": Row("1e-3 1e-2")},
    "gaussian_1d": TRAINING
    | {
        "--mean": Row("0 -3"),
        "--std": Row("0.5 3"),
        "--batch": Row("4 16"),
        "--lr": Row("1e-4 1e-2"),
        "--k": Row("2 3"),
        "--raw": Row(),
        "--frames": Row("1 4", frames, "--steps 64"),
    },
    "saturation": TRAINING
    | {
        "--head-start": Row("0 5"),
        "--optimizer": Row("adam"),
        "--lr": Row("1e-3 0.1"),
        "--batch": Row("4 16"),
    },
    "mode_collapse": TRAINING
    | {
        "--data": Row("grid"),
        "--latent": Row("3 16"),
        "--width": Row("4 12"),
        "--batch": Row("8 32"),
        "--loss": Row("wasserstein hinge"),
        "--lr-g": Row("1e-4 1e-2"),
        "--lr-d": Row("1e-4 1e-2"),
        "--critic-steps": Row("2 3"),
        "--frames": Row("2 4", frames, "--steps 4"),
        "--quick": Row(on="--steps 16"),
        "--pack": Row("2 4"),
    },
    "remedies_table": TRAINING
    | {
        "--only": Row("R1 hinge"),
        "--seeds": Row("2 3", table),
        "--data": Row("grid"),
        "--latent": Row("3 12"),
        "--width": Row("4 12"),
        "--batch": Row("8 32"),
        "--loss": Row("wasserstein hinge"),
        "--lr-g": Row("1e-4 1e-2"),
        "--lr-d": Row("1e-4 1e-2"),
        "--critic-steps": Row("2 3"),
        "--quick": Row(on="--steps 16"),
        "--pack": Row("2 4"),
        "--minibatch-std": Row(),
        "--minibatch-discrimination": Row(),
        "--unroll": Row("1 2", on="--steps 6"),
        "--history": Row("8 16"),
        "--r1": Row("0.1 1"),
        "--r2": Row("0.1 1"),
        "--dragan": Row("0.1 1"),
        "--gradient-penalty": Row("0.1 1"),
        "--spectral-norm": Row(),
        "--instance-noise": Row("0.1 1"),
        "--label-smoothing": Row("0.1 0.3"),
        "--dropout": Row("0.1 0.5"),
        "--feature-matching": Row("0.1 1"),
        "--ema": Row("0.05 0.1"),
    },
    "wgan": TRAINING
    | {
        "--quick": Row(on="--steps 3"),
        "--critic-steps": Row("2 3"),
        "--two-sided": Row(),
        "--clip": Row("0.01 0.1"),
    },
    "dcgan_mnist": TRAINING
    | DCGAN
    | {
        "--epochs": Row("1 2", epochs),
        "--loss": Row("hinge minimax"),
        "--critic-steps": Row("2 3"),
        "--clip": Row("0.01 0.1"),
    },
    "began": TRAINING
    | {
        "--epochs": Row("1 2", epochs),
        "--loss": Row("ebgan"),
        "--gamma": Row("0.2 0.5", on="--no-batch-norm"),
        "--rate": Row("0.001 0.5", on="--no-batch-norm"),
        "--margin": Row("0.1 5", on="--loss ebgan"),
        "--pull": Row("0 1", on="--loss ebgan"),
        "--power": Row("1"),
        "--no-batch-norm": Row(),
        "--batch": Row("4 16"),
        "--latent": Row("2 6"),
        "--code": Row("2 6"),
        "--hidden": Row("4 12"),
        "--lr": Row("1e-4 1e-2"),
        "--data": Row("OTHER digits"),
        "--size": Row("12 16"),
        "--every": Row("1 3", saves, "--steps 4"),
        "--beside": Row("BEGAN BEGAN/checkpoint.safetensors", more_curves),
        "--quick": Row(),
    },
    "goodfellow_2014": TRAINING
    | {
        "--epochs": Row("1 2", epochs),
        "--batch": Row("4 16"),
        "--latent": Row("2 6"),
        "--hidden": Row("4 12"),
        "--units": Row("2 6"),
        "--lr-g": Row("0.1 1"),
        "--lr-d": Row("0.01 0.5"),
        "--halving": Row("1 10"),
        "--momentum": Row("0.1 0.9"),
        "--average": Row("3 10"),
        "--data": Row("IMAGES", refused("no test split")),
        "--samples": Row("150 200", windows),
        "--every": Row("1 3", saves, "--steps 4"),
        "--quick": Row(),
    },
    "evaluate_mnist": TRAINING
    | {
        "samples": Row("SAMPLES"),
        "--data": Row("IMAGES", refused("no test split")),
        "--count": Row("150 200", scored),
        "--centres": Row("2 8", centres),
        "--quick": Row("", quicker),
    },
}
ROWS = [
    pytest.param(example, option, row, id=f"{example} {option}")
    for example, rows in OPTIONS.items()
    for option, row in rows.items()
]


# --- How it is seen ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """What the table's words in capitals mean."""
    folder = tmp_path_factory.mktemp("paths")
    random = np.random.default_rng(0)
    for name in ("IMAGES", "OTHER"):
        (folder / name).mkdir()
        for i in range(40):
            pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    digits = random.integers(0, 255, (100, 28, 28), dtype=np.uint8)
    np.savez(folder / "SAMPLES.npz", images=digits)
    return {
        "IMAGES": folder / "IMAGES",
        "OTHER": folder / "OTHER",
        "SAMPLES": folder / "SAMPLES.npz",
    }


@pytest.fixture(scope="module")
def small():
    """The examples' names with everything made small that has no option, and nothing drawn."""
    with pytest.MonkeyPatch.context() as patch:
        draw = functools.cache(lambda n, seed, draw=data.drawn_digits: draw(min(n, 600), seed))
        patch.setattr(data, "drawn_digits", draw)
        patch.setattr(module("wgan"), "DEEP_STEPS", 1)
        patch.setattr(module("evaluate_mnist"), "BATCH", 8)
        patch.setattr(module("began"), "COUNTED", 40)
        pixels = np.zeros((4, 4, 3), np.uint8)
        patch.setattr(plots, "frame", lambda figure: pixels)
        patch.setattr(plots, "DensityFigure", lambda **_: NoFigure())
        patch.setattr(plots, "save_figure", lambda figure, path: written(path, lines(figure)))
        patch.setattr(plots, "save_image", lambda path, x, **_: written(path, x.shape))
        gif = lambda path, frames, *_: written(path, len(frames))
        for files in (plots, plots.files):
            patch.setattr(files, "save_gif", gif)
        yield


class NoFigure:
    def update(self, view):
        return np.zeros((4, 4, 3), np.uint8)


def lines(figure) -> int:
    return sum(len(axes.lines) for axes in figure.axes)


def written(path, what):
    path.write_text(str(what))
    return path


@pytest.fixture(scope="module")
def observe(small, paths, tmp_path_factory):
    """Runs an example with the words of some options; a function to a Seen."""

    def run(example, *words):
        folder = tmp_path_factory.mktemp(example)
        argv = ["--out", str(folder), *SMALL[example].split(), *words]
        if "--epochs" in argv:  # which do not go with --steps
            at = argv.index("--steps")
            del argv[at : at + 2]
        for word, path in paths.items():
            argv = [re.sub(rf"^{word}\b", str(path), arg) for arg in argv]
        return observed(module(example).main, argv)

    return run


def observed(main, argv) -> Seen:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    records, optimizers, steps = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        remember(patch, training.Record, records)
        remember(patch, optim.Optimizer, optimizers)
        save = checkpoint.save
        patch.setattr(
            checkpoint, "save", lambda *a, **k: steps.append(k.get("step")) or save(*a, **k)
        )
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exit_,
        ):
            training.run(lambda: main(argv))
    folder = Path(argv[len(argv) - argv[::-1].index("--out")])
    out, err = (stream.buffer.getvalue().decode("ascii") for stream in (out, err))
    return Seen(
        status=exit_.value.code or 0,
        out=re.sub(r"[\d.]+ s\b", "", out.replace(str(folder), "")),
        err=err,
        files={path.name: content(path) for path in sorted(folder.iterdir())}
        if folder.exists()
        else {},
        rows=[record.rows() for record in records],
        saves=steps,
        optimizers=optimizers,
        folder=folder,
    )


def remember(patch, kind, made):
    """Appends each object of the class to the list `made`."""
    init = kind.__init__

    def remembering(self, *args, **kwargs):
        init(self, *args, **kwargs)
        made.append(self)

    patch.setattr(kind, "__init__", remembering)


def content(path) -> str:
    """The numbers in a file, without what the run was told and how long it took."""
    if path.suffix == ".safetensors":
        return str({key: value.tobytes() for key, value in load_file(path).items()})
    if path.suffix == ".json":
        return json.dumps(numbers(json.loads(path.read_text(encoding="utf-8"))))
    return path.read_text(encoding="utf-8")


def numbers(value):
    if not isinstance(value, dict):
        return value
    told = ("settings", "options", "seconds")
    return {key: numbers(part) for key, part in value.items() if key not in told}


@pytest.fixture(scope="module")
def usual(observe):
    return functools.cache(observe)


# --- The tests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("example", "option", "row"), ROWS)
def test_an_option_does_what_it_says(example, option, row, observe, usual, paths):
    before = usual(example, *row.on.split())
    paths["BEGAN"] = before.folder
    found = [before]
    for value in row.values.split() or [""]:
        words = [*row.on.split(), *[option] * option.startswith("--"), *[value] * bool(value)]
        if option == "--out":
            words = ["--out", str(before.folder / "new" / value)]
        seen = observe(example, *words)
        row.seen(value, seen, before)
        if row.seen is differs:
            assert all(seen.left != other.left for other in found), "as with another value"
        found.append(seen)
        check_rates(seen)


def check_rates(seen):
    """A rate that falls to 0 does so with an optimiser's last step, not before and not later."""
    for optimizer in seen.optimizers:
        rate, t = optimizer.schedule, optimizer.t
        if t and rate(1000) == 0:
            assert rate(t) > 0 == rate(t + 1), f"rate {rate(t)} at the last step, {t}"


@pytest.fixture
def actions(small, monkeypatch):
    """A function from an example's name to the options of its parser."""

    class Stop(Exception):
        pass

    def stop(parser, argv):
        raise Stop(parser)

    def of(example):
        with monkeypatch.context() as patch, pytest.raises(Stop) as stopped:
            patch.setattr(options, "parse", stop)
            module(example).main([])
        found = stopped.value.args[0]._actions
        return {(action.option_strings or [action.dest])[-1]: action for action in found}

    return of


@pytest.mark.parametrize("example", sorted(EXAMPLES))
def test_every_option_has_a_row(example, actions):
    names = actions(example).keys() - {"--help"}
    assert names == OPTIONS[example].keys() | {"--resume"} & names


@pytest.mark.parametrize("example", [e for e, rows in OPTIONS.items() if "--every" in rows])
def test_resume_goes_on_where_the_run_ended(example, observe):
    first = observe(example)
    for last, words in ((4, []), (6, [str(first.folder / "checkpoint.safetensors")])):
        argv = ["--resume", *words, "--steps", str(last), "--out", str(first.folder)]
        seen = observed(module(example).main, argv)
        steps(last, seen, first)
        check_rates(seen)


# These take time instead of memory.
LONG = {"--steps", "--epochs", "--k", "--critic-steps", "--unroll", "--head-start", "--seeds"}


@pytest.mark.parametrize("example", SMALL)
def test_a_size_that_no_memory_holds_is_one_line(example, actions, observe):
    """Sizes beyond any address space, which the allocator, or NumPy before it, refuses at once."""
    for option, action in actions(example).items():
        if type(action.default) is int and not action.choices and option not in LONG:
            for size in (10**17, 10**30):
                seen = observe(example, option, str(size))
                if seen.status:  # as a limit, such as --count, it may have any size
                    refused("")(size, seen, None)
