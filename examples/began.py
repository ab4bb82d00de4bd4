"""BEGAN and EBGAN on digits: a D that rebuilds images, and a measure that can't see collapse.

D is an autoencoder, and its verdict on an image an energy: how badly it rebuilds it. In EBGAN (Zhao
et al. 2017) D lowers the energy of real images and lifts that of generated ones up to a margin. In
BEGAN (Berthelot et al. 2017) generated images count for D by a factor k, which a controller moves
so that their mean energy stays γ times that of real ones:

    J(D) = L(x) − k L(G(z)),      J(G) = L(G(z)),      k ← k + λ (γ L(x) − L(G(z))), within [0, 1]

The paper measures convergence by M = L(x) + |γ L(x) − L(G(z))|. But M knows energies only, and an
image that D rebuilds well has a low energy, however often G repeats it. So this run also measures
diversity: how far two samples are apart, as a share of how far two real images are. It says when G
collapses, and at the end it counts the digits.

    python examples/began.py                                 about a minute on one CPU core
    python examples/began.py --no-batch-norm --gamma 0.5 --rate 0.001 --seed 1 --out runs/began_flat
    python examples/began.py --resume --beside runs/began_flat
    python examples/began.py --loss ebgan --out runs/ebgan
    python examples/evaluate_mnist.py runs/began             its digits, scored by a classifier

The second has the paper's γ and λ, and like the paper no batch norm in G: G repeats one image, and
M ends lower than in the first run, beside which the third command draws it. What the first does
otherwise: k moves thirty times as fast, or G has collapsed before k is large enough to matter; γ is
larger, which buys variety; the error is squared, since under |error| (--power 1) G collapses with
k = 0; and batch norm in G makes its samples sharper and more varied.

It writes began.png and checkpoint.safetensors. Ctrl-C ends the run after the step in progress and
saves it.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import (
    Tensor,
    checkpoint,
    cli,
    data,
    discriminator_step,
    generator_step,
    losses,
    no_grad,
    optim,
    plots,
)
from minigan import functional as F
from minigan.checkpoint import CheckpointError
from minigan.engine.operations import var
from minigan.evaluation import metrics
from minigan.gan import LOST
from minigan.models import began_discriminator, began_generator

PICTURED, COUNTED = 36, 2000  # samples in the picture, and for the last measures
RECENT = 100  # steps behind the numbers that are shown
COLLAPSED = 0.5  # of the diversity of real images; MNIST's ones alone have 0.66, its twos 0.98
RARE = 0.01  # a class with a smaller share of the samples counts as missing
NEIGHBOURS = 5  # that vote on what digit a sample is
PAIRS = 8  # images that are shown rebuilt


def parse(argv=None):
    p = cli.parser(
        "BEGAN and EBGAN on digits.", steps=3000, out="runs/began", epochs=True, resumable=True
    )
    p.add_argument("--loss", choices=("began", "ebgan"), default="began")
    p.add_argument("--gamma", type=cli.above(0), default=0.9, help="BEGAN: E L(G(z)) / E L(x)")
    p.add_argument("--rate", type=cli.above(0), default=0.03, help="BEGAN: λ, how fast k moves")
    p.add_argument("--margin", type=cli.above(0), default=0.5, help="EBGAN: m")
    p.add_argument(
        "--pull", type=cli.finite(), default=0.1, help="EBGAN: weight of the pulling-away term"
    )
    p.add_argument(
        "--power", type=int, choices=(1, 2), default=2, help="of the error in D's energy"
    )
    p.add_argument("--no-batch-norm", action="store_true", help="in G, as in the papers")
    p.add_argument("--batch", type=cli.whole(2), default=64, help="images in a batch")
    p.add_argument("--latent", type=cli.whole(1), default=16, help="dimensions of the noise z")
    p.add_argument("--code", type=cli.whole(1), default=16, help="numbers that D squeezes through")
    p.add_argument("--hidden", type=cli.whole(1), default=256, help="units of a hidden layer")
    p.add_argument("--lr", type=cli.above(0), default=1e-3, help="rate of G and D; falls to 0")
    p.add_argument("--data", help="mnist, fashion-mnist, digits (drawn), or a folder")
    p.add_argument("--size", type=cli.whole(8), default=28, help="pixels, for a folder of images")
    p.add_argument("--every", type=cli.whole(1), default=500, help="steps between checkpoints")
    p.add_argument("--beside", type=Path, help="another run, whose curves are drawn as well")
    p.add_argument("--quick", action="store_true", help="seconds: few drawn digits, few steps")
    if p.parse_args(argv).quick:
        p.set_defaults(steps=600, batch=32, lr=2e-3, every=200)
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    dataset = images(args)
    beside = vars(args).pop("beside")  # no part of this run, nor of its checkpoint
    beside = record_of(beside) if beside else None
    with cli.building():
        batches = data.Batches(dataset, args.batch, args.seed, backend)
        steps = args.epochs * len(batches) if args.epochs else args.steps
        run = Run(args, backend, dataset, steps)
    cli.make_folder(args.out)
    start = run.checkpoint.resume()
    batches.step = start
    G, D, noise, objective = run.G, run.D, run.noise, run.objective

    def step():
        real = Tensor(batches.next())
        z = Tensor(noise.uniform((args.batch, args.latent), -1, 1))
        fake = G(z)

        # (1) D: rebuild the real images well, and G's badly, as far as k (or the margin) asks
        d = discriminator_step(D, run.D_optimizer, objective, real, fake)

        # (2) G: make what the D that has just moved rebuilds well
        g = generator_step(D, run.G_optimizer, objective, fake, penalty=run.pull)

        # (3) k: let G's images count for more where they are rebuilt too well
        numbers = {"real": d.real, "fake": g.fake, "diversity": spread(fake) / spread(real)}
        if args.loss == "began":
            m = objective.control(d.real_output, g.fake_output)
            numbers |= {"k": Tensor(objective.k.copy()), "m": m}
        run.average.update()
        run.record.add(*numbers.values())

    step = backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    done, began, healthy = start, time.perf_counter(), True
    with cli.Interrupt() as interrupted, cli.Progress(steps, start) as progress:
        watch = Watch(progress, run.record)
        while done < steps and healthy and not interrupted:
            step()
            done += 1
            progress.advance()
            due = done % args.every == 0 or done == steps
            if due or interrupted or done % 50 == 0:
                healthy = watch.look(done)
            if healthy and (due or interrupted):
                run.checkpoint.save(done)

    print(f"{done:,} steps on {dataset.name} in {time.perf_counter() - began:.0f} s")
    if healthy and done:
        run.finish(beside)
    if start >= steps:
        print(f"{start:,} steps were done already: ask for more with --steps")
    if interrupted and done < steps and run.checkpoint.saved == done:
        print("interrupted and saved: go on with --resume")
    return 1 if not healthy else interrupted.status


def images(args) -> data.Dataset:
    if args.quick and args.data is None:
        return data.drawn_digits(2000, 0)
    dataset, notice = data.choose(args.data, size=args.size)
    if notice:
        print(notice)
    return dataset


class Run:
    """The two players, all that moves them, and what is kept of them."""

    def __init__(self, args, backend, dataset, steps):
        self.out, self.backend, self.dataset = args.out, backend, dataset
        weights, self.noise, fixed = backend.generator(args.seed).spawn(3)
        self.objective, self.pull = objective_of(args, backend)

        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "hidden": args.hidden}
        generator = shape | {"latent": args.latent, "batch_norm": not args.no_batch_norm}
        self.G = began_generator(rng=weights, **generator)
        self.D = began_discriminator(rng=weights, code=args.code, power=args.power, **shape)
        rate = optim.linear_decay(args.lr, steps)
        self.G_optimizer = optim.Adam(self.G, rate, betas=(0.5, 0.999))
        self.D_optimizer = optim.Adam(self.D, rate, betas=(0.5, 0.999))
        self.average = optim.EMA(self.G, 0.999)

        self.z = fixed.uniform((COUNTED, args.latent), -1, 1)
        self.record = cli.Record(*COLUMNS[args.loss])
        names = ["G", "D", "G_optimizer", "D_optimizer", "average", "noise", "record"]
        if args.loss == "began":
            names.append("objective")  # for its k
        self.checkpoint = cli.Checkpoint(
            args,
            {name: getattr(self, name) for name in names},
            data=dataset,
            # What evaluate_mnist.py must know to build this G again and to draw samples from it.
            generator={"network": "began", "arguments": generator, "noise": "uniform", "low": -1.0},
        )

    def finish(self, beside):
        """The picture, what became of the run in words, and the line of numbers."""
        real = Tensor(self.backend.asarray(data.to_unit(self.dataset.images[:PAIRS])))
        with no_grad():
            fake = self.average.network(Tensor(self.z))
            pairs = [
                np.concatenate([x.numpy(), self.D.decode(self.D.encode(x)).numpy()])
                for x in (real, fake[:PAIRS])
            ]
        samples, now = fake.numpy(), recent(self.record)
        now["diversity"] = diversity(samples, self.dataset)
        shares = counted(samples, self.dataset)
        figure = picture(samples[:PICTURED], pairs, self.record, beside)
        file = plots.save_figure(figure, self.out / "began.png")
        print(verdict(now, shares, self.dataset.classes))
        print(f"{in_numbers(now)}{rarest(shares)}; picture: {file}")


COLUMNS = {"began": ("real", "fake", "diversity", "k", "m"), "ebgan": ("real", "fake", "diversity")}


def objective_of(args, backend):
    """The objective, and what is added to G's loss."""
    if args.loss == "began":
        objective = losses.BoundaryEquilibrium(backend, gamma=args.gamma, rate=args.rate)
        return objective, None

    def pull(D, real, fake):
        return args.pull * losses.pulling_away(D.encode(fake))

    return losses.EnergyBased(args.margin), pull if args.pull else None


