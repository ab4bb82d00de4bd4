"""The first GAN on MNIST: Goodfellow et al. 2014, with the measure of their table 1.

Two multilayer perceptrons: G makes 784 pixels from 100 numbers through two layers of ReLUs, and D
judges them through two layers of maxout with dropout. How good G is, the paper measures by Parzen
windows: a Gaussian around each of 10,000 samples, and the mean log-likelihood of the test images
under their mixture, 225 ± 2 nats. The measure was given up later (see evaluate_mnist.py); here
it tells whether the networks of 2014 learn what they learnt then.

    python examples/theory/goodfellow_2014.py                       12 minutes on one CPU core
    python examples/theory/goodfellow_2014.py --resume --epochs 100  go on where the last run ended
    python examples/theory/goodfellow_2014.py --quick               seconds: small, on drawn digits

It writes parzen.json (the score, its standard error and all settings), samples.png and
checkpoint.safetensors.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, optim, plots
from minigan.data import Batches, Dataset, to_unit
from minigan.evaluation import nearest, parzen_log_likelihood, parzen_score, unit_rows
from minigan.models import goodfellow_discriminator, goodfellow_generator
from minigan.training import GAME, Record, Sampler, Session, Watch, options, run, save_json

PAPER = 225  # nats


def parse(argv=None):
    quick = {"steps": 700, "batch": 50, "hidden": 200, "units": 60, "latent": 20, "lr_g": 1.0}
    quick |= {"average": 3, "samples": 500, "every": 100}  # too short a run for a plain mean
    p = options.parser(
        "The first GAN on MNIST, and its Parzen log-likelihood.",
        steps=25_000,
        out="runs/goodfellow_2014",
        epochs=True,
        resumable=True,
        quick=quick,
    )
    options.images(p, split=True, batch=100, latent=100, lr_g=0.3, lr_d=0.1)  # rates at first
    add = p.add_argument
    add("--halving", type=options.whole(1), default=30_000, help="steps in which the rates halve")
    add("--momentum", type=options.above(0), default=0.5, help="of both optimisers")
    add("--average", type=options.above(1), default=2, help="w: step t weighs t^(w-2) in G's mean")
    add("--hidden", type=options.whole(1), default=1200, help="ReLUs in a layer of G")
    add("--units", type=options.whole(1), default=240, help="maxout units in a layer of D")
    add("--samples", type=options.whole(100), default=10_000, help="Parzen windows")
    add("--every", type=options.whole(1), default=1000, help="steps between validations")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, validation, test = images(args)
    weights, noise, dropout, fixed = backend.generator(args.seed).spawn(4, shared=[1, 2])
    objective, record = losses.NonSaturating(), Record(*GAME)
    curve = Record("step", "log_likelihood")  # of the validation images
    with options.building():
        batches = Batches(train, args.batch, args.seed, backend)
        arguments = {"latent": args.latent, "hidden": args.hidden}
        sampler = Sampler("goodfellow_2014", arguments, low=0.0)
        marginals = unit_rows(train.images).mean(axis=0)
        G = goodfellow_generator(rng=weights, marginals=marginals, **arguments)
        D = goodfellow_discriminator(rng=weights, dropout=dropout, units=args.units)
        G_optimizer, D_optimizer = (
            optim.SGD(network, decaying(lr, args.halving), momentum=args.momentum)
            for network, lr in ((G, args.lr_g), (D, args.lr_d))
        )
        average = optim.EMA(G, 0.99999, warm_up=args.average)
        z = sampler.noise(fixed, args.samples)

    def step():
        real = Tensor(0.5 * batches.next() + 0.5)  # from [−1, 1] to [0, 1], as G's sigmoids
        fake = G(Tensor(sampler.noise(noise, batches.share)))

        # (1) D: tell the real images from G's
        d = discriminator_step(D, D_optimizer, objective, real, fake)

        # (2) G: make the D that has just moved take its images for real ones
        g = generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(d.loss, g.loss, d.real, d.fake, g.fake)
        return fake.detach()

    def windows(network) -> np.ndarray:
        """What a generator makes of the fixed noise: (samples, 784) from 0 to 1."""
        return sampler.draw(network, z, low=0.0).reshape(len(z), -1)

    def likelihood(network) -> float:
        """How likely its samples make the validation images, in nats."""
        return parzen_score(validation, validation, windows(network)).mean

    parts = {"G": G, "D": D, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"average": average, "noise": noise, "dropout": dropout}
    parts |= {"record": record, "curve": curve}
    watch = Watch.of_images(record, objective, train, args.batch, low=0.0)
    session = Session(args, parts, about=train, watch=watch, batches=batches, sampler=sampler)
    with session:
        if session.start == 0:
            curve.add(0, likelihood(average.network))
        for done in session.steps(step):
            if session.due(args.every, end=False):
                nats = likelihood(average.network)
                curve.add(done, nats)
                session.progress.say(f"step {done:,}: {nats:.1f} nats on validation images")
    if session.lost or session.done < session.total:
        return session.status

    samples = windows(average.network)
    score = parzen_score(test, validation, samples)  # images that have had a say in nothing
    on_validation = {
        "log_likelihood": float(parzen_log_likelihood(validation, samples, score.sigma).mean()),
        "without_averaging_weights": likelihood(G),
        "untrained": float(curve["log_likelihood"][0]),
    }
    epochs = session.done / len(batches)
    said = {
        "log_likelihood": score.mean,
        "standard_error": score.error,
        "unit": "nats per test image",
        "sigma": score.sigma,
        "samples": len(samples),
        "test_images": len(test),
        "validation_images": len(validation),
        "on_validation_images": on_validation,
        "data": str(train),
        "steps": session.done,
        "epochs": epochs,
        "settings": options.saved(args),
    }
    save_json(args.out / "parzen.json", said)
    figure = picture(samples, train.images, curve, said, epoch=len(batches))
    file = plots.save_figure(figure, args.out / "samples.png")
    print(
        f"Parzen log-likelihood {score.mean:.1f} ± {score.error:.1f} nats on {len(test):,} test "
        f"images (paper: {PAPER} ± 2 on MNIST), σ = {score.sigma:.3f}, {len(samples):,} samples, "
        f"{epochs:.1f} epochs; on validation images {on_validation['log_likelihood']:.1f}, without "
        f"averaging G's weights {on_validation['without_averaging_weights']:.1f}; picture: {file}"
    )
    if on_validation["log_likelihood"] <= on_validation["untrained"]:
        print("no better than the untrained generator: train longer, or with other rates")
    return session.status


def images(args) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """Those to train on; 1,000 to choose the windows' width by, and those to score, as (n, 784)."""
    known, test = options.train_and_test(args)
    if known.images[0].size != 784:
        raise options.OptionError(f"--data {args.data}: wanted 784 pixels in each image, as MNIST")
    held_out = len(known) // 6  # 10,000 of MNIST's 60,000
    train = Dataset(known.name, known.images[:-held_out])
    return train, unit_rows(known.images[-held_out:][:1000]), unit_rows(test.images)


