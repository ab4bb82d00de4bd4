"""The one-dimensional GAN: watch p_g flow onto p_data, and D fall back to one half.

Figure 1 of Goodfellow et al. 2014, made live. The data are numbers from a normal distribution;
G is a function from a number z ~ N(0, 1) to a number, D gives a number's probability of being
data. In one dimension everything that the theory speaks of can be computed and drawn: both
densities, D beside the best possible D* = p_data / (p_data + p_g), and the map G beside the one
increasing map that would be perfect, Q_data(Φ(z)).

    python examples/gaussian_1d.py                    N(4, 1.25²)
    python examples/gaussian_1d.py --std 0.5 --seed 3
    python examples/gaussian_1d.py --raw              without standardising: an instructive failure

What makes it converge is dull and worth knowing: networks want inputs of order one, so the data
are standardised before D and G's output is scaled back; both learning rates fall to zero, as two
players who keep moving never settle; and the generator that is shown is the average (EMA) of the
recent ones, which a game that circles its equilibrium needs.
"""

from __future__ import annotations

import time

import numpy as np

from minigan import (
    Tensor,
    cli,
    discriminator_step,
    generator_step,
    losses,
    optim,
    plots,
)
from minigan import functional as F
from minigan.data import Gaussian
from minigan.evaluation import (
    on_line,
    optimal_discriminator,
    pushforward_density,
    wasserstein1_to_quantiles,
)
from minigan.gan import LOST
from minigan.models import mlp

FAILURE = (
    "--raw trains on the numbers as they are, far from 0. A fresh D has all its kinks at x = 0, so "
    "over the data it is a straight line: it can compare means and nothing else. The mean is "
    "found, the spread stays wrong, and both losses look perfect. Without --raw it succeeds."
)


def parse(argv=None):
    p = cli.parser("A GAN on a line, drawn as it learns.", steps=4000, out="runs/gaussian_1d")
    p.add_argument("--mean", type=cli.finite(), default=4.0, help="of the data")
    p.add_argument("--std", type=cli.above(0), default=1.25, help="of the data")
    p.add_argument("--batch", type=cli.whole(1), default=256, help="samples in a batch")
    p.add_argument("--lr", type=cli.above(0), default=1e-3, help="learning rate of G and of D")
    p.add_argument("--k", type=cli.whole(1), default=1, help="D's steps per step of G")
    p.add_argument("--raw", action="store_true", help="no standardising: see it fail")
    p.add_argument("--frames", type=cli.whole(0), default=36, help="in the animation; 0: none")
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    cli.make_folder(args.out)
    weights, noise = backend.generator(args.seed).spawn(2)
    if not (1e-6 < args.std < 1e6 and abs(args.mean) < 1e4 * args.std):
        raise cli.OptionError(
            f"--mean {args.mean:g} --std {args.std:g}: float32 tells such numbers apart too badly; "
            "want a std of 1e-6 to 1e6, and a mean of at most 10,000 of it"
        )
    data = Gaussian(args.mean, args.std)

    G = mlp([1, 32, 32, 1], rng=weights, name="G")
    D = mlp([1, 32, 32, 1], rng=weights, name="D")
    objective = losses.NonSaturating()
    g_rate = optim.linear_decay(args.lr, args.steps)
    d_rate = optim.linear_decay(args.lr, args.steps * args.k)
    G_optimizer = optim.Adam(G, g_rate, betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D, d_rate, betas=(0.5, 0.999))
    average = optim.EMA(G, 0.999)

    # The networks see numbers of order one: x = centre + scale · (what they see).
    centre, scale = (0.0, 1.0) if args.raw else moments(data.sample(noise, 200_000))
    picture = Picture(args, backend, data, average.network, D, centre, scale)
    record = cli.Record("loss_d", "loss_g", "d_real", "d_fake")
    started = time.perf_counter()

    def step():
        for _ in range(args.k):
            real = Tensor((data.sample(noise, args.batch) - centre) / scale)
            fake = G(Tensor(noise.normal((args.batch, 1))))
            d = discriminator_step(D, D_optimizer, objective, real, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, g.fake)

    step = backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    with cli.Interrupt() as interrupted, cli.Progress(args.steps) as progress:
        for done in range(args.steps):
            if done in picture.moments:
                picture.take(done, record)
            step()
            progress.advance()
            if done % 100 == 99:
                progress.show(summary(record))
            if interrupted or (done % 100 == 99 and not np.isfinite(record.rows()[-1]).all()):
                break

    if not np.isfinite(record.rows()).all():
        print(f"step {len(record)}: {LOST}")
        return 1
    numbers, failed = picture.finish(len(record), record)
    if args.raw and failed:
        print(FAILURE)
    print(
        f"{numbers}  ({len(record):,} steps in {time.perf_counter() - started:.1f} s; "
        f"pictures in {args.out})"
    )
    return interrupted.status


