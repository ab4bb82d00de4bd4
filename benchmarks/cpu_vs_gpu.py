"""From which batch size on is the GPU faster? Per operation and per training step.

    python benchmarks/cpu_vs_gpu.py             two minutes; writes to runs/benchmarks
    python benchmarks/cpu_vs_gpu.py --precision tf32
    python benchmarks/cpu_vs_gpu.py --quick     seconds; without a GPU, the CPU's half alone

Three ways to do the same on batches of 16 to 4,096: the CPU with all its threads; the GPU as
Python calls it, operation by operation ("eager"); and the GPU replaying what was recorded once
("captured"). A small batch leaves a GPU waiting for Python, so it may lose there; where the curves
cross, interpolated on logarithmic axes, is marked.

What is compared are medians of the time until the result is there, after warming up. Beside it
stands the device's own time. All inputs are on the device already: transfers stand apart.
Training steps of the CPU that would take longer than a second are left out.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import NamedTuple

import numpy as np
from cuda_timing import gpu_facts, open_gpu, print_gpu, time_calls
from engines import Task, with_minigan
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator
from measure import machine, parser, print_machine, print_table, save, style
from process import all_threads, restart_in_clean_environment

from minigan import Tensor, cpu, grad, optim, plots, tensor
from minigan import functional as F
from minigan.backend import DeviceError
from minigan.engine import conv2d, conv_transpose2d
from minigan.engine.conv import conv2d_filter_grad
from minigan.nn import Parameter
from minigan.system import terminal

SIZES, QUICK_SIZES = (16, 64, 256, 1024, 4096), (2, 8)
WIDTHS, QUICK_WIDTHS = (32, 64, 128), (8,)
SECONDS, QUICK_SECONDS = 0.2, 0.01  # per point, unless a single call takes longer
LONGEST = 1.0  # seconds of a call on the CPU
TIME_LIMIT = 140.0  # seconds, after which no further point is begun
WAYS = {"cpu": "CPU", "eager": "GPU eager", "captured": "GPU captured"}
COLORS = {"cpu": plots.P_DATA, "eager": plots.D, "captured": plots.P_G}


# --- What is measured ----------------------------------------------------------------------------

# Each makes, for a backend and a batch size, the call to be timed. Convolutions, normalisation and
# activations are those of DCGAN-28 at width 64, where its images have 14 by 14 pixels.


def normal(backend, *shape):
    return backend.generator(0).normal(shape)


def matrix_product(backend, n):
    a, b = normal(backend, n, 1024), normal(backend, 1024, 1024)
    return lambda: backend.matmul(a, b)


def convolution(backend, n):
    x, w = Tensor(normal(backend, n, 14, 14, 64)), Tensor(normal(backend, 4, 4, 64, 128))
    return lambda: conv2d(x, w, stride=2, padding=1)


def transposed_convolution(backend, n):
    y, w = Tensor(normal(backend, n, 7, 7, 128)), Tensor(normal(backend, 4, 4, 64, 128))
    return lambda: conv_transpose2d(y, w, stride=2, padding=1)


def filter_gradient(backend, n):
    x, y = Tensor(normal(backend, n, 14, 14, 64)), Tensor(normal(backend, n, 7, 7, 128))
    return lambda: conv2d_filter_grad(x, y, 4, stride=2, padding=1)


def there_and_back(function, backend, *shape):
    """A call of the function and of its gradient."""
    x, g = tensor(normal(backend, *shape), requires_grad=True), Tensor(normal(backend, *shape))
    return lambda: grad(function(x), [x], cotangent=g)


def batch_norm(backend, n):
    scale, shift = (Tensor(normal(backend, 64)) for _ in range(2))
    return there_and_back(
        lambda x: F.normalize(x, scale, shift, (0, 1, 2), eps=1e-5)[0], backend, n, 14, 14, 64
    )


def leaky_relu(backend, n):
    return there_and_back(F.leaky_relu, backend, n, 14, 14, 64)


def tanh(backend, n):
    return there_and_back(F.tanh, backend, n, 28, 28, 1)


def adam(backend, n):
    """One update of n · 1,024 parameters."""
    optimizer = optim.Adam([Parameter(normal(backend, n, 1024))], 1e-4)
    gradients = [Tensor(normal(backend, n, 1024))]
    return lambda: optimizer.step(gradients)


def mlp_gan(backend, n):
    task = Task("mlp_gan", batch=n, latent=1, sizes=(1, 16, 16, 1))
    return with_minigan.mlp_gan(_placed(task, backend))


def dcgan(width):
    def make(backend, n):
        return with_minigan.dcgan(_placed(Task("dcgan", n, width, latent=100), backend))

    return make


def _placed(task: Task, backend) -> Task:
    return task._replace(device=backend.name, precision=backend.precision)


OPERATIONS = {
    "matrix product": matrix_product,
    "convolution": convolution,
    "transposed convolution": transposed_convolution,
    "filter gradient": filter_gradient,
    "batch norm, there and back": batch_norm,
    "leaky ReLU, there and back": leaky_relu,
    "tanh, there and back": tanh,
    "Adam, batch x 1,024 numbers": adam,
}


def cases(widths) -> dict:
    steps = {"step of a 1-D GAN": mlp_gan}
    steps |= {f"step of DCGAN, width {width}": dcgan(width) for width in widths}
    return steps | OPERATIONS


# --- Measuring -----------------------------------------------------------------------------------


class Plan(NamedTuple):
    """What holds for all points. `gpu` is None if there is none; `deadline` is a host's time."""

    gpu: object
    sizes: tuple
    budget: float
    deadline: float


