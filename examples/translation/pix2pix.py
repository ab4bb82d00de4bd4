"""Pix2pix: from maps to pictures, learnt from pairs (Isola et al. 2017).

G is a U-Net that is shown a map. D is shown a picture together with its map, and judges patch by
patch; and G's pixels are to be near the true ones as well: J(G) + λ E |y − G(x)|. The drawn task
needs all of it. Where stripes begin is random, so the error alone wipes them out (--no-gan); they
run as the map says (--unconditional); papers have the colours of a legend, which is too far away
for any patch (--l1 0); and houses are finer than the bottleneck (--no-skips).

    python examples/translation/pix2pix.py                            two minutes on one CPU core
    python examples/translation/pix2pix.py --pairs facades --size 64  pairs of your own
    python examples/translation/pix2pix.py --resume --apply FOLDER    maps the images in a folder
    python examples/translation/pix2pix.py --resume --beside runs/no_gan runs/no_skips

It writes pix2pix.png, samples_*.png, training.gif and checkpoint.safetensors.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np

from minigan import Tensor, data, discriminator_step, generator_step, losses, optim, plots
from minigan import functional as F
from minigan.data import Batches
from minigan.models import PatchDiscriminator, UNet
from minigan.training import (
    GAME,
    CheckpointError,
    OptionError,
    Record,
    Session,
    Watch,
    apply_to_folder,
    checkpoint,
    in_chunks,
    options,
    run,
)

COUNTED, SHOWN = 300, 8  # new maps that are counted, and those in a picture


def parse(argv=None):
    p = options.parser(
        "Pix2pix: a U-Net and a patch discriminator, on pairs.",
        steps=6000,
        out="runs/pix2pix",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 24), "every": 100},
    )
    options.translation(p, paired=True, batch=16, width=16, lr_g=1e-3, lr_d=5e-4, every=250)
    add, one = p.add_argument, p.add_mutually_exclusive_group().add_argument
    add("--images", type=options.whole(1), default=4000, help="maps that are drawn to learn from")
    add("--l1", type=options.at_least(0), default=3.0, help="λ, the weight of E |y − G(x)|")
    add("--stages", type=int, choices=(1, 2, 3, 4), default=1, help="D's: patches of 8, 18, 38, 78")
    one("--no-gan", action="store_true", help="without D: the error alone")
    one("--unconditional", action="store_true", help="D does not see the map")
    add("--no-skips", action="store_true", help="all has to pass the bottleneck")
    add("--beside", nargs="+", type=Path, default=[], help="other runs to show in the picture")
    return options.parse(p, argv)


def generator(args, weights, dropout):
    skips, shape = not args.no_skips, {"size": args.size, "width": args.width}
    return UNet(rng=weights, dropout=dropout, skips=skips, **shape)


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    others = beside(args, vars(args).pop("beside"), backend)
    given = options.domains(args)
    if args.no_gan and not args.l1:
        raise OptionError("--no-gan --l1 0: nothing is left to learn from")
    if args.size < (least := 2**args.stages):
        raise OptionError(f"--size {args.size}: wanted {least} or more for --stages {args.stages}")
    maps, pictures = given or data.drawn_regions(args.images, args.seed)
    new = given or data.drawn_regions(COUNTED, [args.seed, 1])
    weights, dropout = backend.generator(args.seed).spawn(2, shared=[1])
    with options.building():
        batches = Batches((maps, pictures), args.batch, args.seed, backend)
        G = generator(args, weights, dropout)
        channels = 3 if args.unconditional else 6
        D = PatchDiscriminator(
            rng=weights, channels=channels, width=2 * args.width, stages=args.stages
        )
    rates = [optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d)]
    G_optimizer = optim.Adam(G, rates[0], betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, rates[1], betas=(0.5, 0.999))
    average, objective = optim.EMA(G, 0.99), losses.NonSaturating()
    record = Record("error") if args.no_gan else Record(*GAME, "error")

    def shown(picture, x):
        return picture if args.unconditional else (picture, x)

    def step():
        x, y = map(Tensor, batches.next())
        fake = G(x)
        error = F.abs(y - fake).mean()
        if args.no_gan:
            G_optimizer.descend(error)
            record.add(error)
        else:
            # (1) D: tell true pictures of the maps from G's, patch by patch
            d = discriminator_step(D, D_optimizer, objective, shown(y, x), shown(fake, x))

            # (2) G: make what the D that has just moved takes for real, and what is near the truth
            near = lambda *_: args.l1 * error
            g = generator_step(D, G_optimizer, objective, shown(fake, x), penalty=near)
            record.add(d.loss, g.loss, d.real, d.fake, g.fake, error)
        average.update()
        return fake.detach()

    def made(net, count=SHOWN):
        """What a network makes of new maps: floats (count, size, size, 3)."""
        return in_chunks(net, backend.asarray(data.to_unit(new[0].images[:count])))

    def samples(**nets):
        """Maps, what networks make of them, and the true pictures: a row each."""
        x, y = (data.to_unit(part.images[:SHOWN]) for part in new)
        return plots.sample_grid(np.concatenate([x, *map(made, nets.values()), y]), len(x))

    film = plots.Film(samples(G=average.network))
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "dropout": dropout, "record": record, "film": film}
    watch = Watch(record, show=lambda now: f"error {now['error']:.3f}", batch=args.batch)
    if not args.no_gan:
        watch = Watch.of_images(record, objective, pictures, args.batch)
    with Session(args, parts, about=(maps, pictures), watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples(G=average.network))
    if session.lost:
        return session.status

    if folder:
        count = apply_to_folder(average.network, folder, args.out, size=args.size, backend=backend)
        print(f"{count} images mapped: {args.out / 'applied'}")
        if session.done == session.start:
            return session.status
    nets = others | {called(args): average.network}
    names = ["map", *nets, "truth"]
    plots.save_figure(picture(names, samples(**nets)), args.out / "pix2pix.png")
    film.save_gif(args.out / "training.gif")
    if given is None:
        print("the average, in evaluation mode: " + marks(new, made(average.network, COUNTED)))
        print("the last G, in training mode:    " + marks(new, made(G.copy(), COUNTED)))
    return session.status


def beside(args, folders, backend) -> dict:
    """The averaged generators of other runs, by what these are called."""
    nets = {}
    for path in map(checkpoint.within, folders):
        kept = Namespace(**checkpoint.peek(path).get("options", {}))
        if not hasattr(kept, "no_skips") or kept.size != args.size:
            raise CheckpointError(f"{path}: not a run of this script on images of {args.size}")
        G = generator(kept, *backend.generator(0).spawn(2))
        average = nets[called(kept)] = optim.EMA(G)
        checkpoint.load(path, {"average": average}, partial=True)
    return {name: average.network for name, average in nets.items()}


def called(args) -> str:
    """What a run is without, in words."""
    without = {"D": args.no_gan, "map for D": args.unconditional, "skips": args.no_skips}
    words = [name for name, left_out in (without | {"L1": args.l1 == 0}).items() if left_out]
    return f"no {' and no '.join(words)}" if words else "G"


def marks(new, made) -> str:
    """How much of what the maps say is in the pictures, by the rule."""
    true, read = (
        data.read_regions(new[0].images, images).means()
        for images in (new[1].images, data.to_bytes(made))
    )
    return (
        f"energy {read['energy'] / true['energy']:.1%} of the truth's, direction right in "
        f"{read['right']:.1%} of regions, paper off by {read['colour']:.3f}, "
        f"houses {read['houses']:.1%}"
    )


def picture(names, grid):
    """A row of images for each name."""
    with plots.panels(size=(8.4, 0.2 + 0.83 * len(names))) as (figure, panel):
        plots.draw_rows(panel, grid, names)
        panel.images[0].set_interpolation("nearest")  # pixels are what there is to see
    return figure


if __name__ == "__main__":
    run(main)
