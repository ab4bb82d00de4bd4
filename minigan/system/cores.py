"""Cores, which processes on one machine have to share.

A BLAS takes as many threads as there are cores, in each process. Two processes on two cores then
have four threads, which wait for each other's turn: slower than one process alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path

# OpenBLAS's function, as it is called in NumPy's wheels and elsewhere.
SETTERS = [f"{a}openblas_set_num_threads{b}" for a in ("scipy_", "") for b in ("64_", "")]


def share(processes: int) -> int:
    """How many threads each of so many processes on this machine should have, at least 1.

    Who starts them may have given each cores of its own; then those are its threads.
    """
    every = os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    return mine if mine < every else max(1, every // processes)


def limit_threads(count: int):
    """Lets each OpenBLAS that is loaded use so many threads, unless the user has said how many.

    Where it can't be found, nothing is done: OMP_NUM_THREADS says it to any BLAS.
    """
    if "OMP_NUM_THREADS" in os.environ or "OPENBLAS_NUM_THREADS" in os.environ:
        return
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        for path in set(re.findall(r"/\S*openblas\S*\.so\S*", maps)):
            library = ctypes.CDLL(path)
            for name in SETTERS:
                if hasattr(library, name):
                    getattr(library, name)(count)
