"""How the tests run an example: as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def command(script, *argv):
    return [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, argv)]


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
