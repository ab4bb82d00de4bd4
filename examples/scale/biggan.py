"""BigGAN's ingredients, each with a switch, and its truncation trick (Brock et al. 2019).

Much of what made GANs large is a list of small things: hinge loss, spectral norms, projection,
conditional batch norms that hear the class and a chunk of z at every size, attention, orthogonal
weights, two steps of D, an average of G. `--without NAME` leaves one out. And when all is learnt,
truncation: of z whose numbers beyond ±t are drawn again, G makes fewer kinds of images, and better.

    python examples/scale/biggan.py                        three minutes on one CPU core
    python examples/scale/biggan.py --without attention    or any other; noise: G ignores its z
    python examples/scale/biggan.py --data FOLDER --size 128 --attention 64 --width 64 --device cuda

It writes biggan.png: samples, a row for each class, and what t trades; curves.json, samples_*.png,
training.gif, checkpoint.safetensors and, in whose features is measured, classifier.safetensors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from minigan import Tensor, discriminator_step, gan, generator_step, losses, optim, plots
from minigan.data import Batches, to_bytes
from minigan.evaluation import look, rank_correlation
from minigan.models import BigGANDiscriminator
from minigan.training import (
    GAME,
    OptionError,
    Record,
    Sampler,
    Session,
    Watch,
    in_chunks,
    kept_classifier,
    options,
    run,
    save_json,
)

COUNTED, COLUMNS = 2000, 8  # samples that are measured, and those of a class in the picture
STANDING, AT_ONCE = 4, 125  # batches for the norms' statistics, and samples in each
LIMITS, LOW = (2.0, 1.7, 1.4, 1.1, 0.8, 0.5), 0.5  # t, and that of the picture
INGREDIENTS = {
    "spectral-g": "the spectral norm in G",
    "spectral-d": "the spectral norm in D",
    "projection": "projection: the class lies under D's image as channels instead",
    "conditional": "conditional batch norms: class and z enter at G's beginning alone",
    "chunks": "z's chunks: all of z enters at the beginning, and blocks hear the class alone",
    "attention": "self-attention",
    "orthogonal": "the orthogonal penalty, --beta",
    "two-steps": "D's second step",
    "average": "the average of G",
    "noise": "z itself: the control, for which truncation can do nothing",
}
WAYS = {
    "drawn again": lambda rng, shape, t: gan.truncated_normal(rng, shape, t),
    "scaled": lambda rng, shape, t: t * gan.truncated_normal(rng, shape, 2.0),
    (CONTROL := "z ignored"): lambda rng, shape, t: rng.normal(shape),  # G hears another one
}


def parse(argv=None):
    p = options.parser(
        "BigGAN on digits, with all its ingredients or all but one.",
        steps=800,
        out="runs/biggan",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 8), "ruler": 100},
        after=("ruler",),
    )
    options.images(p, size=32, framed=True, batch=32, width=16, latent=60)
    options.shared(p, lr_g=1e-3, lr_d=1e-3, every=100)
    words = "; ".join(f"{name}: {what}" for name, what in INGREDIENTS.items())
    p.add_argument("--without", choices=INGREDIENTS, help=words)
    words = "pixels, the side of the images at which there is attention"
    p.add_argument("--attention", type=options.whole(2), default=8, help=words)
    words = "β of the orthogonal penalty"
    p.add_argument("--beta", type=options.at_least(0), default=1e-4, help=words)
    p.add_argument("--ruler", type=options.whole(1), default=300, help="the classifier's steps")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, test = (framed(part, args) for part in options.train_and_held_out(args))
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    classes, on = len(train.classes), {name: name != args.without for name in INGREDIENTS}
    moves = 2 if on["two-steps"] else 1
    with options.building():
        batches = Batches((train, train.labels), args.batch, args.seed, backend)
        _, size, _, channels = train.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "classes": classes}
        shape["attention"] = args.attention if on["attention"] else None
        for_g = {"spectral": on["spectral-g"], "conditional": on["conditional"]}
        for_g |= {"chunks": on["chunks"], "latent": args.latent}
        for_d = {"spectral": on["spectral-d"], "projection": on["projection"]}
        sampler = Sampler("biggan", shape | for_g, classes=classes)
        G, D = sampler.build(weights), BigGANDiscriminator(rng=weights, **shape | for_d)
    G_rate = optim.linear_decay(args.lr_g, args.steps)
    D_rate = optim.linear_decay(args.lr_d, moves * args.steps)
    G_optimizer = optim.Adam(G, G_rate, betas=(0.0, 0.999))
    D_optimizer = optim.Adam(D, D_rate, betas=(0.0, 0.999))
    average = optim.EMA(G, 0.99 if on["average"] else 0.0)
    objective, record = losses.Hinge(), Record(*GAME)

    def heard(z):
        """z, or if there is to be none, zeros."""
        return z if on["noise"] else 0 * z

    def step():
        # (1) D: twice, each time on new images, and on samples of their classes
        for _ in range(moves):
            x, y = map(Tensor, batches.next())
            fake = G(Tensor(heard(sampler.noise(noise, batches.share))), y)
            d = discriminator_step(D, D_optimizer, objective, (x, y), (fake, y))

        # (2) G: what the D that has just moved takes for real, by filters none of which are alike
        unlike = lambda *_: gan.orthogonal_penalty(G, args.beta * on["orthogonal"])
        g = generator_step(D, G_optimizer, objective, (fake, y), penalty=unlike)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    every = backend.asarray(np.repeat(np.arange(classes), COLUMNS))
    z = sampler.noise(fixed, len(every))

    def grid(z):
        """A row of samples of each class, as a picture."""
        return plots.sample_grid(in_chunks(average.network, heard(z), every), COLUMNS)

    film = plots.Film(grid(z))
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    safe = {"watch": Watch.of_images(record, objective, train, args.batch), "sampler": sampler}
    with Session(args, parts, about=train, batches=batches, moves=moves, **safe) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(grid(z))
    if session.status:
        return session.status

    kept, how = args.out / "classifier.safetensors", {"seed": 0, "steps": args.ruler}
    C = kept_classifier(kept, train, backend, **how)
    known, real = (look(C, part.images[:COUNTED], part.labels[:COUNTED]) for part in (train, test))

    def seen(way, t=0.0, seed=1, count=COUNTED):
        """What C sees in samples of such noise, for which the norms' statistics are made anew."""
        rng = backend.generator([args.seed, seed])
        some = lambda n: (heard(way(rng, (n, args.latent), t)), rng.integers(0, classes, (n,)))
        gan.standing_statistics(average.network, lambda: map(Tensor, some(AT_ONCE)), STANDING)
        z, y = some(count)
        return look(C, to_bytes(in_chunks(average.network, z, y)), backend.to_numpy(y))

    whole, grids = seen(WAYS[CONTROL]), {"$z$ ~ N(0, 1)": grid(z)}
    for name, found in (("G", whole), ("test images", real)):
        (p, r), read = found.precision_recall(known), found.accuracy()
        near = f"Fréchet distance {found.frechet(known):.3f}, precision {p:.3f}, recall {r:.3f}"
        print(f"{name:11}: {near}, the class that was asked for in {read:.1%}")
    curves = {}
    for name, way in WAYS.items():
        # All t of the same u, as differences are asked for; what isn't told t, of others each time.
        seeds = [k if name == CONTROL else 1 for k, _ in enumerate(LIMITS, 1)]
        found = [seen(way, t, seed) for t, seed in zip(LIMITS, seeds, strict=True)]
        curves[name] = [some.precision_recall(known) for some in found]
        print(f"{name:11}: {in_words(curves[name])}")
    off = np.abs(np.subtract(curves["scaled"], curves["drawn again"])).mean(0)
    print("scaled, not drawn again: precision off by {:.3f}, recall by {:.3f}".format(*off))

    again = WAYS["drawn again"]
    seen(again, LOW, count=AT_ONCE)
    grids[f"$|z|$ ≤ {LOW}"] = grid(again(fixed, z.shape, LOW))
    most = real.precision_recall(known)
    figure = plots.truncation_figure(grids, train.classes, LIMITS, curves, most)
    plots.save_figure(figure, args.out / "biggan.png")
    film.save_gif(args.out / "training.gif")
    save_json(args.out / "curves.json", {"t": LIMITS} | curves)
    return session.status


def in_words(curve) -> str:
    """What a curve does from the largest t to the least, and how surely it rises with t."""
    said = []
    for name, column in zip(("precision", "recall"), np.transpose(curve), strict=True):
        path, order = " ".join(f"{x:.3f}" for x in column), rank_correlation(LIMITS, column)
        said.append(f"{name} {path} (rank correlation {order:+.2f}, range {np.ptp(column):.3f})")
    return ", ".join(said)


def framed(dataset, args):
    """Digits of 28 × 28 in a black frame, whose sides halve to 4. OptionError without labels."""
    if dataset.labels is None:
        raise OptionError(f"--data {args.data}: no labels: wanted a folder with one for each class")
    edge = max(0, args.size - dataset.images.shape[1]) // 2
    images = np.pad(dataset.images, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
    return dataclasses.replace(dataset, images=images)


if __name__ == "__main__":
    run(main)
