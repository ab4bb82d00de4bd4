"""What goes wrong between G and D, on purpose: each failure beside the same run mended.

Points in the plane or in 16 dimensions, two small networks, one training step. What differs between
the two runs of a failure stands in FAILURES; what goes wrong in a run, the run says itself, by
minigan/training/troubles.py.

    python examples/failures/game.py --list               their names
    python examples/failures/game.py saturation           one of them, in seconds
    python examples/failures/game.py --all                all of them, and a table

It writes NAME.png, or failures.png: the two curves, the two ends, and what the first run said.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from minigan import Tensor, cpu, evaluation, grad, losses, nn, no_grad, optim, plots, tensor
from minigan import functional as F
from minigan.data import Ring
from minigan.engine import operations as op
from minigan.gan import discriminator_loss, generator_loss
from minigan.models import mlp
from minigan.training import GAME, Record, Session, Watch, beside, options, run, troubles

SEEN = 1000  # samples that are judged and drawn


class Setup(NamedTuple):
    """What makes a run; what isn't named in FAILURES is as here."""

    data: str = "round"  # a Gaussian; "beside": away from 0; "far": so in 16 dimensions; "ring"
    latent: int = 2
    loss: str = "non-saturating"
    lr_g: float = 1e-3
    lr_d: float = 1e-3
    falling: bool = True  # rates that fall to 0
    beta1: float = 0.5
    plain: bool = False  # G by gradient descent, not Adam
    d_steps: int = 1
    head_start: bool = False  # D learns alone for as many steps as both then do
    at_once: bool = False  # both look before either moves
    pack: int = 1
    penalty: object = None  # in D's loss
    flat: bool = False  # D's last layer begins at 0, so D has no slope anywhere
    longer: int = 1  # times as many steps
    curve: str = "W1"  # what is drawn


def parse(argv=None):
    p = beside.parser("Failures of the game.", FAILURES, steps=1000, out="runs/failures_game")
    options.shared(p, batch=128)
    p.add_argument("--width", type=options.whole(1), default=64, help="units in a hidden layer")
    return options.parse(p, argv)


def main(argv=None):
    return beside.compare(parse(argv), FAILURES)


def play(setup: Setup, args) -> beside.Outcome:
    backend, steps = options.device(args), args.steps * setup.longer
    weights, noise, fixed = backend.generator(args.seed).spawn(3)
    objective, alone = losses.OBJECTIVES[setup.loss](), steps * setup.head_start
    z, real = Tensor(fixed.normal((SEEN, setup.latent))), Tensor(data(setup, fixed, SEEN))
    with options.building():
        like = {"activation": nn.ReLU, "init": nn.he()} if setup.data == "ring" else {}
        G = mlp([setup.latent, args.width, args.width, real.shape[1]], rng=weights, **like)
        judge = mlp([real.shape[1] * setup.pack, args.width, args.width, 1], rng=weights)
        D = nn.Sequential(nn.Pack(setup.pack), *judge)
    fall = optim.linear_decay if setup.falling else lambda rate, steps: rate
    rate, betas = fall(setup.lr_g, steps), (setup.beta1, 0.999)
    G_optimizer = optim.SGD(G, rate) if setup.plain else optim.Adam(G, rate, betas=betas)
    D_optimizer = optim.Adam(D, fall(setup.lr_d, steps * setup.d_steps + alone), betas=betas)
    if setup.flat:
        D[-1].weight = 0 * D[-1].weight.data
    record, sizes = Record(*GAME, "slope_g"), Record(*(f"D's {n}" for n in D.named_parameters()))

    def d_step():
        x = Tensor(data(setup, noise, args.batch))
        fake = G(Tensor(noise.normal((args.batch, setup.latent))))
        loss, d = discriminator_loss(D, objective, x, fake.detach(), penalty=setup.penalty)
        gradients = grad(loss, D_optimizer.parameters)
        if not setup.at_once:
            D_optimizer.step(gradients)
        return fake, d, gradients

    def step():
        for _ in range(setup.d_steps):
            fake, d, d_gradients = d_step()
        loss, g = generator_loss(D, objective, fake)
        gradients = grad(loss, G_optimizer.parameters)
        if setup.at_once:  # each by where the other was
            D_optimizer.step(d_gradients)
        steep = evaluation.slope(gradients, G_optimizer.parameters)
        G_optimizer.step(gradients)
        record.add(d.loss, g.loss, d.real, d.fake, g.fake, steep)
        sizes.add(*(op.mean(p.detach() ** 2) for p in D.parameters()))
        return fake.detach()

    kinds = troubles.no_contest, troubles.vanished, troubles.repeats, troubles.too_few_numbers
    dimension = evaluation.intrinsic_dimension(real.numpy())
    measures = {"variety": lambda samples: evaluation.variety(samples, real)}
    measures |= {"rank": lambda _: evaluation.rank(G, z[:50]), "dimension": lambda _: dimension}
    told = dict.fromkeys([*kinds, troubles.swings(record)])
    watch = Watch(record, troubles=told, measures=measures, others=(sizes,), early=600)
    course = [(0, distance(G, z, real))]
    with Session(args, total=alone + steps, watch=watch) as session:
        for _ in session.steps(d_step, alone):
            pass
        for done in session.steps(step):
            if session.due(20):
                course.append((done - alone, distance(G, z, real)))
    with no_grad():
        points = G(z)
    line = f"W1 {distance(G, z, real):.3f}, variety {evaluation.variety(points, real).item():.0%}"
    line += f", spread {evaluation.diversity(points, real).item():.2f} of the data's"
    curve = "sliced $W_1$", *np.transpose(course)
    if setup.curve != "W1":
        curve = setup.curve, np.arange(1, len(record) + 1), record[setup.curve]
    end = partial(plots.draw_points, real=real.numpy(), points=points.numpy())
    return beside.Outcome(curve, line, watch.said, end, session.interrupted.status)


