"""Super-resolution: 28 × 28 pixels out of 7 × 7, by the error and by a game (Ledig et al. 2017).

Many digits have the same 7 × 7 means. The image whose squared error is least on average is their
blurred mean, and a network R that learns by the error draws that. G begins by the error, too; but
then D, to which a blurred stroke is no stroke, makes it choose one of them. R is ahead in PSNR, G
in looks. Whatever either draws, its means over 4 × 4 pixels are the small image exactly, so D need
not be shown that, and judges patch by patch.

    python examples/translation/super_resolution.py              two minutes on one CPU core
    python examples/translation/super_resolution.py --content 0     in the end by the game alone
    python examples/translation/super_resolution.py --data FOLDER --size 64     photographs
    python examples/translation/super_resolution.py --resume --apply FOLDER     enlarges the images

It writes super_resolution.png, samples_*.png, training.gif, checkpoint.safetensors and, in whose
features looks are measured, classifier.safetensors.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from minigan import Tensor, data, discriminator_step, generator_step, losses, optim, plots
from minigan import functional as F
from minigan.data import to_bytes, to_unit
from minigan.evaluation import look
from minigan.models import PatchDiscriminator, SuperResolution
from minigan.models.superresolution import FACTOR
from minigan.training import (
    GAME,
    OptionError,
    Record,
    Session,
    Watch,
    apply_to_folder,
    in_chunks,
    kept_classifier,
    options,
    run,
)

COUNTED, SHOWN = 5000, 12  # held-out images that are counted, and those in a picture
MOVES = 2  # of R in a step: they take as long as the two moves of the game
LEAD = 100.0  # what λ is at first


def parse(argv=None):
    p = options.parser(
        "Super-resolution by the squared error and by a GAN, side by side.",
        steps=400,
        out="runs/super_resolution",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 8), "every": 50, "ruler": 100},
        after=("ruler",),
    )
    options.images(p, batch=32, width=16, lr_g=1e-3, lr_d=1e-3, every=50)
    add = p.add_argument
    add("--content", type=options.at_least(0), default=4.0, help="λ: J(G) + λ E (y − G(x))²")
    add("--ruler", type=options.whole(1), default=300, help="steps of the classifier's training")
    add("--apply", metavar="FOLDER", help="in the end, enlarge the images in it: into OUT/applied")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    train, test = options.train_and_held_out(args)
    _, size, _, channels = train.images.shape
    if size % FACTOR:
        raise OptionError(f"image size {size}: expected a multiple of {FACTOR}")
    weights = backend.generator(args.seed)
    with options.building():
        batches = data.Batches(train, args.batch, args.seed, backend)
        shape = {"rng": weights, "channels": channels}
        R, G = (SuperResolution(width=args.width, name=name, **shape) for name in "RG")
        D = PatchDiscriminator(width=2 * args.width, **shape)
    rates = [optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d)]
    R_optimizer = optim.Adam(R, optim.linear_decay(args.lr_g, MOVES * args.steps))
    G_optimizer = optim.Adam(G, rates[0], betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, rates[1], betas=(0.5, 0.999))
    R_average, G_average = optim.EMA(R, 0.99), optim.EMA(G, 0.99)
    objective, record = losses.NonSaturating(), Record(*GAME, "error_r", "error_g")
    lead = args.steps // 3 + 1  # steps in which G learns by the error, and ever more by the game
    weight = optim.Scheduled(lambda t: max(args.content, LEAD * (1 - t / lead)), backend)

    def step():
        # (0) R: the mean of all that x may have been, by the squared error
        for _ in range(MOVES):
            y = Tensor(batches.next())
            x = F.avg_pool2d(y, FACTOR)
            error = ((R(x) - y) ** 2).mean()
            R_optimizer.descend(error)

        # (1) D: tell large images from those that G has made of small ones
        fake = G(x)
        d = discriminator_step(D, D_optimizer, objective, y, fake)

        # (2) G: make what the D that has just moved takes for a real one, and what is near y
        weight.advance()
        content = ((fake - y) ** 2).mean()
        near = lambda *_: content * weight.value
        g = generator_step(D, G_optimizer, objective, fake, penalty=near)
        R_average.update()
        G_average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake, error, content)
        return fake.detach()

    truth = test.images[:COUNTED]
    small = F.avg_pool2d(Tensor(backend.asarray(to_unit(truth))), FACTOR).data
    by_r, by_g = R_average.network, G_average.network

    def samples():
        """Rows: R's image, G's, and the true one."""
        few = small[:SHOWN]
        rows = [in_chunks(by_r, few), in_chunks(by_g, few), to_unit(truth[:SHOWN])]
        return plots.sample_grid(np.concatenate(rows), len(few))

    film = plots.Film(samples())
    parts = {"R": R, "G": G, "D": D, "R_average": R_average, "average": G_average}
    parts |= {"R_optimizer": R_optimizer, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"weight": weight, "record": record, "film": film}
    watch = Watch.of_images(record, objective, train, args.batch)
    with Session(args, parts, about=train, watch=watch, batches=batches, moves=MOVES) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())
    if session.status:
        return session.status

    if folder:
        how = {"size": size // FACTOR, "channels": channels, "backend": backend}
        print(f"{apply_to_folder(by_g, folder, args.out, **how)} images mapped: {args.out}/applied")
        if session.done == session.start:
            return session.status
    made = {
        "bicubic": bicubic(backend.to_numpy(small), size),
        "R": in_chunks(by_r, small),
        "G": in_chunks(by_g, small),
        "truth": to_unit(truth),
    }
    marks = {name: nearness(images, truth) for name, images in made.items()}
    if train.labels is not None:
        how = {"seed": 0, "steps": args.ruler, "batch": min(128, len(train))}
        C = kept_classifier(args.out / "classifier.safetensors", train, backend, **how)
        known = look(C, truth)
        for name, images in made.items():
            seen = look(C, to_bytes(images), test.labels[:COUNTED])
            marks[name] |= {"Fréchet": seen.frechet(known), "read right": seen.accuracy()}
    print(table(marks))
    squares = F.upsample_nearest(Tensor(small[:SHOWN]), FACTOR).numpy()
    rows = {f"{size // FACTOR} × {size // FACTOR}": squares} | made
    plots.save_figure(picture(rows, marks), args.out / "super_resolution.png")
    film.save_gif(args.out / "training.gif")
    return session.status


def bicubic(small, size) -> np.ndarray:
    """Small images (n, h, w, c), floats, as Pillow enlarges them: a channel at a time."""
    planes = np.moveaxis(small, 3, 1).reshape(-1, *small.shape[1:3])
    how = (size, size), Image.Resampling.BICUBIC
    large = [np.asarray(Image.fromarray(plane).resize(*how)) for plane in planes]
    return np.moveaxis(np.reshape(large, (len(small), -1, size, size)), 1, 3)


def nearness(images, truth) -> dict:
    """How near images are to the truth, and both made small again, an RMSE; pixels in [0, 1]."""
    gap = (to_bytes(images) - truth.astype("float32")) / 255
    again = F.avg_pool2d(Tensor(gap), FACTOR).numpy()
    psnr = -10 * np.log10((gap**2).mean((1, 2, 3)))
    return {"PSNR, dB": psnr.mean(), "small again": (again**2).mean() ** 0.5}


def table(marks) -> str:
    lines = [" " * 14 + "".join(f"{word:>13}" for word in marks["truth"])]
    for name, row in marks.items():
        lines.append(f"{name:14}" + "".join(f"{number:13.4f}" for number in row.values()))
    return "\n".join(lines)


def picture(rows, marks):
    """A row of images of each kind, beside its marks."""
    words = {"PSNR, dB": "{:.1f} dB", "Fréchet": "Fréchet {:.2f}"}
    said = {
        name: [form.format(m[word]) for word, form in words.items() if word in m]
        for name, m in marks.items()
    }
    names = ["\n".join([name, *said.get(name, ())]) for name in rows]
    images = np.concatenate([some[:SHOWN] for some in rows.values()])
    with plots.panels(size=(10, 0.2 + 0.72 * len(rows))) as (figure, panel):
        plots.draw_rows(panel, plots.sample_grid(images, SHOWN), names)
        panel.set_anchor("E")  # room for the words
    return figure


if __name__ == "__main__":
    run(main)
