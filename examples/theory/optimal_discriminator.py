"""What D learns when G stands still: the optimal discriminator, and with it a divergence.

For a fixed generator the best D is known: D*(x) = p_data(x) / (p_data(x) + p_model(x)), and its
value is C(G) = −ln 4 + 2 JS(p_data, p_model) (Goodfellow et al. 2014, proposition 1 and eq. 6). So
a discriminator that has been trained to the end measures a divergence that nobody gave it, from
samples alone. Here both densities are known, so both claims can be checked.

    python examples/theory/optimal_discriminator.py                   4 seconds
    python examples/theory/optimal_discriminator.py --steps 300       not yet: D lies beside D*

It writes D.png: D beside D*, and the game's value as it was reached.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, discriminator_step, losses, optim, plots
from minigan import functional as F
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import cells, game_value, on_line, optimal_discriminator, shared_out
from minigan.models import mlp
from minigan.training import Record, Session, Watch, options, run

CELL = 0.01
X = cells(-8, 8, CELL)


def parse(argv=None):
    p = options.parser(
        "Train D alone, and see it find D*.", steps=3000, out="runs/optimal_discriminator"
    )
    p.add_argument("--batch", type=options.whole(1), default=1024, help="samples of each kind")
    p.add_argument("--lr", type=options.above(0), default=3e-3, help="D's learning rate")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    weights, rng = backend.generator(args.seed).spawn(2)
    data, model = GaussianMixture1D([-2, 1.5], [0.8, 0.6]), Gaussian(0.5, 1.5)

    D = mlp([1, 64, 64, 1], rng=weights, name="D")
    optimizer = optim.Adam(D, optim.linear_decay(args.lr, args.steps), betas=(0.5, 0.999))
    average = optim.EMA(D, 0.995)
    objective = losses.Minimax()
    record = Record("loss_d")

    def step():
        real, fake = (Tensor(density.sample(rng, args.batch)) for density in (data, model))
        record.add(discriminator_step(D, optimizer, objective, real, fake).loss)
        average.update()

    def loss(now):
        return f"loss D {now['loss_d']:.4f}"

    watch = Watch(record, show=loss, every=100, recent=100)
    with Session(args, watch=watch) as session:
        for _ in session.steps(step):
            pass
    if session.lost:
        return session.status

    p_data, p_model = (density.pdf(X) for density in (data, model))
    found = on_line(lambda x: F.sigmoid(average.network(x)), X, backend)
    numbers = compare(found, p_data, p_model)
    figure = picture(found, p_data, p_model, numbers, -record["loss_d"])
    file = plots.save_figure(figure, args.out / "D.png")
    print(
        f"mean |D - D*| {numbers['off']:.4f}, C(G) from D {numbers['value']:.4f}, "
        f"-ln 4 + 2 JS {numbers['exact']:.4f}  ({session.done:,} steps in "
        f"{session.seconds:.1f} s; picture: {file})"
    )
    return session.status


def compare(d, p_data, p_model) -> dict:
    """D against D*, weighed by where the samples are, and the value of the game with this D.

    The value is ∫ p_data ln D + p_model ln(1 − D) dx, here a sum over the grid.
    """
    weight = (p_data + p_model) / (p_data + p_model).sum()
    off = float((weight * np.abs(d - optimal_discriminator(p_data, p_model))).sum())
    value = float((p_data * np.log(d) + p_model * np.log1p(-d)).sum() * CELL)
    p, q = (shared_out(density, CELL) for density in (p_data, p_model))
    return {"off": off, "value": value, "exact": game_value(p, q, cell=CELL)}


def picture(d, p_data, p_model, numbers, value):
    with plots.panels(1, 2, size=(12, 4.4), width_ratios=[3, 2]) as (figure, (left, right)):
        plots.draw_densities(left, X, p_data, p_model)
        left.plot(X, optimal_discriminator(p_data, p_model), color=plots.D_STAR, label="D*")
        left.plot(X, d, "--", color=plots.D, label="D, trained on samples")
        left.set(xlim=(-6, 6), xlabel="x", ylabel="density, probability of being real")
        left.set_title(f"mean |D − D*| = {numbers['off']:.4f}")
        left.legend(loc="upper right")
        steps = np.arange(1, len(value) + 1)
        plots.draw_curve(right, steps, value, "value, on batches", plots.D)
        right.axhline(numbers["exact"], color=plots.D_STAR, ls=":", label="−ln 4 + 2 JS")
        right.set_title(f"the game's value: {numbers['value']:.4f} in the end")
        right.set(xlabel="step", ylabel="nats")
        right.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    run(main)
