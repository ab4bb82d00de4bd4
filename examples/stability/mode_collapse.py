"""Mode collapse: the data have eight modes, and G may end up making some of them only.

The theory is a min over G of a max over D: D answers each G to the end, and the best G against such
a D has all modes. Training takes turns instead, and turns know no order: it may as well be a max
over D of a min over G (Goodfellow 2016, section 5.1.1). Against a D that stands still, the best G
puts all its samples on one point, where this D is largest: give G many --answers and see. Nothing
pushes samples apart, as D judges one at a time; with --pack it sees several that are alike.

    python examples/stability/mode_collapse.py                        a ring of 8 modes, all found
    python examples/stability/mode_collapse.py --latent 16 --lr-g 1e-3 --lr-d 1e-3 --steps 5000
        loses some of them, and with --pack 2 none
    python examples/stability/mode_collapse.py --answers 20 --steps 1500     max min: one point
    python examples/stability/mode_collapse.py --data grid --loss wasserstein --steps 10000

It writes result.png, training.gif and a checkpoint, for --resume.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import Tensor, discriminator_step, generator_step, losses, nn, no_grad, optim, plots
from minigan.data import Grid, Ring
from minigan.evaluation import Modes, modes
from minigan.gan.penalties import gradient_penalty
from minigan.models import mlp
from minigan.training import OptionError, Record, Session, Watch, options, run

SAMPLES = 2500  # to find modes in, as in all published tables


def parse(argv=None):
    p = options.parser(
        "Mode collapse, and packing against it.",
        steps=8000,
        out="runs/mode_collapse",
        resumable=True,
        parallel=True,
        quick={"steps": lambda steps: max(1, steps // 8)},
    )
    add = p.add_argument
    add("--data", choices=("ring", "grid"), default="ring", help="8 or 25 Gaussians")
    add("--loss", choices=sorted(losses.OBJECTIVES), default="non-saturating")
    options.shared(p, batch=256, latent=2, lr_g=2e-3, lr_d=2e-3)
    add("--critic-steps", type=options.whole(1), help="of D per step of G; wasserstein: 5, else 1")
    add("--answers", type=options.whole(1), default=1, help="of G to each D: many make it max min")
    add("--width", type=options.whole(1), default=128, help="units in each of two hidden layers")
    add("--pack", type=options.whole(1), default=1, help="samples that D judges as one")
    add("--frames", type=options.whole(1), default=40, help="how often to look, and to film")
    args = options.parse(p, argv)
    if args.critic_steps is None:
        args.critic_steps = 5 if args.loss == "wasserstein" else 1
    if options.share(args) % args.pack:
        raise OptionError(f"--batch {args.batch} can't be packed by --pack {args.pack}")
    return args


def main(argv=None):
    args = parse(argv)
    backend, critic = options.device(args), args.loss == "wasserstein"
    density = Ring() if args.data == "ring" else Grid()
    # The networks see numbers of order one: x = scale · (what they see).
    scale = 1.0 if args.data == "ring" else 2 * math.sqrt(2)
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    objective, share = losses.OBJECTIVES[args.loss](), options.share(args)
    with options.building():
        G = generator(args, weights)
        D = discriminator(args, weights)
        penalty = gradient_penalty(noise, weight=0.1) if critic else None
        # Rates that fall to 0: two players who keep moving never settle.
        betas = (0.5, 0.9) if critic else (0.5, 0.999)
        # But of many answers each goes to its end.
        G_rate = optim.linear_decay(args.lr_g, args.steps) if args.answers == 1 else args.lr_g
        G_optimizer = optim.Adam(G, G_rate, betas=betas)
        D_rate = optim.linear_decay(args.lr_d, args.steps * args.critic_steps)
        D_optimizer = optim.Adam(D, D_rate, betas=betas)
        z = Tensor(fixed.normal((SAMPLES, args.latent)))
        company = density.sample(fixed, args.batch) / scale
    record, scores = Record("loss_d", "loss_g"), Record("step", *Modes._fields[:4])

    def step():
        for _ in range(args.critic_steps):
            # (1) D: tell the data's points from G's
            real = Tensor(density.sample(noise, share) / scale)
            fake = G(Tensor(noise.normal((share, args.latent))))
            d = discriminator_step(D, D_optimizer, objective, real, fake, penalty=penalty)

        # (2) G: make the D that has just moved take its points for the data's
        g = generator_step(D, G_optimizer, objective, fake, real=real)
        for _ in range(args.answers - 1):
            fake = G(Tensor(noise.normal((share, args.latent))))
            g = generator_step(D, G_optimizer, objective, fake, real=real)
        record.add(d.loss, g.loss)

    def samples():
        """G's points for the fixed z, in the data's units (2500, 2)."""
        with no_grad():
            return G(z).numpy() * scale

    def draw(panel, title):
        """G's points and the true modes, over D's heat map."""
        places = backend.asarray(plots.heat_points(density.centres) / scale, "float32")
        heat = verdicts(D, objective, places, company, args.pack)
        limits = (0, 1) if objective.probabilistic else None
        plots.draw_modes(panel, samples(), density.centres, heat=heat, limits=limits)
        panel.set_title(title, loc="left")

    def picture(done):
        """One frame of the film, as pixels."""
        with rc_context(plots.STYLE):
            figure = Figure(figsize=(3.6, 3.8), dpi=plots.DPI)
            draw(figure.add_axes((0.01, 0.01, 0.98, 0.92)), f"step {done:,}")
        return plots.frame(figure)

    film = plots.Film(picture(0))
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"noise": noise, "record": record, "scores": scores, "film": film}
    every = max(1, args.steps // args.frames)
    watch = Watch(record, every=every)
    with Session(args, parts, about=args.data, watch=watch, every=8 * every) as session:
        for done in session.steps(step):
            if session.due(every):
                found = modes(samples(), density.centres, density.std)
                scores.add(done, *found[:4])
                film.add(picture(done))
                session.progress.show(summary(found))

    if not session.lost:
        found = modes(samples(), density.centres, density.std)
        film.save_gif(args.out / "training.gif")
        file = plots.save_figure(result(draw, record, scores, found), args.out / "result.png")
        print(
            f"{args.data}, z = {args.latent}, seed {args.seed}: {summary(found)}; picture: {file}"
        )
    return session.status


def generator(args, rng) -> nn.Sequential:
    """z (n, latent) -> points (n, 2)."""
    sizes = [args.latent, args.width, args.width, 2]
    return mlp(sizes, rng=rng, activation=nn.ReLU, init=nn.he(), name="G")


def discriminator(args, rng) -> nn.Sequential:
    """Points (n, 2) -> outputs (n / pack, 1)."""
    judge = mlp([2 * args.pack, args.width, args.width, 1], rng=rng)
    return nn.Sequential(nn.Pack(args.pack), *judge, name="D")


def verdicts(D, objective, places, company, pack) -> np.ndarray:
    """D's score at each of the places (n, 2), (n,); a D that packs is shown each among real points.

    company: real points, (batch, 2).
    """
    packs, order = company.reshape(-1, 2 * pack), D.flat().backend.xp.arange(len(places))
    packs = packs.take(order % len(packs), axis=0)
    packs[:, :2] = places
    with no_grad():
        return objective.score(D[1:](Tensor(packs))).numpy()[:, 0]


def summary(found: Modes) -> str:
    count = len(found.counts)
    return (
        f"modes {found.recovered}/{count}, strict {found.strict}/{count}, "
        f"high quality {found.high_quality:.1%}, KL {found.kl:.3f}"
    )


def result(draw, record, scores, found) -> Figure:
    """The end of a run, its losses, and the modes it had on the way."""
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(10, 4.6), dpi=plots.DPI, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[4.4, 5.6])
        draw(left.subplots(), f"{found.strict} of {len(found.counts)} modes kept")
        left.supxlabel("black: true modes, green: samples, blue: where D says real", size=9)
        upper, lower = right.subplots(2, 1, sharex=True)
        steps = np.arange(1, len(record) + 1)
        for name, label, color in (("loss_d", "D", plots.D), ("loss_g", "G", plots.P_G)):
            smooth = plots.moving_average(record[name])
            upper.plot(steps, smooth, color=color, label=f"loss of {label}")
        upper.set_ylabel("loss")
        upper.legend(loc="upper right", ncols=2)
        lower.plot(scores["step"], scores["strict"], color=plots.P_DATA)
        lower.set(xlabel="training step", ylabel="modes", ylim=(0, 1.05 * len(found.counts)))
        other = lower.twinx()
        other.plot(scores["step"], 100 * scores["high_quality"], color=plots.P_G)
        other.set_ylabel("high quality, %", color=plots.P_G)
        other.spines["right"].set_visible(True)
        other.set_ylim(0, 105)
    return figure


if __name__ == "__main__":
    run(main)
