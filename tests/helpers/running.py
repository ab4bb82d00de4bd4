"""How the tests run an example: as a program in this process or, where that matters, in its own."""

import contextlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors.numpy import load_file

from minigan import training
from minigan.training import checkpoint

# Every example by its name, as in "dcgan_mnist", whichever chapter it stands in.
EXAMPLES = {path.stem: path for path in (Path(__file__).parents[2] / "examples").rglob("*.py")}


def module(name):
    """An example as a module, the same one at every call."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES[name])
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


# --- In this process -----------------------------------------------------------------------------


class Ended(NamedTuple):
    """A program's exit status, and what it wrote to standard output and error."""

    status: int
    out: str
    err: str


def ended(name, *argv, encoding="utf-8") -> Ended:
    """Runs an example to its end as a program, on a terminal that knows an encoding."""
    example = module(name)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as exit_,
    ):
        training.run(lambda: example.main([str(a) for a in argv]))
    said = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]
    return Ended(exit_.value.code or 0, *said)


def run(name, *argv, status=0, **environment):
    """Runs an example, which must end with a status; returns what it wrote to output and error."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setenv(key, value)
        done = ended(name, *argv)
    assert done.status == status, done.err
    assert "Traceback" not in done.err
    return done.out, done.err


def complaint(err):
    """The one line that tells a user what is wrong, under the usage or a finished progress bar."""
    assert "Traceback" not in err
    *others, line = [line for line in err.splitlines() if line.strip()]
    assert "error: " in line and all(o.startswith((" ", "usage:", "images:")) for o in others)
    return line


@contextlib.contextmanager
def ctrl_c_after(steps):
    """As if somebody pressed Ctrl-C when so many steps have been made."""
    made = []
    original = training.Progress.advance

    def advance(progress):
        original(progress)
        made.append(progress)
        if len(made) == steps:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Progress, "advance", advance)
        yield
    assert len(made) >= steps, f"there were only {len(made)} steps"


def arrays(folder):
    """All the arrays in the checkpoint in a folder."""
    return load_file(folder / checkpoint.NAME)


def equal(a, b):
    """Whether the checkpoints in two folders hold the same arrays, bit for bit."""
    a, b = arrays(a), arrays(b)
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


# --- In a process of its own ---------------------------------------------------------------------


def start(name, *argv):
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES[name]), *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_another(path, child):
    """Waits until a child has written the file anew, or has ended."""

    def written():
        return path.stat().st_mtime_ns if path.exists() else None

    before, deadline = written(), time.monotonic() + 60
    while written() == before and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
