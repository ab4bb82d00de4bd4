"""Why nobody trains the minimax loss: where D is sure, it stops pulling.

    python examples/saturation.py                      two runs that differ in G's objective alone
    python examples/saturation.py --head-start 0       D has no lead: as a rule, both learn
    python examples/saturation.py --optimizer adam     Adam hides most of the difference

G should learn most when its samples are bad. D then rejects them with certainty, and the minimax
loss ln(1 − D(G(z))) is flat there: its gradient in D's logit is −D(G(z)), next to nothing.
Goodfellow et al. 2014, section 3, therefore maximise ln D(G(z)), whose gradient, D(G(z)) − 1, is
largest exactly there. The upper panels draw this for every objective on logits or critic values.

The lower panels train. Data and samples each fill a surface of 2 dimensions in a space of 16. Two
such surfaces hardly meet, so a perfect D exists, and a D that has learned alone for a while is near
it (Arjovsky and Bottou 2017, theorems 2.1 and 2.4): here its logits at G's samples are about −20,
and its mean verdict D(G(z)) is 10⁻⁴, owed to the few samples that it is least sure of. Plain
gradient descent, as in 2014, takes steps as long as the gradient, so G stands still, and D stays
sure. The other run, from the same weights and against the same D, gets home.

Adam divides each gradient by its own size, so that even a very small one moves G. That is why one
seldom meets this failure today. Without a head start D is never so sure, and minimax learns too,
on most seeds; on others it is thrown off at the first steps, as its gradient is largest for the
samples that have already fooled D.
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
from minigan.gan import LOST
from minigan.models import mlp

RATES = {"sgd": 0.03, "adam": 1e-3}  # of G


def parse(argv=None):
    p = cli.parser(
        "A run that saturates beside one that does not.", steps=1000, out="runs/saturation"
    )
    p.add_argument("--head-start", type=cli.whole(0), default=1500, help="D's steps alone")
    p.add_argument("--optimizer", choices=sorted(RATES), default="sgd", help="what moves G")
    p.add_argument("--lr", type=cli.above(0), help="of G; by default what suits the optimizer")
    p.add_argument("--batch", type=cli.whole(1), default=128, help="samples in a batch")
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    cli.make_folder(args.out)
    began = time.perf_counter()
    with cli.Progress(2 * (args.head_start + args.steps)) as progress:
        stalled = train(losses.Minimax(), args, backend, progress)
        healthy = train(losses.NonSaturating(), args, backend, progress)
    if not np.isfinite([stalled.distances[-1], healthy.distances[-1]]).all():
        print(f"{LOST.split(':')[0]}: the weights are lost. Try a lower --lr.")
        return 1
    file = plots.save_figure(picture(stalled, healthy), args.out / "saturation.png")
    print(
        f"W1 {stalled.distances[0]:.3f} at the start; minimax ends at {stalled.distances[-1]:.3f}, "
        f"non-saturating at {healthy.distances[-1]:.3f}, {ratio(stalled, healthy):.0f} times "
        f"closer ({time.perf_counter() - began:.1f} s; picture: {file})"
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

DIM, AWAY = 16, 4.0


def data(rng, n):
    """(u, v, 4, 0, …, 0) with normal u and v: a plane in 16 dimensions, 4 from the origin."""
    xp = rng.backend.xp
    beside = xp.zeros((n, DIM - 2), "float32")
    beside[:, 0] = AWAY
    return xp.concatenate([rng.normal((n, 2)), beside], axis=1)


class Run(NamedTuple):
    """What became of one objective."""

    steps: np.ndarray  # (m,), of G, at which the distance was measured
    distances: np.ndarray  # (m,), sliced W₁ between G's samples and the data; NaN: all is lost
    floor: float  # the same between two samples of the data
    scores: np.ndarray  # (steps,), the mean D(G(z)) at each step of G


def train(objective, args, backend, progress) -> Run:
    """D learns alone for the head start, then both; everything but J(G) is the same in each run."""
    weights, noise, judge = backend.generator(args.seed).spawn(3)
    G = mlp([2, 64, 64, DIM], rng=weights, name="G")
    D = mlp([DIM, 64, 64, 1], rng=weights, name="D")
    rate = optim.linear_decay(args.lr or RATES[args.optimizer], args.steps)
    adam = {"betas": (0.5, 0.999)}
    G_optimizer = optim.Adam(G, rate, **adam) if args.optimizer == "adam" else optim.SGD(G, rate)
    D_optimizer = optim.Adam(D, 1e-3, **adam)
    record = cli.Record("score")

    def d_step():
        real = Tensor(data(noise, args.batch))
        fake = G(Tensor(noise.normal((args.batch, 2))))
        discriminator_step(D, D_optimizer, objective, real, fake)
        return fake

    def step():
        fake = d_step()
        record.add(generator_step(D, G_optimizer, objective, fake).fake)

    alone, step = backend.capture(d_step), backend.capture(step)
    for _ in range(args.head_start):
        alone()
        progress.advance()

    ruler = Ruler(G, backend, judge)
    every, measured = max(1, args.steps // 20), {0: ruler.distance()}
    for done in range(1, args.steps + 1):
        step()
        progress.advance()
        if done % every == 0 or done == args.steps:
            measured[done] = ruler.distance()
    steps, distances = (np.array(list(column)) for column in (measured, measured.values()))
    return Run(steps, distances, ruler.floor, record["score"])


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

COLORS = {
    "minimax": plots.D_STAR,
    "zero-sum": "#E69F00",
    "non-saturating": plots.P_G,
    "relativistic": "#CC79A7",
    "least-squares": "#56B4E9",
    "hinge": plots.GUIDE,
    "wasserstein": plots.P_DATA,
}
DASHED = {"zero-sum", "wasserstein"}  # they lie on others


def picture(stalled, healthy) -> Figure:
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(11, 8), dpi=100, layout="constrained")
        panels = figure.subplots(2, 2)
        draw_objectives(*panels[0])
        draw_runs(*panels[1], stalled, healthy)
    return figure


def draw_objectives(left, right):
    outputs = np.linspace(-10, 4, 141)
    for name, objective in losses.OBJECTIVES.items():
        values, slopes = np.array([pull(objective(), output) for output in outputs]).T
        style = {"color": COLORS[name], "ls": "--" if name in DASHED else "-", "label": name}
        left.plot(outputs, values, **style)
        right.plot(outputs, np.where(slopes == 0, np.nan, np.abs(slopes)), **style)
    left.set_ylim(-5, 11)
    left.set_ylabel("J(G)")
    left.legend(loc="upper right")
    right.set_yscale("log")
    right.set_ylim(1e-5, 30)
    right.set_ylabel("|∂J(G) / ∂D's output|")
    for panel in (left, right):
        panel.set_xlabel("D's output at G(z), before any sigmoid")
        draw_probabilities(panel)


def draw_probabilities(panel):
    """A second axis above: the probability D(G(z)) that belongs to a logit."""
    above = panel.secondary_xaxis("top")
    probabilities = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9])
    above.set_xticks(np.log(probabilities / (1 - probabilities)))
    above.set_xticklabels([f"{p:g}" for p in probabilities])
    above.set_xlabel("D(G(z)), where the output is a logit")


def draw_runs(left, right, stalled, healthy):
    for run, name in ((stalled, "minimax"), (healthy, "non-saturating")):
        left.semilogy(run.steps, run.distances, "o-", ms=3, color=COLORS[name], label=name)
        window = max(1, len(run.scores) // 100)
        scores = run.scores[: len(run.scores) // window * window].reshape(-1, window).mean(axis=1)
        right.semilogy(window * np.arange(1, len(scores) + 1), scores, color=COLORS[name])
    left.axhline(stalled.floor, color=plots.GUIDE, ls=":", label="two samples of the data")
    left.set_title(f"minimax ends {ratio(stalled, healthy):.0f} times as far away", loc="left")
    left.set_ylabel("sliced $W_1$")
    left.legend(loc="lower left", bbox_to_anchor=(0, 0.1))
    right.set_title("mean D(G(z)): what pulls at G in the minimax run", loc="left")
    for panel in (left, right):
        panel.set_xlabel("step of G")


if __name__ == "__main__":
    cli.run(main)
