"""A GAN as a surrogate in science: random permeable rock, and what flows through it.

The permeability of the ground is known at a few places, so it is modelled as random: a(x) = exp(g),
where g is a Gaussian process. G learns to draw such fields from samples alone. Whether it can
replace the simulation is a question with exact answers here: mean, variance, skewness and two-point
covariance of a are known, and so is what it is for, the flux of Darcy's equation −(a p′)′ = 0 with
p(0) = 1, p(1) = 0, which is 1 / ∫ 1/a dx. The control is a Gaussian with the exact mean and
covariance. It isn't always positive, and nothing but positive rock has a flux.

    python examples/science/random_field.py                             28 seconds of CPU time
    python examples/science/random_field.py --length 0.05 --latent 32   rougher, and harder

It writes random_field.png and a checkpoint, for --resume.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, no_grad, optim, plots
from minigan import functional as F
from minigan.evaluation import cells, wasserstein
from minigan.gan.penalties import gradient_penalty
from minigan.models import mlp
from minigan.training import OptionError, Record, Session, Watch, options, run

POINTS = 64
X = cells(0, 1, 1 / POINTS)
COUNTED = 10_000  # fields by which G is judged
SETS = 20  # of as many simulated fields, that tell what chance does


def parse(argv=None):
    p = options.parser(
        "A GAN that draws random fields, and the flux through them.",
        steps=4000,
        out="runs/random_field",
        resumable=True,
        quick={"steps": lambda steps: max(1, steps // 8)},
    )
    p.add_argument("--sigma", type=options.above(0), default=0.5, help="std of ln a")
    p.add_argument("--length", type=options.above(0), default=0.2, help="of correlation, of [0, 1]")
    p.add_argument("--width", type=options.whole(1), default=128, help="units of a hidden layer")
    options.shared(p, batch=256, latent=8, lr_g=1e-3, lr_d=2e-3, critic_steps=3)
    args = options.parse(p, argv)
    if args.sigma > 10:
        raise OptionError(f"--sigma {args.sigma:g}: exp leaves float32; wanted at most 10")
    return args


class Field:
    """a = exp(g) at the points X; g has mean 0 and covariance σ² exp(−(x − y)² / 2ℓ²)."""

    def __init__(self, sigma, length):
        of_log = sigma**2 * np.exp(-0.5 * ((X[:, None] - X) / length) ** 2)
        self.mean = math.exp(sigma**2 / 2)
        self.covariance = self.mean**2 * np.expm1(of_log)
        self.std = math.sqrt(self.covariance[0, 0])
        self.skewness = (math.exp(sigma**2) + 2) * math.sqrt(math.expm1(sigma**2))
        variances, directions = np.linalg.eigh(of_log)
        self.root = directions * np.sqrt(np.maximum(variances, 0))  # root rootᵀ = of_log

    def sample(self, rng, n):
        """n simulated fields, a tensor (n, POINTS) on the generator's device."""
        return F.exp(Tensor(rng.normal((n, POINTS))) @ Tensor(rng.backend.constant(self.root.T)))


def positive(a) -> np.ndarray:
    """Those of the fields (n, POINTS) that can be rock."""
    return a[a.min(axis=1) > 0]


def flux(a) -> np.ndarray:
    """1 / ∫ 1/a dx of each positive field, (n, POINTS) -> (n,)."""
    return 1 / (1 / a).mean(axis=1)