def data(setup, rng, n):
    """Eight modes on a ring, or normal points on a plane."""
    if setup.data == "ring":
        return Ring().sample(rng, n)
    points = rng.backend.xp.zeros((n, 16 if setup.data == "far" else 2), "float32")
    points[:, -1] = {"round": 0.0, "beside": 3.0, "far": 4.0}[setup.data]
    points[:, :2] += rng.normal((n, 2))
    return points


def distance(G, z, real) -> float:
    """Sliced W1 between G's samples and the data; NaN if the weights are lost."""
    with no_grad():
        points = G(z).numpy()
    if not np.isfinite(points).all():
        return np.nan
    return evaluation.sliced_wasserstein(points, real.numpy(), cpu.generator(0), directions=30)


def steepness(epsilon, D, real, fake):
    """0.1 E √(‖∇D(x)‖² + ε) at the data: without ε the root has no slope where D is flat."""
    x = tensor(real.data, requires_grad=True)
    (slope,) = grad(op.sum(D(x)), [x], create_graph=True)
    return 0.1 * op.mean(F.sqrt(op.sum(slope * slope, 1) + epsilon))


SURE = Setup("far", plain=True, lr_g=0.03, head_start=True)
FAST = Setup("far", lr_g=2e-4, d_steps=5, falling=False)
RING = Setup("ring", latent=16, lr_d=4e-3, longer=3)
ROUND = Setup("beside", plain=True, lr_g=0.05, lr_d=2e-3, longer=2, curve="d_real")
CHASE = {"at_once": True, "beta1": 0.9, "falling": False}
FLAT = Setup(flat=True)


def failure(words, provoked, sick, mended, well):
    return beside.Failure(words, provoked, partial(play, sick), mended, partial(play, well))


FAILURES = {
    "saturation": failure(
        "G's gradient has vanished",
        *("minimax loss against a sure D", SURE._replace(loss="minimax")),
        *("the non-saturating loss", SURE),
    ),
    "d-has-won": failure(
        "D has won",
        *("D five times as fast, five of its steps to one", FAST),
        *("one step each, at one falling rate", Setup("far")),
    ),
    "mode-collapse": failure(
        "mode collapse",
        *("z of 16 dimensions, D four times as fast", RING),
        *("the same, and D judges two samples as one", RING._replace(pack=2)),
    ),
    "oscillation": failure(
        "swings by",
        *("both move at once, D with momentum 0.9", ROUND._replace(**CHASE)),
        *("in turns, momentum 0.5, falling rates", ROUND),
    ),
    "nan-penalty": failure(
        "First in step 1: D's",
        *("a penalty without ε where D is flat", FLAT._replace(penalty=partial(steepness, 0.0))),
        *("ε under the root", FLAT._replace(penalty=partial(steepness, 1e-12))),
    ),
    "z-too-small": failure(
        "Give z more dimensions",
        *("z of one dimension for data of two", Setup(latent=1)),
        *("z of two dimensions", Setup()),
    ),
}

if __name__ == "__main__":
    run(main)
