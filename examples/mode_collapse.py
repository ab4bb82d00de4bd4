"""Mode collapse: the data have eight modes, G makes some of them. Why, and what helps how much.

    python examples/mode_collapse.py                  a ring of 8 modes, all of them found
    python examples/mode_collapse.py --latent 16 --lr-g 1e-3 --lr-d 1e-3 --steps 5000    some lost
    python examples/mode_collapse.py --latent 16 --lr-g 1e-3 --lr-d 1e-3 --steps 5000 --pack 2
    python examples/mode_collapse.py --data grid --loss wasserstein --steps 10000        25 modes
    python examples/mode_collapse.py --resume         go on with a run that was interrupted
    python examples/mode_collapse.py --table          all remedies over five seeds; goes on as well

The theory is a min over G of a max over D: D answers each G to the end, and the best G against such
a D has all modes. Training takes turns instead, and turns know no order: it may as well be a max
over D of a min over G (Goodfellow 2016, section 5.1.1). Against a D that stands still, the best G
puts all its samples where this D is largest, on one point. D comes after it and rejects the point,
G goes on to the next, and the two run in circles, or rest with modes missing. Nothing pushes
samples apart, because D judges one at a time: its gradient at a sample does not know whether the
others are elsewhere or in the same place. And a mode without samples has nobody to feel D's
gradient there.

The causes, and the remedies that attack each (minigan/remedies.py has their formulas):

    D judges one sample at a time     --pack, --minibatch-std, --minibatch-discrimination
    G answers the D of the moment     --unroll, --history; two time scales, --lr-g and --lr-d
    D is sure of itself: a cliff      --r1, --r2, --dragan, --gradient-penalty, --spectral-norm,
    around each mode, flat between    --instance-noise, --label-smoothing; --loss wasserstein
    G is a narrow map                 --dropout in G; and what z is, --latent, matters as well
    G circles                         --ema, an average of its weights; --feature-matching

A mode counts as recovered if one of 2,500 samples lies within 3σ of it, the usual rule, and as kept
by the strict rule if there are at least a tenth of its fair share. High quality is the share of
samples within 3σ of any mode. KL compares the shares of the modes with equal shares: it sees modes
that are rare, and goes on doing so where samples are not yet sharp.
"""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from minigan import (
    Tensor,
    cli,
    discriminator_step,
    generator_step,
    losses,
    nn,
    no_grad,
    optim,
    plots,
)
from minigan.data import Grid, Ring
from minigan.evaluation import metrics
from minigan.gan import LOST, Unrolling, penalties, remedies
from minigan.models import mlp
from minigan.nn import Dropout, LeakyReLU, Linear, ReLU, Sequential, SpectralNorm, he

SAMPLES = 2500  # to find modes in, as in all published tables


def parse(argv=None):
    p = cli.parser(
        "Mode collapse and its remedies.", steps=8000, out="runs/mode_collapse", resumable=True
    )
    add = p.add_argument
    add("--data", choices=("ring", "grid"), default="ring", help="8 or 25 Gaussians")
    add("--latent", type=cli.whole(1), default=2, help="dimensions of the noise z")
    add("--width", type=cli.whole(1), default=128, help="units in each of two hidden layers")
    add("--batch", type=cli.whole(2), default=256, help="samples in a batch")
    add("--loss", choices=sorted(losses.OBJECTIVES), default="non-saturating")
    add("--lr-g", type=cli.above(0), default=2e-3, help="G's learning rate")
    add("--lr-d", type=cli.above(0), default=2e-3, help="D's learning rate")
    add("--critic-steps", type=cli.whole(1), help="of D per step of G; wasserstein: 5, others: 1")
    add("--frames", type=cli.whole(1), default=40, help="how often to look, and to film")
    add("--quick", action="store_true", help="an eighth of the steps")
    add("--table", action="store_true", help="all remedies; goes on where it was interrupted")
    add("--seeds", type=cli.whole(1), default=5, help="with --table: runs of each")

    group = p.add_argument_group("remedies")
    add = group.add_argument
    add("--pack", type=cli.whole(1), default=1, help="samples that D judges as one")
    add("--minibatch-std", action="store_true", help="D sees how much a batch varies")
    add("--minibatch-discrimination", action="store_true", help="D sees how close samples are")
    add("--unroll", type=cli.whole(0), default=0, help="steps of D that G looks ahead")
    add("--history", type=cli.whole(0), default=0, help="past samples kept for half of D's batch")
    add("--r1", type=_weight, default=0.0, help="weight of a penalty on D's slope at data")
    add("--r2", type=_weight, default=0.0, help="the same at generated samples")
    add("--dragan", type=_weight, default=0.0, help="weight of a penalty around the data")
    add("--gradient-penalty", type=_weight, help="as in WGAN-GP; wasserstein: 0.1, others: 0")
    add("--spectral-norm", action="store_true", help="in all layers of D")
    add("--instance-noise", type=_weight, default=0.0, help="σ, falls to 0 by half of the steps")
    add("--label-smoothing", type=_weight, default=0.0, help="real samples count as 1 less this")
    add("--dropout", type=_weight, default=0.0, help="probability, in G while it trains")
    add("--feature-matching", type=_weight, default=0.0, help="weight, in G's loss")
    add("--ema", type=_weight, default=0.0, help="decay of the average of G that is sampled")
    args = cli.parse(p, argv)
    critic = args.loss == "wasserstein"
    if args.critic_steps is None:
        args.critic_steps = 5 if critic else 1
    if args.gradient_penalty is None:
        args.gradient_penalty = 0.1 if critic else 0.0
    return args


