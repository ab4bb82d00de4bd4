"""The first GAN on MNIST: Goodfellow et al. 2014, with the measure of their table 1.

Two multilayer perceptrons. G makes 784 pixels from 100 numbers through two layers of 1,200 ReLUs;
D judges them through two layers of 240 maxout units with dropout; both learn by stochastic
gradient descent with momentum, G by the non-saturating loss of the paper's section 3.

How good G is, the paper measures by Parzen windows: 10,000 samples of G, a Gaussian around each,
and the mean log-likelihood of the 10,000 test images under their mixture. The width σ is the one
of ten from 0.1 to 1 that suits 1,000 validation images best, the first of the last 10,000 training
images, which are held out. The paper has 225 ± 2 nats (deep GSN 214, DBN 138, stacked CAE 121).

The measure was given up later. In 784 dimensions 10,000 windows say little about a density: the
centres of k-means score higher than real images do (Theis et al. 2016; evaluate_mnist.py shows
it), since smooth samples that cover the digits score high. It does not tell a good model; here it
tells whether the networks of 2014 learn what they learnt then.

    python examples/theory/goodfellow_2014.py                            12 minutes on one CPU core
    python examples/theory/goodfellow_2014.py --resume --epochs 100  go on where the last run ended
    python examples/theory/goodfellow_2014.py --quick  seconds: small, on drawn digits

Sizes, initial weights, dropout, batches of 100 and z from N(0, 1) are those of the code published
with the paper. What differs, so that 50 epochs do instead of hundreds: the rates, 0.3 for G and
0.1 for D, where that code has 0.1 and (as it halves D's loss) 0.05; they fall six times as fast;
the momentum stays at 0.5 instead of rising to 0.7; D moves before G, as in the paper's algorithm,
instead of at once with it; and the samples come from the mean of all weights that G has had
(Polyak and Juditsky 1992). That mean draws smoother digits than G itself, and this measure likes
nothing better: without it the same run scores 70 nats less. So a score above the paper's is no
better model.

It writes parzen.json (the score, its standard error and all settings), samples.png and
checkpoint.safetensors. Ctrl-C ends the run after the step in progress and saves it.
"""

from __future__ import annotations

import time

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from minigan import (
    Tensor,
    cli,
    data,
    discriminator_step,
    generator_step,
    losses,
    no_grad,
    optim,
    plots,
)
from minigan.evaluation import nearest, parzen_score, unit_rows
from minigan.models import goodfellow_discriminator, goodfellow_generator

PAPER = 225  # nats
CHUNK = 500  # samples that are made at once