# --- The collapse that M does not see -------------------------------------------------------------


def spread(images: Tensor) -> Tensor:
    """√ Σ of the pixels' variances over the batch: a scalar, in units of pixels.

    By E ‖x − y‖² = 2 Σ Var xᵢ it is 1/√2 of the distance (root mean square) between two images.
    """
    return F.sqrt(var(images.detach(), 0).sum())


def diversity(samples, dataset) -> float:
    """The spread of samples (n, h, w, c), as a share of that of as many real images."""
    real = data.to_unit(dataset.images[: len(samples)])
    return float(np.sqrt(samples.var(axis=0).sum() / real.var(axis=0).sum()))


def recent(record) -> dict:
    return record.latest(RECENT)


class Watch:
    """Shows the latest numbers behind the bar, and says when G collapses, and when it recovers."""

    def __init__(self, progress, record):
        self.progress, self.record = progress, record
        self.collapsed = False

    def look(self, step) -> bool:
        """False if all is lost."""
        now = recent(self.record)
        self.progress.show(in_numbers(now))
        if not np.isfinite(list(now.values())).all():
            self.progress.say(f"step {step:,}: {LOST}")
            return False
        if len(self.record) > 2 * RECENT and has_collapsed(now) != self.collapsed:
            self.collapsed = not self.collapsed
            what = in_words(now) if self.collapsed else "G's samples differ from each other again"
            self.progress.say(f"step {step:,}: {what} ({in_numbers(now)})")
        return True


