"""The geography of the latent space: ways through it, arithmetic in it, and the z of an image.

Between two z images change into each other, along a line or, at one ‖z‖, along a circle (White
2016). The mean of three z of one kind minus the mean of three others is a vector that makes more of
that kind (Radford et al. 2016). And any image has a z that draws it best, argmin ‖x − G(z)‖ (Zhu et
al. 2016): between two such z one picture becomes another.

    python examples/latent/latent_space.py                      trains a DCGAN on digits first
    python examples/latent/latent_space.py runs/began           or any generator of images there is
    python examples/latent/latent_space.py runs/latent_space --morph a.png b.png

It writes latent_space.png, morph.gif and its classifier. A G told classes goes between them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan import Tensor, cpu, data, models, optim, plots
from minigan.data import to_bytes, to_unit
from minigan.evaluation import class_vectors, look, nearest
from minigan.gan import discriminator_step, generator_step, lerp, losses, slerp
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

HELD_OUT = 24  # real images whose z is looked for
LOTS, LENGTH = (1000, 80, 300), 1.5  # z that vectors are made of, chosen on, counted on; their size
COLUMNS = 9  # of the pictures


def parse(argv=None):
    p = options.parser(
        "Interpolation, arithmetic and inversion in the latent space of a generator.",
        steps=1200,
        out="runs/latent_space",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 4), "width": 8, "known": 20},
    )
    p.add_argument("checkpoint", nargs="?", type=Path, help="of a generator; by default train one")
    p.add_argument("--morph", nargs=2, type=Path, metavar="IMAGE", help="two files, to be morphed")
    whole = options.whole
    p.add_argument("--ruler", type=whole(1), default=500, help="steps of the classifier's training")
    p.add_argument("--known", type=whole(1), default=100, help="z to be found again")
    p.add_argument("--starts", type=whole(1), default=8, help="of each inversion")
    p.add_argument("--descent", type=whole(1), default=250, help="steps of an inversion")
    options.images(p, batch=64, width=16, hidden=256, latent=6, lr_g=1e-3, lr_d=5e-4)
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    path, files = vars(args).pop("checkpoint"), vars(args).pop("morph")  # no part of the run below
    if path:
        path = checkpoint.within(path)
        kept = checkpoint.peek(path).get("options", {})
        args.data = args.data or kept.get("data") or ("digits" if kept.get("quick") else None)
        args.size = kept.get("size", args.size)
    train, test = options.train_and_held_out(args)
    shape = dict(zip(("size", "channels"), train.images.shape[2:], strict=True))
    ends = [data.load_image(file, **shape) for file in files or ()]
    weights, noise, points = backend.generator(args.seed).spawn(3, shared=[1])
    if not path and (status := trained(args, train, shape, weights, noise)):
        return status
    space = LatentSpace(path or args.out / checkpoint.NAME, points, train)
    make_folder(args.out)
    C, how = None, {"seed": 0, "steps": args.ruler}
    if train.labels is not None:
        C = kept_classifier(args.out / "classifier.safetensors", train, backend, **how)

    rows, norms = ways(space)
    sums, flips = arithmetic(space, C, train.classes)
    descent = {"starts": args.starts, "steps": args.descent}
    found, errors = inversion(space, train, test, args.known, descent)
    row = morph(space, C, np.stack(ends) if ends else test.images[:2], args.out, descent)
    titles = norms, flips, errors, "an image, G from its ẑ to another's, and that image"
    figure = plots.latent_figure(rows, sums, found, row, titles=titles)
    print(f"pictures: {plots.save_figure(figure, args.out / 'latent_space.png')}")
    return 0


def trained(args, train, shape, weights, noise) -> int:
    """Trains a DCGAN of few dimensions and keeps it; the exit status."""
    objective, record = losses.NonSaturating(), Record(*GAME)
    with options.building():
        batches = data.Batches(train, args.batch, args.seed, weights.backend)
        shape = shape | {"width": args.width, "hidden": args.hidden}
        sampler = Sampler("dcgan", {"latent": args.latent, **shape})
        G, D = sampler.build(weights), models.dcgan_discriminator(rng=weights, **shape)
    G_rate, D_rate = (optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d))
    G_optimizer = optim.Adam(G, G_rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, D_rate, betas=(0.5, 0.999))
    average = optim.EMA(G, 0.99)

    def step():
        real, fake = Tensor(batches.next()), G(Tensor(sampler.noise(noise, batches.share)))
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


def ways(space):
    """Rows of images between two z, and what becomes of ‖z‖."""
    a, b = points = space.points(1000), space.points(1000)
    half_way = (way(a[0], b[0], 0.5) for way in (lerp, slerp))
    end, line, circle = (np.linalg.norm(z, axis=-1).mean() for z in ((a[0], b[0]), *half_way))
    said = f"half-way ‖z‖ is {line / end:.0%} by lerp, {circle / end:.0%} by slerp"
    print(f"between two z: {said}")
    pairs = [[[part[k : k + 1] for part in point] for point in points] for k in range(3)]
    kinds, t = (("lerp", lerp), ("slerp", slerp)), np.linspace(0, 1, COLUMNS)
    return [(name, space.way(*pair, t, way)) for pair in pairs for name, way in kinds], said


def arithmetic(space, C, classes):
    """Formulas in images, and how many z the vector of a class brings to it."""
    lots = np.split(space.points(sum(LOTS))[0], np.cumsum(LOTS)[:-1])

    def see(z):
        return look(C, to_bytes(space.draw(z))).classes

    found = {}
    if C and not space.classes:
        found = class_vectors(lots, see, len(classes), rng=cpu.generator(0), length=LENGTH)
    if not found:
        print("arithmetic: none; it takes labels that G isn't told, and samples of two classes")
        return {}, ""
    flips, by_any, by_random, by_lucky = np.array([vector[3:] for vector in found.values()]).T
    print(
        f"arithmetic: {flips.mean():.1%} of samples become the class whose vector is added, of the "
        f"least {flips.min():.1%}; by any such vector {by_any.mean():.1%}, by a random one "
        f"{by_random.mean():.1%}, by one that was chosen, too, {by_lucky.mean():.1%}"
    )
    one, rows = lots[2][:1], {}
    for k in [*found][:: -(-len(found) // 5)]:
        terms = lots[0][found[k].with_it], lots[0][found[k].without], one, one + found[k].vector
        rows[f"to {classes[k]}"] = [*map(space.draw, terms)]
    return rows, f"z + {LENGTH} (mean − mean): {flips.mean():.0%} become that class"


def inversion(space, train, test, known, descent):
    """Who of known z is found again; and held-out images, G(ẑ), and nearest training images."""
    z, *told = space.points(known)
    found = space.find(space.draw(z, *told), *told, **descent)
    best, every = (
        np.linalg.norm(there - here, axis=-1) <= 0.05 * np.linalg.norm(here, axis=-1)
        for there, here in ((found.z, z), (found.every_z, z[:, None]))
    )
    print(
        f"inversion: {best.mean():.0%} of {known} known z are found again to 5% by the best of "
        f"{descent['starts']} starts, {every.mean():.0%} by one"
    )
    images = test.images[:HELD_OUT]
    real, told = to_unit(images), space.told(test.labels[:HELD_OUT]) if space.classes else ()
    drawn = space.draw(space.find(real, *told, **descent).z, *told)
    near = to_unit(train.images[nearest(images, train.images)[1][:, 0]])
    errors, distances = (np.abs(x - real).mean(axis=(1, 2, 3)) / 2 for x in (drawn, near))
    said = f"L1 {errors.mean():.3f}, of the nearest training image {distances.mean():.3f}"
    print(f"held-out images as G draws them: {said}")
    return [part[:COLUMNS] for part in (real, drawn, near, errors, distances)], said


def morph(space, C, ends, out, descent):
    """A row from one image to another by way of their z, and the film of it, there and back."""
    told, ends = space.told(look(C, ends).classes) if space.classes else (), to_unit(ends)
    points = space.find(ends, *told, **descent).z, *told
    a, b = ([part[k : k + 1] for part in points] for k in (0, 1))
    images = space.way(a, b, np.linspace(0, 1, 25), space.along)
    errors = np.abs(images[[0, -1]] - ends).mean(axis=(1, 2, 3)) / 2
    print("morph: its ends are {:.3f} and {:.3f} in L1 from the images".format(*errors))
    film = [plots.sample_grid(image[None]).repeat(6, 0).repeat(6, 1) for image in images]
    plots.save_gif(out / "morph.gif", film + film[::-1])
    return np.concatenate([ends[:1], images[:: 24 // (COLUMNS - 3)], ends[1:]])


if __name__ == "__main__":
    run(main)
