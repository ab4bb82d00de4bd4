"""What each remedy does about mode collapse: a table, every remedy over several seeds.

The setting is one in which a GAN without remedies loses modes. What goes wrong, and what attacks it
(the formulas are in minigan/gan and minigan/nn/minibatch.py):

    D judges one sample at a time     --pack, --minibatch-std, --minibatch-discrimination
    G answers the D of the moment     --unroll, --history; two time scales, --lr-g and --lr-d
    D is sure of itself: a cliff      --r1, --r2, --dragan, --gradient-penalty, --spectral-norm,
    around each mode, flat between    --instance-noise, --label-smoothing; --loss wasserstein
    G is a narrow map, or circles     --dropout in G; --ema, --feature-matching

    python examples/stability/remedies_table.py     goes on if it was interrupted
    python examples/stability/remedies_table.py --only "packing, 2" --seeds 1      one remedy, once
    python examples/stability/remedies_table.py --only none --pack 2 --r1 0.5      any other mixture
"""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, nn, no_grad, optim, plots
from minigan.data import Grid, Ring
from minigan.evaluation import confidence_interval, modes
from minigan.gan import History, InstanceNoise, Unrolling, penalties
from minigan.models import mlp
from minigan.training import OptionError, Record, Session, make_folder, options, run, save_json

SAMPLES = 2500  # to find modes in, as in all published tables

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