def has_collapsed(now) -> bool:
    return now["diversity"] < COLLAPSED


def in_numbers(now) -> str:
    k = f"k {now['k']:.3f}, M {now['m']:.4f}, " if "k" in now else ""
    return f"{k}L(x) {now['real']:.4f}, L(G(z)) {now['fake']:.4f}, diversity {now['diversity']:.0%}"


def in_words(now) -> str:
    """What a collapse looks like, from either side."""
    unseen = "; M does not show it, since it knows energies only" if "m" in now else ""
    stuck = "; k is 0, so D pays no attention to G's images" if now.get("k", 1) < 1e-3 else ""
    return (
        f"G has collapsed: two of its samples differ {now['diversity']:.0%} as much as two real "
        f"images do{unseen}{stuck}"
    )


def verdict(now, shares, classes) -> str:
    """Whether G has collapsed, onto one image or onto some of the classes."""
    if has_collapsed(now):
        return in_words(now)
    rare = [] if shares is None else [classes[c] for c in np.flatnonzero(shares < RARE)]
    if rare:
        return (
            f"G varies, but some classes have less than {RARE:.0%} of the samples, which neither M "
            f"nor diversity shows: {', '.join(rare)}"
        )
    return f"No collapse: two samples differ {now['diversity']:.0%} as much as two real images do"