def decaying(lr, halving):
    """A schedule: lr at first, half of it after `halving` steps, a quarter after twice as many."""
    return lambda t: lr * 0.5 ** ((t - 1) / halving)


# --- The picture ---------------------------------------------------------------------------------


def picture(samples, known, curve, score, epoch):
    """Samples as in the paper's figure 2, and how the validation images grew likelier.

    score: what parzen.json holds; epoch: its steps.
    """
    with plots.panels(1, 2, size=(10, 3.6), width_ratios=[9, 6]) as (figure, (left, right)):
        left.imshow(beside_their_neighbours(samples[:45], known))
        left.set_title("samples; right: the training images nearest to the last ones")
        left.set_axis_off()
        epochs, nats = curve["step"] / epoch, curve["log_likelihood"]
        right.plot(epochs, nats, color=plots.P_G, label="validation images")
        nats = score["log_likelihood"]
        label = f"test images: {nats:.1f} ± {score['standard_error']:.1f}"
        right.plot(score["epochs"], nats, "o", color=plots.P_DATA, label=label)
        label = f"paper, MNIST test images: {PAPER} ± 2"
        right.axhline(PAPER, color=plots.GUIDE, ls=":", label=label)
        right.set(xlabel="epochs", ylabel="nats per image, Parzen windows")
        right.set_title("log-likelihood")
        right.legend(loc="center right")
    return figure


def beside_their_neighbours(samples, known, columns=9) -> np.ndarray:
    """Samples row by row, and beside each row the training image nearest to its last sample."""
    last = samples[columns - 1 :: columns]
    found = known[nearest(last, unit_rows(known))[1][:, 0]]
    grid = plots.sample_grid((2 * samples - 1).reshape(-1, *known.shape[1:]), columns)
    column = plots.sample_grid(to_unit(found), 1)
    gap = np.full((len(grid), 12, 3), 255, np.uint8)
    return np.concatenate([grid, gap, column], axis=1)


if __name__ == "__main__":
    run(main)
