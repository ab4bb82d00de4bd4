"""BEGAN and EBGAN on digits: a D that rebuilds images, and a measure that can't see collapse.

D's verdict on an image is an energy L: how badly it rebuilds it. In EBGAN (Zhao et al. 2017) D
lifts G's up to a margin; in BEGAN (Berthelot et al. 2017) they count by a factor k, which moves:

    J(D) = L(x) − k L(G(z)),      J(G) = L(G(z)),      k ← k + λ (γ L(x) − L(G(z))), within [0, 1]

The paper's measure of convergence, M = L(x) + |γ L(x) − L(G(z))|, knows energies only, and G may
repeat one image that D rebuilds well. So the run also measures how far samples are from each
other and from the nearest real images: γ trades one for the other.

    python examples/stability/began.py                           about a minute on one CPU core
    python examples/stability/began.py --no-batch-norm --gamma 0.5 --rate 0.001 --out runs/flat
    python examples/stability/began.py --resume --beside runs/flat      its M is lower: it collapsed
    python examples/stability/began.py --loss ebgan --out runs/ebgan
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, no_grad, optim, plots
from minigan.data import Batches, to_unit
from minigan.evaluation import class_shares, diversity, nearest, nearness, vote
from minigan.models import began_discriminator
from minigan.training import Record, Sampler, Session, Watch, checkpoint, options, run

COUNTED = 2000  # samples for the last measures
COLLAPSED = 0.5  # of the diversity of real images; MNIST's ones alone have 0.66, its twos 0.98
RARE = 0.01  # a class with a smaller share of the samples counts as missing
COLUMNS = {"began": ("real", "fake", "diversity", "k", "m"), "ebgan": ("real", "fake", "diversity")}
PANELS = {"began": (["m"], ["diversity"], ["k"]), "ebgan": (["real", "fake"], ["diversity"])}
QUICK = {"steps": 600, "batch": 32, "lr": 2e-3, "every": 200}


def parse(argv=None):
    p = options.parser(
        "BEGAN, EBGAN.", steps=3000, out="runs/began", epochs=True, resumable=True, quick=QUICK
    )
    options.images(p, batch=64, latent=16, lr=1e-3)
    add = p.add_argument
    add("--loss", choices=COLUMNS, default="began")
    add("--gamma", type=options.above(0), default=0.9, help="BEGAN: E L(G(z)) / E L(x)")
    add("--rate", type=options.above(0), default=0.03, help="BEGAN: λ, how fast k moves")
    add("--margin", type=options.above(0), default=0.5, help="EBGAN: m")
    add("--pull", type=options.finite(), default=0.1, help="EBGAN: weight of the pulling-away term")
    options.heeded_with(p, "loss", began=("gamma", "rate"), ebgan=("margin", "pull"))
    add("--power", type=int, choices=(1, 2), default=2, help="of the error in D's energy")
    add("--no-batch-norm", action="store_true", help="in G, as in the papers")
    add("--code", type=options.whole(1), default=16, help="numbers that D squeezes through")
    add("--hidden", type=options.whole(1), default=256, help="units of a hidden layer")
    add("--every", type=options.whole(1), default=500, help="steps between checkpoints")
    add("--beside", type=Path, help="another run, whose curves are drawn as well")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, dataset = options.device(args), options.dataset(args)
    beside = vars(args).pop("beside")  # no part of this run, nor of its checkpoint
    beside = numbers_of(beside) if beside else {}
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    with options.building():
        batches = Batches(dataset, args.batch, args.seed, backend)
        if args.loss == "began":
            objective = losses.BoundaryEquilibrium(backend, gamma=args.gamma, rate=args.rate)
        else:
            objective = losses.EnergyBased(args.margin)
        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "hidden": args.hidden}
        arguments = shape | {"latent": args.latent, "batch_norm": not args.no_batch_norm}
        sampler = Sampler("began", arguments, kind="uniform")
        G = sampler.build(weights)
        D = began_discriminator(rng=weights, code=args.code, power=args.power, **shape)
        rate = optim.linear_decay(args.lr, options.length(args, batches))
        G_optimizer = optim.Adam(G, rate, betas=(0.5, 0.999))
        D_optimizer = optim.Adam(D, rate, betas=(0.5, 0.999))
        average = optim.EMA(G, 0.999)
        z = sampler.noise(fixed, COUNTED)
    record = Record(*COLUMNS[args.loss])

    def pull(D, real, fake):
        return args.pull * losses.pulling_away(D.encode(fake))

    penalty = pull if args.loss == "ebgan" and args.pull else None

    def step():
        real, fake = Tensor(batches.next()), G(Tensor(sampler.noise(noise, batches.share)))

        # (1) D: rebuild the real images well, and G's badly, as far as k (or the margin) asks
        d = discriminator_step(D, D_optimizer, objective, real, fake)

        # (2) G: make what the D that has just moved rebuilds well
        g = generator_step(D, G_optimizer, objective, fake, penalty=penalty)

        # (3) k: let G's images count for more where they are rebuilt too well
        numbers = [d.real, g.fake, diversity(fake, real)]
        if args.loss == "began":
            m = objective.control(d.real_output, g.fake_output)
            numbers += [Tensor(objective.k.copy()), m]
        average.update()
        record.add(*numbers)

    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record}
    if args.loss == "began":
        parts["objective"] = objective  # for its k
    watch = Watch(record, show=in_numbers, troubles={told: over}, every=50, recent=100, early=201)
    session = Session(args, parts, about=dataset, watch=watch, batches=batches, sampler=sampler)
    with session:
        for _ in session.steps(step):
            pass
    if session.lost or not session.done:
        return session.status

    samples, some = sampler.draw(average.network, z), min(COUNTED, len(dataset) // 2)
    real, others = to_unit(dataset.images[:some]), to_unit(dataset.images[some:][:20_000])
    pairs = [rebuilt(D, images[:8], backend) for images in (real, samples)]
    pairs[1] += (others[nearest(samples[:8], others)[1][:, 0]],)
    figure = plots.energy_figure(
        samples[:36], pairs, PANELS[args.loss], record.by_name(), beside, COLLAPSED
    )
    file = plots.save_figure(figure, args.out / "began.png")
    now = record.latest(100) | {"diversity": diversity(Tensor(samples), Tensor(real)).item()}
    shares = counted(samples, dataset)
    print(verdict(now, shares, dataset.classes))
    rarest = "" if shares is None else f", rarest class {shares.min():.1%} of {COUNTED:,} samples"
    near = f", nearest real image {nearness(samples, real, others):.0%} as far as a new one's"
    print(f"{in_numbers(now)}{near}{rarest}; picture: {file}")
    return session.status


def numbers_of(path) -> dict:
    """The columns of another run's record, from its folder or checkpoint."""
    path = checkpoint.within(path)
    loss = checkpoint.peek(path).get("options", {}).get("loss")
    if loss not in COLUMNS:
        raise checkpoint.CheckpointError(
            f"{path}: no checkpoint of began.py, so its curves cannot be drawn"
        )
    record = Record(*COLUMNS[loss])
    checkpoint.load(path, {"record": record}, partial=True)
    return record.by_name()