def parse(argv=None):
    p = options.parser(
        "Mode collapse: what each remedy does about it.",
        steps=5000,
        out="runs/remedies_table",
        quick={"steps": lambda steps: max(1, steps // 8)},
    )
    add = p.add_argument
    only = "one of the table's, alone; may stand again"
    add("--only", action="append", choices=REMEDIES, metavar="REMEDY", help=only)
    add("--seeds", type=options.whole(1), default=5, help="runs of each, from --seed on")
    add("--data", choices=("ring", "grid"), default="ring", help="8 or 25 Gaussians")
    add("--width", type=options.whole(1), default=128, help="units in each of two hidden layers")
    options.shared(p, batch=256, latent=16)

    group = p.add_argument_group("remedies", "what stands here is added to each row")
    add = group.add_argument
    add("--loss", choices=sorted(losses.OBJECTIVES), default="non-saturating")
    options.shared(group, lr_g=1e-3, lr_d=1e-3)
    add("--critic-steps", type=options.whole(1), help="of D per step of G; wasserstein: 5, else 1")
    add("--pack", type=options.whole(1), default=1, help="samples that D judges as one")
    add("--minibatch-std", action="store_true", help="D sees how much a batch varies")
    add("--minibatch-discrimination", action="store_true", help="D sees how close samples are")
    add("--unroll", type=options.whole(0), default=0, help="steps of D that G looks ahead")
    add("--history", type=options.whole(0), default=0, help="past samples for half of D's batch")
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
    args = options.parse(p, argv)
    critic = args.loss == "wasserstein"
    if args.critic_steps is None:
        args.critic_steps = 5 if critic else 1
    if args.gradient_penalty is None:
        args.gradient_penalty = 0.1 if critic else 0.0
    _check(args)
    return args


def _weight(text):
    """An argument type: a number that is at least 0."""
    return 0.0 if text == "0" else options.above(0)(text)


def _check(args):
    """OptionError for options that are out of range or do not go together."""
    if args.dropout >= 1:
        raise OptionError(f"--dropout {args.dropout:g}: want a probability below 1")
    if args.label_smoothing >= 1:
        raise OptionError(f"--label-smoothing {args.label_smoothing:g}: want less than 1")
    if args.batch % args.pack:
        raise OptionError(f"--batch {args.batch} can't be packed by --pack {args.pack}")
    half = args.batch // 2
    if args.history and (args.batch % 2 or args.history % half):
        raise OptionError(
            f"--history {args.history}: want an even --batch, and a multiple of its half"
        )
    if args.unroll and args.feature_matching:
        raise OptionError("--unroll and --feature-matching: each replaces G's step")


# --- The game, with all remedies -----------------------------------------------------------------


def generator(args, rng, noise) -> nn.Sequential:
    """z (n, latent) -> points (n, 2)."""

    def activation():
        dropout = [nn.Dropout(args.dropout, rng=noise)] if args.dropout else []
        return nn.Sequential(nn.ReLU(), *dropout)

    sizes = [args.latent, args.width, args.width, 2]
    return mlp(sizes, rng=rng, activation=activation, init=nn.he(), name="G")


def discriminator(args, rng) -> nn.Sequential:
    """Points (n, 2) -> outputs (n / pack, 1), with what makes it look at several samples."""

    def linear(inputs, outputs):
        layer = nn.Linear(inputs, outputs, rng=rng, init=nn.he(0.2))
        return nn.SpectralNorm(layer, rng=rng) if args.spectral_norm else layer

    layers = [nn.Pack(args.pack), linear(2 * args.pack, args.width), nn.LeakyReLU()]
    layers += [linear(args.width, args.width), nn.LeakyReLU()]
    features = args.width
    if args.minibatch_discrimination:
        layers.append(nn.MinibatchDiscrimination(features, 4, 3, rng=rng))
        features += 4
    if args.minibatch_std:
        layers.append(nn.MinibatchStd())
        features += 1
    return nn.Sequential(*layers, linear(features, 1), name="D")


def objective(args) -> losses.Objective:
    make = losses.OBJECTIVES[args.loss]
    if not args.label_smoothing:
        return make()
    try:
        return make(real_label=1 - args.label_smoothing)
    except TypeError:
        raise OptionError(f"--label-smoothing: the {args.loss} loss has no labels") from None


def d_penalty(args, rng):
    """What is added to D's loss: a function of (D, real, fake), or None."""
    terms = []
    if args.r1:
        terms.append(penalties.r1_penalty(weight=args.r1))
    if args.r2:
        terms.append(penalties.r2_penalty(weight=args.r2))
    if args.dragan:
        terms.append(penalties.dragan_penalty(rng, weight=args.dragan))
    if args.gradient_penalty:
        terms.append(penalties.gradient_penalty(rng, weight=args.gradient_penalty))
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
    """The two players and all that moves them; what keeps something between steps is None if off.

    OptionError or ValueError for options that it can't be built from.
    """

    def __init__(self, args, backend):
        self.args, self.data = args, Ring() if args.data == "ring" else Grid()
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
        self.record = Record("loss_d", "loss_g")

        self.instance_noise = self.history = self.unrolling = None
        if args.instance_noise:
            half = max(1, args.steps // 2)
            sigma = optim.linear_decay(args.instance_noise, half, start=0)
            self.instance_noise = InstanceNoise(sigma, rng=self.noise)
        if args.history:
            with no_grad():
                first = self.G(Tensor(self.noise.normal((args.history, args.latent))))
            self.history = History(first, rng=self.noise)
        if args.unroll:
            answers = self.D, self.D_optimizer, self.objective
            self.unrolling = Unrolling(*answers, steps=args.unroll, penalty=self.d_penalty)

    def play(self):
        """One training step: D's moves, then G's."""
        args, D, objective = self.args, self.D, self.objective
        if self.instance_noise:
            self.instance_noise.advance()
        for _ in range(args.critic_steps):
            real = self.shown(Tensor(self.data.sample(self.noise, args.batch) / self.scale))
            fake = self.G(Tensor(self.noise.normal((args.batch, args.latent))))
            judged = self.shown(self.history.mix(fake) if self.history else fake)
            d = discriminator_step(
                D, self.D_optimizer, objective, real, judged, penalty=self.d_penalty
            )
        fake = self.shown(fake)
        if self.unrolling:
            g = self.unrolling.generator_step(self.G_optimizer, real, fake)
        else:
            g = generator_step(
                D, self.G_optimizer, objective, fake, real=real, penalty=self.g_penalty
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


# --- The table -----------------------------------------------------------------------------------


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    runs = asked_for(args, sys.argv[1:] if argv is None else argv)
    with options.building():  # all of them once, before an hour has passed
        for _, _, settings in runs[: len(runs) // args.seeds]:
            Game(settings, backend)
    make_folder(args.out)
    results = Results(args.out / "table.json")
    missing = [run for run in runs if not results.holds(*run)]
    with Session(args, total=sum(settings.steps for _, _, settings in missing)) as session:
        for name, seed, settings in missing:
            session.progress.show(f"{name}, seed {seed}")
            game, began = Game(settings, backend), time.perf_counter()
            for _ in session.steps(game.play, settings.steps):
                pass
            if session.interrupted:
                break
            results.add(name, seed, settings, game, time.perf_counter() - began)
    rows = results.rows(runs)
    if rows:
        print_table(rows, args)
        centres = (Ring() if args.data == "ring" else Grid()).centres
        figure = plots.modes_side_by_side(pictured(rows), centres)
        file = plots.save_figure(figure, args.out / "table.png")
        kept = sum(len(found) for found in rows.values())
        print(f"{kept} of {len(runs)} runs, kept in {results.path}; picture: {file}")
    if session.interrupted:
        print("the same command goes on")
    return session.status


def asked_for(args, argv) -> list[tuple]:
    """The runs (name, seed, options): all remedies once, then again, so that a table is early."""
    names = [name for name in REMEDIES if not args.only or name in args.only]
    names = names[:2] if args.quick else names
    return [
        (name, seed, parse([*argv, *REMEDIES[name].split(), "--seed", str(seed)]))
        for seed in range(args.seed, args.seed + args.seeds)
        for name in names
    ]


class Results:
    """What each run found, by remedy and seed, in a file that is written after every run."""

    def __init__(self, path):
        self.path = path
        try:
            self.runs = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(self.runs, dict):
                raise ValueError("it holds no runs")
        except FileNotFoundError:
            self.runs = {}
        except ValueError as error:
            raise OptionError(f"{path} is damaged ({error}): remove it") from error

    def holds(self, name, seed, settings) -> bool:
        """Whether there is a run with these very options."""
        run = self.runs.get(f"{name}/{seed}")
        return run is not None and run["options"] == self._wanted(settings)

    def add(self, name, seed, settings, game, seconds):
        found = None
        if game.healthy():
            samples = game.samples()
            now = modes(samples, game.data.centres, game.data.std)
            found = dict(zip(now._fields[:4], map(float, now[:4]), strict=True))
            found["samples"] = samples[:400].round(3).tolist()
        run = {"options": self._wanted(settings), "seconds": round(seconds, 1), "found": found}
        self.runs[f"{name}/{seed}"] = run
        save_json(self.path, self.runs)

    def rows(self, runs) -> dict[str, list]:
        """The runs that there are, of each remedy."""
        rows = {}
        for name, seed, settings in runs:
            if self.holds(name, seed, settings):
                rows.setdefault(name, []).append(self.runs[f"{name}/{seed}"])
        return rows

    @staticmethod
    def _wanted(settings) -> dict:
        """The options that decide how a run goes, as JSON would give them back."""
        ignored = ("only", "seeds", "quick")
        return {k: v for k, v in options.saved(settings).items() if k not in ignored}


def mean_and_interval(values, scale=1.0, digits=1) -> str:
    """The mean ± the 95% interval's half width; of one value, the value."""
    values = scale * np.array(values)
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    mean, half = confidence_interval(values)
    return f"{mean:.{digits}f} ± {half:.{digits}f}"


def print_table(rows, args):
    published = PUBLISHED[args.data]
    print(f"{args.data}, z = {args.latent}; means over seeds ± 95% intervals")
    print(
        f"{'':26}{'recovered':>11}{'kept (strict)':>15}{'high quality %':>16}{'KL, nats':>16}"
        f"{'time':>8}   published, elsewhere: recovered / high quality % / KL"
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
            line += f"{np.mean([run['seconds'] for run in runs]):6.0f} s"
        line += f"   {published[name]}" if name in published else ""
        print(line + (f"   {lost} of {len(runs)} runs ended in NaN" if lost else ""))


def pictured(rows) -> dict:
    """For each remedy the samples of its run with the middle KL, and its means over the seeds."""
    cells = {}
    for name, runs in rows.items():
        found = sorted((run["found"] for run in runs if run["found"]), key=lambda f: f["kl"])
        if found:
            kept, kl = (np.mean([f[key] for f in found]) for key in ("strict", "kl"))
            caption = f"{kept:.1f} modes kept, KL {kl:.3f}"
            cells[name] = np.array(found[len(found) // 2]["samples"]), caption
        else:
            cells[name] = np.zeros((0, 2)), ""
    return cells


if __name__ == "__main__":
    run(main)
