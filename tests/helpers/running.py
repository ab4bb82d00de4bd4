"""How the tests run an example: as a user does, in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

# Every example by its name, as in "dcgan_mnist", whichever chapter it stands in.
EXAMPLES = {path.stem: path for path in (Path(__file__).parents[2] / "examples").rglob("*.py")}


def module(name):
    """An example as a module, the same one at every call."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES[name])
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def command(script, *argv):
    path = EXAMPLES[script.removesuffix(".py")]
    return [sys.executable, "-W", "error", str(path), *map(str, argv)]


def run(script, *argv, status=0, **environment):
    """Runs an example to its end; returns what it wrote to standard output and error."""
    done = subprocess.run(
        command(script, *argv),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=120,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def complaint(err):
    """The one line that tells a user what is wrong, under the usage or a finished progress bar."""
    assert "Traceback" not in err
    *others, line = [line for line in err.splitlines() if line.strip()]
    assert "error: " in line and all(o.startswith((" ", "usage:", "images:")) for o in others)
    return line
