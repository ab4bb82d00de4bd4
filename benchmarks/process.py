"""A process and its surroundings: the BLAS variables it gets, the memory and faults it has caused.

The environment matters as much as the code. A variable such as OPENBLAS_CORETYPE=Haswell halves
NumPy's matrix products on a newer processor and leaves PyTorch's alone, so everything is
measured in processes without such variables and with the number of threads set; what was found
in the caller's environment is printed and stored.

This file imports nothing beyond the standard library: workers load it, and their memory is
measured.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

try:
    import resource
except ImportError:  # not on Windows
    resource = None

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def blas_variables(environment=os.environ) -> dict:
    """Every variable that a BLAS or a thread pool might read."""
    prefixes = ("OMP_", "MKL_", "KMP_", "GOMP_")
    return {k: v for k, v in environment.items() if "BLAS" in k or k.startswith(prefixes)}


def clean_environment(threads: int) -> dict:
    """This process's environment for a child: no BLAS variables but the number of threads."""
    kept = {k: v for k, v in os.environ.items() if k not in blas_variables()}
    return kept | {name: str(threads) for name in THREAD_VARIABLES}


def restart_in_clean_environment(threads: int):
    """Replaces this process by the same one with a clean environment, unless it has one.

    BLAS reads its variables when NumPy is imported, so they can't be changed later. The restarted
    process finds what was there before in MINIGAN_BENCHMARK_FOUND.
    """
    if "MINIGAN_BENCHMARK_FOUND" not in os.environ:
        found = {"MINIGAN_BENCHMARK_FOUND": json.dumps(blas_variables())}
        sys.stdout.flush()
        arguments = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, clean_environment(threads) | found)


def found_variables() -> dict:
    """The BLAS variables of the caller's environment, from before a restart if there was one."""
    found = os.environ.get("MINIGAN_BENCHMARK_FOUND")
    return json.loads(found) if found else blas_variables()


def all_threads() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> tuple[float, float]:
    """This process's resident memory now and at its peak, in MB, interpreter and libraries
    included; NaN where the system doesn't say.

    Not `ru_maxrss`: on Linux a child process inherits its parent's peak there.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return float("nan"), float("nan")
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def page_faults() -> int:
    """Pages mapped so far without reading from disk: what freeing and allocating again costs."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0


def cpu_seconds() -> tuple[float, float]:
    """CPU time since the start, of the whole machine and of this process with its ended children.

    What the first grows by beyond the second went to others, who disturb a measurement; NaN where
    the system doesn't say.
    """
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return float("nan"), float("nan")
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    busy = user + nice + system + irq + softirq + steal
    own = sum(os.times()[:4])
    return busy / os.sysconf("SC_CLK_TCK"), own
