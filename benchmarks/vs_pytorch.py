"""How fast is a training step, against PyTorch and others, on this machine's CPU or its GPU?

    python benchmarks/vs_pytorch.py                  under ten minutes; writes to runs/benchmarks
    python benchmarks/vs_pytorch.py --quick          seconds: does it run, and do results agree?
    python benchmarks/vs_pytorch.py --device cuda    some three minutes; --precision tf32

Four tasks: DCGAN for 28x28 images (one step of D on real and generated images, then one of G),
a GAN of two small MLPs in one dimension, a step of a WGAN-GP critic, which needs second
derivatives of the convolutions, and BigGAN for 32x32 images in colour: residual blocks, attention,
spectral norms. Each at one thread and at all of them, but for BigGAN, which would take the ten
minutes beyond their end, at one; in this order:

1. Parity: minigan's gradients equal PyTorch's to 1e-4, or there is nothing to compare.
2. Every engine that is installed does the task in a process of its own, from the same weights on
   the same inputs. Their first losses have to agree.
3. They take turns (see arena.py). What counts is the ratio to PyTorch eager, round by round: its
   median, and its quartiles as the spread. Times, memory and page faults stand beside.

For scale, the machine's peak is measured among them, by one large matrix product. The products
of a step at that rate are the floor: no engine can be faster, whatever it does with the rest.

Memory is a process's peak, so the interpreter and the libraries count; "loaded" is what it had
before the first step. What isn't installed is listed as absent: pip install -e '.[bench]'.

With --device cuda the task is DCGAN at two batch sizes, minigan's step as it is and captured,
against PyTorch's in all its forms, all in one precision. A turn ends when the device has done all
its work. A large copy gives the memory's rate beside the product's, and a second floor. Whether
results agree is asked of the losses of the first step and of the fifth, when graphs replay.
Memory is the device's: PyTorch's tensors at their peak, and all that minigan's pools hold.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from arena import REST, Contestant, Worker, play
from cuda_timing import gpu_facts, open_gpu, print_gpu
from engines import (
    BASELINE,
    ENGINES,
    GPU_ENGINES,
    GRADIENT_TOLERANCE,
    QUICK_TASKS,
    SIDE,
    TASKS,
    Absent,
    Task,
    engines_for,
    gpu_tasks,
    reason_to_skip,
)
from matplotlib.figure import Figure
from measure import Bar, machine, parser, print_bars, print_machine, print_table, save, style
from process import all_threads, clean_environment, cpu_seconds

from minigan import plots
from minigan.system import terminal

OURS, BEST_EAGER = "minigan", "PyTorch best eager"
PYTORCH = (BASELINE, BEST_EAGER, "torch.compile")
CAPTURED = "minigan captured"
PEAK, COPY = "matrix peak", "memory peak"
PEAK_SIZE, QUICK_PEAK_SIZE = 2048, 128  # rows of the product that measures it
GPU_PEAK_SIZE, COPY_SIZE = 8192, 1024  # rows; MiB of the copy
LOSS_TOLERANCE = 1e-3  # of first losses; G's comes after an update of D

# On a GPU: of the first losses, whose products may be rounded to 10 bits; by the fifth step Adam,
# whose first updates are little more than signs, has made more of any difference.
GPU_TOLERANCES = {
    "float32": {"losses": LOSS_TOLERANCE, "warm_losses": 1e-2},
    "tf32": {"losses": 1e-2, "warm_losses": 5e-2},
}
PATIENCE = {"cpu": 600, "cuda": 120}  # seconds for a contestant to compile and warm up


def main():
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, help="turns of every engine, per task; 16, or 12 on cuda")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("float32", "tf32"), default="float32", help="on cuda")
    args = p.parse_args()
    if args.device == "cuda":
        return on_gpu(args)
    if args.precision != "float32":
        p.error(f"--precision {args.precision}: only --device cuda has it")
    rounds, seconds = (2, 0.02) if args.quick else (args.rounds or 16, 0.3)
    facts = machine()
    print_machine(facts)
    parity = check_parity(args.quick)
    results = {name: {} for name in TASKS}
    for threads in [1] if args.quick else sorted({1, all_threads()}):
        for name, task in (QUICK_TASKS if args.quick else TASKS).items():
            if threads > 1 and task.function == "biggan":
                continue
            title = titled(name, threads)
            results[name][str(threads)] = found = contest(title, task, threads, rounds, seconds)
            check_losses(title, found["engines"])
            print_contest(title, found)
    bars = [] if args.quick else judge(results)
    print_bars(bars)
    settings = {"quick": args.quick, "rounds": rounds, "seconds_per_turn": seconds}
    record = {"machine": facts, "settings": settings, "parity": parity, "tasks": results}
    figure = picture(results, "on the CPU")
    save(args.out, "vs_pytorch", record | {"bars": [b.as_dict() for b in bars]}, figure)
    return 0


def on_gpu(args) -> int:
    """The contest on the GPU; the exit status, 1 if the engines' losses disagree.

    What there is, is written after every task, in case this is ended before its end.
    """
    facts = machine() | {"gpu": gpu_facts(open_gpu(args.precision))}
    print_machine(facts)
    print_gpu(facts["gpu"])
    rounds, seconds = (2, 0.02) if args.quick else (args.rounds or 12, 0.2)
    results, differences = {}, []
    for name, task in gpu_tasks(args.quick, args.precision).items():
        title, threads = f"{name}, {args.precision}", all_threads()
        found = contest(title, task, threads, rounds, seconds)
        results[name] = {str(threads): found | {"title": title}}
        differences += differing_losses(title, found["engines"], GPU_TOLERANCES[args.precision])
        print_contest(title, found)
        bars = [] if args.quick else judge_gpu(results)
        settings = {"quick": args.quick, "rounds": rounds, "seconds_per_turn": seconds}
        settings |= {"device": args.device, "precision": args.precision}
        record = {"machine": facts, "settings": settings, "tasks": results}
        record |= {"differences": differences, "bars": [b.as_dict() for b in bars]}
        figure = picture(results, f"on {facts['gpu']['gpu']}, products in {args.precision}")
        save(args.out, f"vs_pytorch_cuda_{args.precision}", record, figure)
    print_bars(bars)
    print(*differences, sep="\n", end="\n" * bool(differences), file=sys.stderr)
    return 1 if differences else 0


def titled(task: str, threads: int) -> str:
    return f"{task}, {threads} thread{'s' * (threads > 1)}"


# --- Do results agree? ---------------------------------------------------------------------------


def check_parity(quick: bool) -> dict | None:
    """minigan's gradients against PyTorch's, by task; None without PyTorch. Ends if they differ."""
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is absent: no gradients to compare with, and no ratios")
        return None
    program = [sys.executable, str(Path(__file__).with_name("parity.py")), *["--quick"] * quick]
    done = subprocess.run(
        program, env=clean_environment(all_threads()), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the parity check failed to run:\n{done.stderr}")
    parity = json.loads(done.stdout)
    for task, found in parity.items():
        worst = max(found["errors"], key=found["errors"].get)
        if not found["largest"] <= GRADIENT_TOLERANCE:
            raise SystemExit(
                f"{task}: the gradient of {worst} differs from PyTorch's by {found['largest']:.1e} "
                f"of its norm, more than {GRADIENT_TOLERANCE:.0e}: nothing was timed"
            )
        print(f"parity: {task}: gradients agree to {found['largest']:.0e} (worst: {worst})")
    return parity


def check_losses(title, engines: dict):
    """Ends unless every engine had minigan's losses in its first step."""
    ours = engines[OURS]["losses"]
    for name, row in engines.items():
        if "absent" not in row and not np.allclose(
            row["losses"], ours, rtol=LOSS_TOLERANCE, atol=LOSS_TOLERANCE
        ):
            raise SystemExit(
                f"{title}: {name}'s first losses are {row['losses']}, minigan's {ours}"
            )


