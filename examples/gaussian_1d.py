"""The one-dimensional GAN: watch p_g flow onto p_data, and D fall back to one half.

Figure 1 of Goodfellow et al. 2014, made live. The data are numbers from a normal distribution;
G is a function from a number z to a number, D gives a number's probability of being data. In one
dimension all that the theory speaks of can be computed and drawn: both densities, D beside the best
possible D* = p_data / (p_data + p_g), and G beside the one increasing map that would be perfect.

    python examples/gaussian_1d.py                    N(4, 1.25²), in 5 seconds
    python examples/gaussian_1d.py --noise uniform --out runs/uniform --beside runs/gaussian_1d
    python examples/gaussian_1d.py --raw              without standardising: an instructive failure

It writes result.png, tails.png and training.gif.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, optim, plots
from minigan import functional as F
from minigan.data import Gaussian, Uniform
from minigan.evaluation import (
    levels,
    on_line,
    optimal_discriminator,
    pushforward_density,
    wasserstein1_to_quantiles,
)
from minigan.models import mlp
from minigan.training import OptionError, Record, Session, Watch, options, run

FAILURE = (
    "--raw trains on the numbers as they are, far from 0. A fresh D has all its kinks at x = 0, so "
    "over the data it is a straight line: it can compare means and nothing else. The mean is "
    "found, the spread stays wrong, and both losses look perfect. Without --raw it succeeds."
)
NOISES = {  # what z is drawn from; where G(z) is drawn, and where it is integrated
    "normal": (Gaussian(), np.linspace(-3, 3, 121), np.linspace(-5, 5, 1001)),
    "uniform": (Uniform(), np.linspace(0.0005, 0.9995, 121), np.linspace(0, 1, 1001)),
}
# Samples of z without their noise.
SPREAD = {name: prior.quantile(levels(20_000)) for name, (prior, *_) in NOISES.items()}
FAR = np.array([0.001, 0.999])  # quantiles at which tails are judged


def parse(argv=None):
    p = options.parser("A GAN on a line, drawn as it learns.", steps=4000, out="runs/gaussian_1d")
    p.add_argument("--mean", type=options.finite(), default=4.0, help="of the data")
    p.add_argument("--std", type=options.above(0), default=1.25, help="of the data")
    p.add_argument("--batch", type=options.whole(1), default=256, help="samples in a batch")
    options.shared(p, lr=1e-3)
    p.add_argument("--k", type=options.whole(1), default=1, help="D's steps per step of G")
    p.add_argument("--noise", choices=NOISES, default="normal", help="z: N(0, 1), or in [0, 1]")
    p.add_argument("--raw", action="store_true", help="no standardising: see it fail")
    p.add_argument("--frames", type=options.whole(0), default=36, help="in the animation; 0: none")
    p.add_argument("--beside", type=Path, help="another run, whose tails are drawn as well")
    args = options.parse(p, argv)
    with options.building():
        plots.kept_tails(args.beside)
    if not (1e-6 < args.std < 1e6 and abs(args.mean) < 1e4 * args.std):
        raise OptionError(
            f"--mean {args.mean:g} --std {args.std:g}: float32 tells such numbers apart too badly; "
            "want a std of 1e-6 to 1e6, and a mean of at most 10,000 of it"
        )
    return args


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    weights, noise = backend.generator(args.seed).spawn(2)
    data, (prior, *_) = Gaussian(args.mean, args.std), NOISES[args.noise]
    # The networks see numbers of order one: x = centre + scale · (what they see).
    centre, scale = (0.0, 1.0) if args.raw else moments(data.sample(noise, 200_000))

    G = mlp([1, 32, 32, 1], rng=weights, name="G")
    D = mlp([1, 32, 32, 1], rng=weights, name="D")
    objective = losses.NonSaturating()
    rate, d_rate = (optim.linear_decay(args.lr, args.steps * k) for k in (1, args.k))
    G_optimizer = optim.Adam(G, rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, d_rate, betas=(0.5, 0.999))
    average = optim.EMA(G, 0.999)
    record = Record("loss_d", "loss_g", "d_real", "d_fake")

    def step():
        for _ in range(args.k):
            real = Tensor((data.sample(noise, args.batch) - centre) / scale)
            fake = G(Tensor(prior.sample(noise, args.batch)))
            d = discriminator_step(D, D_optimizer, objective, real, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, g.fake)

    def generate(z):
        """G(z) for an array z (n,), in the data's units."""
        return on_line(average.network, z, backend) * scale + centre

    def discriminate(x):
        """D(x) for an array x (n,) in the data's units."""
        return on_line(lambda seen: F.sigmoid(D(seen)), (x - centre) / scale, backend)

    def look() -> plots.DensityView:
        return view(args, data, generate, discriminate, record)

    due, figure = frames_due(args), empty_figure(args, data)
    frames = [figure.update(look())] if 0 in due else []
    with Session(args, watch=Watch(record, show=summary, every=100)) as session:
        for done in session.steps(step):
            if done in due:
                frames.append(figure.update(look()))
    if session.lost:
        return session.status

    last = look()
    frames.append(figure.update(last))
    plots.save_image(args.out / "result.png", frames[-1])
    in_std = (last.samples - args.mean) / args.std
    tails = plots.tail_figure(args.out, f"{args.noise} z", in_std, args.beside)
    plots.save_figure(tails, args.out / "tails.png")
    off = np.quantile(in_std, FAR) - Gaussian().quantile(FAR)
    if args.frames:
        plots.save_gif(args.out / "training.gif", frames)
    mean, std = moments(last.samples)
    if args.raw and max(abs(mean - args.mean), abs(std - args.std)) > 0.1 * args.std:
        print(FAILURE)
    bulk = np.abs(last.x - args.mean) <= 2 * args.std
    print(
        f"mean {mean:.3f} (data {data.mean:g}), std {std:.3f} (data {data.std:g}), "
        f"W1 {wasserstein1_to_quantiles(last.samples, data.quantile):.4f}, "
        f"max |D - D*| {np.abs(last.d - last.d_star)[bulk].max():.3f} within 2 std, "
        f"0.1% and 99.9% quantiles off by {off[0]:+.3f} and {off[1]:+.3f} std  "
        f"({session.done:,} steps in {session.seconds:.1f} s; pictures in {args.out})"
    )
    return session.status