def _weight(text):
    """An argument type: a number that is at least 0."""
    return 0.0 if text == "0" else cli.above(0)(text)


# --- The two players -----------------------------------------------------------------------------


def generator(args, rng, noise) -> Sequential:
    """z (n, latent) -> points (n, 2)."""

    def activation():
        return Sequential(ReLU(), Dropout(args.dropout, rng=noise)) if args.dropout else ReLU()

    sizes = [args.latent, args.width, args.width, 2]
    return mlp(sizes, rng=rng, activation=activation, init=he(), name="G")


def discriminator(args, rng) -> Sequential:
    """Points (n, 2) -> outputs (n / pack, 1), with what makes it look at several samples."""

    def linear(inputs, outputs):
        layer = Linear(inputs, outputs, rng=rng, init=he(0.2))
        return SpectralNorm(layer, rng=rng) if args.spectral_norm else layer

    layers = [nn.Pack(args.pack)]
    layers += [linear(2 * args.pack, args.width), LeakyReLU()]
    layers += [linear(args.width, args.width), LeakyReLU()]
    features = args.width
    if args.minibatch_discrimination:
        layers.append(nn.MinibatchDiscrimination(features, 4, 3, rng=rng))
        features += 4
    if args.minibatch_std:
        layers.append(nn.MinibatchStd())
        features += 1
    return Sequential(*layers, linear(features, 1), name="D")


def d_penalty(args, rng):
    """What is added to D's loss: a function of (D, real, fake), or None."""
    chosen = [
        (args.r1, lambda: penalties.r1_penalty(weight=args.r1)),
        (args.r2, lambda: penalties.r2_penalty(weight=args.r2)),
        (args.dragan, lambda: penalties.dragan_penalty(rng, weight=args.dragan)),
        (
            args.gradient_penalty,
            lambda: penalties.gradient_penalty(rng, weight=args.gradient_penalty),
        ),
    ]
    terms = [make() for weight, make in chosen if weight]
    if not terms:
        return None
    return lambda D, real, fake: sum(penalty(D, real, fake) for penalty in terms)


def g_penalty(args):
    """What is added to G's loss: the distance of D's mean features, or None."""
    if not args.feature_matching:
        return None
    return lambda D, real, fake: (
        args.feature_matching * losses.feature_matching(D[:-1](real), D[:-1](fake))
    )


