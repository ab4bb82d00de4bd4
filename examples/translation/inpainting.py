"""In-painting: a hole in an image is filled by a GAN that has never seen one (Yeh et al. 2017).

G is trained to draw digits out of noise, as ever. Then, for an image with a hole, z is looked for
whose G(z) is the image where there is one, z = argmin Σ w (x − G(z))² + λ ln(1 − D(G(z))). The
first term is the context, with w = 0 in the hole; the second, the prior, keeps z where D takes G(z)
for real. What G(z) has in place of the hole is the filling. A descent from any z often ends in a
side valley; so it begins at those of many whose images already agree best.

    python examples/translation/inpainting.py                a good two minutes on one CPU core
    python examples/translation/inpainting.py --resume --hole 16 --prior 0   fills other holes
    python examples/translation/inpainting.py --data fashion-mnist

It writes inpainting.png, samples_*.png, training.gif, checkpoint.safetensors and, by which fillings
are read, classifier.safetensors.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minigan import Tensor, data, frozen, losses, models, optim, plots
from minigan import functional as F
from minigan.backend import backend_of
from minigan.data import to_bytes, to_unit
from minigan.evaluation import look, nearest
from minigan.gan import discriminator_step, generator_step, invert
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
)

SHOWN, RATE = 14, 0.3  # images in a picture; the first rate of the search for z


def parse(argv=None):
    p = options.parser(
        "Holes in images, filled by a GAN.",
        steps=1500,
        out="runs/inpainting",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 4), "width": 8, "count": 40, "ruler": 100},
        after=("hole", "window", "prior", "count", "pool", "starts", "descent", "ruler"),
    )
    options.images(p, batch=64, width=16, hidden=256, latent=16, lr_g=1e-3, lr_d=5e-4, every=100)
    whole, add = options.whole, p.add_argument
    wide = "w of a pixel is the share of hole in a square of this side around it; 1: all alike"
    add("--hole", type=whole(1), default=12, help="pixels, the side of the hole in the middle")
    add("--window", type=whole(1), default=1, help=wide)
    add("--prior", type=options.at_least(0), default=1.0, help="λ, the weight of ln(1 − D(G(z)))")
    add("--count", type=whole(1), default=2000, help="held-out images to be filled")
    add("--pool", type=whole(1), default=2000, help="random z, some of which are begun at")
    add("--starts", type=whole(1), default=4, help="of these, the best, for each image")
    add("--descent", type=whole(1), default=100, help="steps of the search for z")
    add("--ruler", type=whole(1), default=300, help="steps of the classifier's training")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, test = options.train_and_held_out(args)
    _, size, _, channels = train.images.shape
    for name in ("hole", "window"):
        if (side := getattr(args, name)) >= size:
            raise OptionError(f"--{name} {side}: images have {size} pixels a side, wanted fewer")
    if args.starts > args.pool:
        raise OptionError(f"--starts {args.starts}: want at most --pool {args.pool}")
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
    with options.building():
        batches = data.Batches(train, args.batch, args.seed, backend)
        sampler = Sampler("dcgan", shape | {"latent": args.latent})
        G, D = sampler.build(weights), models.dcgan_discriminator(rng=weights, **shape)
    G_rate, D_rate = (optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d))
    G_optimizer = optim.Adam(G, G_rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, D_rate, betas=(0.5, 0.999))
    average, objective, record = optim.EMA(G, 0.99), losses.NonSaturating(), Record(*GAME)

    def step():
        # (1) D: tell the real images, which have no holes, from G's
        real, fake = Tensor(batches.next()), G(Tensor(sampler.noise(noise, batches.share)))
        d = discriminator_step(D, D_optimizer, objective, real, fake)

        # (2) G: make what the D that has just moved takes for real ones
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    shown = sampler.noise(fixed, 64)
    samples = lambda: plots.sample_grid(in_chunks(average.network, shown))
    film = plots.Film(samples())
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    watch = Watch.of_images(record, objective, train, args.batch)
    session = Session(args, parts, about=train, watch=watch, batches=batches, sampler=sampler)
    with session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())
    if session.status:
        return session.status
    film.save_gif(args.out / "training.gif")

    truth, hole = test.images[: args.count], hole_in(size, args.hole)
    G, known, z = average.network, train.images, sampler.noise(fixed, args.pool)
    made = to_bytes(in_chunks(G, z))
    fit = nearest(truth[:, ~hole], made[:, ~hole], k=args.starts)[1]
    fillings = {
        "mean image": np.broadcast_to(known.mean(0), truth.shape),
        "nearest image": known[nearest(truth[:, ~hole], known[:, ~hole])[1][:, 0]],
        "any z": made[np.arange(len(truth)) % len(made)],
        "best z of many": made[fit[:, 0]],
        "G(z)": to_bytes(filling(G, D, truth, hole, z[backend.asarray(fit)], args)),
        "truth": truth,
    }
    filled = {
        name: np.where(hole[..., None], images, truth).astype(np.uint8)
        for name, images in fillings.items()
    }
    C = None
    if train.labels is not None:
        how = {"seed": 0, "steps": args.ruler}
        C = kept_classifier(args.out / "classifier.safetensors", train, backend, **how)
    words = {name: marks(images, truth, hole, test.labels, C) for name, images in filled.items()}
    print("\n".join(f"{name:15}{said}" for name, said in words.items()))
    plots.save_figure(picture(hole, filled, words), args.out / "inpainting.png")
    return session.status


def hole_in(size, side) -> np.ndarray:
    """Where the hole is, a square in the middle: booleans (size, size)."""
    hole, start = np.zeros((size, size), bool), (size - side) // 2
    hole[start : start + side, start : start + side] = True
    return hole


def context(hole, window) -> np.ndarray:
    """The weight of each pixel (Yeh et al. 2017, eq. 3): 0 in the hole, 1 on average elsewhere."""
    weight = np.where(hole, 0, 1).astype(np.float32)
    if window > 1:
        around = np.pad(1 - weight, (window // 2, (window - 1) // 2))
        weight *= sliding_window_view(around, (window, window)).mean((2, 3))
    return weight / weight[~hole].mean()


def filling(G, D, truth, hole, starts, args) -> np.ndarray:
    """G(z) of the z that fits best around the holes, and that D takes for real."""
    backend, D = backend_of(starts), D.copy().eval()
    weight = np.broadcast_to(context(hole, args.window)[..., None], truth.shape)
    x = to_unit(truth) * ~hole[..., None]  # what is in the hole is not known

    def prior(made):
        with frozen(D):
            return -args.prior * F.softplus(D(made)).sum(1)  # λ ln(1 − D(G(z)))

    x, weight = map(backend.asarray, (x, weight))
    terms, pace = {"weight": weight, "penalty": prior}, {"steps": args.descent, "rate": RATE}
    return in_chunks(G, invert(G, x, starts, **terms, **pace, progress=True).z)


def marks(images, truth, hole, labels, C) -> str:
    """How far from the truth holes are filled, pixels from 0 to 1; and how the images are read."""
    gap = (images[:, hole] - truth[:, hole].astype(float)) / 255
    said = f"error {(gap**2).mean() ** 0.5:.4f}"
    if C is None:
        return said
    return f"{said}, read right {look(C, images, labels[: len(images)]).accuracy():.1%}"


def picture(hole, filled, words):
    """A row of images for each filling, below that of the holes."""
    grey = np.where(hole[..., None], 127, filled["truth"][:SHOWN]).astype(np.uint8)
    rows = [grey, *(images[:SHOWN] for images in filled.values())]
    names = ["", *(f"{name}\n{said.replace(', ', chr(10))}" for name, said in words.items())]
    with plots.panels(size=(10.5, 0.2 + 0.72 * len(rows))) as (figure, panel):
        plots.draw_rows(panel, plots.sample_grid(to_unit(np.concatenate(rows)), len(grey)), names)
        panel.set_anchor("E")  # room for the words
    return figure


if __name__ == "__main__":
    run(main)
