"""How good are the digits? A classifier as the ruler, and real images as its zero.

A GAN's losses don't tell, so its samples are measured: against the training images, and always
beside test images, which no generator should hope to beat. A classifier is trained first, since
distances between its features mean more than distances between pixels:

- does each class get its share of the samples, and is the classifier sure of what they are?
- Fréchet distance between features, as in the FID of Heusel et al. 2017 (in features of this
  classifier: compare such numbers only with each other), and precision and recall of Kynkäänniemi
  et al. 2019, which tell poor samples from missing ones;
- are samples nearer to training images than test images are? Then they were learnt by heart.

Last comes the measure of the first GAN paper, the log-likelihood of test images under Parzen
windows around the samples, and why it was given up: the centres of k-means, blurred averages,
score higher than ten times as many real images (Theis et al. 2016).

    python examples/evaluate_mnist.py                  test images alone; a minute on two CPU cores
    python examples/evaluate_mnist.py runs/dcgan_mnist/checkpoint.safetensors
    python examples/evaluate_mnist.py samples.npz        "images", uint8 (n, 28, 28), from anywhere

It writes scores.json and scores.png, and keeps the classifier under --out for the next call;
--steps and --seed are the classifier's.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import Tensor, checkpoint, cli, data, grad, losses, models, no_grad, optim, plots
from minigan import functional as F
from minigan.checkpoint import CheckpointError
from minigan.evaluation import metrics

BATCH, RATE = 128, 5e-3  # of the classifier's training
CHUNK = 500  # images that go through a network at once
RARE = 0.01  # a class with a smaller share counts as missing
TEST = "test images"  # the name of the set that is the zero


def parse(argv=None):
    p = cli.parser(
        "Score samples of digits by a classifier that is trained first.",
        steps=1872,
        out="runs/evaluate_mnist",
    )
    p.add_argument(
        "samples", nargs="?", type=Path, help="a generator's checkpoint, or images in an .npz file"
    )
    p.add_argument("--data", help="mnist, fashion-mnist, digits (drawn), or the folder of one")
    p.add_argument("--count", type=cli.whole(100), default=10_000, help="images to score")
    p.add_argument("--centres", type=cli.whole(1), default=1000, help="of k-means")
    p.add_argument("--quick", action="store_true", help="seconds: few drawn digits, few steps")
    if p.parse_args(argv).quick:
        p.set_defaults(steps=150, count=500, centres=100)
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    train, test = real_images(args)
    weights, dropout, shifts, noise = backend.generator(args.seed).spawn(4)
    count = min(args.count, len(test))
    fake = samples(args.samples, count, noise) if args.samples else None
    if fake is not None:
        count = len(fake)  # distances depend on it, so the zero must have as many
    cli.make_folder(args.out)
    C = models.digit_classifier(rng=weights, dropout=dropout, classes=len(train.classes))
    C = trained(C, shifts, train, args)

    began = time.perf_counter()
    known, real = look(C, train.images), look(C, test.images)
    accuracy = float((real.probabilities.argmax(axis=1) == test.labels).mean())
    print(f"classifier: {accuracy:.2%} of {len(test):,} test images right", flush=True)
    sets = {TEST: real.first(count)}
    if fake is not None:
        sets = {"samples": look(C, fake)} | sets
    windows, validation = parzen_windows(sets, known, args.centres)
    scores = {"settings": cli.saved_options(args), "classifier": {"accuracy": accuracy}}
    scores |= evaluate(sets, known, windows, validation, unit(test.images))

    print(table(scores, list(sets)))
    cli.save_json(args.out / "scores.json", scores)
    figure = picture(scores, sets, known, windows["k-means"], train.classes)
    file = plots.save_figure(figure, args.out / "scores.png")
    print(f"scored in {time.perf_counter() - began:.0f} s; picture: {file}")


def real_images(args) -> tuple[data.Dataset, data.Dataset]:
    """The training images and the test images."""
    if args.quick and args.data is None:
        return data.drawn_digits(6000, 0), data.drawn_digits(1000, 1)
    test, notice = data.choose(args.data, split="test")
    train, other = data.choose("digits" if notice else args.data)
    if other:  # there are test images, but none to train on
        test, notice = data.choose("digits", split="test")[0], other
    if notice:
        print(notice)
    return train, test


# --- The ruler -----------------------------------------------------------------------------------


def trained(C, shifts, train, args):
    """The classifier, ready for use: the last call's if that trained it alike, or a new one."""
    path = args.out / "classifier.safetensors"
    about = {"data": str(train), "data_sha256": train.sha256, "seed": args.seed}
    about |= {"steps": args.steps, "batch": BATCH, "rate": RATE}
    if path.exists():
        found = checkpoint.peek(path).get("about")
        if found and about | found == about:  # one without a digest is judged by the name alone
            checkpoint.load(path, {"classifier": C})
            return C.eval()
        print(f"{path} was trained otherwise ({found}): training a new one")
    C = train_classifier(C, shifts, train, args)
    checkpoint.save(path, {"classifier": C}, about=about)
    return C


