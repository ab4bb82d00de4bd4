"""DCGAN on handwritten digits: two convolutional networks, and digits out of noise in a minute.

The recipe of Radford et al. 2016 at 28×28: strided convolutions instead of pooling, batch norm
except at D's input and G's output, ReLU in G and LeakyReLU in D, weights from N(0, 0.02²), Adam
with β₁ = 0.5. What makes it quick: a fully connected layer in each network, as in InfoGAN's for
MNIST (Chen et al. 2016), without which nothing tells G whether its strokes make a digit together;
rates five to ten times the usual, G's twice D's (where Heusel et al. 2017 let D be faster); samples
from an average of G's recent weights, which is steadier than G; and one forward pass of G for
both moves of a step, as in the well-known DCGAN scripts.

    python examples/dcgan_mnist.py                                about a minute on two CPU cores
    python examples/dcgan_mnist.py --data fashion-mnist --epochs 5
    python examples/dcgan_mnist.py --loss wasserstein --steps 3000
    python examples/dcgan_mnist.py --resume --steps 5000          go on where the last run ended

It writes samples_*.png from the same noise at intervals, losses.png, training.gif and
checkpoint.safetensors. Ctrl-C ends the run after the step in progress and saves it.
"""

from __future__ import annotations

import time

import numpy as np

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
from minigan.gan import penalties
from minigan.models import dcgan_discriminator, dcgan_generator


def parse(argv=None):
    p = cli.parser(
        "DCGAN on handwritten digits.",
        steps=1200,
        out="runs/dcgan_mnist",
        epochs=True,
        resumable=True,
    )
    p.add_argument("--batch", type=cli.whole(2), default=64, help="images in a batch")
    p.add_argument("--width", type=cli.whole(1), default=32, help="channels next to the image")
    p.add_argument(
        "--hidden", type=cli.whole(0), default=256, help="fully connected units; 0: none"
    )
    p.add_argument("--latent", type=cli.whole(1), default=64, help="dimensions of the noise z")
    p.add_argument("--loss", choices=sorted(losses.OBJECTIVES), default="non-saturating")
    p.add_argument("--lr-g", type=cli.above(0), default=1e-3, help="G's learning rate")
    p.add_argument("--lr-d", type=cli.above(0), default=5e-4, help="D's learning rate")
    p.add_argument(
        "--data", help="mnist, fashion-mnist, digits (drawn), or a folder; by default MNIST"
    )
    p.add_argument("--size", type=cli.whole(8), default=28, help="pixels, for a folder of images")
    p.add_argument("--samples", type=cli.whole(1), default=64, help="images in the sample grids")
    p.add_argument("--every", type=cli.whole(1), default=100, help="steps between sample grids")
    return cli.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = cli.device(args)
    dataset, notice = data.choose(args.data, size=args.size)
    if notice:
        print(notice)
    with cli.building():
        batches = data.Batches(dataset, args.batch, args.seed, backend)
        run = Run(args, backend, dataset)
    cli.make_folder(args.out)
    steps = args.epochs * len(batches) if args.epochs else args.steps
    start = run.checkpoint.resume()
    batches.step = start
    G, D, noise, objective = run.G, run.D, run.noise, run.objective

    def step():
        real = Tensor(batches.next())
        z = Tensor(noise.normal((args.batch, args.latent)))

        # (1) D: tell the real images from G's
        fake = G(z)
        d = discriminator_step(D, run.D_optimizer, objective, real, fake, penalty=run.penalty)

        # (2) G: make the D that has just moved take its images for real ones
        g = generator_step(D, run.G_optimizer, objective, fake, real=real)
        run.average.update()
        run.record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    step = backend.capture(step)  # on a GPU: recorded once, then replayed without Python
    done, began, healthy = start, time.perf_counter(), True
    with cli.Interrupt() as interrupted, cli.Progress(steps, start) as progress:
        monitor = cli.Monitor(progress, run.record, objective, args.batch)
        while done < steps and healthy and not interrupted:
            fake = step()
            done += 1
            progress.advance()
            picture_due = done % args.every == 0 or done == steps
            if picture_due or interrupted or done % 20 == 0:
                healthy = monitor.look(done, fake)
            if healthy and picture_due:
                run.picture(done)
            if healthy and (picture_due or interrupted):
                run.checkpoint.save(done)

    run.finish()
    if healthy and run.checkpoint.saved != done > start:
        run.checkpoint.save(done)
    seconds = time.perf_counter() - began
    print(f"{done:,} steps on {dataset.name}, {seconds:.0f} s; pictures: {args.out}")
    if start >= steps:
        print(f"{start:,} steps were done already: ask for more with --steps")
    if interrupted and run.checkpoint.saved == done < steps:
        print("interrupted and saved: go on with --resume")
    return 1 if not healthy else interrupted.status


class Run:
    """The two players, all that moves them, and what is kept of them."""

    def __init__(self, args, backend, dataset):
        self.args = args
        weights, self.noise, fixed = backend.generator(args.seed).spawn(3)
        # A gradient penalty judges each image by itself, which batch norm would mix.
        critic = args.loss == "wasserstein"
        self.penalty = penalties.gradient_penalty(self.noise) if critic else None
        self.objective = losses.OBJECTIVES[args.loss]()

        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        arguments = shape | {"latent": args.latent}
        self.G = dcgan_generator(rng=weights, **arguments)
        self.D = dcgan_discriminator(rng=weights, batch_norm=not critic, **shape)
        self.G_optimizer = optim.Adam(self.G, args.lr_g, betas=(0.5, 0.999))
        self.D_optimizer = optim.Adam(self.D, args.lr_d, betas=(0.5, 0.999))
        self.average = optim.EMA(self.G, 0.99)

        self.z = Tensor(fixed.normal((args.samples, args.latent)))
        self.record = cli.Record("loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after")
        self.film = plots.Film(self.sample())
        names = ("G", "D", "G_optimizer", "D_optimizer", "average", "noise", "record", "film")
        self.checkpoint = cli.Checkpoint(
            args,
            {name: getattr(self, name) for name in names},
            data=dataset,
            # What evaluate_mnist.py must know to build this G again and to draw samples from it.
            generator={
                "network": "dcgan",
                "arguments": arguments,
                "noise": "normal",
                "low": -1.0,
            },
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
        """Draws the losses and the film."""
        history = self.record.by_name()
        if not self.objective.probabilistic:
            history = {name: history[name] for name in ("loss_d", "loss_g")}
        steps = np.arange(1, len(self.record) + 1)
        title = f"DCGAN, {self.args.loss} loss"
        plots.save_figure(plots.loss_curves(history, steps, title), self.args.out / "losses.png")
        self.film.save_gif(self.args.out / "training.gif")


if __name__ == "__main__":
    cli.run(main)