def counted(samples, dataset) -> np.ndarray | None:
    """Each class's share of the samples, by a vote of the nearest real images; None: no labels."""
    if dataset.labels is None:
        return None
    known = data.to_unit(dataset.images[:20_000]).reshape(-1, samples[0].size)
    _, indices = metrics.nearest(samples.reshape(len(samples), -1), known, k=NEIGHBOURS)
    votes = dataset.labels[indices]
    winners = [np.bincount(row).argmax() for row in votes]
    return np.bincount(winners, minlength=len(dataset.classes)) / len(samples)


def rarest(shares) -> str:
    return "" if shares is None else f", rarest class {shares.min():.1%} of {COUNTED:,} samples"


# --- The picture ---------------------------------------------------------------------------------


def record_of(path) -> cli.Record:
    """The numbers of another run, from its folder or checkpoint."""
    path = path / cli.CHECKPOINT if path.is_dir() else path
    loss = checkpoint.peek(path).get("options", {}).get("loss")
    if loss not in COLUMNS:
        raise CheckpointError(f"{path}: no checkpoint of began.py, so its curves cannot be drawn")
    record = cli.Record(*COLUMNS[loss])
    checkpoint.load(path, {"record": record}, partial=True)
    return record


def picture(samples, pairs, record, beside) -> Figure:
    """Samples; images above what D makes of them; and the run's numbers, step by step."""
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(12, 5.2), dpi=100)
        edges = {"left": 0.01, "right": 0.985, "top": 0.94, "bottom": 0.1}
        left, right = figure.add_gridspec(1, 2, width_ratios=[5, 8], wspace=0.1, **edges)
        show(figure.add_subplot(left), samples, 6, "samples")
        above, below = right.subgridspec(2, 1, height_ratios=[1, 2.9], hspace=0.25)
        titles = ("real images, and as D rebuilds them", "samples, and as D rebuilds them")
        cells = above.subgridspec(1, 2, wspace=0.05)
        for cell, images, title in zip(cells, pairs, titles, strict=True):
            show(figure.add_subplot(cell), images, PAIRS, title)
        panels = PANELS["began" if "k" in record.columns else "ebgan"]
        for cell, panel in zip(below.subgridspec(1, len(panels), wspace=0.3), panels, strict=True):
            draw(figure.add_subplot(cell), panel, record, beside)
    return figure


def show(axes, images, columns, title):
    axes.imshow(plots.sample_grid(images, columns), interpolation="nearest")
    axes.set_title(title, loc="left")
    axes.axis("off")


# Each panel's curves: the column, what it is called, and its colour.
M, K = ("m", "M", plots.D), ("k", "k", plots.D_STAR)
DIVERSITY = ("diversity", "diversity", plots.P_G)
ENERGIES = [("real", "L(x)", plots.P_DATA), ("fake", "L(G(z))", plots.P_G)]
PANELS = {"began": ([M], [DIVERSITY], [K]), "ebgan": (ENERGIES, [DIVERSITY])}


def draw(axes, curves, record, beside):
    """Some of the numbers, step by step, their last values above; another run's are dotted."""
    last = {column: record.latest(RECENT)[column] for column, *_ in curves}
    for column, name, color in curves:
        axes.plot(plots.moving_average(record[column]), color=color, label=name)
        if beside is not None and column in beside.columns:
            other = plots.moving_average(beside[column])
            axes.plot(other, color=color, ls=":", label="the other run")
    if curves == [DIVERSITY]:
        axes.axhline(COLLAPSED, color=plots.GUIDE, lw=1, label="collapsed below")
    axes.set_ylim(0, 1.4 if curves in ([DIVERSITY], [K]) else 4 * max(last.values()))
    axes.set_title(
        ", ".join(f"{name} = {last[column]:.3f}" for column, name, _ in curves), loc="left"
    )
    axes.set_xlabel("step")
    axes.legend(loc="upper right")


if __name__ == "__main__":
    cli.run(main)
