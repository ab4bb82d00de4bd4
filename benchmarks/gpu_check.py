"""Everything that only a GPU can show, in one command and under eight minutes.

    python benchmarks/gpu_check.py --out DIR

On a machine with a GPU: the tests that need one, both headline examples, twenty epochs of DCGAN
against the clock, and both benchmarks, each with a time limit of its own. A part that fails does
not stop the others. To DIR go gpu_check.txt with all that was printed, gpu_check.json, and the
pictures. The exit status is 1 if a part failed or a bar was missed, and 2 if there is no GPU.

It needs no network, and nothing but Python to start: minigan need not be installed. With
MINIGAN_DATA set, DCGAN is trained on MNIST, otherwise on the drawn digits.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from minigan.system import terminal

ROOT = Path(__file__).resolve().parents[1]
TIME_LIMIT = 465  # seconds for everything
EPOCHS_BAR = 10.0  # seconds for 20 epochs
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Part(NamedTuple):
    """A program to be run from the repository's folder.

    needs:    packages without which it is skipped.
    limit:    seconds, after which it is ended and has failed.
    pictures: what the program writes to its own folder, and the name it gets under --out; the
              last in order, where several match.
    record:   the JSON file that it writes there.
    """

    name: str
    command: tuple
    limit: float
    needs: tuple = ()
    pictures: tuple = ()
    record: str = ""


def parts(precision: str) -> list[Part]:
    """In the order of what one wants to know first. "{out}" becomes the part's own folder."""
    data = () if os.environ.get("MINIGAN_DATA") else ("--data", "digits")
    gpu, out = ("--device", "cuda", "--precision", precision), ("--out", "{out}")
    tests = ("-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", "--durations=5")
    dcgan = ("examples/dcgan_mnist.py", *gpu, *data, *out)
    versus = f"vs_pytorch_cuda_{precision}"
    return [
        Part("tests", tests, 150, needs=("pytest", "hypothesis")),
        Part(
            "gaussian_1d",
            ("examples/gaussian_1d.py", *gpu, *out),
            limit=45,
            pictures=(("result.png", "gaussian_1d.png"),),
        ),
        Part("dcgan_mnist", dcgan, 60, pictures=(("samples_*.png", "dcgan_mnist.png"),)),
        Part(
            "20 epochs",
            (*dcgan, "--epochs", "20", "--every", "4000"),  # the bar is for training, not drawing
            limit=60,
            pictures=(("samples_*.png", "dcgan_mnist_20_epochs.png"),),
        ),
        Part(
            "vs_pytorch",
            ("benchmarks/vs_pytorch.py", *gpu, *out),
            limit=200,
            needs=("torch",),
            pictures=((f"{versus}.png", f"{versus}.png"),),
            record=f"{versus}.json",
        ),
        Part(
            "cpu_vs_gpu",
            ("benchmarks/cpu_vs_gpu.py", *gpu[2:], *out),
            limit=170,
            pictures=(("cpu_vs_gpu.png", "cpu_vs_gpu.png"),),
            record="cpu_vs_gpu.json",
        ),
    ]


# --- Running a part ------------------------------------------------------------------------------


def run(part: Part, out: Path, limit: float) -> dict:
    """Runs a part, adds what it prints to gpu_check.txt and fetches what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *(a.replace("{out}", folder) for a in part.command)]
        start = time.perf_counter()
        status, text = finish(command, limit)
        seconds = time.perf_counter() - start
        with (out / "gpu_check.txt").open("a", encoding="utf-8") as file:
            file.write(f"\n===== {part.name}: {' '.join(part.command)}\n\n{text}\n")
        found = {"seconds": seconds, "limit": limit, "last_line": last_line(text)}
        found |= {"outcome": PASSED if status == 0 else FAILED, "reason": ""}
        if status is None:
            found["reason"] = f"ended after {limit:.0f} s"
        elif status:
            found["reason"] = f"exit status {status}: {found['last_line']}"
        return found | fetch(part, Path(folder), out)


def finish(command, limit) -> tuple[int | None, str]:
    """The exit status, None if it had to be ended, and all that was printed."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its own children can be ended with it
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
        printed.seek(0)
        return status, printed.read().decode(errors="replace")


