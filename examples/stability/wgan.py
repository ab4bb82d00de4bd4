"""Why Wasserstein: a critic whose value is a distance, and what has to hold its slope.

W₁, the least work that moves one pile of sand onto another, is the largest value of E f(x) − E
f(G(z)) over all f whose slope is at most 1 (Arjovsky et al. 2017, eq. 2). So a critic that climbs
this value with a bounded slope measures W₁. On a line the truth is known: with h = F_g − F_d, the
best f has the slope sign h, and W₁ = ∫ |h| dx. Four critics learn alone, by clipped weights or by
a gradient penalty (Gulrajani et al. 2017); value / K, K being the steepest slope, cannot flatter
them, as it is at most W₁. Then G moves too, and the value falls as the exact W₁ does.

    python examples/stability/wgan.py                20 seconds; with --quick a third of them
    python examples/stability/wgan.py --two-sided    slopes below 1 are punished too: G goes astray
    python examples/stability/wgan.py --clip 0.1     weights are bounded where G learns

It writes wgan.png. On images: dcgan_mnist.py --loss wasserstein --critic-steps 5 [--clip 0.01].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, grad, losses, optim, plots
from minigan import functional as F
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import cells, critic_on_line, levels, on_line, wasserstein
from minigan.gan.penalties import gradient_penalty
from minigan.models import mlp
from minigan.nn import LeakyReLU
from minigan.training import Record, Session, options, run

OBJECTIVE = losses.Wasserstein()
DATA, MODEL = GaussianMixture1D([-2, 1.5], [0.5, 0.5]), Gaussian(0.5, 1.5)
BATCH = 256
CELL = 0.01
X = cells(-8, 8, CELL)
P_DATA, P_MODEL = DATA.pdf(X), MODEL.pdf(X)
GAP = MODEL.cdf(X) - DATA.cdf(X)  # h = F_g − F_d
W1 = float(np.abs(GAP).sum() * CELL)
EVERY = 50  # steps between two looks at a critic
DEEP_STEPS, LAYERS = 100, 11


def parse(argv=None):
    quick = {"steps": lambda steps: max(1, steps // 3)}
    p = options.parser(__doc__.splitlines()[0], steps=1500, out="runs/wgan", quick=quick)
    options.shared(p, critic_steps=5)
    slope = p.add_mutually_exclusive_group()
    slope.add_argument("--two-sided", action="store_true", help="punish slopes below 1 as well")
    slope.add_argument("--clip", type=options.above(0), help="bound the weights, not the slope")
    return options.parse(p, argv)


class Way(NamedTuple):
    """One way to hold a critic's slope, with the learning rate that suits it."""

    label: str
    color: str
    rate: float
    clip: float | None = None  # the bound of the weights; None: a gradient penalty
    one_sided: bool = False