def differing_losses(title, engines: dict, tolerances: dict) -> list[str]:
    """A line for every engine whose losses are not minigan's. Times are printed all the same."""
    return [
        f"{title}: {name}'s {key} are {row[key]}, minigan's {engines[OURS][key]}"
        for key, tolerance in tolerances.items()
        for name, row in engines.items()
        if "absent" not in row
        and not np.allclose(row[key], engines[OURS][key], rtol=tolerance, atol=tolerance)
    ]


# --- The contest ---------------------------------------------------------------------------------


def contest(title, task: Task, threads, rounds, seconds) -> dict:
    """All engines at one task with one number of threads; for DCGAN, the matrix peak among them."""
    start, cpu_before = time.perf_counter(), cpu_seconds()
    engines = engines_for(task)
    workers, absent = enlist(title, task, threads)
    try:
        with terminal.bar(total=rounds, desc=title, unit="round") as bar:
            rest = 0 if task.device == "cuda" else REST  # nobody spins on a GPU
            turns = play(workers, rounds, seconds, bar.update, rest)
        rows = {name: row_of(name, worker, turns) for name, worker in workers.items()}
        for name in rows if task.device == "cuda" else ():
            rows[name] |= on_device(workers[name])
    finally:
        for worker in workers.values():
            worker.close()
    everyone, own = np.subtract(cpu_seconds(), cpu_before)
    found = {
        "engines": {n: rows.get(n) or {"absent": absent[n]} for n in engines},
        "cpus_used_by_others": float(everyone - own) / (time.perf_counter() - start),
    }
    if task.function == "dcgan":
        found |= floors(task, turns)
        for row in found["engines"].values():
            if "absent" not in row:
                row |= shares(row["ms"], found)
    return found