def rebuilt(D, images, backend) -> tuple:
    """Images (n, …), and what D makes of them."""
    with no_grad():
        return images, D.decode(D.encode(Tensor(backend.asarray(images)))).numpy()


def collapse(now) -> str | None:
    """What a collapse looks like, from either side."""
    if now["diversity"] >= COLLAPSED:
        return None
    unseen = "; M does not show it, since it knows energies only" if "m" in now else ""
    stuck = "; k is 0, so D pays no attention to G's images" if now.get("k", 1) < 1e-3 else ""
    return (
        f"G has collapsed: two of its samples differ {now['diversity']:.0%} as much as two real "
        f"images do{unseen}{stuck}"
    )


def told(now) -> str | None:
    return (words := collapse(now)) and f"{words} ({in_numbers(now)})"


def over(now) -> str:
    return f"G's samples differ from each other again ({in_numbers(now)})"


def in_numbers(now) -> str:
    k = f"k {now['k']:.3f}, M {now['m']:.4f}, " if "k" in now else ""
    return f"{k}L(x) {now['real']:.4f}, L(G(z)) {now['fake']:.4f}, diversity {now['diversity']:.0%}"


def counted(samples, dataset) -> np.ndarray | None:
    """Each class's share of the samples, by a vote of the nearest real images; None: no labels."""
    if dataset.labels is None:
        return None
    known, labels = to_unit(dataset.images[:20_000]), dataset.labels[:20_000]
    return class_shares(vote(samples, known, labels), len(dataset.classes))


def verdict(now, shares, classes) -> str:
    """Whether G has collapsed, onto one image or onto some of the classes."""
    rare = [] if shares is None else [classes[c] for c in np.flatnonzero(shares < RARE)]
    if rare and not collapse(now):
        return (
            f"G varies, but some classes have less than {RARE:.0%} of the samples, which neither M "
            f"nor diversity shows: {'; '.join(rare)}"
        )
    apart = f"two samples differ {now['diversity']:.0%} as much as two real images do"
    return collapse(now) or f"No collapse: {apart}"


if __name__ == "__main__":
    run(main)
