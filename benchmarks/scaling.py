"""How does the time grow with the problem? Slopes on log-log plots, with fitted exponents.

    python benchmarks/scaling.py            some minutes; writes to runs/benchmarks
    python benchmarks/scaling.py --quick    seconds: does it run, are gradients right?

- Batch: a DCGAN step at width 64 for 1 to 1,024 images. Exponent 1: an image costs the same in
  any batch; small batches pay the fixed cost of a step over and over.
- Width: a DCGAN step at batch 64 for widths 16 to 256. Most of its products grow with the square
  of the width; what grows with the width itself, such as activations, pulls below 2.
- Tape: forward and backward through a chain of 10 to 100,000 operations on 16 numbers.
  Exponent 1: the engine does nothing twice, however deep the graph. Once as it is and once with
  Python's cyclic garbage collector off, which walks over all the nodes time and again to look for
  cycles where there are none.
- Data: one epoch of batches for 1,000 to 60,000 images, bytes in, floats out. Exponent 1: a
  batch costs the same out of any number of images.
- Size: a step of a GAN for images of 8 to 128 pixels, batch 4: networks that grow, at their last
  level (`models.progressive`, WGAN-GP), and DCGAN. Both are the defaults of their models: 16 or 32
  channels at full size and twice as many at half of it (up to 64, or without end). Exponent 2: a
  pixel costs the same in any image. And the memory that an image takes on top of what a step takes
  anyhow; from both, on paper, what 256 pixels would take.
- Metrics: each measure of `minigan.evaluation` on two sets of 500 to 8,000 samples of 16 numbers.
  Exponent 2 where all pairs are looked at, 1 for modes and the Fréchet distance.

Exponents are fitted over the upper part of each range, where fixed costs no longer show. Each
time is the fastest of a few repetitions, on one thread: several would wait for each other
whenever the machine has other work, and that hits the long steps more than the short ones.
"""

from __future__ import annotations

import gc
from typing import NamedTuple

