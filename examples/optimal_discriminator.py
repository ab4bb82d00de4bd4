"""What D learns when G stands still: the optimal discriminator, and with it a divergence.

    python examples/optimal_discriminator.py

For a fixed generator the best D is known: D*(x) = p_data(x) / (p_data(x) + p_model(x)), and its
value is C(G) = −ln 4 + 2 JS(p_data, p_model) (Goodfellow et al. 2014, proposition 1 and eq. 6). So
a discriminator that has been trained to the end measures a divergence that nobody gave it, from
samples alone. Here both densities are known, so both claims can be checked.
"""

from __future__ import annotations

import time

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import Tensor, cli, discriminator_step, losses, optim, plots
from minigan import functional as F
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import game_value, on_line, optimal_discriminator
from minigan.models import mlp

CELL = 0.01
X = np.arange(-8, 8, CELL) + CELL / 2


def parse(argv=None):
    p = cli.parser(
        "Train D alone, and see it find D*.", steps=3000, out="runs/optimal_discriminator"
    )
    p.add_argument("--batch", type=cli.whole(1), default=1024, help="samples of each kind")
    p.add_argument("--lr", type=cli.above(0), default=3e-3, help="D's learning rate")
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    cli.make_folder(args.out)
    weights, rng = backend.generator(args.seed).spawn(2)
    data, model = GaussianMixture1D([-2, 1.5], [0.8, 0.6]), Gaussian(0.5, 1.5)

    D = mlp([1, 64, 64, 1], rng=weights, name="D")
    optimizer = optim.Adam(D, optim.linear_decay(args.lr, args.steps), betas=(0.5, 0.999))
    average = optim.EMA(D, 0.995)
    objective = losses.Minimax()
    record = cli.Record("loss_d")

    def step():
        real, fake = (Tensor(density.sample(rng, args.batch)) for density in (data, model))
        record.add(discriminator_step(D, optimizer, objective, real, fake).loss)
        average.update()

    began, step = time.perf_counter(), backend.capture(step)
    with cli.Interrupt() as interrupted, cli.Progress(args.steps) as progress:
        for done in range(args.steps):
            step()
            progress.advance()
            if done % 100 == 99:
                progress.show(f"loss D {record.latest(100)['loss_d']:.4f}")
            if interrupted:
                break

    p_data, p_model = (density.pdf(X) for density in (data, model))
    found = on_line(lambda x: F.sigmoid(average.network(x)), X, backend)
    numbers = compare(found, p_data, p_model)
    file = plots.save_figure(picture(found, p_data, p_model, numbers, record), args.out / "D.png")
    print(
        f"mean |D - D*| {numbers['off']:.4f}, C(G) from D {numbers['value']:.4f}, "
        f"-ln 4 + 2 JS {numbers['exact']:.4f}  ({len(record):,} steps in "
        f"{time.perf_counter() - began:.1f} s; picture: {file})"
    )
    return interrupted.status


def compare(d, p_data, p_model) -> dict:
    """D against D*, weighed by where the samples are, and the value of the game with this D.

    The value is ∫ p_data ln D + p_model ln(1 − D) dx, here a sum over the grid.
    """
    weight = (p_data + p_model) / (p_data + p_model).sum()
    off = float((weight * np.abs(d - optimal_discriminator(p_data, p_model))).sum())
    value = float((p_data * np.log(d) + p_model * np.log1p(-d)).sum() * CELL)
    p, q = (density / (density.sum() * CELL) for density in (p_data, p_model))
    return {"off": off, "value": value, "exact": game_value(p, q, cell=CELL)}


def picture(d, p_data, p_model, numbers, record) -> Figure:
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(12, 4.4), dpi=100, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[3, 2])
        left.fill_between(X, p_data, color=plots.P_DATA, alpha=0.15, lw=0, label="data")
        left.plot(X, p_model, color=plots.P_G, label="model")
        left.plot(X, optimal_discriminator(p_data, p_model), color=plots.D_STAR, label="D*")
        left.plot(X, d, "--", color=plots.D, label="D, trained on samples")
        left.set_title(f"mean |D − D*| = {numbers['off']:.4f}", loc="left")
        left.set_xlabel("x")
        left.set_ylabel("density, probability of being real")
        left.set_xlim(-6, 6)
        left.legend(loc="upper right")
        value = -record["loss_d"]
        window = max(1, len(value) // 100)
        smooth = np.convolve(value, np.ones(window) / window, "valid")
        right.plot(
            np.arange(len(smooth)) + window, smooth, color=plots.D, label="value, on batches"
        )
        right.axhline(numbers["exact"], color=plots.D_STAR, ls=":", label="−ln 4 + 2 JS")
        right.set_title(f"the game's value: {numbers['value']:.4f} in the end", loc="left")
        right.set_xlabel("step")
        right.set_ylabel("nats")
        right.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    cli.run(main)