def end(process):
    """Ends a program that is still running, and all that it has started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def last_line(text) -> str:
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1].strip() if lines else "no output"


def fetch(part: Part, folder: Path, out: Path) -> dict:
    """Copies the pictures, and reads the record and its bars, as far as they were written."""
    for pattern, name in part.pictures:
        written = sorted(folder.glob(pattern))
        if written:
            shutil.copy(written[-1], out / name)
    record = folder / part.record
    if not (part.record and record.exists()):
        return {"bars": []}
    found = json.loads(record.read_text(encoding="utf-8"))
    return {"bars": found.get("bars", []), "record": found}


def epochs_bar(found: dict) -> list[dict]:
    """The bar for twenty epochs, against the seconds of training that the example tells at its
    end. They are whole seconds, so 10 may be more than 10 and doesn't count."""
    told = re.search(r"steps on .*, (\d+) s;", found.get("last_line", ""))
    seconds = float(told[1]) if told and found["outcome"] == PASSED else None
    verdict = "not measured" if seconds is None else "met" if seconds < EPOCHS_BAR else "missed"
    what = "seconds of training for 20 epochs of DCGAN"
    return [{"what": what, "limit": EPOCHS_BAR, "value": seconds, "verdict": verdict}]


# --- All of it -----------------------------------------------------------------------------------


def look_around() -> dict:
    """The GPU and the software; "error" says why there is no GPU."""
    command = [sys.executable, str(ROOT / "benchmarks" / "cuda_timing.py")]
    status, text = finish(command, limit=90)
    if status:
        return {"error": last_line(text)}
    return {"error": "not answered in 90 s"} if status is None else json.loads(last_line(text))


def why_not(part: Part, facts: dict, left: float) -> str:
    """Why a part is not run; empty if it is."""
    if "error" in facts:
        return "no GPU"
    missing = [name for name in part.needs if not facts.get(name)]
    if missing:
        return f"{' and '.join(missing)} not installed"
    return "the time was up" if left < 10 else ""


def run_all(chosen: list, facts: dict, out: Path, deadline: float) -> dict:
    results = {}
    for part in chosen:
        left = deadline - time.perf_counter()
        if reason := why_not(part, facts, left):
            results[part.name] = {"outcome": SKIPPED, "reason": reason, "seconds": 0.0, "bars": []}
            continue
        limit = min(part.limit, left)
        print(f"{part.name}, at most {limit:.0f} s ...", end=" ", flush=True)
        results[part.name] = found = run(part, out, limit)
        if part.name == "20 epochs":
            found["bars"] = epochs_bar(found)
        print(f"{found['outcome']} in {found['seconds']:.0f} s", flush=True)
        write_summary(out, facts, results)  # now, in case this is ended before its end
    return results


def write_summary(out: Path, facts: dict, results: dict):
    summary = {"machine": facts, "parts": results}
    (out / "gpu_check.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def print_summary(results: dict):
    print()
    for name, found in results.items():
        told = found["reason"] or found.get("last_line", "")
        print(f"  {name:<13}{found['outcome']:<9}{found['seconds']:>5.0f} s  {told[:150]}")
    for bar in (bar for found in results.values() for bar in found["bars"]):
        value = "-" if bar["value"] is None else f"{bar['value']:.3g}"
        print(f"  {bar['what']:<58}<= {bar['limit']:<5g}{value:>7}  {bar['verdict']}")


def status_of(facts: dict, results: dict) -> int:
    if "error" in facts:
        return 2
    missed = any(bar["verdict"] == "missed" for found in results.values() for bar in found["bars"])
    failed = any(found["outcome"] == FAILED for found in results.values())
    return 1 if failed or missed else 0


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, required=True, help="folder to write to")
    p.add_argument("--precision", choices=("float32", "tf32"), default="float32")
    args = p.parse_args()
    deadline = time.perf_counter() + TIME_LIMIT
    args.out.mkdir(parents=True, exist_ok=True)
    facts = look_around()
    print(", ".join(f"{key} {value}" for key, value in facts.items() if key != "error"))
    if "error" in facts:
        print(f"error: {facts['error']}", file=sys.stderr)
    text = json.dumps(facts, indent=1) + "\n"
    (args.out / "gpu_check.txt").write_text(text, encoding="utf-8")
    results = run_all(parts(args.precision), facts, args.out, deadline)
    write_summary(args.out, facts, results)
    print_summary(results)
    return status_of(facts, results)


if __name__ == "__main__":
    with terminal.guarded():
        sys.exit(main())
