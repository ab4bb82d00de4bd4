"""What the benchmarks share: a record of the machine, timing, tables, bars and files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from process import all_threads, found_variables

from minigan import plots

# --- The machine ---------------------------------------------------------------------------------


def machine() -> dict:
    """What the numbers depend on, for the record."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": _cpu_model(),
        "threads": all_threads(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "blas_configuration": blas.get("openblas configuration", ""),
        "variables_found": found_variables(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def print_machine(facts: dict):
    found = ", ".join(f"{k}={v}" for k, v in facts["variables_found"].items())
    print(f"{facts['cpu']}, {facts['threads']} threads, load {facts['load_before']:.1f}")
    print(f"Python {facts['python']}, NumPy {facts['numpy']}, {facts['blas']}")
    print(f"BLAS variables found: {found or 'none'} (not passed on to what is measured)")


# --- Time --------------------------------------------------------------------------------------


def seconds_per_call(f, budget: float, repeats=5) -> float:
    """The fastest of `repeats` blocks of calls, which together take about `budget` seconds.

    The fastest, because whatever else the machine does only ever adds time.
    """
    start = time.perf_counter()
    f()
    once = time.perf_counter() - start
    calls = max(1, int(budget / repeats / max(once, 1e-9)))
    fastest = once
    for _ in range(repeats if once < budget else 0):
        start = time.perf_counter()
        for _ in range(calls):
            f()
        fastest = min(fastest, (time.perf_counter() - start) / calls)
    return fastest


def peak_bytes(step) -> int:
    """What a warm step allocates at its peak, on top of what is there before it, in bytes."""
    tracemalloc.start()
    step()
    standing = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - standing


def fitted_exponent(sizes, seconds) -> float:
    """The slope of the line through the points on a log-log plot."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


# --- Results -------------------------------------------------------------------------------------


class Bar(NamedTuple):
    """A target: the measured value shall not exceed the limit. None: it wasn't measured."""

    what: str
    limit: float
    value: float | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.value <= self.limit else "missed"

    def as_dict(self):
        return self._asdict() | {"verdict": self.verdict}


def print_bars(bars):
    """The table of bars; nothing if there are none, as with --quick, which measures nothing."""
    if not bars:
        return
    rows = [
        (b.what, f"<= {b.limit:g}", "-" if b.value is None else f"{b.value:.3g}", b.verdict)
        for b in bars
    ]
    print_table("Bars", ("", "bar", "measured", ""), rows)


def print_table(title, headers, rows):
    """Columns as wide as their longest entry: the first to the left, the others to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    print(f"\n{title}")
    for row in (headers, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip())


def save(out: Path, name: str, results: dict, figure):
    """Writes <name>.json and <name>.png to the folder `out`, which is made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plots.save_figure(figure, out / f"{name}.png")
    print(f"\nwritten: {out / name}.json and .png")


def style():
    """A context in which figures look like those of minigan's plots."""
    return matplotlib.rc_context(plots.STYLE)


def parser(description) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=description)
    p.add_argument("--quick", action="store_true", help="seconds: does it run, do results agree?")
    p.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder to write to")
    return p
