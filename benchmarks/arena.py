"""Workers that take turns: how several engines are timed on one machine, fairly.

Each contestant is a process of its own, with its own memory and its own thread pool: two pools
in one process disturb each other, because threads that wait for work spin. A parent hands out
turns, A B C A B C …, each some tenths of a second long; whoever has no turn sleeps in a read from
its pipe. What else the machine does then hits all contestants alike, and a ratio of two turns of
the same round is steadier than either of the times.

The same file is the worker's program (`python arena.py '<contestant>'`). Both sides speak in
lines of JSON: the parent sends {"prepare": true}, then {"seconds": …} for a turn, and closes the
pipe to end. Libraries are loaded before the first line, so workers may do that side by side; what
follows, they do one after the other, since some libraries time their own algorithms in it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import NamedTuple

from engines import Absent, Task
from process import blas_variables, memory, page_faults

# Seconds between two turns. BLAS's threads go on spinning after the last product, OpenBLAS's for
# 0.11 s here, and would slow down whoever comes next.
REST = 0.15


class Contestant(NamedTuple):
    """A function of a file in `engines/`, with its options, the task and the threads it gets."""

    module: str
    function: str
    options: dict
    task: Task
    threads: int


class Turn(NamedTuple):
    """What came of one turn: steps, seconds and page faults for all of them together."""

    steps: int
    seconds: float
    faults: int


# --- The parent's side ---------------------------------------------------------------------------


class Worker:
    """A contestant's process, from the start until `close`. Absent, with the reason, if it fails.

    `facts` is what it told about itself when it was ready: version, threads, the environment it
    got, its first losses, and its memory once the library was loaded and the networks were made.
    With ready=False it only loads its library, until somebody calls `make_ready`.
    """

    def __init__(self, contestant: Contestant, environment: dict, ready=True):
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115 (open as long as the worker)
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(contestant)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        if ready:
            self.make_ready()

    def make_ready(self, patience=600):
        """Waits for its first losses and warm steps, at most `patience` seconds."""
        late = threading.Timer(patience, self._process.kill)
        late.start()
        try:
            self.facts = self._ask({"prepare": True})
        except Absent as error:
            self.close()
            if late.finished.is_set():
                raise Absent(f"not ready after {patience} seconds") from error
            raise
        finally:
            late.cancel()

    def turn(self, seconds: float) -> Turn:
        """Untimed steps, to have caches and threads back, then steps for about `seconds`."""
        return Turn(**self._ask({"seconds": seconds}))

    def memory(self) -> tuple[float, float]:
        """Its resident memory in MB, now and at the peak, interpreter and libraries included."""
        return tuple(self._ask({"memory": True})["memory"])

    def device_memory(self) -> dict:
        """MB of a GPU's memory; see the engines."""
        return self._ask({"device_memory": True})

    def close(self):
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ask(self, request: dict) -> dict:
        with contextlib.suppress(BrokenPipeError):  # reading its answer will say why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:] or ["no message"]
            raise Absent(f"its process ended with status {status}: {last[0]}")
        answer = json.loads(line)
        if "absent" in answer:
            raise Absent(answer["absent"])
        return answer


def play(workers: dict, rounds: int, seconds: float, progress=lambda: None, rest=REST) -> dict:
    """`rounds` rounds in which every worker has one turn; the turns by the workers' names."""
    turns = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            turns[name].append(worker.turn(seconds))
            time.sleep(rest)
        progress()
    return turns


# --- The worker's side ---------------------------------------------------------------------------


def serve(contestant: Contestant, requests, answers):
    """Answers the parent's requests until it closes the pipe."""

    def answer(message):
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    with contextlib.suppress(Exception):  # whatever it is, it will come again
        load(contestant)
    requests.readline()
    try:
        engine, step, facts = prepare(contestant)
    except ImportError as error:
        return answer({"absent": f"not installed: {error}"})
    except Exception as error:  # whatever keeps it from taking part is worth a line in the table
        return answer({"absent": f"{type(error).__name__}: {str(error).splitlines()[0]}"})
    answer(facts)
    for line in requests:
        request = json.loads(line)
        if "seconds" in request:
            answer(take_turn(engine, step, request["seconds"])._asdict())
        elif "device_memory" in request:
            answer(engine.device_memory(step))
        else:
            answer({"memory": memory()})
    return None


def load(contestant: Contestant):
    """The engine's module, once its number of threads is set."""
    _set_threads(contestant)
    return importlib.import_module(f"engines.{contestant.module}")


def prepare(contestant: Contestant):
    """Makes the step and runs it until it is warm."""
    engine = load(contestant)
    step = getattr(engine, contestant.function)(contestant.task, **contestant.options)
    facts = {
        "version": engine.version(),
        "threads": contestant.threads,
        "variables": blas_variables(),
        "loaded_mb": memory()[0],
        "losses": [engine.value(loss) for loss in step()],
    }
    for warm in range(4):  # a compiler may compile again when it meets the second step
        if contestant.task.device == "cuda" and warm == 2:  # graphs are recorded after this
            engine.forget_device_memory()
        facts["warm_losses"] = [engine.value(loss) for loss in step()]
    return engine, step, facts


def _set_threads(contestant: Contestant):
    """What the environment's variables don't reach. JAX has no setting: it gets fewer CPUs."""
    if contestant.module == "with_torch":
        import torch

        torch.set_num_threads(contestant.threads)
    if contestant.module == "with_jax" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: contestant.threads])


def take_turn(engine, step, seconds) -> Turn:
    """A tenth of the turn to wake up and to learn how long a step takes, then the timed part."""
    steps, start = 0, time.perf_counter()
    while steps == 0 or time.perf_counter() - start < seconds / 10:
        wait_for(engine, step())
        steps += 1
    steps = max(1, round(seconds * steps / (time.perf_counter() - start)))
    faults, start = page_faults(), time.perf_counter()
    for _ in range(steps):
        losses = step()
    wait_for(engine, losses)
    return Turn(steps, time.perf_counter() - start, page_faults() - faults)


def wait_for(engine, losses):
    """An engine that works in the background has finished once its losses can be read."""
    for loss in losses:
        engine.value(loss)


if __name__ == "__main__":
    _answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is not an answer
    _module, _function, _options, _task, _threads = json.loads(sys.argv[1])
    serve(Contestant(_module, _function, _options, Task(*_task), _threads), sys.stdin, _answers)
