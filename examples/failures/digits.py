"""What goes wrong on images, on purpose: each failure beside the same run mended.

Drawn digits, so that there is nothing to download, and small networks of dense layers.

    python examples/failures/digits.py --list             their names
    python examples/failures/digits.py memorisation       one of them, in seconds
    python examples/failures/digits.py --all              all of them, and a table

It writes NAME.png, or failures.png: the two curves, samples of the two ends, and what the first run
said.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, nn, optim, plots
from minigan.data import Batches, Dataset, drawn_digits, to_unit
from minigan.evaluation import diversity, leaning, variety
from minigan.models import began_discriminator, began_generator, mlp
from minigan.training import (
    GAME,
    Record,
    Session,
    Watch,
    beside,
    in_chunks,
    options,
    run,
    troubles,
)

COUNT = 2000  # digits to train on
LATENT = 16
Z = 24, LATENT  # of the samples that are drawn


def parse(argv=None):
    p = beside.parser("Failures on digits.", FAILURES, steps=2400, out="runs/failures_digits")
    options.shared(p, batch=50, hidden=128)
    return options.parse(p, argv)


def main(argv=None):
    return beside.compare(parse(argv), FAILURES)


def began(args, *, gamma=0.9, rate=0.03, power=2, batch_norm=True) -> beside.Outcome:
    """BEGAN, whose k must hold the balance of two energies: as in examples/stability/began.py."""
    backend, digits = options.device(args), drawn_digits(COUNT, 0)
    weights, noise, fixed = backend.generator(args.seed).spawn(3)
    objective = losses.BoundaryEquilibrium(backend, gamma=gamma, rate=rate)
    with options.building():
        batches = Batches(digits, args.batch, args.seed, backend)
        shape = {"hidden": args.hidden, "rng": weights}
        G = began_generator(latent=LATENT, batch_norm=batch_norm, **shape)
        D = began_discriminator(power=power, **shape)
    lr = optim.linear_decay(2e-3, args.steps)
    G_optimizer, D_optimizer = (optim.Adam(net, lr, betas=(0.5, 0.999)) for net in (G, D))
    record = Record("real", "fake", "k", "m", "diversity")

    def step():
        x = Tensor(batches.next())
        fake = G(Tensor(2 * noise.uniform((args.batch, LATENT)) - 1))
        d = discriminator_step(D, D_optimizer, objective, x, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        m = objective.control(d.real_output, g.fake_output)
        record.add(d.real, g.fake, Tensor(objective.k.copy()), m, diversity(fake, x))
        return fake.detach()

    told = {troubles.stuck(objective): None, troubles.repeats: None}
    real = Tensor(backend.asarray(to_unit(digits.images[:500])))
    measures = {"variety": lambda samples: variety(samples, real)}
    watch = Watch(record, troubles=told, measures=measures, early=600)
    with Session(args, watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            pass
    now = record.latest(100)
    line = f"k {now['k']:.3f}, M {now['m']:.4f}, diversity {now['diversity']:.0%} of the data's"
    curve = "k", np.arange(1, len(record) + 1), record["k"]
    status = session.interrupted.status
    return beside.Outcome(curve, line, watch.said, samples(G, 2 * fixed.uniform(Z) - 1), status)


def memorise(args, *, count=None) -> beside.Outcome:
    """A usual game on `count` images; all of them, if none is said."""
    backend, digits, count = options.device(args), drawn_digits(COUNT, 0), count or COUNT
    some = Dataset("digits", digits.images[:count], digits.labels[:count], digits.classes)
    known, new = to_unit(some.images), to_unit(drawn_digits(count, 1).images)
    weights, noise, fixed = backend.generator(args.seed).spawn(3)
    objective = losses.NonSaturating()
    with options.building():
        batches = Batches(some, args.batch, args.seed, backend)
        G = began_generator(latent=LATENT, hidden=args.hidden, rng=weights)
        sizes = known[0].size, args.hidden, args.hidden, 1
        D = nn.Sequential(nn.Flatten(), *mlp(sizes, rng=weights))
    lr = optim.linear_decay(2e-3, args.steps)
    G_optimizer, D_optimizer = (optim.Adam(net, lr, betas=(0.5, 0.999)) for net in (G, D))
    record, course = Record(*GAME), []

    def step():
        fake = G(Tensor(noise.normal((args.batch, LATENT))))
        d = discriminator_step(D, D_optimizer, objective, Tensor(batches.next()), fake)
        g = generator_step(D, G_optimizer, objective, fake)
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    def near(samples) -> float:
        course.append((len(record), leaning(samples.numpy(), known, new)))
        return course[-1][1]

    told = {troubles.by_heart: None, troubles.no_contest: None}
    watch = Watch(record, troubles=told, measures={"leaning": near}, every=50)
    with Session(args, watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            pass
    line = f"nearest training image {course[-1][1]:.0%} as far as a new one" if course else ""
    line += f", D(x) {record['d_real'][-100:].mean():.2f} and D(G(z)) "
    line += f"{record['d_fake_before'][-100:].mean():.2f}"
    curve = "nearest known / new image", *np.reshape(course, (-1, 2)).T
    status = session.interrupted.status
    return beside.Outcome(curve, line, watch.said, samples(G, fixed.normal(Z)), status)


def samples(G, z):
    """A function that draws what G makes of z, by its running statistics, on a panel."""
    grid = plots.sample_grid(in_chunks(G.copy().eval(), z), 8)
    return partial(plots.draw_rows, grid=grid, labels=[""] * 3)


FAILURES = {
    "k-stuck": beside.Failure(
        "k has stayed at",
        "γ, λ, energy and G of the paper",
        partial(began, gamma=0.5, rate=0.001, power=1, batch_norm=False),
        *("γ 0.9, λ 0.03, squares, batch norm in G", began),
    ),
    "memorisation": beside.Failure(
        "by heart",
        *("50 images", partial(memorise, count=50)),
        *(f"{COUNT:,} images", memorise),
    ),
}

if __name__ == "__main__":
    run(main)
