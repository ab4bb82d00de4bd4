"""Ranks that can't be started, and what is passed on of those that are; none of it needs an MPI."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minigan.system import ParallelError, launcher

ROOT = Path(__file__).parents[2]

# What stands in the place of mpi4py and of its MPI, and what is said.
MISSING = {
    "mpi4py": (
        "raise ImportError('no such package')",
        "",
        "several ranks need mpi4py (no such package): pip install 'minigan[mpi]'",
    ),
    "an MPI": (
        "",
        r"raise RuntimeError('cannot load MPI library\nlibmpi.so: no such file')",
        "mpi4py has no MPI library (cannot load MPI library): pip install 'minigan[mpi]'",
    ),
    "the right mpiexec": (
        "",
        "class COMM_WORLD:\n    size, rank = 1, 0",
        "2 ranks were started, but mpi4py's MPI sees 1: start them by the mpiexec of the MPI that "
        "mpi4py uses",
    ),
}


PROGRAM = """
from minigan.training import options, run
run(lambda: options.parse(options.parser("", out=".", steps=1, parallel=True), []))
"""


@pytest.mark.parametrize(("what", "rank"), [*((what, 0) for what in MISSING), ("mpi4py", 1)])
def test_what_is_missing_is_one_line_of_the_first_rank(tmp_path, what, rank):
    package, library, said = MISSING[what]
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text(package)
    (tmp_path / "mpi4py" / "MPI.py").write_text(library)
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    told = {"PMI_SIZE": "2", "PMI_RANK": str(rank), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | told)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (f"error: {said}\n" if rank == 0 else "")


@pytest.mark.parametrize("what", ["mpiexec", "mpi4py"])
def test_without_an_mpi_nothing_is_started(monkeypatch, what):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    found = {"mpiexec": None, "mpi4py": "/somewhere/mpiexec"}[what]
    monkeypatch.setattr(launcher.shutil, "which", lambda name: found)
    monkeypatch.setattr(launcher.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ParallelError, match=f"there is no {what}: pip install"):
        launcher.start(2)


RULE = "=" * 83 + "\n"
BANNER = f"""{RULE}=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   PID 7838 RUNNING AT here
=   EXIT CODE: 9
{RULE}YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
Please see the FAQ page for debugging suggestions
"""


@pytest.mark.parametrize("printed", ["", "a line\n", f"{RULE}a title\n{RULE}", RULE])
@pytest.mark.parametrize("banner", ["", BANNER])
def test_all_that_ranks_print_is_passed_on_but_not_mpiexec_s_banner(capsys, printed, banner):
    died = launcher._print(io.BytesIO((printed + banner).encode()))
    assert capsys.readouterr().out == printed
    assert died == ("Killed (signal 9)" if banner else "")
