"""A linear autoencoder is PCA: the subspace in any case, and the axes with weight decay.

x is squeezed through a few numbers and back, x → x W₁ W₂. What gets lost, E ‖x − x W₁ W₂‖², is
least if W₁ W₂ projects onto the first principal axes; all other places without a slope are saddles
(Baldi and Hornik 1989). But W₁ A and A⁻¹ W₂ lose no more, for any A: the axes are not found. Weight
decay λ (‖W₁‖² + ‖W₂‖²) leaves only rotations, and the axes are W₂'s singular vectors, of lengths
s² = 1 − λ / σ² (Kunin et al. 2019). With a λ for each unit they are its rows (Bao et al. 2020).

    python examples/autoencoders/pca.py               half a minute on one CPU core
    python examples/autoencoders/pca.py --code 6 --steps 4000      more axes, closer to each other

It writes pca.png and checkpoint.safetensors.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, optim, plots
from minigan.evaluation import pca, principal_angles
from minigan.models import LinearAutoencoder
from minigan.training import OptionError, Record, Session, Watch, options, run

KINDS = {"none": "λ = 0", "one": "one λ", "each": "a λ for each"}
MEASURES = ("subspace", "axes", "rows")


def parse(argv=None):
    p = options.parser(
        "A linear autoencoder, with and without weight decay, against PCA.",
        steps=2000,
        out="runs/pca",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 2), "images": 1000},
    )
    options.images(p, every=50)
    add = p.add_argument
    add("--images", type=options.whole(2), default=4000, help="the first ones are taken")
    add(
        "--code", type=options.whole(2), default=4, help="numbers that an image is squeezed through"
    )
    words = "λ as a share of the variance along the last of these axes; for each: up to it"
    add("--decay", type=options.above(0), default=0.5, help=words)
    add("--lr", type=options.above(0), default=0.02, help="the first rate; it falls to 0")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, dataset = options.device(args), options.dataset(args)
    images = halved(dataset.images[: args.images])
    if args.code >= images[0].size:
        raise OptionError(f"--code {args.code}: wanted less than {images[0].size}, all pixels")
    if args.code >= len(images):
        raise OptionError(f"--code {args.code}: {len(images)} images have fewer axes than that")
    if args.decay >= 1:
        raise OptionError(f"--decay {args.decay}: from 1 on nothing is left of the last axis")
    truth = pca(images.reshape(len(images), -1))
    axes, variances = truth.axes[: args.code], truth.variances[: args.code]
    x = images.reshape(len(images), -1) - truth.mean
    x = Tensor(backend.asarray(x, "float32"))
    most = args.decay * variances[-1]
    shares = np.arange(1, args.code + 1) / args.code
    decays = {"none": 0.0, "one": most, "each": most * shares}
    weights = backend.generator(args.seed).spawn(len(KINDS))
    with options.building():
        networks = {
            kind: LinearAutoencoder(axes.shape[1], args.code, rng=rng)
            for kind, rng in zip(KINDS, weights, strict=True)
        }
        rate = optim.cosine(args.lr, args.steps)
        optimizers = {kind: optim.Adam(network, rate) for kind, network in networks.items()}
    penalties = {kind: Tensor(backend.asarray(decay, "float32")) for kind, decay in decays.items()}
    record = Record(*KINDS)
    curve = Record("step", *(f"{kind} {measure}" for kind in KINDS for measure in MEASURES))

    def step():
        losses = []
        for kind, network in networks.items():
            gap = network(x) - x  # of all images at once
            loss = (gap * gap).sum(1).mean() + network.decay(penalties[kind])
            optimizers[kind].descend(loss)
            losses.append(loss)
        record.add(*losses)

    def measured() -> dict:
        """How far from PCA's each network's subspace, axes and rows are, in degrees."""
        return {kind: angles(network, axes) for kind, network in networks.items()}

    parts = networks | {f"{kind}_optimizer": optimizers[kind] for kind in KINDS}
    parts |= {"record": record, "curve": curve}
    watch = Watch(record, show=lambda now: f"loss {now['none']:.4f}")
    session = Session(args, parts, about=dataset, watch=watch, every=args.steps)
    with session:
        for done in session.steps(step):
            if session.due(args.every):
                curve.add(done, *(angle for row in measured().values() for angle in row))
    if session.status:
        return session.status

    for kind, found in measured().items():
        said = ", ".join(f"{name} {angle:.2f}" for name, angle in zip(MEASURES, found, strict=True))
        lengths = np.linalg.svd(networks[kind].decode.weight.numpy(), compute_uv=False) ** 2
        away = np.abs(lengths - np.sort(1 - decays[kind] / variances)[::-1]).max()
        print(f"{KINDS[kind]:12} degrees from PCA's: {said}; s^2 off by {away:.3f}")
    figure = picture(networks, axes, images.shape[1:], curve)
    print(f"picture: {plots.save_figure(figure, args.out / 'pca.png')}")
    return session.status


def halved(images) -> np.ndarray:
    """Bytes (n, h, w, c) to grey images of half the side, from 0 to 1: (n, h / 2, w / 2)."""
    n, h, w, _ = images.shape
    if h % 2 or w % 2:
        raise OptionError(f"images of {h} x {w} pixels: wanted an even number, to be halved")
    return images.mean(axis=3).reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4)) / 255


def singular(network) -> np.ndarray:
    """The right singular vectors of W₂, the longest first: rows (code, d)."""
    return np.linalg.svd(network.decode.weight.numpy(), full_matrices=False)[2]


def angles(network, axes) -> tuple:
    """Between the subspaces; the largest between axes; and between the rows of W₂ and the axes."""
    rows = network.decode.weight.numpy()
    pairs = [zip(found, axes, strict=True) for found in (singular(network), rows)]
    one = lambda a, b: principal_angles(a[:, None], b[:, None])[0]
    worst = (max(one(a, b) for a, b in pair) for pair in pairs)
    return tuple(np.degrees([principal_angles(rows.T, axes.T)[0], *worst]))


def picture(networks, axes, shape, curve):
    """PCA's axes above those of each network and its rows; and how the angles have fallen."""
    rows = {"PCA": axes}
    for kind, network in networks.items():
        rows[f"{KINDS[kind]}: SVD"] = singular(network)
        rows[f"{KINDS[kind]}: rows"] = network.decode.weight.numpy()
    images = []
    for found in rows.values():
        signs = np.sign((found * axes).sum(axis=1, keepdims=True))
        scaled = found * signs / np.abs(found).max(axis=1, keepdims=True)
        images.append(scaled.reshape(len(found), *shape, 1))
    colors = {"none": plots.GUIDE, "one": plots.P_G, "each": plots.D}
    with plots.panels(1, 2, size=(10.5, 4.8), width_ratios=[1, 1.5]) as (figure, (left, right)):
        grid = plots.sample_grid(np.concatenate(images), len(axes))
        plots.draw_rows(left, grid, [*rows])
        for kind, words in KINDS.items():
            for measure, style in zip(MEASURES, ("-", "--", ":"), strict=True):
                degrees = curve[f"{kind} {measure}"].clip(1e-3)
                label = f"{words}: {measure}"
                right.semilogy(curve["step"], degrees, style, color=colors[kind], label=label)
        right.set(xlabel="step", ylabel="degrees from PCA's", title="the largest angle")
        right.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.45, -0.14))
    return figure


if __name__ == "__main__":
    run(main)
