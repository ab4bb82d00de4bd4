"""Why nobody trains the minimax loss: where D is sure, it stops pulling.

G should learn most when its samples are bad. D then rejects them with certainty, and the minimax
loss ln(1 − D(G(z))) is flat there: its gradient in D's logit is −D(G(z)), next to nothing.
Goodfellow et al. 2014, section 3, therefore maximise ln D(G(z)), whose gradient, D(G(z)) − 1, is
largest exactly there. Two runs differ in this alone. D has learned for a while before G begins:
plain gradient descent takes steps as long as the gradient, so in one run G stands still and D
stays sure; in the other, from the same weights and against the same D, it gets home.

    python examples/stability/saturation.py                      10 seconds
    python examples/stability/saturation.py --head-start 0       no lead: as a rule, both learn
    python examples/stability/saturation.py --optimizer adam     Adam hides most of the difference

It writes saturation.png: every objective's value and pull at a sample, and the two runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan import (
    Tensor,
    cpu,
    discriminator_step,
    generator_step,
    grad,
    losses,
    no_grad,
    optim,
    plots,
    tensor,
)
from minigan.evaluation import sliced_wasserstein
from minigan.models import mlp
from minigan.training import Record, Session, options, run

RATES = {"sgd": 0.03, "adam": 1e-3}  # of G
DIM, AWAY = 16, 4.0


def parse(argv=None):
    p = options.parser(
        "A run that saturates beside one that does not.", steps=1000, out="runs/saturation"
    )
    p.add_argument("--head-start", type=options.whole(0), default=1500, help="D's steps alone")
    p.add_argument("--optimizer", choices=sorted(RATES), default="sgd", help="what moves G")
    p.add_argument("--lr", type=options.above(0), help="of G; by default what suits the optimizer")
    p.add_argument("--batch", type=options.whole(1), default=128, help="samples in a batch")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    with Session(args, total=2 * (args.head_start + args.steps)) as session:
        stalled = train(losses.Minimax(), args, backend, session)
        healthy = train(losses.NonSaturating(), args, backend, session)
    if session.status:
        return session.status
    if not np.isfinite([stalled.distances[-1], healthy.distances[-1]]).all():
        print("NaN or infinity: the weights are lost. Try a lower --lr.")
        return 1
    file = plots.save_figure(picture(stalled, healthy), args.out / "saturation.png")
    print(
        f"W1 {stalled.distances[0]:.3f} at the start; minimax ends at {stalled.distances[-1]:.3f}, "
        f"non-saturating at {healthy.distances[-1]:.3f}, {ratio(stalled, healthy):.0f} times "
        f"closer ({session.seconds:.1f} s; picture: {file})"
    )
    return 0


# --- The objectives at one sample ----------------------------------------------------------------


def pull(objective, output) -> tuple[float, float]:
    """J(G) and its derivative in D's output at one generated sample.

    An objective that looks at real samples too is given one of which D is as sure: D(x) = −D(G(z)).
    """
    fake, real = tensor([output], requires_grad=True), tensor([-output])
    loss = objective.generator(fake, real if objective.relative else None)
    (slope,) = grad(loss, [fake])
    return loss.item(), slope.item()


# --- Two runs ------------------------------------------------------------------------------------


def data(rng, n):
    """(u, v, 4, 0, …, 0) with normal u and v: a plane in 16 dimensions, 4 from the origin."""
    xp = rng.backend.xp
    beside = xp.zeros((n, DIM - 2), "float32")
    beside[:, 0] = AWAY
    return xp.concatenate([rng.normal((n, 2)), beside], axis=1)


class Outcome(NamedTuple):
    """What became of one objective."""

    steps: np.ndarray  # (m,), of G, at which the distance was measured
    distances: np.ndarray  # (m,), sliced W₁ between G's samples and the data; NaN: all is lost
    floor: float  # the same between two samples of the data
    scores: np.ndarray  # (steps,), the mean D(G(z)) at each step of G


def train(objective, args, backend, session) -> Outcome:
    """D learns alone for the head start, then both; everything but J(G) is the same in each run."""
    weights, noise, judge = backend.generator(args.seed).spawn(3)
    G = mlp([2, 64, 64, DIM], rng=weights, name="G")
    D = mlp([DIM, 64, 64, 1], rng=weights, name="D")
    rate = optim.linear_decay(args.lr or RATES[args.optimizer], args.steps)
    adam = {"betas": (0.5, 0.999)}
    G_optimizer = optim.Adam(G, rate, **adam) if args.optimizer == "adam" else optim.SGD(G, rate)
    D_optimizer = optim.Adam(D, 1e-3, **adam)
    record = Record("score")

    def d_step():
        real = Tensor(data(noise, args.batch))
        fake = G(Tensor(noise.normal((args.batch, 2))))
        discriminator_step(D, D_optimizer, objective, real, fake)
        return fake

    def step():
        fake = d_step()
        record.add(generator_step(D, G_optimizer, objective, fake).fake)

    for _ in session.steps(d_step, args.head_start):
        pass
    ruler = Ruler(G, backend, judge)
    every, measured = max(1, args.steps // 20), {0: ruler.distance()}
    for done, _ in enumerate(session.steps(step, args.steps), 1):
        if done % every == 0 or done == args.steps:
            measured[done] = ruler.distance()
    steps, distances = (np.array(list(column)) for column in (measured, measured.values()))
    return Outcome(steps, distances, ruler.floor, record["score"])


class Ruler:
    """How far G's samples are from the data: sliced W₁, for the same noise and directions always.

    `floor` is what two samples of the data are from each other.
    """

    def __init__(self, G, backend, rng):
        self.G, self.z = G, Tensor(rng.normal((2000, 2)))
        self.real, again = (backend.to_numpy(data(rng, 2000)) for _ in range(2))
        self.floor = self._to(again)

    def distance(self) -> float:
        with no_grad():
            points = self.G(self.z).numpy()
        return self._to(points) if np.isfinite(points).all() else np.nan

    def _to(self, points) -> float:
        return sliced_wasserstein(points, self.real, cpu.generator(0), directions=50)


def ratio(stalled, healthy) -> float:
    """How many times as far from the data the stalled run has ended."""
    return stalled.distances[-1] / healthy.distances[-1]


# --- The picture ---------------------------------------------------------------------------------


def picture(stalled, healthy):
    outputs = np.linspace(-10, 4, 141)
    pulls = {
        name: [pull(objective(), output) for output in outputs]
        for name, objective in losses.OBJECTIVES.items()
    }
    with plots.panels(2, 2, size=(11, 8)) as (figure, (above, (left, right))):
        plots.draw_objectives(*above, outputs, pulls)
        for outcome, name in ((stalled, "minimax"), (healthy, "non-saturating")):
            color, steps = plots.OBJECTIVE_COLORS[name], np.arange(1, len(outcome.scores) + 1)
            left.semilogy(outcome.steps, outcome.distances, "o-", ms=3, color=color, label=name)
            plots.draw_curve(right, steps, outcome.scores, name, color)
        left.axhline(stalled.floor, color=plots.GUIDE, ls=":", label="two samples of the data")
        left.set_title(f"minimax ends {ratio(stalled, healthy):.0f} times as far away")
        left.set(xlabel="step of G", ylabel="sliced $W_1$")
        left.legend(loc="lower left", bbox_to_anchor=(0, 0.1))
        right.set_title("mean D(G(z)): what pulls at G in the minimax run")
        right.set(xlabel="step of G", yscale="log")
    return figure


if __name__ == "__main__":
    run(main)