def measure(make, plan: Plan, progress=lambda: None) -> dict:
    """One case at all sizes: by way, a list with a Timing as a dict or None for each size.

    `notes` says why something is None, `failed` whether it should not have been.
    """
    found = {way: [] for way in WAYS} | {"notes": [], "failed": False}
    for n in plan.sizes:
        if time.perf_counter() > plan.deadline:
            point = {"notes": [f"batch {n}: left out, the time was up"]}
        else:
            point = measure_point(make, n, plan, slowest=_expected(found["cpu"], n, plan.sizes))
        for way in WAYS:
            found[way].append(point.get(way))
        found["notes"] += point.get("notes", [])
        found["failed"] |= point.get("failed", False)
        progress()
    walls = {way: [t and t["wall"] for t in found[way]] for way in WAYS}
    ways = ("eager", "captured")
    found["crossing"] = {way: crossing(plan.sizes, walls["cpu"], walls[way]) for way in ways}
    return found


def _expected(timings, n, sizes) -> float:
    """What a call of the CPU will take at least: as long per sample as at the size before."""
    if not timings:
        return 0.0
    before = timings[-1]
    return before["wall"] * n / sizes[len(timings) - 1] if before else np.inf


def measure_point(make, n, plan: Plan, slowest: float) -> dict:
    point = {"notes": []}
    if slowest <= LONGEST:
        point["cpu"] = time_calls(make(cpu, n), cpu, plan.budget)._asdict()
    else:
        point["notes"].append(f"batch {n}: the CPU would take more than {LONGEST:g} s")
    if plan.gpu is None:
        return point
    try:
        call = make(plan.gpu, n)
        point["eager"] = time_calls(call, plan.gpu, plan.budget)._asdict()
        point["captured"] = time_calls(plan.gpu.capture(call), plan.gpu, plan.budget)._asdict()
    except DeviceError as error:  # out of memory: nothing is wrong with the case
        point["notes"].append(f"batch {n}: {error}")
    except Exception as error:  # the other points are worth having all the same
        reason = (str(error).splitlines() or [""])[0]
        point["failed"] = True
        point["notes"].append(f"batch {n}: {type(error).__name__}: {reason}")
    return point


def crossing(sizes, cpu_seconds, gpu_seconds) -> float | None:
    """The batch size from which the GPU is faster, for good: where the straight lines between the
    points cross on logarithmic axes. The smallest size if it always is, None if it isn't at last.
    """
    pairs = zip(sizes, cpu_seconds, gpu_seconds, strict=True)
    points = [(n, np.log(c / g)) for n, c, g in pairs if c and g]
    if not points or points[-1][1] <= 0:
        return None
    for (n, lead), (after, lead_after) in reversed(list(itertools.pairwise(points))):
        if lead <= 0:
            share = -lead / (lead_after - lead)
            return float(np.exp(np.log(n) + share * np.log(after / n)))
    return float(points[0][0])


def transfers(plan: Plan) -> list[dict]:
    """Images of 28 by 28 float32 pixels to the device and back, in new memory every time."""
    found = []
    for n in plan.sizes:
        host = np.random.default_rng(0).random((n, 28, 28, 1), np.float32)
        there = plan.gpu.asarray(host)
        calls = {
            "up": lambda x=host: plan.gpu.asarray(x),
            "down": lambda x=there: plan.gpu.to_numpy(x),
        }
        seconds = {k: time_calls(f, plan.gpu, plan.budget).wall for k, f in calls.items()}
        found.append({"batch": n, "bytes": host.nbytes} | seconds)
    return found


# --- What came of it -----------------------------------------------------------------------------


def print_results(results: dict, sizes, gpu: bool):
    headers = ("", "batch", "CPU", "GPU eager", "captured", "eager, device", "captured, device")
    rows = []
    for name, found in results.items():
        for i, n in enumerate(sizes):
            timings = [found[way][i] for way in WAYS]
            walls = [ms(t and t["wall"]) for t in timings]
            device = [ms(t and t["device"]) for t in timings[1:]]
            rows.append((name if i == 0 else "", n, *walls, *device))
    print_table("Milliseconds per call, until the result is there", headers, rows)
    for name, found in results.items():
        for note in found["notes"]:
            print(f"  {name}: {note}")
    if not gpu:
        print("\nGPU: not measured")
        return
    rows = [
        (name, *(named(size, sizes) for size in found["crossing"].values()))
        for name, found in results.items()
    ]
    print_table(
        "The GPU is faster than the CPU from this batch on", ("", "eager", "captured"), rows
    )


