"""What every example shares around its training loop: options, progress, interruption, errors.

The loop itself stays in the example. What is here makes a run behave: a user's mistake ends in
one line and exit status 2, Ctrl-C ends after the step in progress, and a resumed run takes its
options from its checkpoint.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from minigan import checkpoint
from minigan.backend import DeviceError
from minigan.checkpoint import CheckpointError
from minigan.data import DataError
from minigan.tensor import Tensor

CHECKPOINT = "checkpoint.safetensors"

# A resumed run may go on for longer, elsewhere, or find its data elsewhere; the rest of its
# options made it what it is.
_FREE_ON_RESUME = ("steps", "epochs", "out", "resume", "data", "device")


# --- Options -------------------------------------------------------------------------------------


def parser(description, *, steps, out, resumable=False) -> argparse.ArgumentParser:
    """A parser with the options that every example has; `steps` and `out` are their defaults."""
    p = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--device", default="cpu", help="cpu or cuda")
    p.add_argument("--seed", type=whole(0), default=0, help="one seed gives one run")
    p.add_argument("--steps", type=whole(1), default=steps, help="training steps")
    p.add_argument("--out", type=Path, default=Path(out), help="the folder to write to")
    if resumable:
        p.add_argument(
            "--resume",
            nargs="?",
            type=Path,
            const=Path(),
            metavar="CHECKPOINT",
            help=f"go on from this checkpoint; by default from {CHECKPOINT} under --out",
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
    """The options; of a resumed run, those that its checkpoint holds where none are given.

    `args.resume` is then the checkpoint's path, and None in a run from the start. An option that
    contradicts the checkpoint is an error, unless it is one that may change (steps, out, data).
    """
    args = p.parse_args(argv)
    resume = getattr(args, "resume", None)
    if resume is None:
        return args
    path = args.out / CHECKPOINT if resume == Path() else resume
    saved = checkpoint.peek(path).get("options", {})
    p.set_defaults(**{key: value for key, value in saved.items() if key not in ("out", "resume")})
    args = p.parse_args(argv)
    for key, value in saved.items():
        if key not in _FREE_ON_RESUME and getattr(args, key) != value:
            raise CheckpointError(
                f"{path} was made with --{key} {value}; --{key} {getattr(args, key)} does not "
                "continue it: leave the option out, or start a new run without --resume"
            )
    args.resume = path
    return args


def saved_options(args: argparse.Namespace) -> dict:
    """The options as JSON values, to be put into a checkpoint for `parse`."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key != "resume"
    }


def run(main):
    """Runs an example's main() as a program: errors a user can mend are one line, status 2."""
    try:
        status = main()
    except (DeviceError, DataError, CheckpointError) as error:
        status = _fail(str(error))
    except OSError as error:
        status = _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def _fail(message):
    print(f"error: {message}", file=sys.stderr)
    return 2


# --- While training ------------------------------------------------------------------------------


class Interrupt:
    """`with Interrupt() as interrupted:` turns Ctrl-C into a question that the loop can ask.

    The first Ctrl-C (or SIGTERM) makes `interrupted` true, so that the step in progress can
    finish and the run be saved; a second one raises KeyboardInterrupt at once.
    """

    def __init__(self):
        self.asked = False
        self._before = {}

    def __bool__(self):
        return self.asked

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Progress:
    """A progress bar over the steps start … total that shows numbers as it goes.

    On a terminal it is redrawn several times a second; where the output goes to a file, it is a
    line every ten seconds.
    """

    def __init__(self, total, start=0, *, unit="step"):
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            initial=start,
            unit=unit,
            dynamic_ncols=True,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._bar.close()

    def advance(self, text=None):
        """One step further; `text`, where given, is shown behind the bar from now on."""
        if text is not None:
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()

    def say(self, line):
        """A line of text above the bar."""
        self._bar.write(line, file=sys.stderr)


class Record:
    """The numbers of a run, one row per step, kept on the device until somebody looks.

    A checkpoint part: the rows up to now are saved and restored.
    """

    growing = True  # see checkpoint.py: the number of rows is not fixed

    def __init__(self, *columns: str):
        self.columns = columns
        self._rows = np.zeros((0, len(columns)))
        self._pending: list[tuple] = []

    def __len__(self):
        return len(self._rows) + len(self._pending)

    def add(self, *values):
        """One step's values, tensors or numbers, in the order of the columns."""
        self._pending.append(values)

    def rows(self) -> np.ndarray:
        """All rows as float64 (steps, columns); waits for the device."""
        if self._pending:
            fresh = [
                [v.item() if isinstance(v, Tensor) else float(v) for v in row]
                for row in self._pending
            ]
            self._rows = np.concatenate([self._rows, np.array(fresh)])
            self._pending = []
        return self._rows

    def __getitem__(self, column: str) -> np.ndarray:
        """One column, a value per step."""
        return self.rows()[:, self.columns.index(column)]

    def latest(self, steps=20) -> dict[str, float]:
        """The mean of each column over the last `steps` rows."""
        recent = self.rows()[-steps:].mean(axis=0)
        return dict(zip(self.columns, map(float, recent), strict=True))

    def state(self) -> dict:
        return {"rows": self.rows()}

    def load_state(self, state: dict):
        self._rows, self._pending = state["rows"], []


class Stopwatch:
    """Things per second, over the last few seconds."""

    def __init__(self):
        self._marks = [(time.perf_counter(), 0)]

    def rate(self, done) -> float:
        """The current rate, when `done` things have been done in all since the start."""
        now = time.perf_counter()
        self._marks = [*self._marks[-9:], (now, done)]
        then, before = self._marks[0]
        return (done - before) / max(now - then, 1e-9)
