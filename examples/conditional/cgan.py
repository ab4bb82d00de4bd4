"""Digits on demand: a conditional GAN, whose G and D are told which digit it is to be.

G gets the label with its noise (Mirza and Osindero 2014). D makes it heed the label, in one of
three ways. By projection (Miyato and Koyama 2018) and by joined channels D judges the pair, and
rejects a perfect 3 that was to be a 5. The auxiliary classifier (Odena et al. 2017) names the digit
instead, and G helps it to: G comes to prefer digits that nobody could mistake.

    python examples/conditional/cgan.py                       a minute and a half on one core
    python examples/conditional/cgan.py --discriminator joined      or auxiliary
    python examples/conditional/cgan.py --shuffle-labels      the control: labels that mean nothing
    python examples/evaluation/evaluate_mnist.py runs/cgan --trained-on 30000     how good is it?

It writes samples_*.png and training.gif, a row for each class from the same noise; between.png,
where each row goes from a class to the next at one z; losses.png and checkpoint.safetensors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from minigan import (
    Tensor,
    cpu,
    data,
    discriminator_step,
    gan,
    generator_step,
    losses,
    models,
    no_grad,
    optim,
    plots,
)
from minigan.training import GAME, Record, Sampler, Session, Watch, options, run

COLUMNS = 10  # of the pictures
DISCRIMINATORS = {
    "projection": models.ProjectionDiscriminator,
    "joined": models.JoinedDiscriminator,
    "auxiliary": models.NamingDiscriminator,
}


def parse(argv=None):
    p = options.parser(
        "A conditional GAN on handwritten digits.",
        steps=2400,
        out="runs/cgan",
        epochs=True,
        resumable=True,
        quick={"steps": 300, "width": 16, "every": 50},
    )
    options.images(p, batch=64, width=32, hidden=256, latent=64, lr_g=1e-3, lr_d=5e-4, every=100)
    p.add_argument(
        "--discriminator", choices=DISCRIMINATORS, default="projection", help="how D is told"
    )
    p.add_argument(
        "--shuffle-labels", action="store_true", help="deal the labels out to any images"
    )
    p.add_argument("--first", type=options.whole(2), help="learn from so many images alone")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend, dataset = options.device(args), lesson(options.dataset(args), args)
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    classes = len(dataset.classes)
    objective, record = losses.NonSaturating(), Record(*GAME)
    if args.discriminator == "auxiliary":
        objective = gan.AuxiliaryClassifier(objective)
    with options.building():
        batches = data.Batches((dataset, dataset.labels), args.batch, args.seed, backend)
        _, size, _, channels = dataset.images.shape
        shape = {"size": size, "channels": channels, "width": args.width, "hidden": args.hidden}
        shape["classes"] = classes
        sampler = Sampler("conditional", shape | {"latent": args.latent}, classes=classes)
        G = sampler.build(weights)
        D = DISCRIMINATORS[args.discriminator](rng=weights, **shape)
        length = options.length(args, batches)
        G_rate, D_rate = (optim.linear_decay(lr, length) for lr in (args.lr_g, args.lr_d))
        G_optimizer = optim.Adam(G, G_rate, betas=(0.5, 0.999))
        D_optimizer = optim.Adam(D, D_rate, betas=(0.5, 0.999))
        average = optim.EMA(G, 0.99)
        z = backend.to_numpy(sampler.noise(fixed, COLUMNS))

    def step():
        # Samples of the real images' labels: of every class as many as the data have.
        x, y = map(Tensor, batches.next())
        fake = G(Tensor(sampler.noise(noise, batches.share)), y)
        d = discriminator_step(D, D_optimizer, objective, (x, y), (fake, y))
        g = generator_step(D, G_optimizer, objective, (fake, y))
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    def grid(which, told):
        """What the averaged generator makes of rows of the fixed noise and labels, as a picture."""
        with no_grad():
            images = average.network(*(Tensor(backend.asarray(x)) for x in (z[which], told)))
        return plots.sample_grid(images.numpy(), COLUMNS)

    every, one = (np.tile(row, classes) for row in (np.arange(COLUMNS), np.zeros(COLUMNS, int)))
    asked = every, np.repeat(np.arange(classes), COLUMNS)
    between = one, to_the_next(classes)
    film = plots.Film(grid(*asked))
    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "record": record, "film": film}
    watch = Watch.of_images(record, objective, dataset, args.batch)
    with Session(
        args, parts, about=dataset, watch=watch, batches=batches, sampler=sampler
    ) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(grid(*asked))

    title, steps = f"conditional GAN, {args.discriminator}", np.arange(1, len(record) + 1)
    plots.save_figure(plots.loss_curves(record.by_name(), steps, title), args.out / "losses.png")
    film.save_gif(args.out / "training.gif")
    if not session.lost:
        plots.save_image(args.out / "between.png", grid(*between), scale=2)
    return session.status


def lesson(dataset, args) -> data.Dataset:
    """The images and labels to learn from. OptionError if there are no labels."""
    if dataset.labels is None:
        raise options.OptionError(
            f"--data {args.data}: these images have no labels, which a conditional GAN is told: "
            "want a folder with a folder for each class"
        )
    images, labels = dataset.images[: args.first], dataset.labels[: args.first]
    if args.shuffle_labels:
        labels = labels[cpu.generator(args.seed).permutation(len(labels))]
    return dataclasses.replace(dataset, images=images, labels=labels)


def to_the_next(classes) -> np.ndarray:
    """Mixtures of classes (classes · COLUMNS, classes): a row from each of them to the next."""
    here, share = np.eye(classes, dtype="float32"), np.linspace(0, 1, COLUMNS, dtype="float32")
    there = np.roll(here, -1, axis=0)
    share = share[:, None]
    return ((1 - share) * here[:, None] + share * there[:, None]).reshape(-1, classes)


if __name__ == "__main__":
    run(main)