def floors(task: Task, turns: dict) -> dict:
    """The step's products at the rate of one large one; on a GPU, its bytes at a copy's rate."""
    fastest = {n: min(t.seconds / t.steps for t in turns[n]) for n in (PEAK, COPY) if n in turns}
    flops, peak = flops_of_dcgan_step(task), 2 * peak_size(task) ** 3 / fastest[PEAK]
    found = {"flops": flops, "peak_gflops": peak / 1e9, "floor_ms": flops / peak * 1e3}
    if COPY in fastest:
        moved, rate = bytes_of_dcgan_step(task), 2 * copy_size(task) * 2**20 / fastest[COPY]
        found |= {"bytes": moved, "peak_gb_per_s": rate / 1e9, "bytes_floor_ms": moved / rate * 1e3}
    return found


def shares(ms, found: dict) -> dict:
    shares = {"share_of_peak": found["floor_ms"] / ms}
    if "bytes_floor_ms" in found:
        shares["share_of_bandwidth"] = found["bytes_floor_ms"] / ms
    return shares


def on_device(worker: Worker) -> dict:
    """What is reported of an engine on a GPU beside its times."""
    memory = worker.device_memory()
    return {
        "warm_losses": worker.facts["warm_losses"],
        "device_peak_mb": memory["peak_mb"],
        "device_held_mb": memory["held_mb"],
    }


def enlist(title, task: Task, threads):
    """A started worker for each engine that can take part, and the reasons of the others."""
    workers, absent, environment = {}, {}, clean_environment(threads)
    for name, contestant in contestants(task, threads).items():
        reason = reason_to_skip(name, task) if name in engines_for(task) else ""
        if reason:
            absent[name] = reason
        else:
            workers[name] = Worker(contestant, environment, ready=False)
    for name, worker in terminal.bar(list(workers.items()), desc=f"{title}: starting", leave=False):
        try:
            worker.make_ready(PATIENCE[task.device])
        except Absent as error:
            if name in (OURS, PEAK, COPY):
                raise SystemExit(f"{title}: {name} itself failed: {error}") from error
            absent[name] = str(error)
            del workers[name]
    return workers, absent


def contestants(task: Task, threads) -> dict:
    """The engines of a task's device, and for DCGAN what measures the device's peaks."""
    found = {
        name: Contestant(engine.module, task.function, engine.options, task, threads)
        for name, engine in engines_for(task).items()
    }
    if task.function != "dcgan":
        return found
    product = task._replace(function="product", batch=1, width=peak_size(task), latent=0)
    if task.device == "cpu":
        return found | {PEAK: Contestant("matrix_peak", "product", {}, product, threads)}
    copy = product._replace(function="copy", width=copy_size(task))
    found[PEAK] = Contestant("with_minigan", "product", {}, product, threads)
    found[COPY] = Contestant("with_minigan", "copy", {}, copy, threads)
    return found