class Game:
    """The two players, all that moves them, and what is kept of a run."""

    def __init__(self, args, backend):
        _check(args)
        self.args, self.backend = args, backend
        self.data = Ring() if args.data == "ring" else Grid()
        # The networks see numbers of order one: x = scale · (what they see).
        self.scale = 1.0 if args.data == "ring" else 2 * math.sqrt(2)
        weights, self.noise, fixed = backend.generator(args.seed).spawn(3)
        self.G, self.D = generator(args, weights, self.noise), discriminator(args, weights)
        self.objective = objective(args)
        self.d_penalty, self.g_penalty = d_penalty(args, self.noise), g_penalty(args)

        # Rates that fall to 0: two players who keep moving never settle.
        betas = (0.5, 0.9) if args.loss == "wasserstein" else (0.5, 0.999)
        g_rate = optim.linear_decay(args.lr_g, args.steps)
        d_rate = optim.linear_decay(args.lr_d, args.steps * args.critic_steps)
        self.G_optimizer = optim.Adam(self.G, g_rate, betas=betas)
        self.D_optimizer = optim.Adam(self.D, d_rate, betas=betas)
        self.average = optim.EMA(self.G, args.ema)  # without --ema a copy of G

        self.z = Tensor(fixed.normal((SAMPLES, args.latent)))
        self.company = self.data.sample(fixed, args.batch) / self.scale
        self.record = cli.Record("loss_d", "loss_g")
        self.scores = cli.Record("step", *metrics.Modes._fields[:4])
        names = ("G", "D", "G_optimizer", "D_optimizer", "average", "noise", "record", "scores")
        self.parts = {name: getattr(self, name) for name in names}
        self._add_remedies()
        self.step = backend.capture(self.play)  # on a GPU: recorded once, then replayed

    def _add_remedies(self):
        """Those that keep something from step to step; the others are None."""
        args, self.instance_noise, self.history, self.unrolling = self.args, None, None, None
        if args.instance_noise:
            half = max(1, args.steps // 2)
            sigma = optim.linear_decay(args.instance_noise, half, start=0)
            self.instance_noise = remedies.InstanceNoise(sigma, rng=self.noise)
            self.parts["instance_noise"] = self.instance_noise
        if args.history:
            with no_grad():
                first = self.G(Tensor(self.noise.normal((args.history, args.latent))))
            self.history = remedies.History(first, rng=self.noise)
            self.parts["history"] = self.history
        if args.unroll:
            self.unrolling = Unrolling(
                *(self.D, self.D_optimizer, self.objective),
                steps=args.unroll,
                penalty=self.d_penalty,
            )

    def play(self):
        """One training step: D's moves, then G's."""
        if self.instance_noise:
            self.instance_noise.advance()
        for _ in range(self.args.critic_steps):
            real = self.shown(Tensor(self.data.sample(self.noise, self.args.batch) / self.scale))
            fake = self.G(Tensor(self.noise.normal((self.args.batch, self.args.latent))))
            judged = self.shown(self.history.mix(fake) if self.history else fake)
            d = discriminator_step(
                *(self.D, self.D_optimizer, self.objective, real, judged), penalty=self.d_penalty
            )
        fake = self.shown(fake)
        if self.unrolling:
            g = self.unrolling.generator_step(self.G_optimizer, real, fake)
        else:
            g = generator_step(
                *(self.D, self.G_optimizer, self.objective, fake),
                real=real,
                penalty=self.g_penalty,
            )
        self.average.update()
        self.record.add(d.loss, g.loss)

    def shown(self, x: Tensor) -> Tensor:
        """What D sees of the points x."""
        return self.instance_noise(x) if self.instance_noise else x

    def healthy(self) -> bool:
        return bool(np.isfinite(self.record.rows()[-1]).all())

    def samples(self) -> np.ndarray:
        """G's points for the fixed z, in the data's units (2500, 2)."""
        with no_grad():
            return self.average.network(self.z).numpy() * self.scale

    def modes(self) -> metrics.Modes:
        return metrics.modes(self.samples(), self.data.centres, self.data.std)

    def verdicts(self, points) -> np.ndarray:
        """D's score at each point (n, 2), in the data's units; (n,).

        A D that judges several samples at once is shown each point among real ones.
        """
        pack, backend = self.args.pack, self.backend
        statistics = self.args.minibatch_std or self.args.minibatch_discrimination
        group = min(8 * pack, len(self.company) // pack * pack) if statistics else pack
        each = len(self.company) // group
        points, found = backend.asarray(points / self.scale, "float32"), []
        for start in range(0, len(points), each):
            some = points[start : start + each]
            batch = self.company[: each * group].copy()
            batch[: len(some) * group : group] = some
            with no_grad():
                score = self.objective.score(self.D(Tensor(batch)))
            found.append(score.numpy()[:: group // pack, 0][: len(some)])
        return np.concatenate(found)


def objective(args) -> losses.Objective:
    make = losses.OBJECTIVES[args.loss]
    if not args.label_smoothing:
        return make()
    try:
        return make(real_label=1 - args.label_smoothing)
    except TypeError:
        raise cli.OptionError(f"--label-smoothing: the {args.loss} loss has no labels") from None


def _check(args):
    """OptionError for options that are out of range or do not go together."""
    if args.dropout >= 1:
        raise cli.OptionError(f"--dropout {args.dropout:g}: want a probability below 1")
    if args.label_smoothing >= 1:
        raise cli.OptionError(f"--label-smoothing {args.label_smoothing:g}: want less than 1")
    if args.batch % args.pack:
        raise cli.OptionError(f"--batch {args.batch} can't be packed by --pack {args.pack}")
    half = args.batch // 2
    if args.history and (args.batch % 2 or args.history % half):
        raise cli.OptionError(
            f"--history {args.history}: want an even --batch, and a multiple of its half"
        )
    if args.unroll and args.feature_matching:
        raise cli.OptionError("--unroll and --feature-matching: each replaces G's step")


# --- One run -------------------------------------------------------------------------------------


def main(argv=None):
    args = parse(argv)
    if args.table:
        return table(sys.argv[1:] if argv is None else argv)
    if args.quick and not args.resume:
        args.steps = max(1, args.steps // 8)
    backend = cli.device(args)
    with cli.building():
        game = Game(args, backend)
    cli.make_folder(args.out)
    picture = Picture(game)
    film = game.parts["film"] = plots.Film(picture.frame(0))
    kept = cli.Checkpoint(args, game.parts, data=args.data)
    start = done = kept.resume()
    every, began, healthy = max(1, args.steps // args.frames), time.perf_counter(), True
    with cli.Interrupt() as interrupted, cli.Progress(args.steps, start) as progress:
        while done < args.steps and healthy and not interrupted:
            game.step()
            done += 1
            progress.advance()
            look_due = done % every == 0 or done == args.steps
            if look_due or interrupted:
                healthy = game.healthy()
            if healthy and look_due:
                now = game.modes()
                game.scores.add(done, *now[:4])
                film.add(picture.frame(done))
                progress.show(summary(now))
            if healthy and (done % (8 * every) == 0 or done == args.steps or interrupted):
                kept.save(done)

    if not healthy:
        print(f"step {done}: {LOST}")
        return 1
    film.save_gif(args.out / "training.gif")
    file = plots.save_figure(result(game), args.out / "result.png")
    print(
        f"{args.data}, z = {args.latent}, seed {args.seed}: {summary(game.modes())}  "
        f"({done:,} steps, {time.perf_counter() - began:.1f} s; picture: {file})"
    )
    if kept.saved != done > start:
        kept.save(done)
    if interrupted and kept.saved == done < args.steps:
        print("interrupted and saved: go on with --resume")
    return interrupted.status


def summary(found: metrics.Modes) -> str:
    count = len(found.counts)
    return (
        f"modes {found.recovered}/{count}, strict {found.strict}/{count}, "
        f"high quality {found.high_quality:.1%}, KL {found.kl:.3f}"
    )


HEAT = LinearSegmentedColormap.from_list("D", ["#ffffff", "#4aa3d8"])


class Picture:
    """G's points and the true modes, over D's heat map."""

    CELLS = 48

    def __init__(self, game):
        self.game = game
        self.reach = 1.25 * np.abs(game.data.centres).max() + 0.15
        ticks = (np.arange(self.CELLS) + 0.5) / self.CELLS * 2 * self.reach - self.reach
        self.points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)

    def frame(self, step) -> np.ndarray:
        """One frame of the film, as pixels."""
        with rc_context(plots.STYLE):
            figure = Figure(figsize=(3.6, 3.8), dpi=100)
            panel = figure.add_axes((0.01, 0.01, 0.98, 0.92))
            self.draw(panel, f"step {step:,}")
        return plots.frame(figure)

    def draw(self, panel, title):
        game, extent = self.game, (-self.reach, self.reach) * 2
        heat = game.verdicts(self.points).reshape(self.CELLS, self.CELLS)
        low, high = (0, 1) if game.objective.probabilistic else (heat.min(), heat.max())
        panel.imshow(heat, HEAT, origin="lower", extent=extent, vmin=low, vmax=high)
        scatter(panel, game.samples(), game.data.centres, self.reach)
        panel.set_title(title, loc="left")


def scatter(panel, samples, centres, reach, size=3):
    """G's points, and a ring around each true mode."""
    panel.scatter(*samples.T, s=size, color=plots.P_G, alpha=0.4, lw=0, label="G(z)")
    panel.scatter(*centres.T, s=70, facecolors="none", edgecolors=plots.P_DATA, lw=0.8)
    panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set(visible=True, color=plots.GUIDE)


def result(game) -> Figure:
    """The end of a run, its losses, and the modes it had on the way."""
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(10, 4.6), dpi=100, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[4.4, 5.6])
        found = game.modes()
        Picture(game).draw(left.subplots(), f"{found.strict} of {len(found.counts)} modes kept")
        left.supxlabel("black: true modes, green: samples, blue: where D says real", size=9)
        upper, lower = right.subplots(2, 1, sharex=True)
        steps = np.arange(1, len(game.record) + 1)
        for name, label, color in (("loss_d", "D", plots.D), ("loss_g", "G", plots.P_G)):
            smooth = plots.moving_average(game.record[name])
            upper.plot(steps, smooth, color=color, label=f"loss of {label}")
        upper.set_ylabel("loss")
        upper.legend(loc="upper right", ncols=2)
        counts, share = game.scores["strict"], game.scores["high_quality"]
        lower.plot(game.scores["step"], counts, color=plots.P_DATA, label="modes kept, strict")
        lower.set(xlabel="training step", ylabel="modes", ylim=(0, 1.05 * len(found.counts)))
        other = lower.twinx()
        other.plot(game.scores["step"], 100 * share, color=plots.P_G, label="high quality")
        other.set_ylabel("high quality, %", color=plots.P_G)
        other.spines["right"].set_visible(True)
        other.set_ylim(0, 105)
    return figure


# --- The table -----------------------------------------------------------------------------------

# A setting in which a GAN without remedies loses modes.
TABLE = ["--latent", "16", "--lr-g", "1e-3", "--lr-d", "1e-3", "--steps", "5000"]

REMEDIES = {
    "none": "",
    "packing, 2": "--pack 2",
    "packing, 4": "--pack 4",
    "minibatch std": "--minibatch-std",
    "minibatch discrimination": "--minibatch-discrimination",
    "unrolling, 5": "--unroll 5",
    "history": "--history 2048",
    "a faster D": "--lr-d 4e-3",
    "a faster G": "--lr-g 4e-3",
    "R1": "--r1 0.1",
    "R2": "--r2 0.1",
    "DRAGAN": "--dragan 0.1",
    "hinge": "--loss hinge",
    "spectral norm, hinge": "--spectral-norm --loss hinge",
    "instance noise": "--instance-noise 0.3",
    "label smoothing": "--label-smoothing 0.1",
    "dropout in G": "--dropout 0.1",
    "feature matching": "--feature-matching 0.01",
    "average of G": "--ema 0.999",
    "WGAN-GP": "--loss wasserstein",
}

# Modes recovered, high quality in %, KL: other networks and settings, and they contradict each
# other. From the VEEGAN and the PacGAN papers (Srivastava et al. 2017, Lin et al. 2018).
PUBLISHED = {
    "ring": {
        "none": "6.3 / 98.2 / 0.45 (PacGAN), 1 / 99.3 (VEEGAN)",
        "packing, 2": "7.9 / 95.6 / 0.07 (PacGAN)",
        "packing, 4": "7.8 / 95.9 / 0.07 (PacGAN)",
        "unrolling, 5": "7.6 / 35.6 (VEEGAN)",
    },
    "grid": {
        "none": "17.3 / 94.8 / 0.70 (PacGAN), 3.3 / 0.5 (VEEGAN)",
        "packing, 2": "23.8 / 91.3 / 0.13 (PacGAN)",
        "packing, 4": "24.8 / 93.6 / 0.04 (PacGAN)",
        "unrolling, 5": "23.6 / 16 (VEEGAN)",
    },
}


def table(argv):
    """Every remedy with several seeds; what has been run before, with these options, is kept."""
    args = parse([*TABLE, *argv])
    quick = ["--steps", str(max(1, args.steps // 8))] if args.quick else []
    names = list(REMEDIES)[:2] if args.quick else list(REMEDIES)
    backend = cli.device(args)
    cli.make_folder(args.out)
    results = Results(args.out / "table.json")
    runs = []
    for seed in range(args.seeds):  # all remedies once, then again: a table is there early
        for name in names:
            seeded = [*REMEDIES[name].split(), *quick, "--seed", str(seed)]
            runs.append((name, seed, parse([*TABLE, *argv, *seeded])))
    for _, _, options in runs:  # before an hour has passed
        _check(options)
        objective(options)
    missing = [run for run in runs if not results.holds(*run)]
    with cli.Interrupt() as interrupted, cli.Progress(sum(run[2].steps for run in missing)) as bar:
        for name, seed, options in missing:
            bar.show(f"{name}, seed {seed}")
            with cli.building():
                game = Game(options, backend)
            began = time.perf_counter()
            for _ in range(options.steps):
                game.step()
                bar.advance()
                if interrupted:
                    break
            if interrupted:
                break
            results.add(name, seed, options, game, time.perf_counter() - began)
    rows = results.rows(runs)
    if rows:
        print_table(rows, args)
        file = plots.save_figure(table_picture(rows, args), args.out / "table.png")
        kept = sum(len(runs) for runs in rows.values())
        print(f"{kept} of {len(runs)} runs, kept in {results.path}; picture: {file}")
    if interrupted:
        print("interrupted: the same command goes on")
    return interrupted.status


class Results:
    """What each run found, by remedy and seed, in a file that is written after every run."""

    def __init__(self, path):
        self.path = path
        try:
            self.runs = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.runs = {}
        except ValueError as error:
            raise cli.OptionError(f"{path} is damaged ({error}): remove it") from error

    def holds(self, name, seed, options) -> bool:
        """Whether there is a run with these very options."""
        run = self.runs.get(f"{name}/{seed}")
        return run is not None and run["options"] == self._wanted(options)

    def add(self, name, seed, options, game, seconds):
        found = None
        if game.healthy():
            modes = game.modes()
            found = dict(zip(modes._fields[:4], map(float, modes[:4]), strict=True))
            found["samples"] = game.samples()[:400].round(3).tolist()
        run = {"options": self._wanted(options), "seconds": round(seconds, 1), "found": found}
        self.runs[f"{name}/{seed}"] = run
        cli.save_json(self.path, self.runs)

    def rows(self, runs) -> dict[str, list]:
        """The runs that there are, of each remedy."""
        rows = {}
        for name, seed, options in runs:
            if self.holds(name, seed, options):
                rows.setdefault(name, []).append(self.runs[f"{name}/{seed}"])
        return rows

    @staticmethod
    def _wanted(options) -> dict:
        """The options that decide how a run goes, as JSON would give them back."""
        ignored = ("table", "seeds", "frames", "quick")
        return {k: v for k, v in cli.saved_options(options).items() if k not in ignored}


def mean_and_interval(values, scale=1.0, digits=1) -> str:
    """The mean ± the 95% interval's half width; of one value, the value."""
    values = scale * np.array(values)
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    mean, half = metrics.confidence_interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def print_table(rows, args):
    published = PUBLISHED[args.data]
    print(f"{args.data}, z = {args.latent}; means over seeds ± 95% intervals")
    print(
        f"{'':26}{'recovered':>11}{'kept (strict)':>15}{'high quality %':>16}{'KL, nats':>16}"
        f"{'s':>6}   published, elsewhere: recovered / high quality % / KL"
    )
    for name, runs in rows.items():
        found = [run["found"] for run in runs if run["found"]]
        lost = len(runs) - len(found)
        line = f"{name:26}"
        if found:
            line += f"{mean_and_interval([f['recovered'] for f in found]):>11}"
            line += f"{mean_and_interval([f['strict'] for f in found]):>15}"
            line += f"{mean_and_interval([f['high_quality'] for f in found], 100):>16}"
            line += f"{mean_and_interval([f['kl'] for f in found], digits=3):>16}"
            line += f"{np.mean([run['seconds'] for run in runs]):6.0f}"
        line += f"   {published[name]}" if name in published else ""
        print(line + (f"   {lost} of {len(runs)} runs ended in NaN" if lost else ""))


def table_picture(rows, args) -> Figure:
    """For each remedy the samples of its run with the middle KL, and its means over the seeds."""
    data = Ring() if args.data == "ring" else Grid()
    reach = 1.2 * np.abs(data.centres).max() + 0.1
    columns = min(7, max(1, len(rows)))
    with rc_context(plots.STYLE):
        count = math.ceil(len(rows) / columns)
        figure = Figure(figsize=(1.85 * columns, 2.3 * count), dpi=100, layout="constrained")
        panels = figure.subplots(count, columns, squeeze=False).ravel()
        for panel in panels[len(rows) :]:
            panel.set_axis_off()
        for panel, (name, runs) in zip(panels, rows.items(), strict=False):
            found = sorted((run["found"] for run in runs if run["found"]), key=lambda f: f["kl"])
            samples = found[len(found) // 2]["samples"] if found else np.zeros((0, 2))
            scatter(panel, np.array(samples), data.centres, reach, size=6)
            panel.set_title(name, loc="left", size=8.8, weight="bold")
            if found:
                kept, kl = (np.mean([f[key] for f in found]) for key in ("strict", "kl"))
                panel.set_xlabel(f"{kept:.1f} modes kept, KL {kl:.3f}", size=8.5)
    return figure


if __name__ == "__main__":
    cli.run(main)