def train_classifier(C, shifts, train, args):
    """Cross-entropy on images that are moved a little; returns the average of recent weights."""
    batches = data.Batches(train, BATCH, args.seed, shifts.backend)
    optimizer = optim.Adam(C, optim.cosine(RATE, args.steps))
    average = optim.EMA(C, 0.995)
    record = cli.Record("loss")

    def step():
        images = shifted(Tensor(batches.next()), shifts)
        loss = losses.cross_entropy(C(images), batches.labels())
        optimizer.step(grad(loss, optimizer.parameters))
        average.update()
        record.add(loss.detach())

    step = shifts.backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    with cli.Progress(args.steps) as progress:
        for done in range(1, args.steps + 1):
            step()
            progress.advance()
            if done % 50 == 0:
                progress.show(f"classifier, cross-entropy {record.latest(50)['loss']:.3f}")
    return average.network


def shifted(images, rng, most=1):
    """Each image moved by up to `most` pixels up or down and left or right, black coming in."""
    arange = rng.backend.xp.arange
    n, h, w, _ = images.shape
    margin = (most, most)
    padded = F.pad(images, ((0, 0), margin, margin, (0, 0)), -1.0)
    rows, columns = (arange(size) + rng.integers(0, 2 * most + 1, (n, 1)) for size in (h, w))
    return padded[arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


class Images(NamedTuple):
    """Images and what the classifier sees in them, on the host."""

    images: np.ndarray  # uint8 (n, 28, 28, 1)
    features: np.ndarray  # float32 (n, 128)
    probabilities: np.ndarray  # float32 (n, classes)

    def first(self, count) -> Images:
        return Images(*(array[:count] for array in self))


def look(C, images) -> Images:
    """Shows images, uint8 (n, 28, 28, 1), to the classifier."""
    backend = C.parameters()[0].backend
    features, probabilities = [], []
    with no_grad():
        for start in range(0, len(images), CHUNK):
            part = backend.asarray(images[start : start + CHUNK])
            seen = C[:-1](Tensor(data.to_unit(part)))
            features.append(seen.numpy())
            probabilities.append(F.softmax(C[-1](seen)).numpy())
    return Images(images, np.concatenate(features), np.concatenate(probabilities))


# --- What is scored ------------------------------------------------------------------------------


def samples(path, count, rng) -> np.ndarray:
    """`count` images from a checkpoint, or at most as many from an .npz file, as MNIST has them."""
    if path.suffix == ".npz":
        images = from_file(path)[:count]
    else:
        images = generated(path / cli.CHECKPOINT if path.is_dir() else path, count, rng)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28, 1) or len(images) < 100:
        raise cli.OptionError(
            f"{path}: {images.dtype} images of shape {images.shape}, wanted uint8 (n, 28, 28, 1), "
            "n at least 100"
        )
    return images


def from_file(path) -> np.ndarray:
    try:
        with np.load(path) as file:
            images = file["images"]
    except OSError:
        raise
    except Exception as error:  # there is no end to what a file may hold
        raise cli.OptionError(f"{path}: not an .npz file with an array 'images'") from error
    return images[..., None] if images.ndim == 3 else images