def peak_size(task: Task) -> int:
    if task.width < TASKS["DCGAN-28"].width:
        return QUICK_PEAK_SIZE
    return GPU_PEAK_SIZE if task.device == "cuda" else PEAK_SIZE


def copy_size(task: Task) -> int:
    return 1 if task.width < TASKS["DCGAN-28"].width else COPY_SIZE


def row_of(name, worker: Worker, turns: dict) -> dict:
    """What is reported of one engine: medians over the rounds, quartiles as (low, high)."""
    ms = milliseconds(turns[name])
    row = {
        "version": worker.facts["version"],
        "variables": worker.facts["variables"],
        "losses": worker.facts["losses"],
        "ms": float(np.median(ms)),
        "ms_quartiles": quartiles(ms),
        "ms_by_round": ms.tolist(),
        "page_faults_per_step": float(np.median([t.faults / t.steps for t in turns[name]])),
        "loaded_mb": worker.facts["loaded_mb"],
        "peak_mb": worker.memory()[1],
    }
    if BASELINE in turns:
        ratios = ms / milliseconds(turns[BASELINE])
        row |= {"ratio": float(np.median(ratios)), "ratio_quartiles": quartiles(ratios)}
    return row


def milliseconds(turns) -> np.ndarray:
    return np.array([1e3 * turn.seconds / turn.steps for turn in turns])


def quartiles(values):
    return [float(q) for q in np.percentile(values, (25, 75))]


def flops_of_dcgan_step(task: Task) -> int:
    """Floating-point operations in the matrix products of a DCGAN step; nothing else counts.

    A convolution from c to k channels whose smaller image has s² pixels, with a 4x4 kernel, is
    one product of 2·n·s²·4²·c·k operations for n images, be it forward, transposed, or the
    gradient of the filter; a linear layer is 2·n·inputs·outputs. With w = width and products
    g₁, g₂, g₃ of G's layers and d₁, d₂, d₃ of D's, a step has

        G forward                                      g₁ + g₂ + g₃
        D forward, on real, fake and in G's step       3 (d₁ + d₂ + d₃)
        D's filter gradients, on real and fake         2 (d₁ + d₂ + d₃)
        D's input gradients, on real and fake          2 (d₂ + d₃): nobody needs the images'
        D's input gradients in G's step                d₁ + d₂ + d₃
        G's filter gradients                           g₁ + g₂ + g₃
        G's input gradients                            g₂ + g₃
    """
    n, w = task.batch, task.width
    small, large = SIDE**2, (2 * SIDE) ** 2
    d1 = g3 = 2 * n * large * 16 * 1 * w
    d2 = g2 = 2 * n * small * 16 * w * 2 * w
    d3 = 2 * n * small * 2 * w
    g1 = 2 * n * task.latent * small * 2 * w
    d, g = d1 + d2 + d3, g1 + g2 + g3
    return g + 3 * d + 2 * d + 2 * (d2 + d3) + d + g + g2 + g3


def bytes_of_dcgan_step(task: Task) -> int:
    """The fewest bytes that the same products move, and Adam's; all else would cost nothing.

    A product reads two of a layer's input, its output and its weight, or of their gradients, and
    writes the third, whichever way it goes; norms and activations are part of it. Adam reads
    four numbers per parameter (θ, g, m, v) and writes three. No kernel can do with less unless
    it does two layers in one.
    """
    n, w = task.batch, task.width
    image, large, small = (4 * SIDE) ** 2, (2 * SIDE) ** 2 * w, SIDE**2 * 2 * w
    first, second, last = (image, large, 16 * w), (large, small, 32 * w * w), (small, 1, small)
    start = (task.latent, small, task.latent * small)
    times = ((6, first), (8, second), (8, last), (2, start), (3, second), (3, first))
    numbers = sum(count * (n * (i + o) + weight) for count, (i, o, weight) in times)
    parameters = sum(weight for _, (_, _, weight) in times)
    return 4 * (numbers + 7 * parameters)


# --- What came of it -----------------------------------------------------------------------------


