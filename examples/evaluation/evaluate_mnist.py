"""How good are the digits? A classifier as the ruler, and real images as its zero.

Samples are held against the training images, and always beside test images, which no generator
should hope to beat. In features of a classifier, which is trained first: the Fréchet distance
(Heusel et al. 2017), precision and recall (Kynkäänniemi et al. 2019), and each class's share. In
pixels: the distance to the nearest training image, small if samples were learnt by heart; and the
first GAN paper's measure, the likelihood of test images under Parzen windows, which was given up:
the centres of k-means, blurred averages, score higher than real images (Theis et al. 2016).

    python examples/evaluation/evaluate_mnist.py  test images alone; a minute on two CPU cores
    python examples/evaluation/evaluate_mnist.py runs/dcgan_mnist/checkpoint.safetensors
    python examples/evaluation/evaluate_mnist.py runs/cgan --trained-on 30000   how varied?
    python examples/evaluation/evaluate_mnist.py any.npz      "images", uint8 (n, 28, 28)

It writes scores.json and scores.png, and keeps the classifier under --out for the next call.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import data, models, plots
from minigan.backend import get_backend
from minigan.data import to_unit
from minigan.evaluation import (
    Seen,
    k_means,
    look,
    nearest,
    parzen_score,
    train_classifier,
    unit_rows,
)
from minigan.training import (
    Progress,
    checkpoint,
    generated,
    kept_classifier,
    make_folder,
    options,
    run,
    save_json,
)

BATCH, RATE = 128, 5e-3  # of the classifier's training
RARE = 0.01  # a class with a smaller share counts as missing
TEST = "test images"  # the name of the set that is the zero


def parse(argv=None):
    p = options.parser(
        "Score samples of digits by a classifier that is trained first.",
        steps=1872,
        out="runs/evaluate_mnist",
        quick={"steps": 150, "count": 500, "centres": 100},
    )
    p.add_argument(
        "samples", nargs="?", type=Path, help="a generator's checkpoint, or images in an .npz file"
    )
    options.images(p, split=True)
    p.add_argument("--count", type=options.whole(100), default=10_000, help="images to score")
    p.add_argument(
        "--trained-on",
        type=options.whole(BATCH),
        metavar="N",
        help="also train a classifier on N samples, of classes that were asked for, alone",
    )
    p.add_argument(
        "--real",
        type=options.whole(BATCH),
        metavar="N",
        help="beside --trained-on: train others on N training images alone, and on both",
    )
    p.add_argument("--centres", type=options.whole(1), default=1000, help="of k-means")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, test = options.train_and_test(args)
    *_, noise, others = backend.generator(args.seed).spawn(5)  # the rest is the classifier's
    count = min(args.count, len(test))
    if args.samples:
        fake, asked = samples(args.samples, count, noise, test)
        count = len(fake)  # distances depend on it, so the zero must have as many
    taught = lessons(args, others, train)
    make_folder(args.out)
    _, size, _, channels = train.images.shape
    shape = {"size": size, "channels": channels, "classes": len(train.classes)}
    C = kept_classifier(args.out / "classifier.safetensors", train, backend, **how(args))

    began = time.perf_counter()
    known, real = look(C, train.images), look(C, test.images, test.labels)
    print(f"classifier: {real.accuracy():.2%} of {len(test):,} test images right", flush=True)
    sets = {"samples": look(C, fake, asked)} if args.samples else {}
    sets[TEST] = real.first(count)
    windows, validation = parzen_windows(sets, known, args.centres)
    scores = {"settings": options.saved(args), "classifier": {"accuracy": real.accuracy()}}
    scores |= evaluate(sets, known, windows, validation, unit_rows(test.images))
    scores["taught by"] = {
        name: taught_by(images, test, shape, args) for name, images in taught.items()
    }

    print(table(scores, list(sets)))
    for name, right in scores["taught by"].items():
        print(f"a classifier trained on {name} alone: {right:.2%} of test images right")
    save_json(args.out / "scores.json", scores)
    figure = picture(scores, sets, known, windows["k-means"], train.classes)
    file = plots.save_figure(figure, args.out / "scores.png")
    print(f"scored in {time.perf_counter() - began:.0f} s; picture: {file}")


def how(args) -> dict:
    """How a classifier is trained."""
    return {"seed": args.seed, "steps": args.steps, "batch": BATCH, "rate": RATE}


def lessons(args, rng, train) -> dict[str, data.Dataset]:
    """What further classifiers are trained on, by name: samples, real images, half of each.

    A classifier that has learnt from samples reads real digits if these vary as real ones do; one
    good sample for each class would please the ruler as well (Ravuri and Vinyals 2019).
    """
    if not args.trained_on and not args.real:
        return {}
    if not args.samples or not args.trained_on:
        raise options.OptionError("--trained-on goes with samples, and --real with --trained-on")
    images, labels = samples(args.samples, args.trained_on, rng, train)
    if labels is None:
        raise options.OptionError(
            f"--trained-on: {args.samples} has no labels: want a generator that is told classes, "
            "or a file with 'labels'"
        )
    sets, count = {f"{len(images):,} samples": (images, labels.astype(np.int64))}, len(images)
    if args.real:
        real = np.arange(count) % min(args.real, len(train))
        sets[f"{args.real:,} real images"] = train.images[: args.real], train.labels[: args.real]
        sets["half of each"] = (
            np.concatenate([images, train.images[real]]),
            np.concatenate([labels, train.labels[real]]),
        )
    return {name: data.Dataset(name, *both, train.classes) for name, both in sets.items()}


def taught_by(dataset, test, shape, args) -> float:
    """The share of the test images that a classifier reads which has learnt from a data set."""
    weights, dropout, shifts = get_backend(args.device).generator(args.seed).spawn(3)
    C = models.image_classifier(rng=weights, dropout=dropout, **shape)
    C = train_classifier(C, dataset, shifts, **how(args))
    return look(C, test.images, test.labels).accuracy()


def samples(path, count, rng, test) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as the test set has them: `count` from a checkpoint, or at most as many from a file.

    And the classes that they were asked to be; None if no class was asked for.
    """
    if path.suffix == ".npz":
        images, asked = from_file(path, count)
    else:
        images, asked = generated(checkpoint.within(path), count, rng)
    shape = test.images.shape[1:]
    if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) < 100:
        wanted = ", ".join(map(str, shape))
        raise options.OptionError(
            f"{path}: {images.dtype} images of shape {images.shape}, wanted uint8 (n, {wanted}), "
            "n at least 100"
        )
    if asked is not None:
        known = asked.dtype.kind in "iu" and np.isin(asked, range(len(test.classes))).all()
        if not known or asked.shape != (len(images),):
            raise options.OptionError(
                f"{path}: labels are {asked.dtype} {asked.shape}, wanted whole numbers "
                f"({len(images)},) from 0 to {len(test.classes) - 1}"
            )
    return images, asked


