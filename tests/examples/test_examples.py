"""What is asked of every example: it runs, repeats, goes on, complains, and heeds its options.

They run in this process, so small that a run takes milliseconds, on a terminal that knows ASCII
alone; and once all of them in a process of their own, as their users run them. Nothing is drawn
but there and on the fake device: a figure's file holds the number of its lines, an image's its
shape, a film's the number of its frames. The table of the runs: example_runs.py.
"""

import functools
import json
import operator
import os
import re
import subprocess
import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from example_runs import MISTAKES, RUNS, differs, having, refused, steps
from PIL import Image
from running import EXAMPLES, complaint, ctrl_c_after, ended, equal, module
from safetensors.numpy import load_file

from minigan import data, optim, plots, training
from minigan.training import checkpoint, options


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


# --- How it is seen ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """What the table's words in capitals mean."""
    folder = tmp_path_factory.mktemp("paths")
    random = np.random.default_rng(0)
    for name in ("IMAGES", "OTHER", "CLASSES"):
        for i in range(40):
            below = folder / name / (str(i % 4) if name == "CLASSES" else "")
            below.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(below / f"{i:02d}.png")
    (folder / "PAIRS").mkdir()
    for i in range(40):
        pixels = random.integers(0, 255, (8, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "PAIRS" / f"{i:02d}.png")
    digits = random.integers(0, 255, (100, 28, 28), dtype=np.uint8)
    np.savez(folder / "SAMPLES.npz", images=digits)
    return {
        "IMAGES": folder / "IMAGES",
        "OTHER": folder / "OTHER",
        "CLASSES": folder / "CLASSES",
        "PAIRS": folder / "PAIRS",
        "SAMPLES": folder / "SAMPLES.npz",
    }


@pytest.fixture(scope="module")
def smaller():
    """Everything small that has no option."""
    with pytest.MonkeyPatch.context() as patch:
        draw = functools.cache(lambda n, seed, draw=data.drawn_digits: draw(min(n, 600), seed))
        patch.setattr(data, "drawn_digits", draw)
        for name, row in RUNS.items():
            for path, value in row.smaller.items():
                owner, _, last = path.rpartition(".")
                place = operator.attrgetter(owner)(module(name)) if owner else module(name)
                patch.setattr(place, last, value)
        yield


@pytest.fixture(scope="module")
def undrawn(smaller):
    """Nothing is drawn, but for what an example draws itself."""
    with pytest.MonkeyPatch.context() as patch:
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(what))
    return path


@pytest.fixture(scope="module")
def command(paths):
    """A function from an example, a folder and words to the options of a small run."""

    def line(example, folder, *words):
        argv = ["--out", str(folder), *RUNS[example].small.split(), *map(str, words)]
        for option, other in RUNS[example].instead:
            if set(option.split()) <= set(argv[2:]) and other in argv:
                at = argv.index(other)
                del argv[at : at + 2]
        for word, path in paths.items():
            argv = [re.sub(rf"^{word}\b", str(path), arg) for arg in argv]
        return argv

    return line


@pytest.fixture(scope="module")
def observe(undrawn, command, tmp_path_factory):
    """Runs an example with the words of some options; a function to a Seen."""

    def run(example, *words):
        folder = tmp_path_factory.mktemp(example)
        return observed(example, command(example, folder, *words))

    return run


def observed(example, argv) -> Seen:
    records, optimizers, steps = [], [], []
    with pytest.MonkeyPatch.context() as patch:
        remember(patch, training.Record, records)
        remember(patch, optim.Optimizer, optimizers)
        save = checkpoint.save

        def saving(*parts, **extra):
            steps.extend([extra["step"]] if "step" in extra else [])  # a classifier has none
            save(*parts, **extra)

        patch.setattr(checkpoint, "save", saving)
        status, out, err = ended(example, *argv, encoding="ascii")
    folder = Path(argv[len(argv) - argv[::-1].index("--out")])
    return Seen(
        status=status,
        out=re.sub(r" *[\d.]+ s\b", "", out.replace(str(folder), "")),
        err=err,
        files=contents(folder),
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


def contents(folder) -> dict[str, str]:
    if not folder.exists():
        return {}
    return {path.name: content(path) for path in sorted(folder.iterdir())}


def content(path) -> str:
    """The numbers in a file, without what the run was told and how long it took."""
    if path.is_dir():
        return ""
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


# --- It runs and repeats -------------------------------------------------------------------------


def test_every_example_is_in_the_table():
    """An example that is in no row fails here."""
    assert RUNS.keys() == EXAMPLES.keys()


def test_an_example_in_no_row_is_noticed(monkeypatch):
    monkeypatch.setitem(EXAMPLES, "brand_new", Path("brand_new.py"))
    with pytest.raises(AssertionError, match="brand_new"):
        test_every_example_is_in_the_table()


each_run = pytest.mark.parametrize(("example", "way"), having())


def words(example, way):
    return RUNS[example].ways.get(way, "").split()


@each_run
def test_it_runs_and_repeats(example, way, usual, observe):
    first = usual(example, *words(example, way))
    assert first.status in (0, 1), first.err  # 1: so few steps come to nothing
    assert observe(example, *words(example, way)).left == first.left
    if not way:
        assert sorted(first.files) == RUNS[example].writes.split()


SCRIPTS = """
import contextlib, io, json, pathlib, runpy, sys
from minigan import data
data.DRAWN = {split: (600, seed) for split, (_, seed) in data.DRAWN.items()}
for path, argv in json.load(sys.stdin).items():
    sys.argv = [path, *argv]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
            status = "it did not say how it ended"
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([pathlib.Path(path).stem, status, out.getvalue(), err.getvalue()]))
"""


@pytest.fixture(scope="module")
def scripts(command, tmp_path_factory):
    """What came of each example as a script, one after the other in one new process."""
    folder = tmp_path_factory.mktemp("scripts")
    argv = {str(path): command(name, folder / name) for name, path in EXAMPLES.items()}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPTS],
        input=json.dumps(argv),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    results = map(json.loads, done.stdout.splitlines())
    return {name: (*said, folder / name) for name, *said in results}


