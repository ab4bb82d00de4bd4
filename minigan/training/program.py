"""A run as a program: how it ends, how it is interrupted, and what it shows while it goes on.

A user's mistake ends in one line and exit status 2, Ctrl-C ends after the step in progress, and
nothing that only prints ends a run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np

from minigan.backend import DeviceError
from minigan.data import DataError
from minigan.system import ParallelError, files, terminal, world
from minigan.system.parallel import World, is_first
from minigan.training.checkpoint import CheckpointError
from minigan.training.options import OptionError, is_too_big


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
    files.write(path, (json.dumps(values, indent=1) + "\n").encode())


def run(main):
    """Runs an example's main() as a program: errors a user can mend are one line, status 2.

    Ctrl-C, SIGTERM and SIGHUP end it in one line, with status 128 + the signal's number; whatever
    becomes of standard output and error does not end it. NumPy's warnings about overflow and NaN
    are off: the watch says it once, and in words.

    Of several ranks the first that failed says why. If it failed alone, it ends the others too.
    """
    with terminal.guarded(), np.errstate(all="ignore"):
        status, words = _outcome(main)
        ranks = _ranks()
        speaks = ranks.part_with(failed=words is not None)
        if words and speaks and (is_first() or ranks.size > 1):
            print(words, file=sys.stderr if is_first() else terminal.quiet(sys.__stderr__))
    ranks.leave(status)


def _outcome(main) -> tuple[int, str | None]:
    """The exit status of main(), and what there is to say of it if it failed, or None."""
    try:
        with Interrupt(patient=False):
            return main(), None
    except (DeviceError, DataError, CheckpointError, OptionError, ParallelError) as error:
        return 2, f"error: {error}"
    except OSError as error:
        return 2, f"error: {error.filename or 'input or output'}: {error.strerror or error}"
    except KeyboardInterrupt as error:
        return 128 + (error.args[0] if error.args else signal.SIGINT), "\ninterrupted"
    except SystemExit as error:  # argparse, which has said what it had to say
        if _ranks().size == 1 or not error.code:
            raise
        return error.code, "" if is_first() else f"error: a rank ended with status {error.code}"
    except Exception as error:
        if isinstance(error, (MemoryError, ValueError, OverflowError)) and is_too_big(error):
            return 2, f"error: not enough memory: {error}: ask for smaller sizes"
        if _ranks().size == 1:
            raise
        return 1, traceback.format_exc()


def _ranks() -> World:
    """The world, or where that can't be had, this process as if it were alone."""
    try:
        return world()
    except ParallelError:
        return World()


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
