"""The variational autoencoder: a decoder with a likelihood, and how near its bounds come to it.

With a density around what G draws, N(x; G(z), v), an image has a likelihood p(x), and an encoder
q(z | x) bounds it: ELBO = E ln p(x | z) − KL (Kingma and Welling 2014). The mean of k weights
p(x, z) / q(z | x) bounds it better, L_k (Burda et al. 2016), and annealing needs no encoder (Wu et
al. 2017). Where z is a point of the plane one can sum over all of it, and see what they leave out.

    python examples/autoencoders/vae.py                    two minutes on one CPU core
    python examples/autoencoders/vae.py --hidden 0         linear: its best is known, and is reached
    python examples/autoencoders/vae.py --likelihood bernoulli --beta 50    what z says is too dear

It writes vae.png, samples_*.png, training.gif and checkpoint.safetensors.
"""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np

from minigan import Tensor, no_grad, optim, plots
from minigan.data import Batches, dequantised, to_unit
from minigan.evaluation import (
    active_units,
    ais_log_likelihood,
    draw_log_weights,
    importance_bound,
    pca,
    plane_log_likelihood,
    ppca_log_likelihood,
    standard_error,
)
from minigan.gan import BernoulliLikelihood, GaussianLikelihood, elbo, gaussian_kl
from minigan.models import GaussianEncoder, vae_decoder
from minigan.training import Record, Sampler, Session, Watch, options, run

DRAWS, RUNGS = 500, (5, 50, 500)  # z for each image, and how many of them a bound takes
ANNEALED = {"schedule": 600, "chains": 8, "pilots": 4, "leapfrogs": 5}
SHOWN, SIDE, TICKS = 2000, 12, 700  # test images in the plane; rows of samples; the sum's grid


def parse(argv=None):
    p = options.parser(
        "A variational autoencoder, and a ladder of bounds.",
        steps=12_000,
        out="runs/vae",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 12), "hidden": 128, "count": 40},
        after=("count",),
    )
    options.images(p, split=True, batch=100, latent=2, every=1000)
    add = p.add_argument
    words = "units in each of two hidden layers; 0: none, both networks are linear"
    add("--hidden", type=options.whole(0), default=256, help=words)
    add("--lr", type=options.above(0), default=2e-3, help="the first rate; it falls to 0")
    add("--likelihood", choices=("gaussian", "bernoulli"), default="gaussian", help="of a pixel")
    add("--beta", type=options.at_least(0), default=1.0, help="weight of KL; 1: the bound itself")
    add("--count", type=options.whole(2), default=100, help="test images on the ladder")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, test = options.train_and_test(args)
    weights, noise, fixed = backend.generator(args.seed).spawn(3, shared=[1])
    gaussian, hidden = args.likelihood == "gaussian", [args.hidden] * 2 if args.hidden else []
    with options.building():
        batches = Batches(train, args.batch, args.seed, backend)
        _, size, _, channels = train.images.shape
        shape = {"latent": args.latent, "hidden": hidden, "size": size, "channels": channels}
        sampler = Sampler("vae", shape | {"squash": bool(hidden) or not gaussian}, low=0.0)
        E = GaussianEncoder([size * size * channels, *hidden, args.latent], rng=weights)
        G = vae_decoder(rng=weights, squash=gaussian and bool(hidden), **shape)
        p = GaussianLikelihood(rng=weights) if gaussian else BernoulliLikelihood()
        rate = optim.cosine(args.lr, args.steps)
        optimizer = optim.Adam([*E.parameters(), *G.parameters(), *p.parameters()], rate)
    record = Record("reconstruction", "kl")

    def seen(images, rng):
        """Pixels from [−1, 1] as the likelihood takes them: with a density, or black and white."""
        return dequantised(images, rng) if gaussian else (images > 0).astype("float32")

    def step():
        x = Tensor(seen(batches.next(), noise))

        # E says where z may be, one such z is drawn, and G says how likely it makes x
        bound = elbo(E, G, p, x, Tensor(sampler.noise(noise, batches.share)))
        reconstruction, kl = bound.reconstruction.mean(), bound.kl.mean()
        optimizer.descend(args.beta * kl - reconstruction)
        record.add(reconstruction, kl)

    def drawn(z) -> np.ndarray:
        """What is expected of z: pixels from −1 to 1."""
        with no_grad():
            return 2 * p.expected(G(Tensor(z))).numpy() - 1

    flat = args.latent == 2
    z = backend.asarray(plane(SIDE), "float32") if flat else sampler.noise(fixed, SIDE**2)
    painted = lambda: plots.sample_grid(np.clip(drawn(z), -1, 1), SIDE)
    film = plots.Film(painted())
    parts = {"E": E, "G": G, "p": p, "optimizer": optimizer, "noise": noise}
    parts |= {"record": record, "film": film}
    show = lambda now: "ELBO {:.1f}, KL {kl:.2f}".format(now["reconstruction"] - now["kl"], **now)
    watch = Watch(record, show=show, troubles={silent: None}, batch=args.batch)
    session = Session(args, parts, about=train, watch=watch, batches=batches, sampler=sampler)
    with session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(painted())
    if session.status:
        return session.status

    images = to_unit(test.images[:SHOWN])
    x = seen(backend.asarray(images), fixed)
    with no_grad():
        mu, log_variance = E(Tensor(x))
        kl = gaussian_kl(mu, log_variance)[: args.count].mean().item()
    rungs = ladder(E, G, p, x[: args.count], fixed)
    print(in_words(rungs, kl, p, x[: args.count].shape))
    print(units(active_units(mu.numpy()), args.beta))
    if gaussian and not hidden:
        print(linear(E, G, p, train.images, seen, fixed))
    rebuilt = np.clip(drawn(mu.data[:25]), -1, 1)
    shown = images[:25], rebuilt, mu.numpy(), test.labels[:SHOWN], painted(), rungs
    where = "G(z) all over the plane" if flat else "samples"
    titles = "test images, rebuilt", "μ(x) of test images", where, "ln p(x), nats per image"
    figure = plots.vae_figure(*shown, titles=titles)
    film.save_gif(args.out / "training.gif")
    print(f"picture: {plots.save_figure(figure, args.out / 'vae.png')}")
    return session.status


