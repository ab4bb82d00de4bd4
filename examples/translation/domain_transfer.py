"""Domain transfer: coloured digits on clutter become MNIST's, without a pair (Taigman et al. 2017).

G = g ∘ f. The features f are given and stay as they are: those of a classifier that has seen drawn
digits alone. D has three classes: G's images of sources s, G's images of targets t, and targets.
Two terms tie G down: f sees in G(s) what it sees in s (α), and targets stay as they are (β).

    python examples/translation/domain_transfer.py                       two minutes, one CPU core
    python examples/translation/domain_transfer.py --alpha 0 --beta 0    no longer the digit in s
    python examples/translation/domain_transfer.py --classifiers FOLDER  which has f and the ruler
    python examples/translation/domain_transfer.py --resume --apply FOLDER

Another classifier, the ruler, knows the targets and says how often G(s) is the digit that s is.
It writes domain_transfer.png, samples_*.png, training.gif, checkpoint.safetensors, f and the ruler.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan import Tensor, data, discriminator_step, frozen, gan, no_grad, optim, plots
from minigan import functional as F
from minigan.data import Batches
from minigan.evaluation import look
from minigan.models import dcgan_discriminator, dcgan_generator
from minigan.nn import BatchNorm, Module
from minigan.training import (
    GAME,
    OptionError,
    Record,
    Session,
    Watch,
    apply_to_folder,
    in_chunks,
    kept_classifier,
    make_folder,
    options,
    run,
)

KNOWN, COUNTED, SHOWN = 10_000, 3000, 3  # targets, new sources that are counted, a class's shown


def parse(argv=None):
    p = options.parser(
        "Domain transfer: coloured digits on clutter to MNIST, by features that are given.",
        steps=600,
        out="runs/domain_transfer",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 5), "images": 4000, "classifier_steps": 150},
    )
    options.images(p, split=True, batch=32, width=24, lr_g=2e-3, lr_d=1e-3, every=50)
    add, weight = p.add_argument, {"type": options.at_least(0)}
    add("--images", type=options.whole(10), default=20_000, help="sources that are drawn")
    add("--classifier-steps", type=options.whole(1), default=1300, help="of f and of the ruler")
    add("--gan", **weight, default=2.0, help="the weight of the game")
    add("--alpha", **weight, default=24.0, help="that of f(G(s)) = f(s)")
    add("--beta", **weight, default=30.0, help="that of G(t) = t")
    add("--gamma", **weight, default=0.0, help="that of the total variation of G's images")
    add("--classifiers", type=Path, help="the folder that keeps f and the ruler; by default --out")
    options.applied(p)
    return options.parse(p, argv)


class Transfer(Module):
    """G = g ∘ f: images (n, 28, 28, 1 or 3) -> images (n, 28, 28, 1)."""

    def __init__(self, f, g):
        self.f, self.g = f, g

    def forward(self, images):
        return self.g(self.features(images))

    def features(self, images):
        """The 128 that f sees, (n, 128), in length √128; what is grey is shown in colour."""
        grey = images.shape[-1] == 1
        features = self.f(F.concatenate([images] * 3, -1) if grey else images)
        return features / F.sqrt((features * features).mean(1, keepdims=True) + 1e-6)


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    kept = vars(args).pop("classifiers") or args.out
    if not any((args.gan, args.alpha, args.beta, args.gamma)):
        raise OptionError("--gan 0 --alpha 0 --beta 0: nothing is left to learn from")
    train, test = options.train_and_test(args)
    new = data.cluttered_digits(COUNTED, [args.seed, 1])
    if train.classes != new.classes:
        raise OptionError(f"--data {args.data}: {train.name} has no digits, as the sources have")
    sources = data.cluttered_digits(args.images, args.seed)
    weights, noise = backend.generator(args.seed).spawn(2, shared=[1])
    with options.building():
        sets = (sources, args.seed), (train, args.seed + 1)
        batches = tuple(Batches(part, args.batch, seed, backend) for part, seed in sets)
    shape = {"rng": weights, "width": args.width, "hidden": 256}
    g, D = dcgan_generator(latent=128, **shape), dcgan_discriminator(logits=3, **shape)
    for layer in g.children().values():
        if isinstance(layer, BatchNorm):
            layer.momentum = 1.0  # a batch of sources comes last; the average averages over these
    make_folder(args.out)
    how = {"steps": args.classifier_steps}
    ruler = kept_classifier(kept / "ruler.safetensors", train, backend, seed=0, **how)
    how |= {"seed": args.seed, "width": args.width}
    C = kept_classifier(kept / "f.safetensors", sources, backend, augment=data.warped, **how)

    G_optimizer = optim.Adam(g, args.lr_g, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, args.lr_d, betas=(0.5, 0.999))
    average, objective = optim.EMA(g, 0.995), gan.DomainTransfer()
    G, averaged = (Transfer(C[:-1], part) for part in (g, average.network))
    record = Record(*GAME, "constancy", "identity")

    def step():
        s, t = (Tensor(part.next()) for part in batches)
        with no_grad():
            f_s, f_t = G.features(s), G.features(t)
        G_t, G_s = g(f_t), g(f_s)  # sources last: for these are the statistics of BatchNorm

        # (1) D: tell apart what G made of sources, what it made of targets, and targets
        d = discriminator_step(D, D_optimizer, objective, t, (G_s, G_t))

        # (2) G: make what D takes for targets; f sees what it saw in s; targets stay as they are
        game, judged = gan.generator_loss(D, objective, (G_s, G_t))
        # f looks at both in the same warp, as when it learned: else G learns what deceives it.
        pair = data.warped(F.concatenate([s, G_s], -1), noise)
        with no_grad():
            seen = G.features(pair[..., :3])
        with frozen(G.f):
            constancy = ((G.features(pair[..., 3:]) - seen) ** 2).mean()
        identity = ((G_t - t) ** 2).mean()
        ties = args.alpha * constancy + args.beta * identity
        G_optimizer.descend(args.gan * game + ties + args.gamma * gan.image_variation(G_s))
        average.update()
        record.add(d.loss, judged.loss, d.real, d.fake, judged.fake, constancy, identity)
        return G_s.detach()

    def made(images):
        """What the averaged G makes of bytes: floats (n, 28, 28, 1)."""
        return in_chunks(averaged, data.to_unit(backend.asarray(images)))

    def read(some, images=None):
        """What the ruler sees in images of a set, by default in G's of the set's first."""
        images = data.to_bytes(made(some.images[:COUNTED])) if images is None else images
        return look(ruler, images, some.labels[: len(images)])

    shown = new.images[np.argsort(new.labels, kind="stable").reshape(10, -1)[:, :SHOWN].T.ravel()]

    def rows():
        """Sources, a column of each class, and what G makes of them: floats in three channels."""
        return data.to_unit(shown), np.repeat(made(shown), 3, -1)

    film = plots.Film(plots.sample_grid(np.concatenate(rows()), 10))
    parts = {"f": G.f, "g": g, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    watch = Watch.of_images(record, objective, train, args.batch)
    about, known = (sources, train), look(ruler, train.images[:KNOWN])
    with Session(args, parts, about=about, watch=watch, batches=batches) as session:
        for done in session.steps(step):
            if session.due(args.every):
                session.show(plots.sample_grid(np.concatenate(rows()), 10))
                session.progress.say(f"step {done:,}, training: {in_words(read(sources), known)}")
    if session.lost:
        return session.status

    if folder:
        count = apply_to_folder(averaged, folder, args.out, size=28, backend=backend)
        print(f"{count} images mapped: {args.out / 'applied'}")
        if session.done == session.start:
            return session.status
    grey = np.rint(new.images.mean(-1, keepdims=True)).astype(np.uint8)
    found, by_f = read(new), look(C, np.repeat(test.images, 3, -1), test.labels)
    print(f"the ruler of {train.name} on test images: {in_words(read(test, test.images), known)}")
    print(f"on the sources as they are, in grey: {in_words(read(new, grey), known)}")
    print(f"on what G makes of new sources: {in_words(found, known)}")
    print(f"f on test images: {by_f.accuracy():.1%} right")
    plots.save_figure(picture(rows(), found, by_f), args.out / "domain_transfer.png")
    film.save_gif(args.out / "training.gif")
    return session.status


def in_words(seen, known) -> str:
    each = seen.accuracies()
    right = f"{seen.accuracy():.1%} right, of the digit {each.argmin()} {each.min():.0%}"
    return f"{right}; Fréchet distance {seen.frechet(known):.1f}"


def picture(rows, found, by_f):
    """Sources with what G makes of them, and how often that is the digit."""
    with plots.panels(1, 2, size=(10.4, 3.6), width_ratios=[5, 3.4]) as (figure, (left, right)):
        plots.draw_pairs(left, *rows, labels=["s", "G(s)"])
        right.bar(range(10), found.accuracies(), color=plots.P_G, alpha=0.6, label="G(s)")
        right.plot(by_f.accuracies(), "_", color=plots.P_DATA, ms=18, mew=2, label="targets, by f")
        right.set(xlabel="digit", ylabel="share read as such", ylim=(0, 1.2), xticks=range(10))
        right.legend(loc="upper left", ncols=2)
    return figure


if __name__ == "__main__":
    run(main)
