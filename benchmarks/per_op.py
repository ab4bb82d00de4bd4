"""What does the tape cost? Microseconds per operation over the raw NumPy calls, bytes and faults.

    python benchmarks/per_op.py            a minute; writes to runs/benchmarks
    python benchmarks/per_op.py --quick    seconds: does it run, are gradients right?

The overhead of an operation is measured on a chain of them, each fed the result of the one
before, on arrays so small that the arithmetic costs next to nothing:

    overhead = (time per operation through the tape) − (time of the raw NumPy calls that do the
               same arithmetic, in a loop like it),

    forward   recording the chain
    backward  grad(y, [x], cotangent=v), with the arithmetic of the backward rules as raw calls
    twice     the same with create_graph=True, then the gradient of its result in v: a walk
              through every node of the first backward pass; raw, twice the backward arithmetic

Everything runs on one thread, and the fastest of several repetitions counts.

Then, for a whole training step once it is warm: the memory that it allocates on top of what is
there before it (tracemalloc's peak, which sees NumPy's arrays), and its page faults.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from engines import QUICK_TASKS, TASKS, with_minigan
from matplotlib.figure import Figure
from measure import (
    Bar,
    machine,
    parser,
    peak_bytes,
    print_bars,
    print_machine,
    print_table,
    save,
    seconds_per_call,
    style,
)
from process import page_faults, restart_in_clean_environment

from minigan import Tensor, grad, plots, tensor
from minigan import functional as F
from minigan.engine import conv2d
from minigan.system import terminal

LENGTH, QUICK_LENGTH = 300, 10
SECONDS, QUICK_SECONDS = 0.5, 0.01
PASSES = ("forward", "backward", "twice")


class Link(NamedTuple):
    """One link of a chain, which keeps the shape: through the tape, and as raw NumPy calls.

    op(y):          through the tape
    forward(y):     the same arithmetic on arrays
    backward(g, y): the array arithmetic of its rule, y being the link's output
    operations:     how many nodes the link adds to the graph
    """

    shape: tuple
    op: object
    forward: object
    backward: object
    operations: int = 1


def links() -> dict:
    """The operations to be measured. The first four are the elementwise ones that the bar is for.

    exp is applied to −y, so that the chain settles at 0.567 = exp(−0.567) and doesn't overflow.
    The convolution's kernel is 1x1, so that all its arithmetic is one product.
    """
    rng = np.random.default_rng(0)
    row = rng.random(16, np.float32)
    square = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    bias = np.zeros(4, np.float32)
    c, w, b, filters = Tensor(row), Tensor(square), Tensor(bias), Tensor(square[None, None])
    return {
        "add": Link((16,), lambda y: y + c, lambda y: y + row, lambda g, y: g),
        "mul": Link((16,), lambda y: y * c, lambda y: y * row, lambda g, y: g * row),
        "exp(-y)": Link(
            (16,), lambda y: F.exp(-y), lambda y: np.exp(-y), lambda g, y: -(g * y), operations=2
        ),
        "relu": Link(
            (16,), F.relu, lambda y: np.maximum(y, 0), lambda g, y: g * (y > 0)
        ),
        "sum": Link(
            (1, 16), lambda y: y.sum(axis=0, keepdims=True),
            lambda y: y.sum(axis=0, keepdims=True), lambda g, y: g,
        ),
        "reshape": Link(
            (4, 4), lambda y: y.reshape(16).reshape(4, 4),
            lambda y: y.reshape(16).reshape(4, 4),
            lambda g, y: g.reshape(16).reshape(4, 4), operations=2,
        ),
        "matmul": Link((4, 4), lambda y: y @ w, lambda y: y @ square, lambda g, y: g @ square.T),
        "linear": Link(
            (4, 4), lambda y: F.linear(y, w, b),
            lambda y: y @ square + bias, lambda g, y: g @ square.T,
        ),
        "conv2d 1x1": Link(
            (1, 2, 2, 4), lambda y: conv2d(y, filters),
            lambda y: (y.reshape(4, 4) @ square).reshape(1, 2, 2, 4),
            lambda g, y: (g.reshape(4, 4) @ square.T).reshape(1, 2, 2, 4),
        ),
    }  # fmt: skip


ELEMENTWISE = ("add", "mul", "exp(-y)", "relu")


# --- Overhead per operation ----------------------------------------------------------------------


def overhead(link: Link, length: int, budget: float) -> dict:
    """Microseconds per operation by pass: {pass: {"tape": …, "raw": …, "overhead": …}}."""
    x = tensor(np.full(link.shape, 0.5, np.float32), requires_grad=True)
    v = tensor(np.ones(link.shape, np.float32), requires_grad=True)
    output = link.forward(x.data)
    for _ in range(length):
        output = link.forward(output)

    def forward():
        y = x
        for _ in range(length):
            y = link.op(y)
        return y

    def raw_forward():
        y = x.data
        for _ in range(length):
            y = link.forward(y)
        return y

    def raw_backward():
        g = v.data
        for _ in range(length):
            g = link.backward(g, output)
        return g

    def twice():
        (gx,) = grad(recorded, [x], cotangent=v, create_graph=True)
        return grad(gx, [v], cotangent=v.detach())

    recorded = forward()
    np.testing.assert_allclose(recorded.data, raw_forward(), rtol=1e-4, atol=1e-6)
    tape = (forward, lambda: grad(recorded, [x], cotangent=v), twice)
    raw_seconds = [seconds_per_call(f, budget) for f in (raw_forward, raw_backward)]
    raw_seconds.append(2 * raw_seconds[1])
    scale = 1e6 / (length * link.operations)
    found = {}
    for name, f, raw in zip(PASSES, tape, raw_seconds, strict=True):
        seconds = seconds_per_call(f, budget)
        found[name] = {
            "tape": scale * seconds,
            "raw": scale * raw,
            "overhead": scale * (seconds - raw),
        }
    return found


def there_and_back(found: dict) -> float:
    """The overhead of forward and backward together."""
    return found["forward"]["overhead"] + found["backward"]["overhead"]


# --- Memory of a training step -------------------------------------------------------------------


def footprint(step, steps: int) -> dict:
    """Of a warm step: the peak of its allocations in bytes, and its page faults."""
    for _ in range(5):
        step()
    before = page_faults()
    for _ in range(steps):
        step()
    faults = (page_faults() - before) / steps
    return {"peak_bytes": peak_bytes(step), "page_faults": faults}


# --- Results -------------------------------------------------------------------------------------


def print_results(operations: dict, footprints: dict):
    headers = ("operation", *PASSES, "fwd + bwd", "raw fwd + bwd")
    rows = []
    for name, found in operations.items():
        raw = found["forward"]["raw"] + found["backward"]["raw"]
        values = [found[p]["overhead"] for p in PASSES] + [there_and_back(found), raw]
        rows.append((name, *(f"{value:.2f}" for value in values)))
    print_table("Tape overhead per operation, in microseconds", headers, rows)
    rows = [
        (name, f"{found['peak_bytes'] / 1e6:.2f}", f"{found['page_faults']:.1f}")
        for name, found in footprints.items()
    ]
    print_table("A training step, once warm", ("", "peak of allocations, MB", "page faults"), rows)


def picture(operations: dict) -> Figure:
    """Overhead forward and backward, stacked; on its sides the raw calls and the second pass."""
    with style():
        figure = Figure(figsize=(8, 4.2), dpi=100, layout="constrained")
        panel = figure.subplots()
        places = np.arange(len(operations))
        series = {p: [found[p]["overhead"] for found in operations.values()] for p in PASSES}
        raw = [found["forward"]["raw"] + found["backward"]["raw"] for found in operations.values()]
        panel.bar(places - 0.27, raw, 0.25, color=plots.GUIDE, label="raw NumPy calls")
        panel.bar(places, series["forward"], 0.25, color=plots.P_G, label="overhead, forward")
        panel.bar(
            places, series["backward"], 0.25, bottom=series["forward"], color=plots.D,
            label="overhead, backward",
        )  # fmt: skip
        panel.bar(places + 0.27, series["twice"], 0.25, color=plots.D_STAR, label="overhead, twice")
        panel.set_xticks(places, operations)
        panel.set_ylabel("microseconds per operation")
        panel.legend(loc="upper left")
        panel.set_title("What the tape costs, on arrays of 16 numbers", loc="left", size=11)
    return figure


def main():
    args = parser(__doc__.splitlines()[0]).parse_args()
    restart_in_clean_environment(threads=1)
    facts = machine()
    print_machine(facts)
    length, budget = (QUICK_LENGTH, QUICK_SECONDS) if args.quick else (LENGTH, SECONDS)
    operations = {
        name: overhead(link, length, budget)
        for name, link in terminal.bar(links().items(), desc="operations")
    }
    footprints = {}
    tasks = QUICK_TASKS if args.quick else TASKS
    for name, task in terminal.bar(tasks.items(), desc="training steps"):
        step = getattr(with_minigan, task.function)(task)
        footprints[name] = footprint(step, steps=3 if args.quick else 10)
    print_results(operations, footprints)
    bars = []
    if not args.quick:
        mean = np.mean([there_and_back(operations[name]) for name in ELEMENTWISE])
        bars = [
            Bar(f"us per op, forward and backward: mean of {', '.join(ELEMENTWISE)}", 4.0, mean),
            Bar("page faults per DCGAN step", 100, footprints["DCGAN-28"]["page_faults"]),
        ]
    print_bars(bars)
    record = {"machine": facts, "quick": args.quick, "length": length}
    record |= {"operations": operations, "steps": footprints}
    save(args.out, "per_op", record | {"bars": [b.as_dict() for b in bars]}, picture(operations))


if __name__ == "__main__":
    with terminal.guarded():
        main()