def plane(side) -> np.ndarray:
    """Points of the plane whose coordinates share out N(0, 1) evenly, row by row: (side², 2)."""
    ticks = [NormalDist().inv_cdf((k + 0.5) / side) for k in range(side)]
    return np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1).reshape(-1, 2)


# --- What it comes to ----------------------------------------------------------------------------


def ladder(E, G, p, x, rng) -> dict:
    """ln p(x) of each image, from bounds to itself: {name: (n,)}."""
    weights = draw_log_weights(E, G, p, x, DRAWS, rng=rng)
    rungs = {f"L_{k}" if k > 1 else "ELBO": importance_bound(weights, k) for k in (1, *RUNGS)}
    if isinstance(p, GaussianLikelihood):
        latent, how = E.mean.weight.shape[1], ANNEALED | {"rng": rng, "progress": True}
        rungs["AIS"] = ais_log_likelihood(G.eval(), p.variance, x, latent, **how).log_likelihood
        if latent == 2:
            rungs["exact"] = plane_log_likelihood(G, p.variance, x, side=TICKS)
    return rungs


def in_words(rungs, kl, p, shape) -> str:
    """The ladder's means, what no model can pass, and whether each rung is above the last."""
    said = ", ".join(f"{name} {nats.mean():.2f}" for name, nats in rungs.items())
    said += f" nats, KL {kl:.2f}"
    if (name := f"L_{RUNGS[-1]}") != [*rungs][-1]:
        rest = np.median([*rungs.values()][-1] - rungs[name])
        said += f"; above {name} the median image has {rest:.2f} more"
    if isinstance(p, GaussianLikelihood):
        said += f"; no model with this v, {p.variance:.4f}, passes {p.most(shape[1:]):.0f}"
    steps = [above - below for below, above in itertools.pairwise(rungs.values())]
    holds = all(step.mean() >= -2 * standard_error(step) - 1e-6 for step in steps)
    return f"{shape[0]} test images: {said}; {'the' if holds else 'NO'} ladder holds"


def units(active, beta) -> str:
    """Who of the encoder's units says anything."""
    if active.any():
        return f"active units: {active.sum()} of {len(active)}"
    return (
        f"no active unit of {len(active)} (beta = {beta:g}): the encoder says the same of every x, "
        "which costs no KL, so G hears nothing and draws one image: the posterior has collapsed"
    )


def linear(E, G, p, images, seen, rng) -> str:
    """The ELBO of all training images, and the most that a linear model can have."""
    found = []
    for start in range(0, len(images), SHOWN):
        x = seen(rng.backend.asarray(to_unit(images[start : start + SHOWN])), rng)
        found.append(draw_log_weights(E, G, p, x, 1, rng=rng))
    reached = np.concatenate(found, axis=1).mean()
    of_bytes = pca(images.reshape(len(images), -1)).variances
    variances = (of_bytes + 1 / 12) / 256**2  # those of dequantised bytes: u has 1 / 12
    best = ppca_log_likelihood(variances, E.mean.weight.shape[1])
    said = f"linear, training images: ELBO {reached:.3f}, at most {best:.3f} (probabilistic PCA)"
    return f"{said}, {best - reached:.3f} nats apart"


def silent(now) -> str | None:
    return "the encoder says nothing of x: KL is next to 0" if now["kl"] < 0.05 else None


if __name__ == "__main__":
    run(main)
