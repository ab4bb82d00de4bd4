"""The geography of the latent space: ways through it, arithmetic in it, and the z of an image.

Between two z images change into each other, along a line or, at one ‖z‖, along a circle (White
2016). The mean of three z of one kind minus the mean of three others is a vector that makes more of
that kind (Radford et al. 2016). And any image has a z that draws it best, argmin ‖x − G(z)‖ (Zhu et
al. 2016): between two such z one picture becomes another.

    python examples/latent/latent_space.py                      trains a DCGAN on digits first
    python examples/latent/latent_space.py runs/began           or any generator of images there is
    python examples/latent/latent_space.py runs/latent_space --morph a.png b.png

It writes latent_space.png and morph.gif. A generator that is told classes goes from class to class
as well, and has images' own classes for inversion; its z holds no class to add.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan import (
    Tensor,
    cpu,
    data,
    discriminator_step,
    generator_step,
    losses,
    models,
    optim,
    plots,
)
from minigan.data import to_bytes, to_unit
from minigan.evaluation import find_vector, look, nearest
from minigan.gan import lerp, slerp
from minigan.training import (
    GAME,
    LatentSpace,
    Record,
    Sampler,
    Session,
    Watch,
    checkpoint,
    kept_classifier,
    make_folder,
    options,
    run,
)

RULER = {"seed": 0, "steps": 500, "batch": 128, "rate": 5e-3}  # the classifier's training
DESCENT = {"starts": 8, "steps": 250}  # of an inversion
KNOWN, HELD_OUT = 100, 24  # images whose z is looked for: drawn ones, real ones
LOTS, LENGTH = (1000, 60, 300), 1.5  # z that vectors are made of, chosen on, counted on; their size
COLUMNS = 9  # of the pictures


def parse(argv=None):
    p = options.parser(
        "Interpolation, arithmetic and inversion in the latent space of a generator.",
        steps=1200,
        out="runs/latent_space",
        resumable=True,
        quick={"steps": 300},
    )
    p.add_argument("checkpoint", nargs="?", type=Path, help="of a generator; by default train one")
    p.add_argument("--morph", nargs=2, type=Path, metavar="IMAGE", help="two files, to be morphed")
    options.images(p, batch=64, width=16, hidden=256, latent=6, lr_g=1e-3, lr_d=5e-4)
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, path = options.device(args), vars(args).pop("checkpoint")
    files = vars(args).pop("morph")  # neither is part of the run that trains
    if path:
        path = checkpoint.within(path)
        kept = checkpoint.peek(path).get("options", {})
        args.data = args.data or kept.get("data") or ("digits" if kept.get("quick") else None)
        args.size = kept.get("size", args.size)
    train, test = options.train_and_held_out(args)
    _, size, _, channels = train.images.shape
    ends = [data.load_image(file, size, channels) for file in files or ()]
    weights, noise, points = backend.generator(args.seed).spawn(3)
    if not path:
        status = trained(args, backend, train, weights, noise)
        if status:
            return status
    space = LatentSpace(path or args.out / checkpoint.NAME, points, train)
    make_folder(args.out)
    C = ruler(args.out, backend, train)

    rows, between = ways(space)
    sums, added = arithmetic(space, C, train.classes)
    found, again = inversion(space, train, test)
    row, morphed = morph(space, C, np.stack(ends) if ends else test.images[:2], args.out)
    titles = between, added, again, morphed
    figure = plots.latent_figure(rows, sums, found, row, titles=titles)
    print(f"pictures: {plots.save_figure(figure, args.out / 'latent_space.png')}")
    return 0


def trained(args, backend, train, weights, noise) -> int:
    """Trains a DCGAN of few dimensions and keeps it; the exit status."""
    objective, record = losses.NonSaturating(), Record(*GAME)
    with options.building():
        batches = data.Batches(train, args.batch, args.seed, backend)
        _, size, _, channels = train.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        sampler = Sampler("dcgan", {"latent": args.latent, **shape})
        G, D = sampler.build(weights), models.dcgan_discriminator(rng=weights, **shape)
    rates = (optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d))
    G_optimizer, D_optimizer = (
        optim.Adam(player, rate, betas=(0.5, 0.999))
        for player, rate in zip((G, D), rates, strict=True)
    )
    average = optim.EMA(G, 0.99)

    def step():
        real, fake = Tensor(batches.next()), G(Tensor(sampler.noise(noise, args.batch)))
        d = discriminator_step(D, D_optimizer, objective, real, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record}
    watch = Watch.of_images(record, objective, train, args.batch)
    session = Session(args, parts, about=train, watch=watch, batches=batches, sampler=sampler)
    with session:
        for _ in session.steps(step):
            pass
    return session.status


def ruler(folder, backend, train):
    """The classifier that says what is seen in an image; None if there is nothing to learn from."""
    if train.labels is None:
        return None
    weights, dropout, shifts = backend.generator(RULER["seed"]).spawn(3)
    _, size, _, channels = train.images.shape
    shape = {"size": size, "channels": channels, "classes": len(train.classes)}
    C = models.image_classifier(rng=weights, dropout=dropout, **shape)
    return kept_classifier(folder / "classifier.safetensors", C, train, shifts, **RULER)


def ways(space):
    """Rows of images between two z, and what becomes of ‖z‖."""
    (a, *_), (b, *_) = many = space.points(1000), space.points(1000)
    norms = [np.linalg.norm(z, axis=1).mean() for z in (a, lerp(a, b, 0.5), slerp(a, b, 0.5))]
    said = f"half-way ‖z‖ is {norms[1] / norms[0]:.0%} by lerp, {norms[2] / norms[0]:.0%} by slerp"
    print(f"between two z: {said}")
    t, rows = np.linspace(0, 1, COLUMNS), {}
    for k in range(2):
        pair = [[part[k : k + 1] for part in point] for point in many]
        for name, between in (("lerp", lerp), ("slerp", slerp)):
            rows[f"{name}{' ' * k}"] = space.way(*pair, t, between)
    return rows, f"between two z: {said}"


def arithmetic(space, C, classes):
    """Rows of formulas, and how many z a vector of three and three brings to its class.

    Vectors are made of a first lot of z, the best chosen on a second, and counted on a third.
    """
    if C is None or space.classes:
        print(f"arithmetic: none, as {'G is told its classes' if C else 'images have no labels'}")
        return {}, ""
    crowd, host = space.points(sum(LOTS))[0], cpu.generator(len(classes))
    lots, rows, found = np.split(crowd, np.cumsum(LOTS)[:-1]), {}, []

    def see(z):
        return look(C, to_bytes(space.draw(z))).classes

    seen = [see(z) for z in lots]
    for k, name in enumerate(classes):
        has, judge = [some == k for some in seen], lambda z, k=k: see(z) == k
        if any(min(some.sum(), (~some).sum()) < 3 for some in has):
            continue
        found.append(v := find_vector(lots, has, judge, rng=host, length=LENGTH))
        one = lots[2][~has[2]][:1]
        terms = lots[0][v.with_it], lots[0][v.without], one, one + v.vector
        rows[name] = [space.draw(z) for z in terms]
    if not found:
        print("arithmetic: none, as the ruler sees too few classes in the samples")
        return {}, ""
    flips, by_any, by_random, by_lucky = np.mean([v[3:] for v in found], axis=0)
    print(
        f"arithmetic: {flips:.1%} of samples become what the vector of a class makes of them (the "
        f"least of {len(found)}: {min(v.flips for v in found):.0%}), {by_any:.1%} by any three and "
        f"three, {by_random:.1%} by a random vector, {by_lucky:.1%} by the best of 16 of these"
    )
    some = [*rows][:: -(-len(rows) // 5)]
    return {name: rows[name] for name in some}, f"z + {LENGTH} (mean − mean): {flips:.0%} flip"


def inversion(space, train, test):
    """Held-out images, what G makes of their z, nearest training images; and who is found again."""
    z, *told = space.points(KNOWN)
    found = space.find(space.draw(z, *told), *told, **DESCENT)
    best, every = (
        np.linalg.norm(there - here, axis=-1) / np.linalg.norm(here, axis=-1) <= 0.05
        for there, here in ((found.z, z), (found.every_z, z[:, None]))
    )
    print(
        f"inversion: {best.mean():.0%} of {KNOWN} known z are found again to 5% by the best of "
        f"{DESCENT['starts']} starts, {every.mean():.0%} by one"
    )
    images = test.images[:HELD_OUT]
    told = [space.mixtures(test.labels[:HELD_OUT])] if space.classes else []
    real = to_unit(images)
    drawn = space.draw(space.find(real, *told, **DESCENT).z, *told)
    near = to_unit(train.images[nearest(images, train.images)[1][:, 0]])
    errors, distances = (np.abs(x - real).mean(axis=(1, 2, 3)) / 2 for x in (drawn, near))
    said = f"L1 {errors.mean():.3f}, nearest training image {distances.mean():.3f}"
    print(f"held-out images by their z: {said}")
    return [part[:COLUMNS] for part in (real, drawn, near, errors, distances)], f"ẑ: {said}"


def morph(space, C, ends, out):
    """A row from one image to another by way of their z, and a film of it, there and back."""
    told = [space.mixtures(look(C, ends).classes)] if space.classes else []
    z, between = space.find(to_unit(ends), *told, **DESCENT).z, slerp if space.normal else lerp
    a, b = ([part[k : k + 1] for part in (z, *told)] for k in (0, 1))
    images = space.way(a, b, np.linspace(0, 1, 25), between)
    film = [plots.sample_grid(image[None]).repeat(6, 0).repeat(6, 1) for image in images]
    plots.save_gif(out / "morph.gif", film + film[::-1])
    row = [to_unit(ends[:1]), images[:: 24 // (COLUMNS - 3)], to_unit(ends[1:])]
    return np.concatenate(row), "an image, from its ẑ to another's, and that image"


if __name__ == "__main__":
    run(main)
