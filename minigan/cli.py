"""What every example shares around its training loop: options, progress, interruption, errors.

The loop itself stays in the example. What is here makes a run behave: a user's mistake ends in
one line and exit status 2, Ctrl-C ends after the step in progress, nothing that only prints ends
it, and a resumed run takes its options from its checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from minigan import checkpoint
from minigan.backend import Backend, DeviceError, cpu, get_backend
from minigan.checkpoint import CheckpointError
from minigan.data import NAMES, DataError, Dataset, expand
from minigan.engine import Tensor
from minigan.engine.tensors import raw
from minigan.gan import LOST, diagnose
from minigan.system import terminal

CHECKPOINT = "checkpoint.safetensors"

# A resumed run may go on for longer, elsewhere, with other rates, or find its data elsewhere; the
# rest of its options made it what it is.
_FREE_ON_RESUME = (
    *("steps", "epochs", "out", "resume", "data"),
    *("device", "precision", "lr", "lr_g", "lr_d"),
)


# --- Options -------------------------------------------------------------------------------------


def parser(
    description, *, out, steps=None, epochs=False, resumable=False
) -> argparse.ArgumentParser:
    """A parser with the options that every example has; `steps` and `out` are their defaults.

    steps: None for an example that trains nothing: it has --out alone.
    epochs: also offer --epochs. resumable: also offer --resume.
    """
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--out", type=Path, default=Path(out), help="the folder to write to")
    if steps is None:
        return p
    p.add_argument("--device", default="cpu", help="cpu, or cuda: one NVIDIA GPU, with CuPy")
    p.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "tf32"),
        help="of matrix products; tf32 rounds their inputs to 10 bits and is faster (cuda only)",
    )
    p.add_argument("--seed", type=whole(0), default=0, help="one seed gives one run")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--steps", type=whole(1), default=steps, help="training steps")
    if epochs:
        length.add_argument("--epochs", type=whole(1), help="passes over the data, not --steps")
    if resumable:
        p.add_argument(
            "--resume",
            nargs="?",
            type=Path,
            const=Path(),
            metavar="CHECKPOINT",
            help=f"go on from this file or folder; by default from {CHECKPOINT} under --out; with "
            "more steps, what falls over a run goes on as in a run of that length",
        )
    return p


def whole(low):
    """An argument type: an integer that is at least `low`."""
    return _number(int, lambda n: n >= low, f"an integer >= {low}")


def above(low):
    """An argument type: a finite number greater than `low`."""
    return _number(float, lambda x: low < x < math.inf, f"a number > {low}")


def finite():
    """An argument type: a number that is not infinite or NaN."""
    return _number(float, math.isfinite, "a finite number")


def _number(kind, fits, wanted):
    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"got {text!r}, expected {wanted}")
        return value

    return convert


def parse(p: argparse.ArgumentParser, argv=None) -> argparse.Namespace:
    """The options; of a resumed run, those of its checkpoint where none are given.

    `args.resume` is then the checkpoint's path, and `args.out` its folder unless given; in a run
    from the start, `args.resume` is None. CheckpointError if an option contradicts the
    checkpoint, unless it is one of _FREE_ON_RESUME.
    """
    args = p.parse_args(argv)
    if getattr(args, "resume", None) is None:
        return args
    path = args.out / CHECKPOINT if args.resume == Path() else args.resume
    path = path / CHECKPOINT if path.is_dir() else path
    saved = checkpoint.peek(path).get("options", {})
    given = _given(p, argv)
    for key, value in given.items():
        if key not in _FREE_ON_RESUME and key in saved and value != saved[key]:
            made, asked = _in_words(key, saved[key]), _in_words(key, value)
            raise CheckpointError(
                f"{path} was made {made}, which a run {asked} does not continue: "
                "leave the option out, or start a new run without --resume"
            )
    data = saved.get("data") or ""
    if "data" not in given and os.path.isabs(data) and not os.path.isdir(data):
        raise CheckpointError(
            f"{path} was trained on images in {data}, and there is no such folder any more: name "
            "the one they are in now by --data"
        )
    if "steps" in given:
        saved.pop("epochs", None)
    options = vars(args) | saved | given | {"out": given.get("out", path.parent), "resume": path}
    return argparse.Namespace(**options)


def _in_words(key, value) -> str:
    """An option as somebody has given it or, if it is off, has not."""
    option = "--" + key.replace("_", "-")
    if value is None or value is False:
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def _given(p: argparse.ArgumentParser, argv) -> dict:
    """The options that stand on the command line, without the defaults of the others."""
    defaults = vars(p.parse_args([]))
    unset = object()
    p.set_defaults(**dict.fromkeys(defaults, unset))
    given = {key: value for key, value in vars(p.parse_args(argv)).items() if value is not unset}
    p.set_defaults(**defaults)
    return given


class Checkpoint:
    """The checkpoint of a run, under --out: its parts, its options, and what data it learned from.

    parts: as for `checkpoint.save`; data: a Dataset, or the name of a density that needs no file;
    extra: JSON values to be kept beside them. `saved` is the step of the last save, or None.
    """

    def __init__(self, args: argparse.Namespace, parts: dict, *, data: Dataset | str, **extra):
        self.args, self.parts, self.extra = args, parts, extra
        self.data, self.data_sha256 = str(data), getattr(data, "sha256", None)
        self.saved = None

    def save(self, step):
        options = saved_options(self.args)
        about = {"options": options, "data": self.data, "data_sha256": self.data_sha256}
        folder = options.get("data")
        if self.data_sha256 and folder and folder not in NAMES:
            options["data"] = os.path.abspath(expand(folder))  # a run may go on from elsewhere
        checkpoint.save(self.args.out / CHECKPOINT, self.parts, step=step, **about, **self.extra)
        self.saved = step

    def resume(self) -> int:
        """The step to go on from: 0, or with --resume that of the checkpoint, which is loaded.

        CheckpointError if that run saw other data: data is the same if its content is, wherever it
        lies; of checkpoints that know their data by name alone, and of densities, if the name is.
        """
        path = self.args.resume
        if path is None:
            return 0
        about = checkpoint.peek(path)
        seen, digest = about.get("data"), about.get("data_sha256")
        known = None not in (digest, self.data_sha256)
        same = digest == self.data_sha256 if known else seen == self.data
        if not same:
            unlike = "" if seen != self.data else ", but not the same ones"
            raise CheckpointError(
                f"{path} was trained on {seen}; --data names {self.data}{unlike}: "
                "name the same data, or start a new run without --resume"
            )
        return checkpoint.load(path, self.parts)["step"]


def saved_options(args: argparse.Namespace) -> dict:
    """The options as JSON values, to be put into a checkpoint for `parse`."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key not in ("out", "resume")
    }


