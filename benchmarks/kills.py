"""Does a run of several ranks survive the death of one? Kills one of them, at random, many times.

    python benchmarks/kills.py --count 100        some ten minutes; needs Linux and minigan[mpi]

A small DCGAN runs on --ranks ranks, and a random one of them gets SIGKILL at a random moment of the
run. What must come of it, every time: the others end within 10 seconds, with one line and a status
other than 0; the checkpoint, if there was one by then, loads; and the run that goes on from it, or
else begins anew, ends as the undisturbed run did, to the bit.

Prints what became of each kill. Exit status 1 if anything else came of one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from minigan import plots
from minigan.training import CheckpointError, checkpoint, options

EXAMPLE = Path(__file__).parents[1] / "examples" / "dcgan_mnist.py"
SMALL = "--size 8 --batch 8 --width 4 --hidden 16 --latent 8 --samples 4 --every 10"
SECONDS = 10


def draw_images(folder: Path):
    """Something small to learn from."""
    folder.mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)):
        plots.save_image(folder / f"{k}.png", pixels)


def start(folder: Path, args, *more) -> subprocess.Popen:
    """The run, which writes to a folder."""
    command = [
        sys.executable,
        EXAMPLE,
        *SMALL.split(),
        "--steps",
        args.steps,
        "--ranks",
        args.ranks,
    ]
    command += ["--data", folder.parent / "images", "--out", folder, *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([str(word) for word in command], **pipes)


def ranks_of(folder: Path) -> dict[int, int]:
    """The processes of a run that writes to `folder`: {rank: process number}."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                variables = (process / "environ").read_bytes().split(b"\0")
                told = dict(line.split(b"=", 1) for line in variables if b"=" in line)
                if b"PMI_RANK" in told:
                    found[int(told[b"PMI_RANK"])] = int(process.name)
    return found


def killed(folder: Path, args, after: float, luck: random.Random) -> list[str] | None:
    """Kills a rank some seconds after all are there; what is wrong with what comes of it.

    None if the run is over by then.
    """
    process = start(folder, args)
    while len(there := ranks_of(folder)) < args.ranks:
        time.sleep(0.01)
    time.sleep(after)
    wrong, began = [], time.monotonic()
    try:
        os.kill(luck.choice(list(there.values())), signal.SIGKILL)
    except ProcessLookupError:
        process.communicate()
        return None
    try:
        _, err = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return [f"the others are still there after {SECONDS} seconds"]
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    if process.returncode == 0 or len(lines) != 1 or "Traceback" in err:
        wrong.append(f"status {process.returncode}, and said: {lines}")
    if ranks_of(folder):
        wrong.append("a rank is left")
    print(f"{time.monotonic() - began:.1f} s to the end", end=", ")
    return wrong


def gone_on(folder: Path, args, expected: dict) -> list[str]:
    """Goes on from the checkpoint, if there is one; what is wrong with it and with the end."""
    path, more = folder / checkpoint.NAME, []
    if path.exists():
        try:
            print(f"from step {checkpoint.peek(path)['step']}", end=", ")
        except CheckpointError as error:
            return [str(error)]
        more = ["--resume"]
    _, err = (process := start(folder, args, *more)).communicate()
    if process.returncode:
        return [f"going on: status {process.returncode}, {err.strip().splitlines()[-1:]}"]
    end = load_file(path)
    unlike = [k for k in expected if end[k].tobytes() != expected[k].tobytes()]
    return [f"differs from the undisturbed run: {unlike[:3]}"] if unlike else []


def main(argv=None) -> int:
    p = argparse.ArgumentParser(description="Kills ranks at random.")
    p.add_argument("--count", type=options.whole(1), default=100, help="how many kills")
    p.add_argument("--ranks", type=options.whole(2), default=2)
    p.add_argument("--steps", type=options.whole(20), default=600, help="of each run")
    p.add_argument("--seed", type=options.whole(0), default=0, help="of the moments")
    args = p.parse_args(argv)
    luck, faults = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as home:
        draw_images(Path(home) / "images")
        folder, began = Path(home) / "undisturbed", time.monotonic()
        start(folder, args).communicate()
        seconds, expected = time.monotonic() - began, load_file(folder / checkpoint.NAME)
        folder, kills = Path(home) / "run", 0
        while kills < args.count:
            after = luck.uniform(0, 0.8 * seconds)  # of which some went by before all were there
            wrong = killed(folder, args, after, luck)
            if wrong is not None:
                wrong = wrong or gone_on(folder, args, expected)
                print(f"killed after {after:.2f} s: {'; '.join(wrong) or 'as undisturbed'}")
                kills, faults = kills + 1, faults + bool(wrong)
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{kills} kills, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
