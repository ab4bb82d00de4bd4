"""Progressive growing: images of 8 × 8 pixels first, then 16, 32, 64 … (Karras et al. 2018).

G and D learn small images, where a step is cheap and little can go wrong; then each gets a level
more. It is faded in, or it would upset what the others have learnt: for a while G's images are in
part new and in part the old ones, enlarged, and real images are blurred alike. Each level has Adam
begin anew; the average of G goes on. Does it pay? --scratch trains the same networks at full size
from the start: give both as much time, and compare.

    python examples/scale/progressive.py                       8 → 16 → 32, two minutes on one core
    python examples/scale/progressive.py --scratch --steps 900 --out runs/scratch
    python examples/scale/progressive.py --resume --beside runs/scratch         both in one picture
    python examples/scale/progressive.py --data FOLDER --size 128 --width 128 --most 512 --depth 2
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from minigan import Tensor, cpu, discriminator_step, generator_step, losses, optim, plots
from minigan.data import Batches, to_bytes
from minigan.evaluation import look, pyramid_distances
from minigan.gan import gradient_penalty
from minigan.models import ProgressiveDiscriminator, ProgressiveGenerator, shrunk
from minigan.training import (
    Record,
    Session,
    Watch,
    checkpoint,
    in_chunks,
    kept_classifier,
    make_folder,
    options,
    run,
    save_json,
)

SMALLEST, SHOWN = 7, 6  # pixels of the first level at least; z in the picture
LOOKED = {"count": 1000, "patches": 32, "directions": 128}  # what is measured now and then,
COUNTED = {"count": 2000, "patches": 64, "directions": 256}  # and in the end
MARKS = "step", "Fréchet distance", "sliced Wasserstein", "the same, as published"
TIMES = "times.json"
QUICK = dict.fromkeys(("steps", "each", "fade", "every"), lambda n: max(1, n // 10)) | {"width": 8}


def parse(argv=None):
    p = options.parser(
        "Progressive growing.", steps=1450, out="runs/progressive", resumable=True, quick=QUICK
    )
    options.images(p, data="faces", size=32, batch=16, latent=64, width=16, lr=1e-2, every=250)
    add = p.add_argument
    add("--most", type=options.whole(1), default=64, help="channels of a level at most")
    add("--depth", type=int, choices=(1, 2), default=1, help="convolutions of a level; paper: 2")
    add("--each", type=options.whole(1), default=400, help="steps of each level before the last")
    add("--fade", type=options.whole(1), default=150, help="steps in which a level is faded in")
    add("--ruler", type=options.whole(1), default=150, help="steps of the classifier's training")
    add("--scratch", action="store_true", help="all steps at full size")
    add("--beside", type=Path, help="another run, whose images and curves are drawn as well")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    beside = vars(args).pop("beside")  # no part of this run, nor of its checkpoint
    backend, dataset = options.device(args), options.dataset(args)
    weights, noise, points, fixed = backend.generator(args.seed).spawn(4, shared=[1, 2])
    _, size, _, channels = dataset.images.shape
    with options.building():
        batches = Batches(dataset, args.batch, args.seed, backend)
        shape = {"size": size, "channels": channels, "width": args.width, "most": args.most}
        shape |= {"depth": args.depth, "rng": weights}
        G = ProgressiveGenerator(latent=args.latent, **shape)
        D = ProgressiveDiscriminator(group=4 if batches.share % 4 == 0 else None, **shape)
        levels = [level for level, side in enumerate(G.sizes) if side >= SMALLEST]
        levels = levels[-1:] if args.scratch else levels
        growth = optim.Growth(args.steps, len(levels), each=args.each, fade=args.fade)
    blank = plots.sample_grid(np.ones((SHOWN, size, size, channels)), 1)
    film, stages, its_film = (plots.Film(blank) for _ in range(3))
    record, marks, its_marks = Record("d_real", "d_fake"), Record(*MARKS), Record(*MARKS)
    its = {"film": its_film, "marks": its_marks}
    if beside:
        checkpoint.load(checkpoint.within(beside), its, partial=True)
    optimizers = {}
    for level in levels:
        for name, net in (("G", G), ("D", D)):
            some = net.in_play(level, fading=level > levels[0])
            optimizers[f"{name}_{G.sizes[level]}"] = optim.Adam(some, args.lr, betas=(0.0, 0.99))
    fade, average = optim.Scheduled(growth, backend), optim.EMA(G, 0.995)
    objective, penalty = losses.Wasserstein(drift=1e-3), gradient_penalty(points)

    def now(level):
        """What G and D are told: the level that is in play, and how far it is faded in."""
        return level, fade.value if level > levels[0] else None

    def at(level):
        """The step of a level."""
        G_optimizer, D_optimizer = (optimizers[f"{name}_{G.sizes[level]}"] for name in "GD")

        def step():
            fade.advance()
            real = shrunk(Tensor(batches.next()), G.sizes[level], now(level)[1])
            fake = G(Tensor(noise.normal((batches.share, args.latent))), *now(level))
            real, fake = ((images, *now(level)) for images in (real, fake))

            # (1) D: a way up from G's images to real ones, as steep as the penalty allows
            d = discriminator_step(D, D_optimizer, objective, real, fake, penalty=penalty)

            # (2) G: up that way
            generator_step(D, G_optimizer, objective, fake)
            average.update()
            record.add(d.real, d.fake)

        return step

    z, C = fixed.normal((COUNTED["count"], args.latent)), None
    make_folder(args.out)
    if dataset.labels is not None:
        how = {"seed": 0, "width": 8, "steps": args.ruler}
        C = kept_classifier(args.out / "classifier.safetensors", dataset, backend, **how)

    def drawn(level, count):
        """Samples of the average, enlarged to full size."""
        images = in_chunks(lambda z: average.network(z, *now(level)), z[:count])
        times = size // G.sizes[level]
        return images.repeat(times, 1).repeat(times, 2)

    parts = {"G": G, "D": D, "average": average, "noise": noise, "points": points, "fade": fade}
    parts |= optimizers | {"record": record, "marks": marks, "film": film, "stages": stages}
    show = lambda now: "D(x) - D(G(z)) {:.2f}".format(now["d_real"] - now["d_fake"])
    watch = Watch(record, show=show, batch=args.batch)
    with Session(args, parts, about=dataset, watch=watch, batches=batches) as session:
        spent = times(args.out, len(marks))
        for level, end in zip(levels, growth.ends, strict=True):
            since = seconds(backend)
            for done in session.steps(at(level), end - session.done):
                if session.due(args.every) or (done == end and session.healthy()):
                    spent.append(spent[-1] + seconds(backend) - since)
                    images = drawn(level, LOOKED["count"])
                    session.show(plots.sample_grid(images[:SHOWN], 1))
                    if done == end < args.steps:
                        stages.add(plots.sample_grid(images[:SHOWN], 1))
                    found = measured(C, to_bytes(images), dataset, **LOOKED)
                    marks.add(done, *(np.mean([*each.values()]) for each in found))
                    save_json(args.out / TIMES, {"seconds": spent})
                    since = seconds(backend)
    if session.status:
        return session.status
    held = dataset.images[-COUNTED["count"] :]
    for name, images in (("real", held), ("G", to_bytes(drawn(levels[-1], COUNTED["count"])))):
        found = measured(C, images, dataset, **COUNTED)
        print(f"{name}: " + "; ".join(map("{} {}".format, MARKS[1:], map(in_words, found))))
    sides, begins = [str(G.sizes[level]) for level in levels], [0, *growth.ends]
    ends = np.interp(begins, [0, *marks["step"]], spent)
    each = zip(sides, np.diff(ends) / np.diff(begins), strict=True)
    print(f"{ends[-1]:.0f} s; a step takes", ", ".join(f"{n:.3f} s at {side}" for side, n in each))
    last = plots.sample_grid(drawn(levels[-1], SHOWN), 1)
    columns = dict(zip(sides, [*stages.state()["frames"][1:], last], strict=True))
    curves = {name: {"this run": (spent[1:], marks[name])} for name in MARKS[1:3]}
    if beside:
        columns["the other"] = its_film.state()["frames"][-1]
        for name, runs in curves.items():
            runs["the other"] = times(beside, len(its_marks))[1:], its_marks[name]
    figure = plots.growth_figure(columns, curves, dict(zip(sides, ends[1:], strict=True)))
    plots.save_figure(figure, args.out / "progressive.png")
    film.save_gif(args.out / "training.gif")
    return session.status


def seconds(backend) -> float:
    """Of CPU time; on a GPU of any, once it has done what it was told."""
    backend.synchronize()
    return time.process_time() if backend is cpu else time.perf_counter()


def times(folder, count) -> list[float]:
    """Seconds of training, from 0, up to each of a run's marks; interrupts lose some."""
    path = folder / TIMES
    found = json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.exists() else [0.0]
    return (found + found[-1:] * count)[: count + 1]


def measured(C, images, dataset, count, patches, directions) -> tuple[dict, ...]:
    """How far images are from the data: in what C sees, and at each scale."""
    n = min(count, len(images), len(dataset) // 2)
    made, known = images[:n], dataset.images[:n]
    how = {"patches": patches, "directions": directions}
    seen = np.nan if C is None else look(C, made).frechet(look(C, known))
    by = lambda whose: pyramid_distances(made, known, cpu.generator(0), standardise=whose, **how)
    return {"": seen}, by("real"), by("own")


def in_words(numbers) -> str:
    return ", ".join(f"{side}: {x:.1f}" if side else f"{x:.2f}" for side, x in numbers.items())


if __name__ == "__main__":
    run(main)
