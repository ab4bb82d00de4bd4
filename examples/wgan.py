"""Why Wasserstein: a critic whose value is a distance, and what has to hold its slope.

    python examples/wgan.py                              on a line, where the truth is known
    python examples/wgan.py --data mnist                 digits, with a gradient penalty
    python examples/wgan.py --data mnist --clip 0.01     digits, with clipped weights
    python examples/wgan.py --resume --steps 3000        go on with the digits

W₁(p_d, p_g), the least work that moves one pile of sand onto another, is also the largest value of
E f(x) − E f(G(z)) over all f whose slope is at most 1 (Kantorovich and Rubinstein; Arjovsky et al.
2017, eq. 2). A critic that climbs this value with a bounded slope measures W₁, and so its loss
tells how far G still has to go. On the line all of it is known: with h = F_g − F_d, the difference
of the distribution functions, the best f has the slope sign h, and W₁ = ∫ |h| dx.

Every f with the steepest slope K gives a lower bound, W₁ ≥ value / K. This ratio is what is
reported here, as it cannot flatter the critic. G stands still first, and a critic learns alone:

Clipped weights (Arjovsky et al. 2017) bound the slope by some K that nobody knows. The value is
W₁ times anything: 0.002 for |w| ≤ 0.01, 1.8 for |w| ≤ 0.1. Divided by K it stays far too small,
as such a critic is too simple (Gulrajani et al. 2017, section 3). Through many layers its gradient
vanishes or explodes.

A gradient penalty λ E (|f′(x̂)| − 1)² (Gulrajani et al. 2017) lets the slope be a little more than
1. Maximising at each x gives |f′| = 1 + |h| / (2 λ r), where r is the density of x̂, so the value
is above W₁ by up to ∫ h² / (2 λ r) dx. With λ = 10 that is 7% here, of which the network finds 5%.

On a line this penalty has a trap. A slope of the wrong sign has to pass through 0 to be put right,
and there the penalty is largest; some pieces of f stay turned round for good. (In more dimensions
a gradient can turn without shrinking.) Punishing only slopes above 1, max(0, |f′| − 1)², is convex
in f, with no such trap (Petzka et al. 2018), and is the default. Then G moves as well, and the
critic's value falls as the exact W₁ does; with --two-sided, a slope of the wrong sign sends G away.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import (
    Tensor,
    cli,
    data,
    discriminator_step,
    generator_step,
    grad,
    losses,
    no_grad,
    optim,
    plots,
)
from minigan import functional as F
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import on_line, wasserstein
from minigan.gan import penalties
from minigan.models import dcgan_discriminator, dcgan_generator, mlp
from minigan.nn import LeakyReLU

OBJECTIVE = losses.Wasserstein()


def parse(argv=None):
    p = cli.parser(
        "Wasserstein GANs: weight clipping and gradient penalty, on a line and on images.",
        steps=1500,
        out="runs/wgan",
        resumable=True,
    )
    p.add_argument("--quick", action="store_true", help="on the line: a third of the steps")
    p.add_argument("--critic-steps", type=cli.whole(1), default=5, help="per step of G")
    slope = p.add_mutually_exclusive_group()
    slope.add_argument("--two-sided", action="store_true", help="punish slopes below 1 as well")
    slope.add_argument("--clip", type=cli.above(0), help="bound the weights instead of the slope")
    p.add_argument("--data", help="images: mnist, fashion-mnist, digits (drawn), or a folder")
    images = p.add_argument_group("with --data")
    add = images.add_argument
    add("--batch", type=cli.whole(2), default=64, help="images in a batch")
    add("--width", type=cli.whole(1), default=32, help="channels next to the image")
    add("--hidden", type=cli.whole(0), default=256, help="fully connected units; 0: none")
    add("--latent", type=cli.whole(1), default=64, help="dimensions of the noise z")
    add("--lr-g", type=cli.above(0), default=5e-4, help="G's learning rate")
    add("--lr-d", type=cli.above(0), default=5e-4, help="the critic's learning rate")
    add("--size", type=cli.whole(8), default=28, help="pixels, for a folder of images")
    add("--samples", type=cli.whole(1), default=64, help="images in the sample grids")
    add("--every", type=cli.whole(1), default=100, help="steps between sample grids")
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    return on_images(args, backend) if args.data else on_the_line(args, backend)


class Critic:
    """A network that is to climb E f(x) − E f(G(z)), its optimiser, and what holds its slope.

    clip: the bound of the weights; None for a gradient penalty instead. Clipping goes with
    RMSprop, as a momentum makes it unstable (Arjovsky et al. 2017, section 4).
    """

    def __init__(self, network, rate, noise, *, clip=None, one_sided=True):
        self.network, self.clip = network, clip
        if clip:
            self.optimizer = optim.RMSprop(network, rate)
            self.penalty = None
        else:
            self.optimizer = optim.Adam(network, rate, betas=(0.0, 0.9))
            self.penalty = penalties.gradient_penalty(noise, one_sided=one_sided)

    def step(self, real, fake):
        """One step up; returns the report of `discriminator_step`."""
        report = discriminator_step(
            self.network, self.optimizer, OBJECTIVE, real, fake, penalty=self.penalty
        )
        if self.clip:
            optim.clip_weights(self.network, self.clip)
        return report


# --- On the line ---------------------------------------------------------------------------------

DATA, MODEL = GaussianMixture1D([-2, 1.5], [0.5, 0.5]), Gaussian(0.5, 1.5)
BATCH = 256
CELL = 0.01
X = np.arange(-8, 8, CELL) + CELL / 2
P_DATA, P_MODEL = DATA.pdf(X), MODEL.pdf(X)
GAP = MODEL.cdf(X) - DATA.cdf(X)  # h = F_g − F_d
W1 = float(np.abs(GAP).sum() * CELL)
EVERY = 50  # steps between two looks at a critic


class Way(NamedTuple):
    """One way to hold a critic's slope, with the learning rate that suits it."""

    label: str
    color: str
    rate: float
    clip: float | None = None
    one_sided: bool = False


