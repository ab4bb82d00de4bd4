"""What goes wrong in layers, labels and graphs, on purpose: each beside the same run mended.

Three of the four are one line of the training step, or one argument of a layer; the fourth, labels
smoothed on the wrong side, is held against the best D that theory knows.

    python examples/failures/networks.py --list               their names
    python examples/failures/networks.py batch-norm-leak      one of them, in seconds
    python examples/failures/networks.py --all                all of them, and a table

It writes NAME.png, or failures.png: the two curves, the two ends, and what the first run said.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minigan import StaleGraphError, Tensor, cpu, evaluation, losses, nn, no_grad, optim, plots
from minigan import functional as F
from minigan.data import Gaussian, Ring
from minigan.engine import frozen
from minigan.engine import operations as op
from minigan.models import mlp
from minigan.training import GAME, Record, Session, Watch, beside, options, run, troubles

SEEN = 1000  # samples that are judged and drawn
REAL, FAKE = Gaussian(0.0, 1.0), Gaussian(3.0, 0.5)  # to show smoothing; G stands still


def parse(argv=None):
    p = beside.parser("Failures of layers.", FAILURES, steps=1000, out="runs/failures_networks")
    options.shared(p, batch=128)
    p.add_argument("--width", type=options.whole(1), default=64, help="units in a hidden layer")
    return options.parse(p, argv)


def main(argv=None):
    return beside.compare(parse(argv), FAILURES)


# --- A game on a ring, with one thing wrong ------------------------------------------------------


def play(args, *, joined=False, kept=False, eps=1e-5) -> beside.Outcome:
    """joined: D sees real and generated samples as one batch. kept: G descends through what D said
    before it moved. eps: of G's batch norm."""
    backend = options.device(args)
    weights, noise, fixed = backend.generator(args.seed).spawn(3)
    objective, density, width = losses.NonSaturating(), Ring(), args.width
    small = {"rng": weights, "init": nn.normal(0.02)}
    G = nn.Sequential(
        *(nn.Linear(2, width, **small), nn.BatchNorm(width, eps=eps, rng=weights), nn.ReLU()),
        *(nn.Linear(width, width, **small), nn.BatchNorm(width, eps=eps, rng=weights), nn.ReLU()),
        nn.Linear(width, 2, **small),
    )
    D = nn.Sequential(
        *(nn.Linear(2, width, rng=weights), nn.LeakyReLU(), nn.Linear(width, width, rng=weights)),
        *(nn.BatchNorm(width, rng=weights), nn.LeakyReLU(), nn.Linear(width, 1, rng=weights)),
    )
    rate = 1e-3 if kept else optim.linear_decay(1e-3, args.steps)  # kept, there is one step
    G_optimizer = optim.Adam(G, rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, rate, betas=(0.5, 0.999))
    z, test = Tensor(fixed.normal((SEEN, 2))), density.sample(fixed, SEEN)
    record = Record(*GAME, "normed")

    def step():
        real = Tensor(density.sample(noise, args.batch))
        fake = G(Tensor(noise.normal((args.batch, 2))))
        if joined:
            both = D(F.concatenate([real, fake.detach()]))
            on_real, on_fake = both[: args.batch], both[args.batch :]
        else:
            on_real, on_fake = D(real), D(fake)
        loss_d = objective.discriminator(on_real, on_fake)
        D_optimizer.descend(loss_d)

        with frozen(D):
            again = on_fake if kept else D(fake)
            loss_g = objective.generator(again)
        G_optimizer.descend(loss_g)
        scores = (op.mean(objective.score(x.detach())) for x in (on_real, on_fake, again))
        normed = evaluation.normed_variance(G)
        record.add(loss_d.detach(), loss_g.detach(), *scores, normed)

    def distance() -> float:
        """Sliced W1 to the data, by the batch's own statistics."""
        with no_grad():
            points = G.copy()(z).numpy()
        return evaluation.sliced_wasserstein(points, real, cpu.generator(0), directions=30)

    kinds = troubles.no_contest, troubles.company, troubles.not_normed, troubles.swings(record)
    watch, real = Watch(record, troubles=dict.fromkeys(kinds)), backend.to_numpy(test)
    course, said = [(0, distance())], watch.said
    with Session(args, watch=watch) as session:
        try:
            for done in session.steps(step):
                if session.due(20):
                    course.append((done, distance()))
        except StaleGraphError as error:
            said = [f"step {session.done + 1}: {type(error).__name__}: {error}"]
    now = record.latest(100) if len(record) else dict.fromkeys(record.columns, np.nan)
    line = f"W1 {distance():.3f}, D(G(z)) {now['d_fake_before']:.2f} in D's step and "
    line += f"{now['d_fake_after']:.2f} in G's, variance after batch norm {now['normed']:.2f}"
    with no_grad():
        end = partial(plots.draw_points, real=real, points=G.copy()(z).numpy())
    curve = "sliced $W_1$", *np.transpose(course)
    return beside.Outcome(curve, line, said, end, session.interrupted.status)


