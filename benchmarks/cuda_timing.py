"""What the GPU benchmarks share: opening the device, saying what it is, and reading two clocks.

    python benchmarks/cuda_timing.py    what GPU there is and with which software, as JSON

A GPU works on while Python goes ahead, so one block of calls has three times. The device's lies
between two events in its stream; it contains the gaps in which the device waits for Python. The
host's ends when the last result is there. And Python is free again when it has launched them all.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

from minigan.backend import Backend, DeviceError, cpu, get_backend

REPEATS, FEW_REPEATS = 7, 3
# A captured step is run three times as it is, then recorded, then replayed.
WARM_UP, WARM_UP_ON_CPU = 5, 2


# --- The device ----------------------------------------------------------------------------------


def open_gpu(precision: str) -> Backend:
    """The GPU, with that precision of matrix products; without one, a line and exit status 2."""
    try:
        backend = get_backend("cuda")
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    backend.precision = precision
    return backend


def gpu_facts(backend) -> dict:
    """What a time on this device depends on, for the record."""
    runtime = backend.cupy.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    return {
        "gpu": properties["name"].decode(),
        "memory_gb": round(properties["totalGlobalMem"] / 1e9, 1),
        "multiprocessors": properties["multiProcessorCount"],
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "driver": _driver(),
        "cuda_of_driver": _version(runtime.driverGetVersion()),
        "cuda": _version(runtime.runtimeGetVersion()),
        "cupy": backend.cupy.__version__,
    }


def print_gpu(facts: dict):
    print(
        f"{facts['gpu']}, {facts['memory_gb']} GB, driver {facts['driver']} "
        f"(CUDA {facts['cuda_of_driver']}), CUDA {facts['cuda']}, CuPy {facts['cupy']}"
    )


def software() -> dict:
    """The versions of what matters, None for what isn't installed; nothing is imported for it."""
    names = ("numpy", "torch", "pytest", "hypothesis")
    return {"python": platform.python_version()} | {name: _installed(name) for name in names}


def _installed(name) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _version(number: int) -> str:
    """CUDA writes 13.0 as 13000."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _driver() -> str:
    """The driver's own version, which only nvidia-smi tells."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    query = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True)
    return (done.stdout.split() or ["unknown"])[0]


# --- Time ----------------------------------------------------------------------------------------


class Timing(NamedTuple):
    """Seconds per call: until the result is there, on the device, and until Python is free again.

    On the CPU the three are one.
    """

    wall: float
    device: float
    launch: float


def time_calls(call, backend: Backend, budget: float) -> Timing:
    """Medians over repeats of blocks of calls, which together take about `budget` seconds."""
    block = _cpu_block if backend is cpu else _gpu_block
    for _ in range(WARM_UP_ON_CPU if backend is cpu else WARM_UP):
        once = block(call, backend, 1).wall
    calls = max(1, int(budget / REPEATS / max(once, 1e-9)))
    repeats = REPEATS if once < budget else FEW_REPEATS
    return Timing(*np.median([block(call, backend, calls) for _ in range(repeats)], axis=0))


def _cpu_block(call, backend, calls) -> Timing:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    seconds = (time.perf_counter() - start) / calls
    return Timing(seconds, seconds, seconds)


def _gpu_block(call, backend, calls) -> Timing:
    cuda = backend.cupy.cuda
    begin, end = cuda.Event(), cuda.Event()
    backend.synchronize()
    start = time.perf_counter()
    begin.record(backend.stream)
    for _ in range(calls):
        call()
    end.record(backend.stream)
    launched = time.perf_counter() - start
    backend.synchronize()
    wall = time.perf_counter() - start
    device = cuda.get_elapsed_time(begin, end) / 1e3
    return Timing(wall / calls, device / calls, launched / calls)


def main():
    facts = software()
    try:
        facts |= gpu_facts(get_backend("cuda"))
    except DeviceError as error:
        facts["error"] = str(error)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