def moments(x) -> tuple[float, float]:
    """The mean and the standard deviation of a sample, as Python floats."""
    return float(x.mean()), float(x.std())


def summary(record) -> str:
    now = record.latest()
    return (
        f"loss D {now['loss_d']:.3f} G {now['loss_g']:.3f}, "
        f"D(x) {now['d_real']:.2f}, D(G(z)) {now['d_fake']:.2f}"
    )


class Picture:
    """What is known about the two networks at a moment, computed on fine grids and drawn."""

    LEVELS = 20_000  # quantiles of z: a sample without its noise

    def __init__(self, args, backend, data, G, D, centre, scale):
        self.args, self.backend, self.data, self.G, self.D = args, backend, data, G, D
        self.centre, self.scale = centre, scale
        # Early frames lie closer together: that is when most happens.
        frames = min(args.frames, args.steps)
        share = np.linspace(0, 1, frames + 1)[:-1] if frames else np.array([])
        self.moments = set((share**3 * args.steps).astype(int).tolist())
        self.frames = []
        reach = 4.5 * args.std
        self.x = np.linspace(args.mean - reach, args.mean + reach, 301)
        self.z = np.linspace(-3, 3, 121)
        self.levels = (np.arange(self.LEVELS) + 0.5) / self.LEVELS
        self.z_levels = Gaussian().quantile(self.levels)
        self.figure = plots.DensityFigure(
            x_limits=(self.x[0], self.x[-1]),
            z_limits=(-3, 3),
            density_max=1.6 * data.pdf(args.mean),
            last_step=args.steps,
            loss_limits=(0.3, 5.0),
        )

    def generate(self, z) -> np.ndarray:
        """G(z) for an array z (n,), in the data's units."""
        return on_line(self.G, z, self.backend) * self.scale + self.centre

    def discriminate(self, x) -> np.ndarray:
        """D(x) for an array x (n,) in the data's units."""
        seen = (x - self.centre) / self.scale
        return on_line(lambda t: F.sigmoid(self.D(t)), seen, self.backend)

    def density(self) -> np.ndarray:
        """p_g on the grid x: the probability of z, carried over by G."""
        width = self.x[1] - self.x[0]
        edges = np.append(self.x - width / 2, self.x[-1] + width / 2)
        z = np.linspace(-5, 5, 1001)
        return pushforward_density(edges, self.generate(z), np.diff(Gaussian().cdf(z)))

    def view(self, step, record) -> plots.DensityView:
        samples = self.generate(self.z_levels)
        p_data = self.data.pdf(self.x)
        points = self.generate(self.z[::4])
        every = slice(None, None, max(1, len(record) // 500))
        return plots.DensityView(
            x=self.x,
            p_data=p_data,
            d=self.discriminate(self.x),
            d_star=optimal_discriminator(p_data, self.density()),
            samples=samples,
            points_x=points,
            points_d=self.discriminate(points),
            z=self.z,
            g_of_z=self.generate(self.z),
            optimal_map=self.data.quantile(Gaussian().cdf(self.z)),
            steps=np.arange(len(record))[every],
            loss_d=record["loss_d"][every],
            loss_g=record["loss_g"][every],
            step=step,
            title=f"A GAN learns N({self.args.mean:g}, {self.args.std:g}²)"
            + (", raw" if self.args.raw else ""),
        )

    def take(self, step, record):
        """One frame of the animation."""
        self.frames.append(self.figure.update(self.view(step, record)))

    def finish(self, step, record) -> tuple[str, bool]:
        """Writes the pictures; returns the run's line of numbers, and whether they are bad."""
        view = self.view(step, record)
        self.frames.append(self.figure.update(view))
        plots.save_image(self.args.out / "result.png", self.frames[-1])
        if self.args.frames:
            plots.save_gif(self.args.out / "training.gif", self.frames)
        bulk = np.abs(view.x - self.data.mean) <= 2 * self.data.std
        mean, std = moments(view.samples)
        numbers = (
            f"mean {mean:.3f} (data {self.data.mean:g}), std {std:.3f} (data {self.data.std:g}), "
            f"W1 {wasserstein1_to_quantiles(view.samples, self.data.quantile):.4f}, "
            f"max |D - D*| {np.abs(view.d - view.d_star)[bulk].max():.3f} within 2 std"
        )
        off = max(abs(mean - self.data.mean), abs(std - self.data.std))
        return numbers, off > 0.1 * self.data.std


if __name__ == "__main__":
    cli.run(main)