def device(args: argparse.Namespace) -> Backend:
    """The device that was asked for, with its precision. DeviceError or OptionError if it can't."""
    backend = get_backend(args.device)
    if args.precision != "float32" and backend is cpu:
        raise OptionError(f"--precision {args.precision}: only --device cuda has it")
    backend.precision = args.precision
    return backend


class OptionError(ValueError):
    """Options that are each possible but do not go together, or do not fit the data."""


@contextlib.contextmanager
def building():
    """`with building():` around what is built from the options: its ValueErrors are the user's."""
    try:
        yield
    except ValueError as error:
        if _is_too_big(error):
            raise  # `run` says it better
        raise OptionError(str(error)) from error


def make_folder(path: Path):
    """Makes the folder a run will write to, before the run starts rather than after an hour."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        what = "a link to nowhere" if path.is_symlink() else "not a folder"
        raise OptionError(f"--out {path}: this is {what}: name a folder") from None
    if not os.access(path, os.W_OK):
        raise OptionError(f"--out {path}: this folder cannot be written to")


def save_json(path: Path, values):
    """Writes `values` to a JSON file, in one instant: a reader finds the old ones or the new."""
    checkpoint.write(path, (json.dumps(values, indent=1) + "\n").encode())


def run(main):
    """Runs an example's main() as a program: errors a user can mend are one line, status 2.

    Ctrl-C, SIGTERM and SIGHUP end it in one line, with status 128 + the signal's number; whatever
    becomes of standard output and error does not end it. NumPy's warnings about overflow and NaN
    are off: the monitor says it once, and in words.
    """
    with terminal.guarded(), np.errstate(all="ignore"):
        try:
            with Interrupt(patient=False):
                status = main()
        except (DeviceError, DataError, CheckpointError, OptionError) as error:
            status = _fail(str(error))
        except OSError as error:
            status = _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
        except KeyboardInterrupt as error:
            print("\ninterrupted", file=sys.stderr)
            status = 128 + (error.args[0] if error.args else signal.SIGINT)
        except (MemoryError, ValueError, OverflowError) as error:
            if not _is_too_big(error):
                raise
            status = _fail(f"not enough memory: {error}: ask for smaller sizes")
    sys.exit(status)


def _is_too_big(error) -> bool:
    """Whether an array was wanted that no memory holds. Of the largest, only the words say so."""
    words = "array is too big|Maximum allowed|too large to convert|greater than maximum"
    return isinstance(error, MemoryError) or re.search(words, str(error)) is not None


def _fail(message):
    print(f"error: {message}", file=sys.stderr)
    return 2


# --- While training ------------------------------------------------------------------------------


class Interrupt:
    """`with Interrupt() as interrupted:` turns Ctrl-C into a question that the loop can ask.

    The first Ctrl-C (or SIGTERM, or SIGHUP of a terminal that goes away) makes `interrupted` true,
    so that the step in progress can finish and the run be saved; `interrupted.status` is then the
    exit status, 128 + the signal's number. A second one raises KeyboardInterrupt(number) at once,
    as with patient=False the first does. SIGHUP that is ignored, as under nohup, stays ignored.

    A terminal that goes away sends its SIGHUP twice, by the shell and by the system: what comes
    within ECHO seconds of the first is no second one.
    """

    ECHO = 0.5

    def __init__(self, *, patient=True):
        self.patient, self.status = patient, 0
        self._before, self._asked = {}, 0.0

    def __bool__(self):
        return self.status != 0

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            ending = [signal.SIGINT, signal.SIGTERM]
            hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
            if hang_up and signal.getsignal(hang_up) is not signal.SIG_IGN:
                ending.append(hang_up)
            for number in ending:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        now = time.monotonic()
        if not self.patient or (self and now - self._asked > self.ECHO):
            raise KeyboardInterrupt(number)
        if not self:
            self.status, self._asked = 128 + number, now


class Progress:
    """A progress bar over the steps start … total that shows numbers as it goes."""

    def __init__(self, total, start=0):
        self._bar = terminal.bar(total=total, initial=start, unit="step")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._bar.close()

    def advance(self):
        """One step further."""
        self._bar.update()

    def show(self, text):
        """Shows `text` behind the bar from now on."""
        self._bar.set_postfix_str(text, refresh=False)

    def say(self, line):
        """A line of text above the bar."""
        self._bar.write(line, file=self._bar.fp)


class Record:
    """The numbers of a run, one row per step, kept on the device until somebody looks.

    A checkpoint part: the rows up to now are saved and restored.
    """

    growing = True  # see checkpoint.py: the number of rows is not fixed

    def __init__(self, *columns: str):
        self.columns = columns
        self._rows = np.zeros((0, len(columns)))
        self._log = None

    def __len__(self):
        return len(self._rows) + (0 if self._log is None else len(self._log))

    def add(self, *values):
        """One step's values, scalar tensors or numbers, in the order of the columns."""
        if self._log is None:
            devices = [value.backend for value in values if isinstance(value, Tensor)]
            self._log = (devices or [cpu])[0].log(len(self.columns))
        self._log.append([raw(value) for value in values])

    def rows(self) -> np.ndarray:
        """All rows as float64 (steps, columns); waits for the device."""
        if self._log is not None and len(self._log):
            self._rows = np.concatenate([self._rows, self._log.drain()])
        return self._rows

    def __getitem__(self, column: str) -> np.ndarray:
        """One column, a value per step."""
        return self.rows()[:, self.columns.index(column)]

    def by_name(self) -> dict[str, np.ndarray]:
        """All columns."""
        return {column: self[column] for column in self.columns}

    def latest(self, steps=20) -> dict[str, float]:
        """The mean of each column over the last `steps` rows."""
        recent = self.rows()[-steps:].mean(axis=0)
        return dict(zip(self.columns, map(float, recent), strict=True))

    def state(self) -> dict:
        return {"rows": self.rows()}

    def load_state(self, state: dict):
        if self._log is not None:
            self._log.drain()  # and kept: a captured step writes to this very log
        self._rows = state["rows"]