def generated(path, count, rng) -> np.ndarray:
    """What the generator in a checkpoint draws: with its average weights, if it kept any."""
    recipe = checkpoint.peek(path).get("generator")
    if recipe is None:
        raise CheckpointError(
            f"{path}: does not tell how its generator is built: wanted a checkpoint of an example "
            "that makes images; if it is an old one, train it anew"
        )
    if recipe["network"] not in models.GENERATORS:
        known = ", ".join(models.GENERATORS)
        raise CheckpointError(f"{path}: its generator is {recipe['network']!r}, known are: {known}")
    G = models.GENERATORS[recipe["network"]](rng=rng, **recipe["arguments"]).eval()
    average = optim.EMA(G)
    try:
        checkpoint.load(path, {"average": average}, partial=True)
        G = average.network
    except CheckpointError:  # it kept no average
        checkpoint.load(path, {"G": G}, partial=True)

    shape, low = (count, recipe["arguments"]["latent"]), recipe["low"]
    z = rng.normal(shape) if recipe["noise"] == "normal" else rng.uniform(shape, -1, 1)
    images = []
    with no_grad():
        for start in range(0, count, CHUNK):
            pixels = G(Tensor(z[start : start + CHUNK])).numpy()  # from low to 1
            if not np.isfinite(pixels).all():
                raise CheckpointError(f"{path}: its generator draws NaN or infinity: it is lost")
            images.append(data.to_bytes((2 * pixels - (1 + low)) / (1 - low)))
    return np.concatenate(images)


# --- The scores ----------------------------------------------------------------------------------


def count(some: Images, known: Images) -> int:
    return len(some.images)


def shares(some: Images, known: Images) -> list[float]:
    """The share of the images that the classifier puts into each class."""
    classes = some.probabilities.shape[1]
    counts = np.bincount(some.probabilities.argmax(axis=1), minlength=classes)
    return (counts / len(some.images)).tolist()


def confidence(some: Images, known: Images) -> float:
    """The mean probability of the class that the classifier decides for."""
    return float(some.probabilities.max(axis=1).mean())


def frechet(some: Images, known: Images) -> float:
    """The (squared) Fréchet distance to the training images, in features of the classifier."""
    return metrics.frechet_distance(some.features, known.features)


def precision_recall(some: Images, known: Images) -> list[float]:
    """Of as many training images, at most 5,000: the time grows with the square."""
    n = min(5000, len(some.images))
    return list(metrics.precision_recall(known.features[:n], some.features[:n]))


def neighbour(some: Images, known: Images) -> float:
    """The median distance of 1,000 images to the nearest training image, pixels from 0 to 1."""
    return float(np.median(metrics.nearest(some.images[:1000], known.images)[0])) / 255


MEASURES = (count, shares, confidence, frechet, precision_recall, neighbour)


def likelihood(windows, validation, points) -> dict:
    """The Parzen log-likelihood of the points, in nats, as Goodfellow et al. 2014 measured it.

    Pixels from 0 to 1, and windows as wide as suits the validation images best.
    """
    sigma = metrics.parzen_sigma(validation, windows)
    values = metrics.parzen_log_likelihood(points, windows, sigma)
    error = metrics.standard_error(values)
    return {"count": len(windows), "mean": float(values.mean()), "error": error, "sigma": sigma}


def k_means(x, k, rounds=3) -> np.ndarray:
    """k points near many: Lloyd's algorithm from the first k. Each moves to the mean of its own."""
    centres = x[:k].copy()
    for _ in range(rounds):
        owner = metrics.nearest(x, centres)[1][:, 0]
        order = np.argsort(owner, kind="stable")
        owners, first, counts = np.unique(owner[order], return_index=True, return_counts=True)
        centres[owners] = np.add.reduceat(x[order], first) / counts[:, None]
    return centres


def unit(images) -> np.ndarray:
    """Bytes as pixels from 0 to 1, float32 (n, 784)."""
    return images.reshape(len(images), -1) / np.float32(255)


def parzen_windows(sets, known: Images, centres) -> tuple[dict, np.ndarray]:
    """What the windows stand around, by name, and the images that choose their width; (n, 784).

    Real images, and centres from them, must not be among those that choose: with windows at the
    very points that are asked for, the narrowest would do best.
    """
    x = unit(known.images)
    held_out = len(x) // 6  # 10,000 of MNIST's 60,000
    x, validation = x[:-held_out], x[-held_out:][:1000]
    windows = {} if "samples" not in sets else {"samples": unit(sets["samples"].images)}
    windows |= {"training images": x[: len(sets[TEST].images)], "fewer of these": x[:centres]}
    return windows | {"k-means": k_means(x, centres)}, validation


