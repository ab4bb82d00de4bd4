"""DCGAN on faces, and arithmetic with them: glasses are a direction (Radford et al. 2016).

A generator's z was never told what glasses are. Yet the mean z of three faces with short hair and
glasses, minus that of three with short hair and none, plus that of three with long hair and none,
is a face with long hair and glasses. The faces are *drawings*, with attributes that a rule counts.

    python examples/latent/faces.py                     three minutes on one CPU core
    python examples/latent/faces.py --data FOLDER --flip --size 64      your images, crops of faces
    python examples/latent/faces.py --paper --data FOLDER --device cuda      64 × 64, as in 2016

It writes samples_*.png and training.gif from the same noise, losses.png, checkpoint.safetensors
and, of drawn faces, faces.png with the arithmetic. The controls: a vector as long, of a random
direction; and a G that has learnt nothing, --steps 1.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, cpu, data, discriminator_step, generator_step, losses, optim, plots
from minigan.evaluation import attribute_members, random_vectors
from minigan.models import dcgan_discriminator
from minigan.training import GAME, Record, Sampler, Session, Watch, options, run

COUNTED = 4000  # samples whose attributes are counted
SUMS = 1000  # that are counted, each of nine samples of its own
PAPER = {"size": 64, "width": 128, "batch": 128, "hidden": 0, "latent": 100, "steps": 30_000}
PAPER |= {"lr_g": 2e-4, "lr_d": 2e-4, "every": 1000}


def parse(argv=None):
    p = options.parser(
        "DCGAN on faces.",
        steps=1600,
        out="runs/faces",
        epochs=True,
        resumable=True,
        quick={"steps": lambda n: max(1, n // 4), "every": 100},
        paper=PAPER,
    )
    options.images(p, data="faces", size=32, batch=64, width=16, hidden=0, latent=32)
    options.shared(p, lr_g=1e-3, lr_d=3e-4, samples=64, every=200)
    p.add_argument("--flip", action="store_true", help="mirror half of the real images")
    p.add_argument("--shift", type=options.whole(0), default=0, help="move them by so many pixels")
    args = options.parse(p, argv)
    if args.shift >= args.size:
        raise options.OptionError(f"--shift {args.shift}: wanted less than --size {args.size}")
    return args


def main(argv=None):
    args = parse(argv)
    backend, dataset = options.device(args), options.dataset(args)
    weights, noise, moves, fixed = backend.generator(args.seed).spawn(4, shared=[1, 2])
    objective, record = losses.NonSaturating(), Record(*GAME)
    with options.building():
        batches = data.Batches(dataset, args.batch, args.seed, backend)
        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        kind = "uniform" if args.paper else "normal"
        sampler = Sampler("dcgan", shape | {"latent": args.latent}, kind)
        G = sampler.build(weights)
        D = dcgan_discriminator(rng=weights, **shape)
        rates, length = (args.lr_g, args.lr_d), options.length(args, batches)
        if not args.paper:
            rates = [optim.linear_decay(lr, length) for lr in rates]
        G_optimizer = optim.Adam(G, rates[0], betas=(0.5, 0.999))
        D_optimizer = optim.Adam(D, rates[1], betas=(0.5, 0.999))
        average = optim.EMA(G, 0.0 if args.paper else 0.99)
        z = sampler.noise(fixed, args.samples)

    def real():
        images = Tensor(batches.next())
        if args.flip:
            images = data.mirrored(images, moves)
        return data.shifted(images, moves, args.shift, black=False) if args.shift else images

    def step():
        x, fake = real(), G(Tensor(sampler.noise(noise, batches.share)))
        d = discriminator_step(D, D_optimizer, objective, x, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    def drawn(z):
        """What the averaged generator makes of z (n, latent) of the host: (n, size, size, c)."""
        return sampler.draw(average.network, backend.asarray(z))

    film = plots.Film(plots.sample_grid(drawn(z)))
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "moves": moves, "record": record, "film": film}
    watch = Watch.of_images(record, objective, dataset, args.batch)
    session = Session(args, parts, about=dataset, watch=watch, batches=batches, sampler=sampler)
    with session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(plots.sample_grid(drawn(z)))

    title, steps = "DCGAN on faces", np.arange(1, len(record) + 1)
    plots.save_figure(plots.loss_curves(record.by_name(), steps, title), args.out / "losses.png")
    film.save_gif(args.out / "training.gif")
    if session.lost:
        return session.status
    if args.data != "faces":
        print("attributes are known of drawn faces alone: no arithmetic")
        return session.status
    z = backend.to_numpy(sampler.noise(backend.generator([args.seed, 1]), COUNTED))
    has = seen(drawn(z))
    print(marginals(has, data.HAS[dataset.labels]))
    arithmetic(z, has, drawn, args)
    return session.status


def seen(images):
    """Which attributes G's images have, by the rule: bool (n, attributes)."""
    return data.read_faces(data.to_bytes(images))


def marginals(has, real) -> str:
    """The share of samples that have each attribute, beside that of the data."""
    shares = zip(data.ATTRIBUTES, has.mean(0), real.mean(0), strict=True)
    return "samples (data): " + ", ".join(f"{name} {a:.1%} ({b:.1%})" for name, a, b in shares)


def arithmetic(z, has, drawn, args):
    """Counts how often such sums have glasses, and draws some, as in the paper's figure 7."""
    glasses, long, rng = has[:, 0], has[:, 2], cpu.generator([args.seed, 2])
    try:
        a, b = attribute_members(glasses[~long], count=SUMS, rng=rng)
        c, _ = attribute_members(long & ~glasses, count=SUMS, rng=rng)
    except ValueError:
        print("too few samples of a kind to do arithmetic with them")
        return
    threes = z[~long][a], z[~long][b], z[c]  # (SUMS, 3, latent)
    a, b, c = (three.mean(1) for three in threes)
    control = c + random_vectors(a - b, rng)
    for name, sums in {"c": c, "a - b + c": a - b + c, "c + a random vector": control}.items():
        shares = zip(data.ATTRIBUTES, seen(drawn(sums)).mean(0), strict=True)
        print(f"{name}: " + ", ".join(f"{attribute} {share:.1%}" for attribute, share in shares))
    columns = [drawn(np.stack([*three[0], three[0].mean(0)])) for three in threes]
    grids = [drawn(sums[:12]) for sums in (a - b + c, control)]
    plots.save_figure(figure_7(columns, grids), args.out / "faces.png")


def figure_7(columns, grids):
    """Three samples and the image of their mean z, for each term; twelve sums; the control."""
    titles = ["short hair,\nglasses", "− short hair,\n   no glasses", "+ long hair,\n   no glasses"]
    titles += [
        "= their sum (top left),\n   and sums of others",
        "control: random vectors\nas long, not differences",
    ]
    ratios = [1.5, 1.5, 1.5, 3, 3]
    with plots.panels(1, 5, size=(8.6, 3.05), width_ratios=ratios) as (figure, panels):
        rows = ["", "three\nsamples", "", "G(mean z)"]
        for panel, images, title in zip(panels, columns + grids, titles, strict=True):
            across = len(images) // 4
            plots.draw_rows(panel, plots.sample_grid(images, across), rows)
            panel.set_title(title, fontsize=9)
            rows = [""] * 4
    return figure


if __name__ == "__main__":
    run(main)