def parse(argv=None):
    p = cli.parser(
        "The first GAN on MNIST, and its Parzen log-likelihood.",
        steps=25_000,
        out="runs/goodfellow_2014",
        epochs=True,
        resumable=True,
    )
    p.add_argument("--batch", type=cli.whole(2), default=100, help="images in a batch")
    p.add_argument("--latent", type=cli.whole(1), default=100, help="dimensions of the noise z")
    p.add_argument("--hidden", type=cli.whole(1), default=1200, help="ReLUs in a layer of G")
    p.add_argument("--units", type=cli.whole(1), default=240, help="maxout units in a layer of D")
    p.add_argument("--lr-g", type=cli.above(0), default=0.3, help="G's learning rate at first")
    p.add_argument("--lr-d", type=cli.above(0), default=0.1, help="D's learning rate at first")
    p.add_argument(
        "--halving", type=cli.whole(1), default=30_000, help="steps in which the rates halve"
    )
    p.add_argument("--momentum", type=cli.above(0), default=0.5, help="of both optimisers")
    p.add_argument(
        "--average", type=cli.above(1), default=2, help="w: step t weighs t^(w-2) in G's average"
    )
    p.add_argument("--data", help="mnist, fashion-mnist, digits (drawn), or the folder of one")
    p.add_argument("--samples", type=cli.whole(100), default=10_000, help="Parzen windows")
    p.add_argument("--every", type=cli.whole(1), default=1000, help="steps between validations")
    p.add_argument("--quick", action="store_true", help="seconds: few drawn digits, small networks")
    if p.parse_args(argv).quick:
        p.set_defaults(steps=700, batch=50, hidden=200, units=60, latent=20, lr_g=1.0)
        p.set_defaults(average=3, samples=500, every=100)  # too short a run for a plain mean
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    images = Images(args)
    with cli.building():
        batches = data.Batches(images.train, args.batch, args.seed, backend)
        run = Run(args, backend, images)
    cli.make_folder(args.out)
    steps = args.epochs * len(batches) if args.epochs else args.steps
    start = run.checkpoint.resume()
    batches.step = start
    G, D, noise, objective = run.G, run.D, run.noise, losses.NonSaturating()
    if start == 0:
        run.validate(0)

    def step():
        real = Tensor(0.5 * batches.next() + 0.5)  # from [−1, 1] to [0, 1], as G's sigmoids
        z = Tensor(noise.normal((args.batch, args.latent)))

        # (1) D: tell the real images from G's
        fake = G(z)
        d = discriminator_step(D, run.D_optimizer, objective, real, fake)

        # (2) G: make the D that has just moved take its images for real ones
        g = generator_step(D, run.G_optimizer, objective, fake)
        run.average.update()
        run.record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    step = backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    done, began, healthy = start, time.perf_counter(), True
    with cli.Interrupt() as interrupted, cli.Progress(steps, start) as progress:
        # Weights this small take their time, in which all of G's samples are the mean image.
        monitor = cli.Monitor(progress, run.record, objective, args.batch, early=500)
        while done < steps and healthy and not interrupted:
            fake = step()
            done += 1
            progress.advance()
            due = done % args.every == 0
            if due or interrupted or done == steps or done % 20 == 0:
                healthy = monitor.look(done, fake)
            if healthy and due:
                progress.say(f"step {done:,}: {run.validate(done):.1f} nats on validation images")
            if healthy and (due or interrupted or done == steps):
                run.checkpoint.save(done)

    print(f"{done:,} steps on {images.name} in {time.perf_counter() - began:.0f} s")
    if not healthy:
        return 1
    if done < steps:
        if run.checkpoint.saved == done:
            print("interrupted and saved: go on with --resume")
        return interrupted.status
    if start >= steps:
        print(f"{start:,} steps were done already: ask for more with --steps")
    run.finish(done, len(batches))
    return 0


class Images:
    """The three sets of images, those for training as a data set, the others as (n, 784)."""

    def __init__(self, args):
        if args.quick and args.data is None:
            known, test = data.drawn_digits(6000, 0), data.drawn_digits(1000, 1)
        else:
            known, notice = data.choose(args.data)
            if notice:
                print(notice)
            test, _ = data.choose("digits" if notice else args.data, split="test")
        held_out = len(known) // 6  # 10,000 of MNIST's 60,000
        self.name = known.name
        self.train = data.Dataset(known.name, known.images[:-held_out])
        self.validation = unit_rows(known.images[-held_out:][:1000])
        self.test = unit_rows(test.images)


def decaying(lr, halving):
    """A schedule: lr at first, half of it after `halving` steps, a quarter after twice as many."""
    return lambda t: lr * 0.5 ** ((t - 1) / halving)