WAYS = [
    Way("weights within ±0.01", plots.PINK, 1e-3, clip=0.01),
    Way("weights within ±0.1", plots.D_STAR, 1e-3, clip=0.1),
    Way("two-sided penalty", plots.GUIDE, 1e-2),
    Way("one-sided penalty", plots.D, 1e-2, one_sided=True),
]
WIDER = Way("weights within ±0.3", plots.ORANGE, 1e-3, clip=0.3)
DEEP = [*WAYS[:2], WIDER, WAYS[3]._replace(rate=1e-3)]


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    game_steps = max(1, args.steps // args.critic_steps)
    total = len(WAYS) * args.steps + len(DEEP) * DEEP_STEPS + game_steps
    with Session(args, total=total) as session:
        curves = []
        for way in WAYS:
            rate = optim.linear_decay(way.rate, args.steps)
            curves.append(learn_alone(way, rate, [64, 64], args.steps, backend, session)[-1])
        norms = [norms_through_layers(way, backend, session) for way in DEEP]
        exact, value = play(game_steps, backend, session)
    if session.status:
        return session.status

    for way, (*_, last) in zip(WAYS, curves, strict=True):
        print(
            f"{way.label}: value {last.value:.4g}, steepest slope {last.steepest:.4g}, "
            f"ratio {last.bound:.4f}, {100 * (last.bound / W1 - 1):+.1f}% from W1"
        )
    figure = picture(curves, norms, exact, value, args.steps)
    file = plots.save_figure(figure, args.out / "wgan.png")
    off = np.abs(plots.moving_average(value, reach=7) - plots.moving_average(exact, reach=7))
    print(
        f"W1 exact {W1:.4f}, from the critic {last.bound:.4f}; while G learned, W1 went "
        f"from {exact[0]:.3f} to {exact[-1]:.3f} and the critic was off by "
        f"{off[len(off) // 5 :].mean():.3f} ({session.seconds:.1f} s; picture: {file})"
    )
    return 0


def climber(network, rate, noise, way: Way):
    """What moves a critic up: a function of real and generated samples to its step's report."""
    if way.clip:  # which a momentum makes unstable (Arjovsky et al. 2017, section 4)
        optimizer, penalty = optim.RMSprop(network, rate), None
    else:
        optimizer = optim.Adam(network, rate, betas=(0.0, 0.9))
        penalty = gradient_penalty(noise, one_sided=way.one_sided)

    def climb(real, fake):
        report = discriminator_step(network, optimizer, OBJECTIVE, real, fake, penalty=penalty)
        if way.clip:
            optim.clip_weights(network, way.clip)
        return report

    return climb


def learn_alone(way: Way, rate, hidden, steps, backend, session):
    """A critic trained against a model that stands still, its noise, and its worth all along."""
    weights, noise = backend.generator(session.args.seed).spawn(2)
    critic = mlp([1, *hidden, 1], rng=weights, name="critic")
    climb = climber(critic, rate, noise, way)

    def step():
        climb(*batches(noise))

    worth = [critic_on_line(critic, X, P_DATA, P_MODEL, backend)]
    for done, _ in enumerate(session.steps(step, steps), 1):
        if done % EVERY == 0 or done == steps:
            worth.append(critic_on_line(critic, X, P_DATA, P_MODEL, backend))
    return critic, noise, worth


def batches(noise) -> list[Tensor]:
    return [Tensor(density.sample(noise, BATCH)) for density in (DATA, MODEL)]


def norms_through_layers(way: Way, backend, session) -> list[float]:
    """‖∂J/∂a‖ at each hidden layer's output a of a deep critic (Gulrajani et al. 2017, fig. 1b)."""
    critic, noise, _ = learn_alone(way, way.rate, [32] * LAYERS, DEEP_STEPS, backend, session)
    a, outputs = F.concatenate(batches(noise)), []
    for layer in critic:
        a = layer(a)
        if isinstance(layer, LeakyReLU):
            outputs.append(a)
    loss = OBJECTIVE.discriminator(a[:BATCH], a[BATCH:])
    return [(g * g).sum().item() ** 0.5 for g in grad(loss, outputs)]


def play(steps, backend, session) -> tuple[np.ndarray, np.ndarray]:
    """G learns too: before each of its steps the exact W₁, and then the critic's value."""
    args = session.args
    weights, noise = backend.generator(args.seed).spawn(2)
    G = mlp([1, 32, 32, 1], rng=weights, name="G")
    critic = mlp([1, 64, 64, 1], rng=weights, name="critic")
    way = Way("", "", 3e-3, args.clip, one_sided=not args.two_sided)
    climb = climber(critic, optim.linear_decay(way.rate, steps * args.critic_steps), noise, way)
    G_optimizer = optim.Adam(G, optim.linear_decay(1e-3, steps), betas=(0.0, 0.9))
    record = Record("loss_d")

    def step():
        for _ in range(args.critic_steps):
            fake = G(Tensor(noise.normal((BATCH, 1))))
            d = climb(Tensor(DATA.sample(noise, BATCH)), fake)
        generator_step(critic, G_optimizer, OBJECTIVE, fake)
        record.add(d.loss)

    z, quantiles = Gaussian().quantile(levels(2000)), DATA.quantile(levels(2000))
    exact = [wasserstein(on_line(G, z, backend), quantiles)]
    for _ in session.steps(step, steps):
        exact.append(wasserstein(on_line(G, z, backend), quantiles))
    return np.array(exact[:-1]), -record["loss_d"]


def picture(curves, norms, exact, value, steps):
    at = np.minimum(EVERY * np.arange(len(curves[0])), steps)
    found, estimates = [], []
    for way, curve in zip(WAYS, curves, strict=True):
        found.append((way.label, way.color, curve[-1].f / curve[-1].steepest))
        estimates.append((way.label, way.color, "-", [critic.bound for critic in curve]))
    estimates.append(("not divided by K", way.color, "--", [critic.value for critic in curve]))
    with plots.panels(2, 3, size=(12.5, 7)) as (figure, panels):
        (sand, critics, slopes), (learning, deep, game) = panels
        plots.draw_gap(sand, X, P_DATA, P_MODEL, GAP, (-4, 4.5))
        sand.set_title(f"two piles of sand, $W_1$ = {W1:.3f}")
        plots.draw_critics(critics, slopes, X, GAP, found, (-4, 4.5))
        plots.draw_estimates(learning, at, estimates, W1)
        plots.draw_norms(deep, [(*way[:2], norm) for way, norm in zip(DEEP, norms, strict=True)])
        plots.draw_value(game, value, exact)
        game.set_title("now G learns too")
        game.legend()
    return figure


if __name__ == "__main__":
    run(main)