def print_contest(title, found: dict):
    present = {n: row for n, row in found["engines"].items() if "absent" not in row}
    headers = ["", "ms", "ratio", "quartiles", "of peak", "peak MB", "loaded MB", "faults"]
    if "bytes_floor_ms" in found:
        headers[5:] = ["of copy", "device MB", "held MB"]
    print_table(title, headers, [cells(name, row) for name, row in present.items()])
    for name, row in found["engines"].items():
        if "absent" in row:
            print(f"  {name}: absent ({row['absent']})")
    print(f"  meanwhile, other processes kept {found['cpus_used_by_others']:.2f} CPUs busy")
    if "floor_ms" in found:
        print(
            f"  floor {found['floor_ms']:.3g} ms: {found['flops'] / 1e9:.2f} GFLOP at the "
            f"measured peak of {found['peak_gflops']:.0f} GFLOP/s"
        )
    if "bytes_floor_ms" in found:
        print(
            f"  floor {found['bytes_floor_ms']:.3g} ms: {found['bytes'] / 1e9:.2f} GB at the "
            f"measured {found['peak_gb_per_s']:.0f} GB/s of a copy"
        )


def cells(name, row: dict):
    compared, counted = "ratio" in row, "share_of_peak" in row
    return (
        name,
        f"{row['ms']:.3g}",
        f"{row['ratio']:.2f}" if compared else "",
        "{:.2f} - {:.2f}".format(*row["ratio_quartiles"]) if compared else "",
        f"{row['share_of_peak']:.0%}" if counted else "",
        *(of_device if "device_peak_mb" in row else of_process)(row),
    )


def of_process(row: dict):
    return f"{row['peak_mb']:.0f}", f"{row['loaded_mb']:.0f}", f"{row['page_faults_per_step']:.0f}"


def of_device(row: dict):
    memory = f"{row['device_peak_mb']:.0f}", f"{row['device_held_mb']:.0f}"
    return f"{row['share_of_bandwidth']:.0%}", *memory


def judge(results: dict) -> list[Bar]:
    """The bars that this benchmark can answer; "all" is every thread the machine has."""
    most = max(results["DCGAN-28"], key=int)
    dcgan, small, critic = (results[task][most]["engines"] for task in list(TASKS)[:3])
    dcgan_single, small_single, _, big = (results[task]["1"]["engines"] for task in TASKS)
    others = [n for n, engine in ENGINES.items() if engine.numpy and n != OURS]
    n = f"{most} threads"
    return [
        Bar(f"DCGAN step / PyTorch eager, {n}", 1.00, ratio_to(dcgan, BASELINE)),
        Bar(f"DCGAN step / PyTorch's best eager, {n}", 1.05, ratio_to(dcgan, BEST_EAGER)),
        Bar("DCGAN step / PyTorch eager, 1 thread", 0.85, ratio_to(dcgan_single, BASELINE)),
        Bar(f"1-D step / PyTorch's best, {n}", 0.40, ratio_to(small, *PYTORCH)),
        Bar("1-D step / PyTorch's best, 1 thread", 0.40, ratio_to(small_single, *PYTORCH)),
        Bar(f"DCGAN step / fastest other NumPy engine, {n}", 0.20, ratio_to(dcgan, *others)),
        Bar(f"DCGAN peak memory / PyTorch's, {n}", 0.30, memory_ratio(dcgan)),
        Bar(f"page faults per DCGAN step, {n}", 100, dcgan[OURS]["page_faults_per_step"]),
        Bar(f"WGAN-GP critic step / PyTorch eager, {n}", 1.10, ratio_to(critic, BASELINE)),
        Bar("BigGAN step / PyTorch's best, 1 thread", 1.00, ratio_to(big, *PYTORCH)),
    ]