# --- Labels --------------------------------------------------------------------------------------


def smooth(args, *, label=0.0) -> beside.Outcome:
    """D alone, on a line: labels 0.9 for real samples and `label` for those of a G that stands."""
    backend = options.device(args)
    weights, noise = backend.generator(args.seed).spawn(2)
    D = mlp([1, args.width, args.width, 1], rng=weights)
    D_optimizer = optim.Adam(D, optim.linear_decay(3e-3, 3 * args.steps))
    record = Record("d_real", "d_fake_before", "d_least")

    def step():
        on_real, on_fake = (D(Tensor(p.sample(noise, args.batch))) for p in (REAL, FAKE))
        loss = losses.binary_cross_entropy(on_real, 0.9) + losses.binary_cross_entropy(
            on_fake, label
        )
        D_optimizer.descend(loss)
        real, fake = (F.sigmoid(x.detach()) for x in (on_real, on_fake))
        record.add(op.mean(real), op.mean(fake), -op.max(-fake))

    watch = Watch(record, troubles={troubles.smoothed_fakes: None})
    with Session(args, total=3 * args.steps, watch=watch) as session:
        for _ in session.steps(step):
            pass
    x = np.linspace(-3, 5, 161)
    p_d, p_g = REAL.pdf(x), FAKE.pdf(x)
    wanted = (0.9 * p_d + label * p_g) / (p_d + p_g)  # the D of least cross-entropy, at each x
    with no_grad():
        found = F.sigmoid(D(Tensor(backend.asarray(x[:, None], "float32")))).numpy()[:, 0]
    held = np.abs(np.gradient(np.log(found), x))
    seen = p_d + p_g > 0.01
    line = f"max |D − theory| {np.abs(found - wanted)[seen].max():.3f}, D(G(z)) "
    line += f"{record['d_fake_before'][-100:].mean():.3f}, slope of ln D over G's samples "
    line += f"{(held * p_g).sum() / p_g.sum():.2f}"
    curve = "least D(G(z)) of a batch", np.arange(1, len(record) + 1), record["d_least"]
    end = partial(draw_labels, x=x, lines={"data": p_d, "G": p_g}, found=found, wanted=wanted)
    return beside.Outcome(curve, line, watch.said, end, session.interrupted.status)


def draw_labels(panel, x, lines, found, wanted):
    for (name, density), color in zip(lines.items(), (plots.P_DATA, plots.P_G), strict=True):
        panel.plot(x, density, color=color, lw=1, label=name)
    panel.plot(x, found, color=plots.D, label="D")
    panel.plot(x, wanted, color=plots.D_STAR, ls="--", label="theory")
    panel.legend(ncols=2, loc="upper right")


FAILURES = {
    "batch-norm-leak": beside.Failure(
        "depends on the company",
        *("D's batch norm over real and generated at once", partial(play, joined=True)),
        *("a batch for each", play),
    ),
    "stale-graph": beside.Failure(
        "StaleGraphError",
        *("G's step through what the old D said", partial(play, kept=True)),
        *("D(fake) anew", play),
    ),
    "wrong-smoothing": beside.Failure(
        "labels of generated samples are smoothed",
        *("labels 0.9 for real, 0.1 for generated samples", partial(smooth, label=0.1)),
        *("labels 0.9 and 0", smooth),
    ),
    "eps-for-momentum": beside.Failure(
        "after batch norm the variance is",
        *("BatchNorm(eps=0.8) in G", partial(play, eps=0.8)),
        *("eps=1e-5", play),
    ),
}

if __name__ == "__main__":
    run(main)