def test_they_run_as_scripts_and_draw(scripts, usual):
    """In a process that has just started; with the same numbers as in this one, unless its
    networks, of which no option says how large they are, are smaller here. One test for all, as
    each worker would else start that process anew."""
    assert scripts.keys() == RUNS.keys()
    for example, (status, _, err, folder) in scripts.items():
        assert status in (0, 1) and "Traceback" not in err, (example, err)
        assert sorted(path.name for path in folder.iterdir()) == RUNS[example].writes.split()
        for path in folder.glob("*.png"):
            with Image.open(path) as picture:
                assert min(picture.size) > 8 and picture.getextrema() != ((0, 0),) * 3, path
        if RUNS[example].resumes and "HIDDEN" not in RUNS[example].smaller:
            here = load_file(usual(example).folder / checkpoint.NAME)
            there = load_file(folder / checkpoint.NAME)
            assert here.keys() == there.keys(), example
            kept = [key for key in here if not key.startswith("film/")]
            assert all(here[k].tobytes() == there[k].tobytes() for k in kept), example


# --- It stops and goes on ------------------------------------------------------------------------


@pytest.mark.parametrize(("example", "way"), having(lambda row: row.resumes))
def test_an_interrupted_run_goes_on_bit_for_bit(example, way, observe, command, tmp_path):
    argv = [*words(example, way), "--steps", "10"]
    whole = observe(example, *argv)
    with ctrl_c_after(7):
        parts = observed(example, command(example, tmp_path, *argv))
    assert parts.status == 130 and "go on with --resume" in parts.out, parts.err
    assert checkpoint.peek(tmp_path / checkpoint.NAME)["step"] == 7 == len(parts.rows[0])
    assert not equal(whole.folder, tmp_path)

    rest = observed(example, ["--resume", "--out", str(tmp_path)])
    assert rest.status == whole.status and rest.saves[-1] == 10
    assert equal(whole.folder, tmp_path)
    pictures = [name for name in whole.files if not name.startswith("samples_")]
    assert all(rest.files[name] == whole.files[name] for name in pictures)

    again = observed(example, ["--resume", "--out", str(tmp_path)])
    assert again.status == whole.status and again.files == rest.files
    assert "10 steps were done already: ask for more with --steps" in again.out


@pytest.mark.parametrize(("example", "way"), having(lambda row: row.lengthens))
def test_a_run_that_goes_on_for_longer_is_the_longer_run(example, way, observe, command):
    whole, short = (observe(example, *words(example, way), "--steps", n) for n in (9, 4))
    assert not equal(short.folder, whole.folder)
    observed(example, ["--resume", "--steps", "9", "--out", str(short.folder)])
    assert equal(short.folder, whole.folder)


@pytest.mark.parametrize("example", [e for e, row in RUNS.items() if row.resumes])
def test_resume_goes_on_where_the_run_ended(example, observe):
    first = observe(example)
    for last, where in ((4, []), (6, [str(first.folder / checkpoint.NAME)])):
        argv = ["--resume", *where, "--steps", str(last), "--out", str(first.folder)]
        seen = observed(example, argv)
        steps(last, seen, first)
        check_rates(seen)


@pytest.mark.parametrize("example", [e for e, row in RUNS.items() if row.loses])
def test_a_run_that_loses_its_weights_says_so_and_stops(example, observe):
    row = RUNS[example]
    seen = observe(example, *row.loses.split())
    assert seen.status == 1
    assert "NaN or infinity: the weights are lost" in seen.out + seen.err
    assert "Traceback" not in seen.err
    length = int(row.loses.split("--steps ")[1].split()[0])
    assert f"{length:,} steps" not in seen.out
    assert not row.not_then or row.not_then not in seen.files
    for path in seen.folder.glob("*.safetensors"):
        values = [v for k, v in load_file(path).items() if not k.startswith("record/")]
        assert all(np.isfinite(v).all() for v in values if v.dtype.kind == "f")