class Monitor:
    """Looks at a run every so many steps: the numbers behind the bar, and signs of trouble.

    record: with the columns loss_d, loss_g, d_real, d_fake_before and d_fake_after.
    early: steps in which only lost weights count as trouble: a fresh G's samples are all alike.
    Between two looks nothing waits for the device.
    """

    def __init__(self, progress: Progress, record: Record, objective, batch, *, early=100):
        self.progress, self.record, self.objective = progress, record, objective
        self._batch, self._early = batch, early
        self._looked = time.perf_counter(), len(record)
        self._said = set()

    def look(self, step, fake: Tensor) -> bool:
        """Shows the latest numbers; says once, in words, what is wrong; False if all is lost.

        fake: the last batch that G generated, (n, …).
        """
        now = self.record.latest(20)
        self.progress.show(
            f"loss D {now['loss_d']:.2f} G {now['loss_g']:.2f}, D(x) {now['d_real']:.2f}, "
            f"D(G(z)) {now['d_fake_before']:.2f} -> {now['d_fake_after']:.2f}, "
            f"{self._images_per_second():,.0f} img/s"
        )
        spread = float(fake.data.std(axis=0).mean())
        calm = self.record.latest(100)
        scores = (calm["d_real"], calm["d_fake_before"]) if self.objective.probabilistic else None
        healthy = all(map(math.isfinite, (*now.values(), spread)))
        early = len(self.record) < self._early
        trouble = LOST if not healthy else None if early else diagnose(spread, scores)
        if trouble and trouble not in self._said:
            self._said.add(trouble)
            self.progress.say(f"step {step}: {trouble}")
        return healthy

    def _images_per_second(self) -> float:
        (then, before), self._looked = self._looked, (time.perf_counter(), len(self.record))
        return (self._looked[1] - before) * self._batch / max(self._looked[0] - then, 1e-9)