class Run:
    """The two players, all that moves them, and what is kept of them."""

    def __init__(self, args, backend, images):
        self.args, self.images = args, images
        weights, self.noise, self.dropout, fixed = backend.generator(args.seed).spawn(4)
        marginals = unit_rows(images.train.images).mean(axis=0)
        arguments = {"latent": args.latent, "hidden": args.hidden}
        self.G = goodfellow_generator(rng=weights, marginals=marginals, **arguments)
        self.D = goodfellow_discriminator(rng=weights, dropout=self.dropout, units=args.units)
        rates = (decaying(lr, args.halving) for lr in (args.lr_g, args.lr_d))
        self.G_optimizer, self.D_optimizer = (
            optim.SGD(network, rate, momentum=args.momentum)
            for network, rate in zip((self.G, self.D), rates, strict=True)
        )
        self.average = optim.EMA(self.G, 0.99999, warm_up=args.average)

        self.z = fixed.normal((args.samples, args.latent))
        self.record = cli.Record("loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after")
        self.curve = cli.Record("step", "log_likelihood")
        names = ("G", "D", "G_optimizer", "D_optimizer", "average", "noise", "dropout")
        self.checkpoint = cli.Checkpoint(
            args,
            {name: getattr(self, name) for name in (*names, "record", "curve")},
            data=images.train,
            # What evaluate_mnist.py must know to build this G again and to draw samples from it.
            generator={
                "network": "goodfellow_2014",
                "arguments": arguments,
                "noise": "normal",
                "low": 0.0,
            },
        )

    def samples(self, network) -> np.ndarray:
        """What a generator makes of the fixed noise: (samples, 784) from 0 to 1."""
        with no_grad():
            chunks = [
                network(Tensor(self.z[start : start + CHUNK])).numpy()
                for start in range(0, len(self.z), CHUNK)
            ]
        return np.concatenate(chunks).reshape(len(self.z), -1)

    def on_validation(self, samples) -> float:
        """The mean log-likelihood of the validation images, with the σ that suits them best."""
        points = self.images.validation
        return parzen_score(points, points, samples).mean

    def validate(self, step) -> float:
        """The mean log-likelihood of the validation images now, which goes into the curve."""
        value = self.on_validation(self.samples(self.average.network))
        self.curve.add(step, value)
        return value

    def finish(self, step, epoch):
        """The score on the test images, which have had a say in nothing, and the picture."""
        test, samples = self.images.test, self.samples(self.average.network)
        found = parzen_score(test, self.images.validation, samples)
        validation, without = map(self.on_validation, (samples, self.samples(self.G)))
        score = {
            "log_likelihood": found.mean,
            "standard_error": found.error,
            "unit": "nats per test image",
            "sigma": found.sigma,
            "samples": len(samples),
            "test_images": len(test),
            "validation_images": len(self.images.validation),
            "on_validation_images": {
                "log_likelihood": validation,
                "without_averaging_weights": without,
                "untrained": float(self.curve["log_likelihood"][0]),
            },
            "data": self.checkpoint.data,
            "steps": step,
            "epochs": step / epoch,
            "settings": cli.saved_options(self.args),
        }
        cli.save_json(self.args.out / "parzen.json", score)
        figure = picture(samples, self.images.train.images, self.curve.by_name(), score)
        file = plots.save_figure(figure, self.args.out / "samples.png")
        print(
            f"Parzen log-likelihood {score['log_likelihood']:.1f} ± {score['standard_error']:.1f} "
            f"nats on {len(test):,} test images (paper: {PAPER} ± 2 on MNIST), "
            f"σ = {found.sigma:.3f}, {len(samples):,} samples, {score['epochs']:.1f} epochs; "
            f"on validation images {validation:.1f}, without averaging G's weights {without:.1f}; "
            f"picture: {file}"
        )
        if validation <= score["on_validation_images"]["untrained"]:
            print("no better than the untrained generator: train longer, or with other rates")


# --- The picture ---------------------------------------------------------------------------------


def picture(samples, known, curve, score) -> Figure:
    """Samples as in the paper's figure 2, and how the validation images grew likelier."""
    with rc_context(plots.STYLE):
        figure = Figure(figsize=(10, 3.6), dpi=100, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[9, 6])
        left.imshow(beside_their_neighbours(samples[:45], known))
        left.set_title("samples; right: the training images nearest to the last ones", loc="left")
        left.set_axis_off()
        draw_curve(right, curve, score)
    return figure


def beside_their_neighbours(samples, known, columns=9) -> np.ndarray:
    """Samples row by row, and beside each row the training image nearest to its last sample."""
    last = samples[columns - 1 :: columns]
    neighbours = known[nearest(last, unit_rows(known))[1][:, 0]]
    grid = plots.sample_grid((2 * samples - 1).reshape(-1, *known.shape[1:]), columns)
    column = plots.sample_grid(data.to_unit(neighbours), 1)
    gap = np.full((len(grid), 12, 3), 255, np.uint8)
    return np.concatenate([grid, gap, column], axis=1)


def draw_curve(panel, curve, score):
    epochs = curve["step"] * score["epochs"] / score["steps"]
    panel.plot(epochs, curve["log_likelihood"], color=plots.P_G, label="validation images")
    panel.plot(
        score["epochs"],
        score["log_likelihood"],
        "o",
        color=plots.P_DATA,
        label=f"test images: {score['log_likelihood']:.1f} ± {score['standard_error']:.1f}",
    )
    panel.axhline(PAPER, color=plots.GUIDE, ls=":", label=f"paper, MNIST test images: {PAPER} ± 2")
    panel.set_xlabel("epochs")
    panel.set_ylabel("nats per image, Parzen windows")
    panel.set_title("log-likelihood", loc="left")
    panel.legend(loc="center right")


if __name__ == "__main__":
    cli.run(main)