import numpy as np
from engines import Task, with_minigan
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from measure import (
    Bar,
    fitted_exponent,
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
from process import restart_in_clean_environment

from minigan import (
    Tensor,
    cpu,
    discriminator_step,
    evaluation,
    generator_step,
    grad,
    losses,
    models,
    optim,
    plots,
    tensor,
)
from minigan.data import Batches
from minigan.gan import gradient_penalty
from minigan.system import terminal

SECONDS, QUICK_SECONDS = 2.0, 0.02  # for each point, unless one call takes longer
BATCH, ON_PAPER = 4, 256  # of the sizes: images in a step, and the side that is only computed


class Sweep(NamedTuple):
    """One thing that grows: its sizes, and the call to be timed at each, made by `prepare`.

    fit_from: the smallest size that the exponent is fitted to.
    per:      how many units the time is divided by for the table, as a function of the size.
    """

    title: str
    xlabel: str
    unit: str
    sizes: list
    fit_from: int
    prepare: object
    per: object


# --- What grows ----------------------------------------------------------------------------------


def dcgan_step(batch, width):
    return with_minigan.dcgan(Task("dcgan", batch=batch, width=width, latent=100))


def growing_step(size, batch=BATCH):
    """D's step with its penalty, then G's, at the level of images of that size, faded in."""
    rng = cpu.generator(0)
    G = models.ProgressiveGenerator(rng=rng, size=size)
    D = models.ProgressiveDiscriminator(rng=rng, size=size)
    G_optimizer, D_optimizer = (
        optim.Adam(network.in_play(len(network.sizes) - 1), 1e-3, betas=(0.0, 0.99))
        for network in (G, D)
    )
    return game(G, D, G_optimizer, D_optimizer, size, batch, 3, gradient_penalty(rng))


def dcgan_of(size, batch=BATCH):
    rng = cpu.generator(0)
    G = models.dcgan_generator(rng=rng, size=size)
    D = models.dcgan_discriminator(rng=rng, size=size, batch_norm=False)
    return game(G, D, optim.Adam(G, 2e-4), optim.Adam(D, 2e-4), size, batch, 1, None)


def game(G, D, G_optimizer, D_optimizer, size, batch, channels, penalty):
    rng, objective = cpu.generator(1), losses.Wasserstein() if penalty else losses.NonSaturating()
    real, z = (Tensor(rng.normal(s)) for s in ((batch, size, size, channels), (batch, 64)))

    def step():
        fake = G(z)
        discriminator_step(D, D_optimizer, objective, real, fake, penalty=penalty)
        generator_step(D, G_optimizer, objective, fake)

    return step


GANS = {"growing": growing_step, "DCGAN": dcgan_of}


def bytes_per_image(prepare, size) -> float:
    """By how much a step's peak grows with each image more, from twice `BATCH` to four times.

    For fewer the peak may lie where the optimiser is at work, which images don't count for.
    """
    small, large = (peak_bytes(prepare(size, batch)) for batch in (2 * BATCH, 4 * BATCH))
    return (large - small) / (2 * BATCH)


def chain(length):
    """Forward and backward through `length` multiplications; the gradient is checked once."""
    x = tensor(np.ones(16, np.float32), requires_grad=True)
    factor = Tensor(np.full(16, 1 + 1 / length, np.float32))

    def forward_and_backward():
        y = x
        for _ in range(length):
            y = y * factor
        return grad(y.sum(), [x])[0]

    expected = float(factor.data[0]) ** length
    np.testing.assert_allclose(forward_and_backward().data, expected, rtol=1e-2)
    return forward_and_backward


def chain_without_collector(length):
    """The same with the collector off; what is freed, is freed by counting references."""
    forward_and_backward = chain(length)

    def call():
        gc.disable()
        try:
            return forward_and_backward()
        finally:
            gc.enable()

    return call


def epoch(count, size=64):
    """All batches of an epoch, its permutation included: each call goes on to the next epoch."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
    batches = Batches(pixels, size, seed=0)
    step = 0

    def all_batches():
        nonlocal step
        for _ in range(len(batches)):
            batches.at(step)
            step += 1

    return all_batches


METRICS = {
    "modes": lambda x, y: evaluation.modes(x, y[:25], 1.0),
    "nearest": evaluation.nearest,
    "Parzen": lambda x, y: evaluation.parzen_log_likelihood(x, y, 1.0),
    "MMD": lambda x, y: evaluation.mmd(x, y, bandwidths=[1.0, 4.0]),
    "Fréchet": evaluation.frechet_distance,
    "precision, recall": evaluation.precision_recall,
}


def metric(name, count):
    samples = np.random.default_rng(0).standard_normal((2, count, 16))
    return lambda: METRICS[name](*samples)


def metric_sweep(name, counts) -> Sweep:
    return Sweep(
        "A metric of two sets", "samples in each set", "us per sample", counts,
        fit_from=2000, prepare=lambda n: metric(name, n), per=lambda n: n,
    )  # fmt: skip


def sweeps(quick: bool) -> dict:
    """All sweeps by name; the quick ones are short, and their exponents mean nothing."""
    width, batch = (4, 2) if quick else (64, 64)
    batches = [1, 2, 4] if quick else [2**k for k in range(11)]
    widths = [4, 8] if quick else [16, 32, 64, 128, 256]
    lengths = [10, 100, 1000] if quick else [10, 100, 1000, 10_000, 30_000, 100_000]
    counts = [100, 200, 400] if quick else [1000, 3000, 10_000, 30_000, 60_000]
    samples = [50, 100, 200] if quick else [500, 1000, 2000, 4000, 8000]
    sizes = [8, 16] if quick else [8, 16, 32, 64, 128]
    return {
        "batch": Sweep(
            f"DCGAN step, width {width}", "images in a batch", "us per image", batches,
            fit_from=64, prepare=lambda n: dcgan_step(n, width), per=lambda n: n,
        ),
        "width": Sweep(
            f"DCGAN step, batch {batch}", "width", "us per image", widths,
            fit_from=64, prepare=lambda w: dcgan_step(batch, w), per=lambda w: batch,
        ),
        "tape": Sweep(
            "Forward and backward", "operations in a chain", "us per operation", lengths,
            fit_from=10_000, prepare=chain, per=lambda n: n,
        ),
        "tape, no collector": Sweep(
            "Forward and backward", "operations in a chain", "us per operation", lengths,
            fit_from=10_000, prepare=chain_without_collector, per=lambda n: n,
        ),
        "data": Sweep(
            "An epoch of batches of 64", "images in the data set", "us per image", counts,
            fit_from=10_000, prepare=epoch, per=lambda n: n,
        ),
        **{
            name: Sweep(
                f"A GAN's step, batch {BATCH}", "side of the images", "us per pixel", sizes,
                fit_from=32, prepare=prepare, per=lambda s: BATCH * s * s,
            )
            for name, prepare in GANS.items()
        },
        **{name: metric_sweep(name, samples) for name in METRICS},
    }  # fmt: skip


# --- Measuring -----------------------------------------------------------------------------------


def measure(sweep: Sweep, budget: float, progress) -> dict:
    seconds = []
    for size in sweep.sizes:
        call = sweep.prepare(size)
        call()
        seconds.append(seconds_per_call(call, budget))
        del call
        gc.collect()  # or this size's memory would be there while the next is measured
        progress()
    first = next((i for i, n in enumerate(sweep.sizes[:-1]) if n >= sweep.fit_from), 0)
    return {
        "sizes": sweep.sizes,
        "seconds": seconds,
        "fitted_from": sweep.sizes[first],
        "exponent": fitted_exponent(sweep.sizes[first:], seconds[first:]),
    }


def measure_memory(sweep: Sweep, progress) -> dict:
    """Bytes per image by its side, and their exponent over the same sizes as the time's."""
    found = []
    for size in sweep.sizes:
        found.append(bytes_per_image(sweep.prepare, size))
        gc.collect()
        progress()
    first = next((i for i, n in enumerate(sweep.sizes[:-1]) if n >= sweep.fit_from), 0)
    exponent = fitted_exponent(sweep.sizes[first:], found[first:])
    return {"sizes": sweep.sizes, "bytes_per_image": found, "exponent": exponent}


def on_paper(sizes, values, exponent) -> float:
    """value(s) = value(largest) · (s / largest)^exponent at `ON_PAPER`: where measuring ends."""
    return values[-1] * (ON_PAPER / sizes[-1]) ** exponent


def report_sizes(name, time: dict, memory: dict):
    """What an image costs by its side, and the next one, by the formulas that are printed.

    Twice the side is four times the pixels at every level, with as many channels, and a small level
    more: so the exponent goes to 2, while the fitted one still sees what a step costs anyhow.
    """
    sizes = time["sizes"]
    ms, mb = 1e3 * np.array(time["seconds"]), np.array(memory["bytes_per_image"]) / 1e6
    rows = list(zip(sizes, ms, mb, strict=True))
    for how, *exponents in (("by the fit", time["exponent"], memory["exponent"]), ("by 2", 2, 2)):
        costs = (on_paper(sizes, *both) for both in zip((ms, mb), exponents, strict=True))
        rows.append((f"{ON_PAPER}, on paper, {how}", *costs))
    headers = "side of the images", f"ms per step of {BATCH}", "MB per image"
    rows = [(side, f"{taken:.4g}", f"{held:.3g}") for side, taken, held in rows]
    print_table(f"{name}: what an image costs", headers, rows)
    fitted = f"(s/{sizes[-1]})^"
    print(f"  ms(s) = {ms[-1]:.4g} {fitted}{time['exponent']:.2f}", end=", ")
    print(f"MB(s) = {mb[-1]:.3g} {fitted}{memory['exponent']:.2f}, from {time['fitted_from']} on")


def report(name, sweep: Sweep, found: dict):
    rows = [
        (f"{size:,}", f"{1e3 * seconds:.4g}", f"{1e6 * seconds / sweep.per(size):.3g}")
        for size, seconds in zip(found["sizes"], found["seconds"], strict=True)
    ]
    growth = f"time ~ size^{found['exponent']:.2f} from {found['fitted_from']:,} on"
    print_table(
        f"{name}: {sweep.title}: {growth}",
        (sweep.xlabel, "ms", sweep.unit),
        rows,
    )


MEMORY = "Memory of such a step"
COLORS = (plots.P_G, plots.D, *("#7b6fb0", "#b8860b", "#3a8f8f", "#8c564b"))


def picture(all_sweeps: dict, results: dict, memory: dict) -> Figure:
    """A panel for each title; sweeps of the same title share it."""
    titles = list(dict.fromkeys(sweep.title for sweep in all_sweeps.values()))
    with style():
        figure = Figure(figsize=(13, 9.2), dpi=100, layout="constrained")
        *others, metrics = titles
        cells = [[*others[:2], metrics], [*others[2:4], metrics], [others[4], MEMORY, metrics]]
        places = figure.subplot_mosaic(cells)
        for name, sweep in all_sweeps.items():
            panel = places[sweep.title]
            found = results[name]
            color = COLORS[len(panel.lines) // 2]
            draw_sweep(panel, name, sweep, found, 1e3 * np.array(found["seconds"]), color)
            if name in memory:
                held, sweep = memory[name], sweep._replace(title=MEMORY)
                values = np.array(held["bytes_per_image"]) / 1e6
                draw_sweep(places[MEMORY], name, sweep, found | held, values, color)
        places[MEMORY].set_ylabel("MB per image")
        title = "How time and memory grow, in minigan on the CPU"
        figure.suptitle(title, x=0.01, ha="left", size=11)
    return figure


def draw_sweep(panel, name, sweep: Sweep, found: dict, values, color):
    """Measured values by size, and the line of the fitted exponent through them."""
    sizes = np.array(found["sizes"])
    label = f"{name}: slope {found['exponent']:.2f}"
    panel.loglog(sizes, values, "o-", color=color, markersize=4, label=label)
    upper = sizes >= found["fitted_from"]
    # The line through the fitted points: their slope, and their mean on the log scale.
    shape = sizes[upper] ** found["exponent"]
    height = np.exp(np.mean(np.log(values[upper] / shape)))
    panel.loglog(sizes[upper], height * shape, "--", color=plots.P_DATA, linewidth=1)
    panel.set(xlabel=sweep.xlabel, ylabel="ms")
    shown = sizes[:: len(sizes) // 7 + 1]
    panel.set_xticks(shown, [f"{n // 1000}k" if n >= 10_000 else f"{n}" for n in shown])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_title(sweep.title, loc="left", size=10)
    panel.grid(color=plots.GUIDE, alpha=0.3)
    panel.legend(loc="upper left")


def main():
    args = parser(__doc__.splitlines()[0]).parse_args()
    restart_in_clean_environment(threads=1)
    facts = machine()
    print_machine(facts)
    all_sweeps, results, memory = sweeps(args.quick), {}, {}
    points = sum(len(s.sizes) * (1 + (name in GANS)) for name, s in all_sweeps.items())
    with terminal.bar(total=points, unit="point") as bar:
        for name, sweep in all_sweeps.items():
            bar.set_description(name)
            results[name] = measure(sweep, QUICK_SECONDS if args.quick else SECONDS, bar.update)
            if name in GANS:
                memory[name] = measure_memory(sweep, bar.update)
    for name, sweep in all_sweeps.items():
        report(name, sweep, results[name])
    for name in GANS:
        report_sizes(name, results[name], memory[name])
    bars = []
    if not args.quick:
        for name in ("tape", "tape, no collector"):
            exponent = tape_exponent(results[name])
            bars.append(Bar(f"{name}: exponent, 100,000 ops against 10,000", 1.05, exponent))
    print_bars(bars)
    record = {"machine": facts, "quick": args.quick, "sweeps": results, "memory": memory}
    record["bars"] = [b.as_dict() for b in bars]
    save(args.out, "scaling", record, picture(all_sweeps, results, memory))


def tape_exponent(found: dict) -> float:
    """log10 of how many times as long 100,000 operations take as 10,000."""
    seconds = dict(zip(found["sizes"], found["seconds"], strict=True))
    return float(np.log10(seconds[100_000] / seconds[10_000]))


if __name__ == "__main__":
    with terminal.guarded():
        main()