WAYS = [
    Way("weights within ±0.01", "#CC79A7", 1e-3, clip=0.01),
    Way("weights within ±0.1", plots.D_STAR, 1e-3, clip=0.1),
    Way("two-sided penalty", plots.GUIDE, 1e-2),
    Way("one-sided penalty", plots.D, 1e-2, one_sided=True),
]
DEEP = [
    WAYS[0],
    WAYS[1],
    Way("weights within ±0.3", "#E69F00", 1e-3, clip=0.3),
    WAYS[3]._replace(rate=1e-3),
]


class Verdict(NamedTuple):
    """A critic measured on the whole line, not on samples."""

    f: np.ndarray  # (nx,), at X
    value: float  # E f(x) − E f(G(z))
    steepest: float  # K, the largest slope

    @property
    def bound(self) -> float:
        """value / K ≤ W₁, for any f."""
        return self.value / self.steepest


def judge(network, backend) -> Verdict:
    f = on_line(network, X, backend)
    value = float(((P_DATA - P_MODEL) * f).sum() * CELL)
    return Verdict(f, value, float(np.abs(np.diff(f)).max() / CELL))


def on_the_line(args, backend) -> int:
    cli.make_folder(args.out)
    if args.quick:
        args.steps = max(1, args.steps // 3)
    began, game_steps = time.perf_counter(), max(1, args.steps // args.critic_steps)
    with cli.Progress(len(WAYS) * args.steps + len(DEEP) * DEEP_STEPS + game_steps) as progress:
        curves = [learn_alone(way, args, backend, progress) for way in WAYS]
        norms = [norms_through_layers(way, args, backend, progress) for way in DEEP]
        game = play(args, backend, game_steps, progress)

    for way, curve in zip(WAYS, curves, strict=True):
        last = curve[-1]
        print(
            f"{way.label}: value {last.value:.4g}, steepest slope {last.steepest:.4g}, "
            f"ratio {last.bound:.4f}, {100 * (last.bound / W1 - 1):+.1f}% from W1"
        )
    file = plots.save_figure(picture(args.steps, curves, norms, game), args.out / "wgan.png")
    print(
        f"W1 exact {W1:.4f}, from the critic {curves[-1][-1].bound:.4f}; while G learned, W1 went "
        f"from {game.exact[0]:.3f} to {game.exact[-1]:.3f} and the critic was off by "
        f"{np.abs(smooth(game.value) - smooth(game.exact))[len(game.exact) // 5 :].mean():.3f} "
        f"({time.perf_counter() - began:.1f} s; picture: {file})"
    )
    return 0


def learn_alone(way: Way, args, backend, progress) -> list[Verdict]:
    """A critic trained against a generator that stands still; what it was worth as it learned."""
    weights, noise = backend.generator(args.seed).spawn(2)
    network = mlp([1, 64, 64, 1], rng=weights, name="critic")
    rate = optim.linear_decay(way.rate, args.steps)
    critic = Critic(network, rate, noise, clip=way.clip, one_sided=way.one_sided)

    def step():
        critic.step(*(Tensor(density.sample(noise, BATCH)) for density in (DATA, MODEL)))

    step, curve = backend.capture(step), []
    for done in range(args.steps):
        if done % EVERY == 0:
            curve.append(judge(network, backend))
        step()
        progress.advance()
    return [*curve, judge(network, backend)]


DEEP_STEPS, LAYERS = 100, 11


def norms_through_layers(way: Way, args, backend, progress) -> list[float]:
    """‖∂J/∂a‖ at each hidden layer's output a, in a deep critic after some training.

    As in Gulrajani et al. 2017, figure 1b.
    """
    weights, noise = backend.generator(args.seed).spawn(2)
    network = mlp([1, *[32] * LAYERS, 1], rng=weights, name="critic")
    critic = Critic(network, way.rate, noise, clip=way.clip, one_sided=way.one_sided)

    def step():
        critic.step(*(Tensor(density.sample(noise, BATCH)) for density in (DATA, MODEL)))

    step = backend.capture(step)
    for _ in range(DEEP_STEPS):
        step()
        progress.advance()

    samples = [Tensor(density.sample(noise, BATCH)) for density in (DATA, MODEL)]
    a = F.concatenate(samples)
    outputs = []
    for layer in network:
        a = layer(a)
        if isinstance(layer, LeakyReLU):
            outputs.append(a)
    loss = OBJECTIVE.discriminator(a[:BATCH], a[BATCH:])
    return [(g * g).sum().item() ** 0.5 for g in grad(loss, outputs)]


class Game(NamedTuple):
    """What was recorded while G learned too: one entry per step of G."""

    exact: np.ndarray  # W₁ between p_data and G's distribution, before the step
    value: np.ndarray  # the critic's value on its last batch


def play(args, backend, steps, progress) -> Game:
    """A Wasserstein GAN on the line, whose loss is held against the exact W₁."""
    weights, noise = backend.generator(args.seed).spawn(2)
    G = mlp([1, 32, 32, 1], rng=weights, name="G")
    network = mlp([1, 64, 64, 1], rng=weights, name="critic")
    rate = optim.linear_decay(3e-3, steps * args.critic_steps)
    critic = Critic(network, rate, noise, clip=args.clip, one_sided=not args.two_sided)
    G_optimizer = optim.Adam(G, optim.linear_decay(1e-3, steps), betas=(0.0, 0.9))
    record = cli.Record("loss_d")

    def step():
        for _ in range(args.critic_steps):
            fake = G(Tensor(noise.normal((BATCH, 1))))
            d = critic.step(Tensor(DATA.sample(noise, BATCH)), fake)
        generator_step(network, G_optimizer, OBJECTIVE, fake)
        record.add(d.loss)

    levels = (np.arange(2000) + 0.5) / 2000
    z, quantiles = Gaussian().quantile(levels), DATA.quantile(levels)
    step, exact = backend.capture(step), []
    for _ in range(steps):
        exact.append(wasserstein(on_line(G, z, backend), quantiles))
        step()
        progress.advance()
    return Game(np.array(exact), -record["loss_d"])


def smooth(values) -> np.ndarray:
    return plots.moving_average(values, reach=7)


def picture(steps, curves, norms, game) -> Figure:
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(12.5, 7), dpi=100, layout="constrained")
        panels = figure.subplots(2, 3)
        draw_densities(panels[0, 0])
        draw_critics(panels[0, 1], panels[0, 2], [curve[-1] for curve in curves])
        draw_estimates(panels[1, 0], steps, curves)
        draw_norms(panels[1, 1], norms)
        draw_game(panels[1, 2], game)
    return figure


def draw_densities(panel):
    panel.fill_between(X, P_DATA, color=plots.P_DATA, alpha=0.15, lw=0, label="data")
    panel.plot(X, P_MODEL, color=plots.P_G, label="model")
    panel.plot(X, GAP, color=plots.D_STAR, ls=":", label="$F_g - F_d$")
    panel.axhline(0, color=plots.GUIDE, lw=0.8)
    panel.set_title(f"two piles of sand, $W_1$ = {W1:.3f}", loc="left")
    panel.set_xlim(-4, 4.5)
    panel.set_xlabel("x")
    panel.legend()


def draw_critics(left, right, verdicts):
    """Each f / K and its slope, beside the best f, where a share of 1% and more is to be moved."""
    moved = np.abs(GAP) > 0.01
    best = np.where(moved, np.cumsum(np.sign(GAP)) * CELL, np.nan)
    for panel, values in ((left, best - np.nanmean(best)), (right, np.sign(GAP))):
        values = np.where(moved, values, np.nan)
        panel.plot(X, values, color=plots.P_DATA, lw=4, alpha=0.25, label="exact")
    for way, verdict in zip(WAYS, verdicts, strict=True):
        f = verdict.f / verdict.steepest
        left.plot(X, f - f[moved].mean(), color=way.color, label=way.label)
        right.plot(X[1:], np.diff(f) / CELL, color=way.color)
    left.set_title("the critics, f / K, K being the steepest slope", loc="left")
    right.set_title("their slopes: ±1 where mass moves", loc="left")
    left.set_ylim(-2.2, 2.9)
    left.legend(loc="lower left", fontsize=8.5)
    for panel in (left, right):
        panel.set_xlim(-4, 4.5)
        panel.set_xlabel("x")


def draw_estimates(panel, steps, curves):
    for way, curve in zip(WAYS, curves, strict=True):
        at = np.minimum(EVERY * np.arange(len(curve)), steps)
        panel.plot(at, [verdict.bound for verdict in curve], color=way.color, label=way.label)
    panel.plot(
        at, [verdict.value for verdict in curve], color=way.color, ls="--", label="not divided by K"
    )
    panel.axhline(W1, color=plots.P_DATA, lw=4, alpha=0.25)
    panel.set_ylim(0, 1.2 * W1)
    panel.set_title("value / K, against the exact $W_1$", loc="left")
    panel.set_xlabel("step of the critic")
    panel.legend(loc="lower right", fontsize=8.5)


def draw_norms(panel, norms):
    for way, values in zip(DEEP, norms, strict=True):
        panel.semilogy(1 + np.arange(LAYERS), values, "o-", ms=3, color=way.color, label=way.label)
    panel.set_title(f"gradient through {LAYERS} hidden layers", loc="left")
    panel.set_xlabel("layer")
    panel.set_ylabel("norm of the gradient at its output")
    panel.legend(fontsize=8.5)


def draw_game(panel, game):
    panel.plot(game.exact, color=plots.P_DATA, lw=4, alpha=0.25, label="exact $W_1$")
    draw_value(panel, game.value)
    panel.set_ylim(min(0, smooth(game.value).min()), 1.1 * game.exact.max())
    panel.set_title("now G learns too", loc="left")
    panel.legend()


def draw_value(panel, value):
    """The critic's value over the steps of G: pale as it was on batches, and its moving average."""
    panel.plot(value, color=plots.D, lw=0.6, alpha=0.3)
    panel.plot(smooth(value), color=plots.D, label="critic's value")
    panel.set_xlabel("step of G")


# --- On images -----------------------------------------------------------------------------------


def on_images(args, backend) -> int:
    dataset, notice = data.choose(args.data, size=args.size)
    if notice:
        print(notice)
    with cli.building():
        batches = data.Batches(dataset, args.batch, args.seed, backend)
        run = Run(args, backend, dataset)
    cli.make_folder(args.out)
    start = run.checkpoint.resume()
    batches.step = start * args.critic_steps
    G, critic = run.G, run.critic

    def step():
        for _ in range(args.critic_steps):
            fake = G(Tensor(run.noise.normal((args.batch, args.latent))))
            d = critic.step(Tensor(batches.next()), fake)
        g = generator_step(critic.network, run.G_optimizer, OBJECTIVE, fake)
        run.average.update()
        run.record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    step = backend.capture(step)
    done, began, healthy = start, time.perf_counter(), True
    with cli.Interrupt() as interrupted, cli.Progress(args.steps, start) as progress:
        monitor = cli.Monitor(progress, run.record, OBJECTIVE, args.batch)
        while done < args.steps and healthy and not interrupted:
            fake = step()
            done += 1
            progress.advance()
            picture_due = done % args.every == 0 or done == args.steps
            if picture_due or interrupted or done % 10 == 0:
                healthy = monitor.look(done, fake)
            if healthy and picture_due:
                run.picture(done)
            if healthy and (picture_due or interrupted):
                run.checkpoint.save(done)

    if done == 0:  # interrupted before the first step: there is nothing to draw
        return interrupted.status
    run.finish()
    if healthy and run.checkpoint.saved != done > start:
        run.checkpoint.save(done)
    value = -run.record["loss_d"]
    print(
        f"the critic's value: {value.max():.3g} at its height, {value[-50:].mean():.3g} in the end "
        f"({done:,} steps on {dataset.name}, {time.perf_counter() - began:.0f} s; "
        f"pictures: {args.out})"
    )
    if interrupted and run.checkpoint.saved == done < args.steps:
        print("interrupted and saved: go on with --resume")
    return 1 if not healthy else interrupted.status


class Run:
    """The two networks of DCGAN, all that moves them, and what is kept of them."""

    def __init__(self, args, backend, dataset):
        self.args = args
        weights, self.noise, fixed = backend.generator(args.seed).spawn(3)
        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        arguments = shape | {"latent": args.latent}
        self.G = dcgan_generator(rng=weights, **arguments)
        # A penalty judges each image by itself, which batch norm would mix.
        D = dcgan_discriminator(rng=weights, batch_norm=bool(args.clip), **shape)
        slope = {"clip": args.clip, "one_sided": not args.two_sided}
        self.critic = Critic(D, args.lr_d, self.noise, **slope)
        self.G_optimizer = optim.Adam(self.G, args.lr_g, betas=(0.0, 0.9))
        self.average = optim.EMA(self.G, 0.99)

        self.z = Tensor(fixed.normal((args.samples, args.latent)))
        self.record = cli.Record("loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after")
        self.film = plots.Film(self.sample())
        names = ("G", "G_optimizer", "average", "noise", "record", "film")
        self.checkpoint = cli.Checkpoint(
            args,
            {name: getattr(self, name) for name in names}
            | {"D": D, "D_optimizer": self.critic.optimizer},
            data=dataset,
            # What evaluate_mnist.py must know to build this G again and to draw samples from it.
            generator={"network": "dcgan", "arguments": arguments, "noise": "normal", "low": -1.0},
        )

    def sample(self) -> np.ndarray:
        """What the averaged generator makes of the fixed noise, as one picture."""
        with no_grad():
            return plots.sample_grid(self.average.network(self.z).numpy())

    def picture(self, step):
        pixels = self.sample()
        self.film.add(pixels)
        plots.save_image(self.args.out / f"samples_{step:06d}.png", pixels, scale=2)

    def finish(self):
        """Draws the critic's value over the run, and the film."""
        with rc_context(plots.STYLE):
            figure = Figure(figsize=(8, 3.8), dpi=100, layout="constrained")
            panel = figure.subplots()
            draw_value(panel, -self.record["loss_d"])
            panel.set_title("the critic's value, E f(x) − E f(G(z))", loc="left")
        plots.save_figure(figure, self.args.out / "value.png")
        self.film.save_gif(self.args.out / "training.gif")


if __name__ == "__main__":
    cli.run(main)