def judge_gpu(results: dict) -> list[Bar]:
    """The bars of the GPU, as far as there are results; the faster of PyTorch's graphs counts."""
    absent = {name: {"absent": "not measured"} for name in GPU_ENGINES}
    found = [next(iter(by_threads.values()))["engines"] for by_threads in results.values()]
    small, large = [*found, absent][:2]
    graphs = "PyTorch graph", "PyTorch graph channels_last"
    last = "PyTorch channels_last"
    return [
        Bar("captured / PyTorch eager, batch 64", 0.4, ratio_to(small, BASELINE, ours=CAPTURED)),
        Bar("captured / PyTorch graph, batch 64", 1.0, ratio_to(small, *graphs, ours=CAPTURED)),
        Bar(f"captured / {last}, batch 1024", 1.0, ratio_to(large, last, ours=CAPTURED)),
        Bar("eager / PyTorch eager, batch 64", 1.5, ratio_to(small, BASELINE)),
        Bar("device memory, captured / PyTorch eager, batch 64", 1.0, device_ratio(small)),
        Bar("device memory, captured / PyTorch eager, batch 1024", 1.0, device_ratio(large)),
    ]


def ratio_to(engines: dict, *names, ours=OURS) -> float | None:
    """The median ratio to the fastest of the named engines; None if it wasn't measured."""
    rivals = [engines[n] for n in names if "absent" not in engines[n]]
    if not rivals or "absent" in engines[ours]:
        return None
    fastest = min(rivals, key=lambda row: row["ms"])
    ratios = np.divide(engines[ours]["ms_by_round"], fastest["ms_by_round"])
    return float(np.median(ratios))


def device_ratio(engines: dict) -> float | None:
    ours, theirs = engines[CAPTURED], engines[BASELINE]
    if "absent" in ours or "absent" in theirs:
        return None
    return ours["device_peak_mb"] / theirs["device_peak_mb"]


def memory_ratio(engines: dict) -> float | None:
    if "absent" in engines[BASELINE]:
        return None
    return engines[OURS]["peak_mb"] / engines[BASELINE]["peak_mb"]


def picture(results: dict, where: str) -> Figure:
    """A panel per task and number of threads: ratios to PyTorch, or times in ms without it."""
    threads = sorted({t for found in results.values() for t in found}, key=int)
    with style():
        figure = Figure(
            figsize=(3.7 * max(3, len(results)), 1.3 + 2.9 * len(threads)),
            dpi=100,
            layout="constrained",
        )
        panels = figure.subplots(len(threads), len(results), squeeze=False)
        for row, count in zip(panels, threads, strict=True):
            for panel, (task, found) in zip(row, results.items(), strict=True):
                if count not in found:
                    panel.set_axis_off()
                    continue
                draw_bars(panel, found[count])
                title = found[count].get("title", titled(task, int(count)))
                panel.set_title(title, loc="left", size=10)
        figure.suptitle(
            f"A training step {where}: time in units of PyTorch eager's (less is better)\n"
            "medians over interleaved rounds, lines: quartiles",
            x=0.01, ha="left", size=11,
        )  # fmt: skip
    return figure


def draw_bars(panel, found: dict):
    rows = {n: row for n, row in found["engines"].items() if "absent" not in row}
    key = "ratio" if BASELINE in rows else "ms"
    values = np.array([row[key] for row in rows.values()])
    spread = np.array([row[f"{key}_quartiles"] for row in rows.values()])
    colors = [plots.P_G if name in (OURS, CAPTURED) else plots.GUIDE for name in rows]
    places = np.arange(len(rows))
    panel.barh(places, values, color=colors, height=0.65)
    panel.hlines(places, spread[:, 0], spread[:, 1], color=plots.P_DATA, linewidth=1.5)
    for place, value, high in zip(places, values, spread[:, 1], strict=True):
        label = panel.text(max(value, high), place, f" {value:.2f}", va="center", size=9)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    panel.set_yticks(places, rows)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.22 * max(values.max(), spread.max()))
    panel.set_xlabel("time / PyTorch eager's" if key == "ratio" else "ms per step")
    if key == "ratio":
        panel.axvline(1, color=plots.D, linestyle="--", linewidth=1)
    if "floor_ms" in found:
        floor = max(found["floor_ms"], found.get("bytes_floor_ms", 0))
        floor /= rows[BASELINE]["ms"] if key == "ratio" else 1
        panel.axvline(floor, color=plots.D_STAR, linestyle=":", linewidth=1.5, label="floor")
        panel.legend(loc="lower right" if CAPTURED in rows else "upper right")


if __name__ == "__main__":
    with terminal.guarded():
        sys.exit(main())