def main(argv=None):
    args = parse(argv)
    backend, field = options.device(args), Field(args.sigma, args.length)
    weights, noise, fixed = backend.generator(args.seed).spawn(3)
    objective, penalty = losses.Wasserstein(), gradient_penalty(noise, one_sided=True)
    with options.building():
        G = mlp([args.latent, args.width, args.width, POINTS], rng=weights, name="G")
        critic = mlp([POINTS, args.width, args.width, 1], rng=weights, name="critic")
        # Rates that fall to 0 and an average, as numbers show how the two go on circling.
        G_rate = optim.linear_decay(args.lr_g, args.steps)
        critic_rate = optim.linear_decay(args.lr_d, args.steps * args.critic_steps)
        G_optimizer = optim.Adam(G, G_rate, betas=(0.0, 0.9))
        critic_optimizer = optim.Adam(critic, critic_rate, betas=(0.0, 0.9))
        average = optim.EMA(G, 0.999)
        z = Tensor(fixed.normal((COUNTED, args.latent)))
    record = Record("loss_d")

    def standardised(a):
        """What the critic is shown: numbers of order one."""
        return (a - field.mean) / field.std

    def step():
        for _ in range(args.critic_steps):
            # (1) the critic: learn by how much the fields differ, in W1
            real = standardised(field.sample(noise, args.batch))
            fake = standardised(F.exp(G(Tensor(noise.normal((args.batch, args.latent))))))
            d = discriminator_step(critic, critic_optimizer, objective, real, fake, penalty=penalty)

        # (2) G: lessen it
        generator_step(critic, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss)

    parts = {"G": G, "critic": critic, "G_optimizer": G_optimizer, "average": average}
    parts |= {"critic_optimizer": critic_optimizer, "noise": noise, "record": record}
    watch = Watch(record, show=lambda now: f"the critic's W1 {-now['loss_d']:.3f}", every=50)
    with Session(args, parts, about="random fields", watch=watch) as session:
        for _ in session.steps(step):
            pass
    if session.lost or not session.done:
        return session.status

    with no_grad():
        drawn = F.exp(average.network(z)).numpy().astype(float)

    def simulated():
        return field.sample(fixed, COUNTED).numpy().astype(float)

    named = {"simulated": simulated(), "generated": drawn, "Gaussian": control(field, args.seed)}
    print(*verdict(field, named, [flux(simulated()) for _ in range(SETS)]), sep="\n")
    print(f"picture: {plots.save_figure(picture(field, named), args.out / 'random_field.png')}")
    return session.status


def control(field, seed) -> np.ndarray:
    """Samples of the Gaussian with the exact mean and covariance, (COUNTED, POINTS)."""
    random, mean = np.random.default_rng(seed), np.full(POINTS, field.mean)
    return random.multivariate_normal(mean, field.covariance, COUNTED, method="eigh")


# --- What is measured ----------------------------------------------------------------------------


def off_covariance(a, field) -> float:
    """‖C − C_exact‖ / ‖C_exact‖, Frobenius norms."""
    return float(np.linalg.norm(np.cov(a.T) - field.covariance) / np.linalg.norm(field.covariance))


def skewness(a) -> float:
    """E (a − E a)³ / std³, the mean over the points."""
    away = a - a.mean(axis=0)
    return float(((away**3).mean(axis=0) / a.std(axis=0) ** 3).mean())


def verdict(field, named, direct) -> list[str]:
    """A line for each kind of fields; direct: the flux of several sets of simulated ones."""
    chance = np.mean([wasserstein(*pair) for pair in itertools.combinations(direct, 2)])
    lines = [f"W1 between the flux of two sets of {COUNTED:,} simulations: {chance:.4f}"]
    for name, a in named.items():
        rock = positive(a)
        distances = [wasserstein(flux(rock), other) for other in direct if len(rock)]
        away = np.mean(distances or np.nan)
        lines.append(
            f"{name}: mean {a.mean():.3f} (exact {field.mean:.3f}), covariance off by "
            f"{off_covariance(a, field):.1%}, skewness {skewness(a):.2f} ({field.skewness:.2f}), "
            f"{1 - len(rock) / len(a):.1%} not positive, W1 of the others' flux {away:.4f}, "
            f"{away / chance:.1f} times that"
        )
    return lines


def picture(field, named):
    colors, middle = (plots.P_DATA, plots.P_G, plots.D_STAR), POINTS // 2
    with plots.panels(2, 3, size=(13, 7)) as (figure, (above, (two_points, one_point, flow))):
        two_points.plot(X, field.covariance[middle], color=plots.SKY, lw=4, label="exact")
        for panel, (name, a), color in zip(above, named.items(), colors, strict=True):
            panel.plot(X, a[:12].T, color=color, lw=1)
            panel.axhline(0, color=plots.GUIDE, lw=0.8, ls=":")
            panel.set(title=f"{name} fields", xlabel="x", ylabel="a(x)", ylim=(-0.6, 4.5))
            two_points.plot(X, np.cov(a.T)[middle], "--", color=color, label=name)
            for below, values in ((one_point, a), (flow, flux(positive(a)))):
                below.hist(
                    values.ravel(),
                    np.linspace(-1, 4, 101),
                    density=len(values) > 0,
                    histtype="step",
                    color=color,
                    label=name,
                )
        two_points.set(title="covariance of a(x) with a in the middle", xlabel="x")
        one_point.set(title="density of a", xlabel="a")
        flow.set(title="density of the flux", xlabel="1 / ∫ 1/a dx", xlim=(0, 3))
        two_points.legend()
        flow.legend()
    return figure


if __name__ == "__main__":
    run(main)