def ms(seconds) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3g}"


def named(size, sizes) -> str:
    if size is None:
        return "never"
    return f"<= {size:.0f}" if size <= sizes[0] else f"{size:.0f}"


def print_transfers(rows: list):
    if not rows:
        return
    headers = ("batch", "MB", "up, ms", "down, ms", "up, GB/s", "down, GB/s")
    table = []
    for row in rows:
        speeds = [f"{row['bytes'] / row[way] / 1e9:.2f}" for way in ("up", "down")]
        size = f"{row['bytes'] / 1e6:.2f}"
        table.append((row["batch"], size, ms(row["up"]), ms(row["down"]), *speeds))
    print_table("Transfers of float32 images, pageable host memory", headers, table)


def picture(results: dict, moved: list, sizes, title: str) -> Figure:
    """A panel for each case, one for the transfers, and the legend."""
    rows = -(-(len(results) + 2) // 5)
    with style():
        figure = Figure(figsize=(15, 0.9 + 2.9 * rows), dpi=100, layout="constrained")
        panels = figure.subplots(rows, 5).ravel()
        for panel, (name, found) in zip(panels, results.items(), strict=False):
            draw_case(panel, name, found, sizes)
        draw_transfers(panels[len(results)], moved)
        handles, labels = panels[0].get_legend_handles_labels()
        panels[-1].legend(handles, labels, loc="center", fontsize=12)
        for panel in panels[len(results) + bool(moved) :]:
            panel.axis("off")
        figure.suptitle(title, x=0.01, ha="left", size=12)
    return figure


def draw_case(panel, name, found, sizes):
    for way, label in WAYS.items():
        times = [np.nan if t is None else 1e3 * t["wall"] for t in found[way]]
        measured = label if np.isfinite(times).any() else f"{label}: not measured"
        panel.plot(sizes, times, "o-", color=COLORS[way], label=measured, markersize=4)
    prepare_axes(panel, name, sizes)
    panel.set_ylabel("ms")
    for way, size in found["crossing"].items():
        if size is not None:
            panel.axvline(size, color=COLORS[way], linestyle=":", linewidth=1.5)
            height = 0.98 if way == "captured" else 0.88
            panel.text(
                size, height, f" {named(size, sizes)}", color=COLORS[way], va="top",
                transform=panel.get_xaxis_transform(), size=9,
            )  # fmt: skip


def draw_transfers(panel, moved):
    if not moved:
        return
    sizes = [row["batch"] for row in moved]
    for way, marker in (("up", "^"), ("down", "v")):
        times = [1e3 * row[way] for row in moved]
        panel.plot(sizes, times, f"{marker}-", color=plots.D_STAR, label=way, markersize=5)
    prepare_axes(panel, "transfer of 28x28 images", sizes)
    panel.legend(loc="upper left")


def prepare_axes(panel, name, sizes):
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(sizes, sizes)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_formatter(NullFormatter())
    decades = np.log10(panel.get_ylim())
    panel.set_ylim(10 ** np.floor(decades[0]), 10 ** np.ceil(decades[1]))
    panel.set_title(name, loc="left", size=10)


def main():
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--precision", choices=("float32", "tf32"), default="float32", help="the GPU's")
    args = p.parse_args()
    restart_in_clean_environment(all_threads())
    gpu = open_gpu_or_none(args)
    facts = machine() | {"gpu": gpu and gpu_facts(gpu)}
    print_machine(facts)
    if gpu is not None:
        print_gpu(facts["gpu"])
    title = headline(facts, args.precision)
    print(f"\n{title}")
    sizes, widths = (QUICK_SIZES, QUICK_WIDTHS) if args.quick else (SIZES, WIDTHS)
    budget = QUICK_SECONDS if args.quick else SECONDS
    plan = Plan(gpu, sizes, budget, time.perf_counter() + TIME_LIMIT)
    chosen = cases(widths)
    with terminal.bar(total=len(chosen) * len(sizes), desc="points") as bar:
        results = {case: measure(make, plan, bar.update) for case, make in chosen.items()}
    moved = transfers(plan) if gpu else []
    print_results(results, sizes, gpu is not None)
    print_transfers(moved)
    record = {"machine": facts, "quick": args.quick, "precision": args.precision}
    record |= {"sizes": sizes, "cases": results, "transfers": moved or "not measured"}
    save(args.out, "cpu_vs_gpu", record, picture(results, moved, sizes, title))
    return 1 if any(found["failed"] for found in results.values()) else 0


def headline(facts: dict, precision) -> str:
    other = facts["gpu"]["gpu"] if facts["gpu"] else "a GPU, which isn't there"
    return (
        f"{facts['cpu']}, {facts['threads']} threads, against {other}: time per call over batch "
        f"size, matrix products in {precision}"
    )


def open_gpu_or_none(args):
    """The GPU; with --quick None if there is none, which is then said in the results."""
    try:
        return open_gpu(args.precision)
    except SystemExit:
        if args.quick:
            return None
        raise


if __name__ == "__main__":
    with terminal.guarded():
        sys.exit(main())