# --- It runs on a device -------------------------------------------------------------------------


@pytest.mark.parametrize(("example", "way"), having(lambda row: "--device" in row.options))
def test_it_runs_on_a_device(cuda, smaller, example, way, command, tmp_path):
    """All of an example's code, with captured steps; what it says after so few means nothing."""
    argv = [*words(example, way), "--steps", "6", "--device", "cuda"]
    done = ended(example, *command(example, tmp_path, *argv))
    assert done.status in (0, 1), done.err
    assert {path.suffix for path in tmp_path.iterdir()} >= {".png"}
    if (tmp_path / checkpoint.NAME).exists():
        done = ended(example, "--resume", "--steps", 9, "--out", tmp_path)
        assert done.status in (0, 1), done.err
        assert checkpoint.peek(tmp_path / checkpoint.NAME)["step"] == 9


# --- It complains --------------------------------------------------------------------------------

WRONG = [
    *((name, *mistake) for name, row in RUNS.items() for mistake in row.mistakes),
    *(
        (name, f"{option} {value}", said)
        for name, row in RUNS.items()
        for option, (value, said) in MISTAKES.items()
        if option in row.options or (option == "--resume" and row.resumes)
    ),
]


@pytest.mark.parametrize(("example", "mistake", "said"), WRONG)
def test_a_users_mistake_is_one_line_and_status_2(
    example, mistake, said, undrawn, command, tmp_path
):
    done = ended(example, *command(example, tmp_path / "out", *mistake.split()))
    assert done.status == 2, done.out
    line = complaint(done.err)
    assert any(words in line for words in said.split("|")), line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("example", RUNS)
def test_an_output_folder_that_cannot_be_made_is_one_line(example, undrawn, command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = ended(example, *command(example, tmp_path / "file" / "run"))
    assert done.status == 2 and "file" in complaint(done.err)


# --- Its options ---------------------------------------------------------------------------------

ROWS = [
    pytest.param(example, option, row, id=f"{example} {option}")
    for example, run in RUNS.items()
    for option, row in run.options.items()
]


@pytest.mark.parametrize(("example", "option", "row"), ROWS)
def test_an_option_does_what_it_says(example, option, row, observe, usual, paths):
    before = usual(example, *row.on.split())
    paths["USUAL"] = before.folder
    found = [before]
    for value in row.values.split() or [""]:
        words = value.split(",") if value else []
        given = [*row.on.split(), *[option] * option.startswith("--"), *words]
        if option == "--out":
            given = ["--out", str(before.folder / "new" / value)]
        seen = observe(example, *given)
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
def actions(undrawn, monkeypatch):
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


@pytest.mark.parametrize("example", RUNS)
def test_every_option_has_a_row(example, actions):
    names = actions(example).keys() - {"--help"}
    assert names == RUNS[example].options.keys() | {"--resume", "--ranks"} & names
    assert RUNS[example].resumes == ("--resume" in names)


# What takes its rows of each batch, as mpiexec's ranks; see system/test_parallel.py.
PARALLEL = {"dcgan_mnist", "mode_collapse", "goodfellow_2014", "began", "cgan", "text_to_image"}
PARALLEL |= {"cyclegan", "pix2pix", "domain_transfer", "inpainting", "super_resolution"}
PARALLEL |= {"vae", "ais", "faces", "latent_space", "progressive", "biggan"}


@pytest.mark.parametrize("example", RUNS)
def test_it_takes_part_in_a_run_of_several_ranks_or_says_that_it_does_not(
    example, actions, observe
):
    ranks = actions(example).get("--ranks")
    assert (ranks is not None and ranks.help != SUPPRESS) == (example in PARALLEL)
    if ranks is not None and example not in PARALLEL:
        refused("2 ranks: this example runs as one process")(
            2, observe(example, "--ranks", 2), None
        )


# These take time instead of memory.
LONG = {"--steps", "--epochs", "--k", "--critic-steps", "--unroll", "--head-start", "--seeds"}
LONG |= {"--answers", "--ruler", "--descent", "--classifier-steps", "--leapfrogs"}


@pytest.mark.parametrize("example", RUNS)
def test_a_size_that_no_memory_holds_is_one_line(example, actions, observe):
    """Sizes beyond any address space, which the allocator, or NumPy before it, refuses at once."""
    for option, action in actions(example).items():
        if type(action.default) is int and not action.choices and option not in LONG:
            for size in (10**17, 10**30):
                seen = observe(example, option, str(size))
                if seen.status:  # as a limit, such as --count, it may have any size
                    refused("")(size, seen, None)
