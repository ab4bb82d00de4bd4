"""DCGAN on handwritten digits: two convolutional networks, and digits out of noise in a minute.

The recipe of Radford et al. 2016 at 28×28. What makes it quick: a fully connected layer in each
network (InfoGAN's for MNIST, Chen et al. 2016), without which nothing tells G whether its strokes
make a digit together; rates five to ten times the usual; samples from an average of G's recent
weights, which is steadier than G; and one forward pass of G for both moves of a step.

    python examples/dcgan_mnist.py                                about a minute on two CPU cores
    python examples/dcgan_mnist.py --data fashion-mnist --epochs 5
    python examples/dcgan_mnist.py --loss wasserstein --critic-steps 5      and --clip 0.01
    python examples/dcgan_mnist.py --resume --steps 5000          go on where the last run ended
    python examples/dcgan_mnist.py --ranks 2                      two processes share each batch

It writes samples_*.png from the same noise at intervals, losses.png, training.gif and
checkpoint.safetensors. Ctrl-C ends the run after the step in progress and saves it.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, data, discriminator_step, generator_step, losses, no_grad, optim, plots
from minigan.gan.penalties import gradient_penalty
from minigan.models import dcgan_discriminator
from minigan.training import GAME, Record, Sampler, Session, Watch, options, run


def parse(argv=None):
    p = options.parser(
        "DCGAN on handwritten digits.",
        steps=1200,
        out="runs/dcgan_mnist",
        epochs=True,
        resumable=True,
    )
    options.images(p, batch=64, width=32, hidden=256, latent=64, samples=64, every=100)
    options.shared(p, lr_d=5e-4, critic_steps=1)
    rate = "G's learning rate; by default 1e-3, or 5e-4 where D has several steps to each of G's"
    p.add_argument("--lr-g", type=options.above(0), help=rate)
    p.add_argument("--loss", choices=sorted(losses.OBJECTIVES), default="non-saturating")
    p.add_argument("--clip", type=options.above(0), help="bound D's weights; it learns by RMSprop")
    args = options.parse(p, argv)
    if args.lr_g is None:  # twice D's, unless D has several steps to each of G's
        args.lr_g = 1e-3 if args.critic_steps == 1 else 5e-4
    return args


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    dataset = options.dataset(args)
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    critic, moves = args.loss == "wasserstein", args.critic_steps
    objective, record = losses.OBJECTIVES[args.loss](), Record(*GAME)
    with options.building():
        batches = data.Batches(dataset, args.batch, args.seed, backend)
        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        sampler = Sampler("dcgan", shape | {"latent": args.latent})
        G = sampler.build(weights)
        # A gradient penalty judges each image by itself, which batch norm would mix.
        penalised = critic and not args.clip
        penalty = gradient_penalty(noise, one_sided=moves > 1) if penalised else None
        D = dcgan_discriminator(rng=weights, batch_norm=not penalised, **shape)
        betas = (0.0, 0.9) if moves > 1 else (0.5, 0.999)
        G_optimizer = optim.Adam(G, args.lr_g, betas=betas)
        if args.clip:  # which a momentum makes unstable (Arjovsky et al. 2017)
            D_optimizer = optim.RMSprop(D, args.lr_d)
        else:
            D_optimizer = optim.Adam(D, args.lr_d, betas=betas)
        average = optim.EMA(G, 0.99)
        z = Tensor(sampler.noise(fixed, args.samples))

    def step():
        for _ in range(moves):
            # (1) D: tell the real images from G's
            real, fake = Tensor(batches.next()), G(Tensor(sampler.noise(noise, batches.share)))
            d = discriminator_step(D, D_optimizer, objective, real, fake, penalty=penalty)
            if args.clip:
                optim.clip_weights(D, args.clip)

        # (2) G: make the D that has just moved take its images for real ones
        g = generator_step(D, G_optimizer, objective, fake, real=real)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    def samples():
        """What the averaged generator makes of the fixed noise, as one picture."""
        with no_grad():
            return plots.sample_grid(average.network(z).numpy())

    film = plots.Film(samples())
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    watch = Watch.of_images(record, objective, dataset, args.batch)
    with Session(
        args, parts, about=dataset, watch=watch, batches=batches, moves=moves, sampler=sampler
    ) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())

    curves = record.by_name()
    if not objective.probabilistic:
        curves = {name: curves[name] for name in ("loss_d", "loss_g")}
    title, steps = f"DCGAN, {args.loss} loss", np.arange(1, len(record) + 1)
    plots.save_figure(plots.loss_curves(curves, steps, title), args.out / "losses.png")
    film.save_gif(args.out / "training.gif")
    if critic and moves > 1 and len(record):
        value = -record["loss_d"]
        plots.save_figure(value_curve(value), args.out / "value.png")
        top, end = value.max(), value[-50:].mean()
        print(f"the critic's value: {top:.3g} at its height, {end:.3g} in the end")
    return session.status


def value_curve(value):
    """The critic's value at each step of G: how far G still has to go, as it claims."""
    with plots.panels(size=(8, 3.8)) as (figure, panel):
        plots.draw_value(panel, value)
        panel.set_title("the critic's value, E f(x) − E f(G(z))")
    return figure


if __name__ == "__main__":
    run(main)