def from_file(path, count) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path) as file:
            images = file["images"][:count]
            asked = file["labels"][:count] if "labels" in file else None
    except OSError:
        raise
    except Exception as error:  # there is no end to what a file may hold
        raise options.OptionError(f"{path}: not an .npz file with an array 'images'") from error
    return images[..., None] if images.ndim == 3 else images, asked


def parzen_windows(sets, known: Seen, centres) -> tuple[dict, np.ndarray]:
    """What the windows stand around, by name, and the images that choose their width; (n, 784).

    Real images, and centres from them, must not be among those that choose: with windows at the
    very points that are asked for, the narrowest would do best.
    """
    x = unit_rows(known.images)
    held_out = len(x) // 6  # 10,000 of MNIST's 60,000
    x, validation = x[:-held_out], x[-held_out:][:1000]
    windows = {} if "samples" not in sets else {"samples": unit_rows(sets["samples"].images)}
    windows |= {"training images": x[: len(sets[TEST].images)], "fewer of these": x[:centres]}
    return windows | {"k-means": k_means(x, centres)}, validation


def evaluate(sets, known: Seen, windows, validation, points) -> dict:
    """All scores by name: those of each set of images, and under "parzen" those of the windows."""
    scores, parzen = {}, {}
    with Progress(len(sets) + len(windows)) as progress:
        for name, some in sets.items():
            progress.show(name)
            scores[name] = some.scores(known)
            progress.advance()
        for name, around in windows.items():
            progress.show(f"Parzen windows around {name}")
            score = parzen_score(points, validation, around)
            parzen[name] = {"count": len(around)} | score._asdict()
            progress.advance()
    return scores | {"parzen": parzen}