def moments(x) -> tuple[float, float]:
    """The mean and the standard deviation of a sample, as Python floats."""
    return float(x.mean()), float(x.std())


def summary(now: dict) -> str:
    return (
        f"loss D {now['loss_d']:.3f} G {now['loss_g']:.3f}, "
        f"D(x) {now['d_real']:.2f}, D(G(z)) {now['d_fake']:.2f}"
    )


# --- What is drawn -------------------------------------------------------------------------------


def frames_due(args) -> set[int]:
    """After which steps to take a frame: early ones lie closer, as that is when most happens."""
    share = np.linspace(0, 1, min(args.frames, args.steps), endpoint=False)
    return set((share**3 * args.steps).astype(int).tolist())


def empty_figure(args, data) -> plots.DensityFigure:
    _, z, _ = NOISES[args.noise]
    return plots.DensityFigure(
        x_limits=(args.mean - 4.5 * args.std, args.mean + 4.5 * args.std),
        z_limits=np.round(z[[0, -1]]),
        density_max=1.6 * data.pdf(args.mean),
        last_step=args.steps,
        loss_limits=(0.3, 5.0),
    )


def view(args, data, generate, discriminate, record) -> plots.DensityView:
    """What is known about the two networks at a moment, computed on fine grids."""
    prior, z, fine = NOISES[args.noise]
    x = np.linspace(args.mean - 4.5 * args.std, args.mean + 4.5 * args.std, 301)
    edges = np.append(x - (x[1] - x[0]) / 2, x[-1] + (x[1] - x[0]) / 2)
    p_data = data.pdf(x)
    p_g = pushforward_density(edges, generate(fine), np.diff(prior.cdf(fine)))
    points = generate(z[::4])
    every = slice(None, None, max(1, len(record) // 500))
    return plots.DensityView(
        x=x,
        p_data=p_data,
        d=discriminate(x),
        d_star=optimal_discriminator(p_data, p_g),
        samples=generate(SPREAD[args.noise]),
        points_x=points,
        points_d=discriminate(points),
        z=z,
        g_of_z=generate(z),
        optimal_map=data.quantile(prior.cdf(z)),
        steps=np.arange(len(record))[every],
        loss_d=record["loss_d"][every],
        loss_g=record["loss_g"][every],
        step=len(record),
        title=f"A GAN learns N({args.mean:g}, {args.std:g}²)" + (", raw" if args.raw else ""),
    )


if __name__ == "__main__":
    run(main)
