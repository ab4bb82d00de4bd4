"""Super-resolution: 28 × 28 pixels out of 7 × 7, by the error and by a game (Ledig et al. 2017).

The image whose squared error is least on average is the mean of all that have these 7 × 7, and a
network R that learns by the error draws it, blurred. G begins as R; then D, to which a blurred
stroke is no stroke, makes it choose. R is ahead in PSNR, G in looks. Whatever either draws, its
means over 4 × 4 pixels are the small image exactly, so D need not see that, and judges patches.

    python examples/translation/super_resolution.py              a minute or two on one CPU core
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


def parse(argv=None):
    p = options.parser(
        "Super-resolution by the squared error and by a GAN, side by side.",
        steps=400,
        out="runs/super_resolution",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 8), "head_start": lambda n: n // 8, "ruler": 100},
        after=("ruler",),
    )
    options.images(p, batch=32, width=16, lr_g=5e-4, lr_d=1e-3, every=50)
    add = p.add_argument
    add("--content", type=options.at_least(0), default=20.0, help="λ: J(G) + λ E (y − G(x))²")
    add("--head-start", type=options.whole(0), default=200, help="steps before G begins, as R")
    add("--ruler", type=options.whole(1), default=300, help="steps of the classifier's training")
    options.applied(p, "enlarge")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    train, test = options.train_and_held_out(args)
    _, size, _, channels = train.images.shape
    if size % FACTOR:
        raise OptionError(f"image size {size}: expected a multiple of {FACTOR}")
    if args.head_start >= args.steps:
        raise OptionError(f"--head-start {args.head_start}: wanted fewer than --steps {args.steps}")
    weights = backend.generator(args.seed)
    with options.building():
        batches = data.Batches(train, args.batch, args.seed, backend)
        shape = {"rng": weights, "channels": channels}
        R, G = (SuperResolution(width=args.width, name=name, **shape) for name in "RG")
        D = PatchDiscriminator(width=2 * args.width, **shape)
    lengths = (args.lr_g, args.steps - args.head_start), (args.lr_d, args.steps)
    G_rate, D_rate = (optim.linear_decay(*length) for length in lengths)
    R_optimizer = optim.Adam(R, optim.linear_decay(2 * args.lr_g, MOVES * args.steps))
    G_optimizer = optim.Adam(G, G_rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, D_rate, betas=(0.5, 0.999))
    R_average, G_average = optim.EMA(R, 0.99), optim.EMA(G, 0.99)
    objective, record = losses.NonSaturating(), Record("d_real", "d_fake", "error_r", "error_g")

    def by_error():
        """R: the mean of all that x may have been, by the squared error."""
        for _ in range(MOVES):
            y = Tensor(batches.next())
            x = F.avg_pool2d(y, FACTOR)
            error = ((R(x) - y) ** 2).mean()
            R_optimizer.descend(error)
        R_average.update()
        return x, y, error.detach()

    def head_start():
        """D learns what R's images are while R does."""
        x, y, error = by_error()
        d = discriminator_step(D, D_optimizer, objective, y, R(x))
        record.add(d.real, d.fake, error, error)

    def step():
        x, y, error = by_error()

        # (1) D: tell large images from those that G has made of small ones
        fake = G(x)
        d = discriminator_step(D, D_optimizer, objective, y, fake)

        # (2) G: make what the D that has just moved takes for a real one, and what is near y
        content = ((fake - y) ** 2).mean()
        near = lambda *_: args.content * content
        generator_step(D, G_optimizer, objective, fake, penalty=near)
        G_average.update()
        record.add(d.real, d.fake, error, content)

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
    parts |= {"record": record, "film": film}
    show = lambda now: "D(G(x)) {d_fake:.2f}, error R {error_r:.3f} G {error_g:.3f}".format(**now)
    watch = Watch(record, show=show, batch=args.batch)
    with Session(args, parts, about=train, watch=watch, batches=batches, moves=MOVES) as session:
        for _ in session.steps(head_start, args.head_start - session.done):
            pass
        if session.done == args.head_start:
            G.load_state(R.state())
            G_average.load_state(R_average.state())
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
        how = {"seed": 0, "steps": args.ruler}
        C = kept_classifier(args.out / "classifier.safetensors", train, backend, **how)
        known = look(C, truth)
        for name, images in made.items():
            seen = look(C, to_bytes(images), test.labels[:COUNTED])
            marks[name] |= {"Fréchet": seen.frechet(known), "read right": seen.accuracy()}
    for name, found in marks.items():
        print(f"{name:9}" + ", ".join(f"{word} {number:.4f}" for word, number in found.items()))
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


def picture(rows, marks):
    """A row of images of each kind, beside its marks."""
    forms = {"PSNR, dB": "\n{:.1f} dB", "Fréchet": "\nFréchet {:.2f}"}
    said = {k: "".join(forms[w].format(m[w]) for w in forms if w in m) for k, m in marks.items()}
    names = [name + said.get(name, "") for name in rows]
    images = np.concatenate([some[:SHOWN] for some in rows.values()])
    with plots.panels(size=(10, 0.2 + 0.72 * len(rows))) as (figure, panel):
        plots.draw_rows(panel, plots.sample_grid(images, SHOWN), names)
        panel.set_anchor("E")  # room for the words
    return figure


if __name__ == "__main__":
    run(main)