def evaluate(sets, known, windows, validation, points) -> dict:
    """All scores by name: those of each set of images, and under "parzen" those of the windows."""
    jobs = {(name, f.__name__): partial(f, s, known) for name, s in sets.items() for f in MEASURES}
    for name, around in windows.items():
        jobs["parzen", name] = partial(likelihood, around, validation, points)
    scores = {}
    with cli.Progress(len(jobs)) as progress:
        for (group, name), job in jobs.items():
            scores.setdefault(group, {})[name] = job()
            progress.show(f"{group}: {name}")
            progress.advance()
    return scores


# --- What is shown of them -----------------------------------------------------------------------

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


def table(scores, names) -> str:
    lines = [f"{'':40}" + "".join(f"{name:>15}" for name in names)]
    for label, cell in ROWS.items():
        lines.append(f"{label:40}" + "".join(f"{cell(scores[name]):>15}" for name in names))
    lines.append("log-likelihood of test images under Parzen windows around")
    for name, s in scores["parzen"].items():
        lines.append(f"{windows_name(name, s):>40}{s['mean']:>15.1f} ± {s['error']:.1f} nats")
    return "\n".join(lines)


def windows_name(name, score) -> str:
    names = {"fewer of these": "training images", "k-means": "centres of k-means"}
    return f"{score['count']:,} {names.get(name, name)}"


def picture(scores, sets, known: Images, centres, classes) -> Figure:
    """The first set beside training images, its classes, and the likelihoods with the centres."""
    name, shown = next(iter(sets.items()))
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(13, 4.2), dpi=100, layout="constrained")
        pairs, bars, right = figure.subfigures(1, 3, width_ratios=[5, 4, 3.8])
        draw_pairs(pairs.subplots(), name, shown.images[:30], known.images)
        draw_shares(bars.subplots(), scores, name, shares(known, known), classes)
        above, below = right.subplots(2, 1, height_ratios=[3.2, 1])
        draw_likelihoods(above, scores["parzen"])
        strip = 2 * centres[:20].reshape(-1, 28, 28, 1) - 1
        below.imshow(plots.sample_grid(strip, 10))
        below.set_title("some of these centres", loc="left", fontsize=10)
        below.set_axis_off()
    return figure


def draw_pairs(panel, name, images, known, columns=10):
    """Rows of images, and below each the row of their nearest training images, in pixels."""
    neighbours = known[metrics.nearest(images, known)[1][:, 0]]
    starts = range(0, len(images), columns)
    rows = [part[i : i + columns] for i in starts for part in (images, neighbours)]
    grid = plots.sample_grid(data.to_unit(np.concatenate(rows)), columns)
    panel.imshow(grid)
    height = len(grid) / len(rows)
    labels = ["sample" if name == "samples" else "test", "nearest"] * len(starts)
    panel.set_yticks([(i + 0.5) * height for i in range(len(rows))], labels)
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_title(f"{name} and their nearest training images", loc="left")


def draw_shares(panel, scores, name, real, classes):
    mine, places = scores[name], range(len(classes))
    color = plots.P_G if name == "samples" else plots.P_DATA
    panel.bar(places, mine["shares"], color=color, alpha=0.6, label=name)
    panel.plot(places, real, "_", color=plots.P_DATA, ms=18, mew=2, label="training images")
    panel.set_xticks(places, classes, rotation=90 if max(map(len, classes)) > 2 else 0)
    panel.set_xlabel("class, by the classifier")
    panel.set_ylabel("share")
    panel.set_ylim(0, 1.25 * max(*real, *mine["shares"]))
    panel.legend(loc="upper left", ncols=2)
    title = f"Fréchet distance {mine['frechet']:.2f}"
    if name != TEST:
        title += f", of {TEST} {scores[TEST]['frechet']:.2f}"
    panel.set_title(title, loc="left")


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
    cli.run(main)
