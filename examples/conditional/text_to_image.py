"""Text to image: say "a small red circle at the top left", and it is drawn (Reed et al. 2016).

G and D each read the caption by an encoder of words that learns with them. D is also shown real
images with captions of which one attribute is wrong, and must refuse those too (GAN-CLS):
−E ln D(x, t) − ½ E ln(1 − D(G(z, t), t)) − ½ E ln(1 − D(x, t')). The captions that count in the end
say what was never drawn before, and a rule reads off the pixels what is there.

    python examples/conditional/text_to_image.py                      two minutes on one CPU core
    python examples/conditional/text_to_image.py --resume --caption "a tiny cyan square"
    python examples/conditional/text_to_image.py --scenes two --batch 32 --steps 5400

The last draws "a red circle left of a blue square". Controls that must fail: --encoder id (a number
for each scene), --shuffle and, of two, --encoder sum (no order). It writes text_to_image.png,
samples_*.png, training.gif, checkpoint.safetensors and, where it is asked to, caption.png.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from minigan import Tensor, data, generator_step, losses, optim, plots
from minigan.data import Batches
from minigan.gan import generator_loss
from minigan.models import CaptionDiscriminator, CaptionGenerator
from minigan.training import GAME, Record, Session, Watch, in_chunks, options, run

COUNTED = 2000  # samples that are counted
ROWS, COLUMNS = 8, 8  # captions in a picture, and samples of each
BEST = {"one": ("sum", 4), "two": ("order", 1)}  # for each kind of scenes: encoder and group


def parse(argv=None):
    p = options.parser(
        "Text to image: what captions say, as pixels.",
        steps=3200,
        out="runs/text_to_image",
        resumable=True,
        parallel=True,
        quick={"steps": lambda n: max(1, n // 4), "every": 200},
    )
    options.shared(p, batch=64, width=24, hidden=256, latent=32, lr_g=1e-3, lr_d=5e-4, every=400)
    add = p.add_argument
    add("--scenes", choices=BEST, default="one", help="how many shapes there are in an image")
    add("--images", type=options.whole(1), default=24_000, help="drawn to learn from")
    add("--encoder", choices=("sum", "order", "id"), help=f"of captions: {BEST}")
    add(
        "--group", type=options.whole(1), help="images of a caption that D compares, lest z be idle"
    )
    add("--shuffle", action="store_true", help="captions of other images: nothing can be learnt")
    add("--interpolate", type=options.above(0), help="GAN-INT: weight of blends of two captions")
    add("--caption", help="what to draw into caption.png")
    args = options.parse(p, argv)
    encoder, group = BEST[args.scenes]
    args.encoder, args.group = args.encoder or encoder, args.group or group
    if args.caption is not None and args.encoder == "id":
        raise options.OptionError("--caption: --encoder id knows no words")
    return args


def main(argv=None):
    args = parse(argv)
    backend, scenes = options.device(args), data.SCENES[args.scenes]
    caption = vars(args).pop("caption")  # no part of this run, nor of its checkpoint
    asked = None if caption is None else np.tile(scenes.words(caption), (COLUMNS, 1))
    captions, words = scenes.captions, len(scenes.vocabulary)
    if args.encoder == "id":
        words = len(scenes)
        captions = np.arange(words).reshape(-1, 1, 1)
    _, k, length = captions.shape
    reader = {"words": words, "length": length, "order": args.encoder == "order"}
    dataset = scenes.draw(args.images, args.seed)
    if args.shuffle:
        mixed = np.random.default_rng(args.seed).permutation(dataset.labels)
        dataset = replace(dataset, labels=mixed)
    weights, noise = backend.generator(args.seed).spawn(2, shared=[1])
    with options.building():
        batches = Batches(dataset, args.batch, args.seed, backend, group=args.group)
        shape = {"rng": weights, "channels": 3, "width": args.width, "hidden": args.hidden}
        G = CaptionGenerator(reader, latent=args.latent, **shape)
        D = CaptionDiscriminator(reader, group=args.group, **shape)
        rates = [optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d)]
        G_optimizer = optim.Adam(G, rates[0], betas=(0.5, 0.999))
        D_optimizer = optim.Adam(D, rates[1], betas=(0.5, 0.999))
        average = optim.EMA(G, 0.99)
    objective, record = losses.NonSaturating(), Record(*GAME, "d_wrong")
    table, near = map(backend.asarray, (captions.reshape(-1, length), scenes.near()))

    def said(labels):
        """One of the captions of each scene, the same within a group."""
        which = noise.integers(0, k, (batches.share // args.group, 1))
        return Tensor(table.take((labels.reshape(-1, args.group) * k + which).reshape(-1), axis=0))

    def other(labels):
        """For each scene one that differs in one attribute, and is not held out."""
        m = near.shape[1]
        return near.reshape(-1).take(labels * m + noise.integers(0, m, (batches.share,)))

    def z():
        return Tensor(noise.normal((batches.share, args.latent)))

    def blended(D, real, fake):
        """GAN-INT: what G makes of blends of two captions is to look real and fit the blend."""
        pair = fake[1], fake[1][::-1]
        return args.interpolate * generator_loss(D, objective, (G(z(), *pair), *pair))[0]

    def step():
        real, labels = Tensor(batches.next()), batches.labels()
        right, wrong = said(labels), said(other(labels))
        fake = G(z(), right)

        # (1) D: tell real images from G's, and from real ones whose caption is wrong
        features = D.look(real)
        outputs = D.judge(features, right), D(fake.detach(), right), D.judge(features, wrong)
        loss = objective.matching(*outputs)
        D_optimizer.descend(loss)

        # (2) G: make what the D that has just moved takes for real, and for what was asked
        penalty = blended if args.interpolate else None
        g = generator_step(D, G_optimizer, objective, (fake, right), penalty=penalty)
        average.update()
        scores = [objective.score(output).mean() for output in outputs]
        record.add(loss, g.loss, *scores[:2], g.fake, scores[2])
        return fake.detach()

    def drawn(words):
        """What the averaged generator makes of captions, (n, length): floats (n, 28, 28, 3)."""
        noise = backend.generator([args.seed, 1]).normal((len(words), args.latent))
        return in_chunks(average.network, noise, backend.asarray(words))

    shown = np.resize(np.flatnonzero(scenes.held), 7 * ROWS)[::7]
    shown = shown, np.arange(ROWS) % k  # captions that are held out

    def samples():
        return plots.sample_grid(drawn(captions[shown].repeat(COLUMNS, 0)), COLUMNS)

    film = plots.Film(samples())
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    watch = Watch.of_images(record, objective, dataset, args.batch)
    with Session(args, parts, about=dataset, watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())
    if session.lost:
        return session.status

    if asked is not None:
        pixels = drawn(asked)
        figure = picture([caption], plots.sample_grid(pixels, COLUMNS))
        plots.save_figure(figure, args.out / "caption.png")
        read = Counter(map(scenes.called, scenes.read(data.to_bytes(pixels))))
        print("by the rule:", ", ".join(f"{n} × {scene}" for scene, n in read.most_common()))
    if asked is not None and session.done == session.start:
        return session.status
    names = [
        scenes.sentences[scene][i % len(scenes.sentences[0])]
        for scene, i in zip(*shown, strict=True)
    ]
    plots.save_figure(picture(names, samples()), args.out / "text_to_image.png")
    film.save_gif(args.out / "training.gif")
    for held in (False, True):
        print(marks(scenes, held, args.seed, lambda scene: drawn(captions[scene, scene % k])))
    return session.status


def marks(scenes, held, seed, draw) -> str:
    """How much of what seen or held-out captions ask for is there, and how far places differ."""
    asked = np.resize(np.flatnonzero(scenes.held == held), COUNTED)
    images, real = data.to_bytes(draw(asked)), scenes.draw(COUNTED, [seed, 1], held=held)
    right = scenes.read(images) == scenes.facts[asked]
    shares = zip(scenes.attributes, right.mean(0), strict=True)
    varied = data.wander(images, asked) / data.wander(real.images, real.labels)
    return (
        f"{'held out' if held else 'seen'}: all right {right.all(1).mean():.1%} ("
        + ", ".join(f"{name} {share:.1%}" for name, share in shares)
        + f"); places differ by {varied:.0%} of what the data's do"
    )


def picture(names, grid):
    """Captions, and beside each the row of its samples."""
    with plots.panels(size=(8.6, 0.2 + 0.62 * len(names))) as (figure, panel):
        plots.draw_rows(panel, grid, names)
        panel.set_anchor("E")  # room for the captions
    return figure


if __name__ == "__main__":
    run(main)