# --- What is shown of the scores -----------------------------------------------------------------

ROWS = {
    "images": lambda s: f"{s['count']:,}",
    "share of the rarest class": lambda s: f"{min(s['shares']):.1%}",
    f"classes below {RARE:.0%}": lambda s: f"{sum(share < RARE for share in s['shares'])}",
    "mean confidence of the classifier": lambda s: f"{s['confidence']:.1%}",
    "Fréchet distance to the training images": lambda s: f"{s['frechet']:.2f}",
    "precision": lambda s: f"{s['precision_recall'][0]:.1%}",
    "recall": lambda s: f"{s['precision_recall'][1]:.1%}",
    "distance to the nearest training image": lambda s: f"{s['neighbour']:.2f}",
}
TOLD = {  # for a generator that is told classes
    "the class that was asked for": lambda s: f"{s['accuracy']:.1%}",
    "the same, of the worst class": lambda s: (
        f"{min(a for a in s['accuracies'] if a is not None):.1%}"
    ),
}


def table(scores, names) -> str:
    lines = [f"{'':40}" + "".join(f"{name:>15}" for name in names)]
    rows = ROWS | (TOLD if "accuracy" in scores.get("samples", ()) else {})
    for label, cell in rows.items():
        lines.append(f"{label:40}" + "".join(f"{cell(scores[name]):>15}" for name in names))
    lines.append("log-likelihood of test images under Parzen windows around")
    for name, s in scores["parzen"].items():
        lines.append(f"{windows_name(name, s):>40}{s['mean']:>15.1f} ± {s['error']:.1f} nats")
    return "\n".join(lines)


def windows_name(name, score) -> str:
    names = {"fewer of these": "training images", "k-means": "centres of k-means"}
    return f"{score['count']:,} {names.get(name, name)}"


def picture(scores, sets, known: Seen, centres, classes) -> Figure:
    """The first set beside training images, its classes, and the likelihoods with the centres."""
    name, shown = next(iter(sets.items()))
    images, shares = shown.images[:30], (shown.shares(), known.shares())
    neighbours = known.images[nearest(images, known.images)[1][:, 0]]
    kind, color, title = "test", plots.P_DATA, f"Fréchet distance {scores[name]['frechet']:.2f}"
    if name != TEST:
        kind, color = "sample", plots.P_G
        title += f", of {TEST} {scores[TEST]['frechet']:.2f}"
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(13, 4.2), dpi=plots.DPI, layout="constrained")
        pairs, bars, right = figure.subfigures(1, 3, width_ratios=[5, 4, 3.8])
        panel, title_of_pairs = pairs.subplots(), f"{name} and their nearest training images"
        rows = to_unit(images), to_unit(neighbours)
        plots.draw_pairs(panel, *rows, labels=[kind, "nearest"], title=title_of_pairs)
        plots.draw_shares(bars.subplots(), *shares, classes, name=name, color=color, title=title)
        above, below = right.subplots(2, 1, height_ratios=[3.2, 1])
        draw_likelihoods(above, scores["parzen"])
        strip = 2 * centres[:20].reshape(-1, *images.shape[1:]) - 1
        below.imshow(plots.sample_grid(strip, 10))
        below.set_title("some of these centres", loc="left", fontsize=10)
        below.set_axis_off()
    return figure


def draw_likelihoods(panel, parzen):
    names = [windows_name(name, score).replace(" ", "\n", 1) for name, score in parzen.items()]
    means = [score["mean"] for score in parzen.values()]
    colors = {"samples": plots.P_G, "k-means": plots.D_STAR}
    colors = [colors.get(name, plots.P_DATA) for name in parzen]
    bars = panel.barh(names, means, color=colors, alpha=0.6)
    panel.bar_label(bars, [f"{mean:.0f}" for mean in means], padding=3)
    panel.invert_yaxis()
    panel.margins(x=0.2)
    panel.set_title("Parzen log-likelihood, nats", loc="left")


if __name__ == "__main__":
    run(main)
