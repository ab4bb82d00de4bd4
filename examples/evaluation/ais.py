"""How likely are images under a GAN? Annealed importance sampling (Wu et al. 2017), checked.

With noise around what it draws, x ~ N(G(z), v), a GAN has a likelihood as a VAE has, only that no
one can sum over all z. Annealing leads z from the prior to where it draws x, and weighs the way: a
lower bound; for images that G made the way back gives an upper one. First a linear G, whose ln p(x)
is known; then a VAE and a GAN of one architecture on MNIST, beside Parzen windows (KDE).

    python examples/evaluation/ais.py                 long: 100 images, 2,000 temperatures
    python examples/evaluation/ais.py --quick         a look: bounds that have not closed yet
    python examples/evaluation/ais.py --resume        after Ctrl-C: also in the middle of annealing

It writes ais.png, ais.json, annealed/*.npz and checkpoint.safetensors.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, discriminator_step, generator_step, losses, optim, plots
from minigan.data import Batches, dequantised
from minigan.evaluation import (
    ais_log_likelihood,
    bdmc_bounds,
    linear_log_likelihood,
    parzen_log_likelihood,
    parzen_sigma,
    sigmoid_schedule,
    simulated,
    standard_error,
)
from minigan.gan import GaussianLikelihood, elbo, gradient_penalty
from minigan.models import GaussianEncoder, mlp, vae_decoder
from minigan.nn import Flatten, Linear, Sequential, normal
from minigan.training import Record, Session, Watch, in_chunks, options, run, save_json

HIDDEN, CRITIC = (64, 256, 256, 1024), 3  # units; moves of D for one of G
GRID, GRID_IMAGES = (0.01, 0.015, 0.025, 0.05, 0.1), 20  # v, and the training images to choose by
FROM, FEW = -8, 2  # of the sigmoid, so a third of t < 0.01; chains that find ε, and that go back
CENTRES, SIGMAS = 10_000, np.geomspace(0.05, 3, 24)  # samples, the widths of windows
LINEAR, V_LINEAR, LADDER = (10, 50, 20), 0.1, (1, 10, 30, 100, 300, 1000, 3000)


def parse(argv=None):
    quick = {"steps": lambda n: max(1, n // 6), "temperatures": 150, "count": 20}
    p = options.parser(
        "The likelihood of decoders by annealed importance sampling.",
        steps=3000,
        out="runs/ais",
        resumable=True,
        quick=quick,
        after=("count", "temperatures", "chains", "leapfrogs"),
    )
    options.images(p, split=True, batch=100, latent=10, lr=1e-3, lr_g=5e-4, lr_d=5e-4)
    add = p.add_argument
    add("--count", type=options.whole(1), default=100, help="images of each kind")
    add("--temperatures", type=options.whole(1), default=2000, help="from prior to posterior")
    add("--chains", type=options.whole(1), default=8, help="for each image")
    add("--leapfrogs", type=options.whole(1), default=2, help="in a move; the paper has 10")
    return options.parse(p, argv)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    train, test = options.train_and_test(args)
    weights, noise, chance = backend.generator(args.seed).spawn(3, shared=[1])
    with options.building():
        batches = Batches(train, args.batch, args.seed, backend)
        _, size, _, channels = train.images.shape
        pixels = size * size * channels
        shape = {"latent": args.latent, "hidden": HIDDEN, "size": size, "channels": channels}
        E = GaussianEncoder([pixels, *HIDDEN[2:0:-1], args.latent], rng=weights)
        V, G = (vae_decoder(rng=weights, **shape) for _ in range(2))
        p, objective = GaussianLikelihood(rng=weights), losses.Wasserstein()
        D = Sequential(Flatten(), mlp([pixels, 256, 256, 1], rng=weights), name="D")
        learnt = [*E.parameters(), *V.parameters(), *p.parameters()]
        V_optimizer = optim.Adam(learnt, optim.cosine(args.lr, args.steps))
        D_rate = optim.linear_decay(args.lr_d, CRITIC * args.steps)
        G_optimizer = optim.Adam(G, optim.linear_decay(args.lr_g, args.steps), betas=(0.5, 0.9))
        D_optimizer = optim.Adam(D, D_rate, betas=(0.5, 0.9))
        average, penalty = optim.EMA(G, 0.995), gradient_penalty(noise)
    z, record = (batches.share, args.latent), Record("elbo", "loss_d")

    def real():
        """Pixels and noise, over 256: here and below, for both models and all measures."""
        return Tensor(dequantised(batches.next(), noise))

    def step():
        # The VAE: E says where z may be, and V how likely it makes x
        bound = elbo(E, V, p, real(), Tensor(noise.normal(z))).elbo.mean()
        V_optimizer.descend(-bound)

        # The GAN, with a critic: some moves of D, then one of G
        for _ in range(CRITIC):
            fake = G(Tensor(noise.normal(z)))
            d = discriminator_step(D, D_optimizer, objective, real(), fake, penalty=penalty)
        generator_step(D, G_optimizer, objective, fake)
        average.update()
        record.add(bound, d.loss)

    parts = {"E": E, "V": V, "p": p, "G": G, "D": D, "average": average, "noise": noise}
    parts |= {"V_optimizer": V_optimizer, "G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    parts |= {"record": record}
    watch = Watch(record, show=lambda n: f"ELBO {n['elbo']:.0f}, critic {-n['loss_d']:.2f}")
    session = Session(
        args, parts, about=train, watch=watch, batches=batches, moves=1 + CRITIC, every=1000
    )
    with session:
        for _ in session.steps(step):
            pass
    if session.status or session.done < session.total:
        return session.status

    known = linear(chance, LADDER[:-1] if args.quick else LADDER)
    print(linear_in_words(known))
    sets = {"train": train.images[: args.count], "test": test.images[: args.count]}
    sets = {name: dequantised(backend.asarray(bytes_), chance) for name, bytes_ in sets.items()}
    judged = {}
    for name, decoder in {"VAE": V.eval(), "GAN": average.network.eval()}.items():
        judged[name] = judge(args, name, decoder, sets, chance)
        print(in_words(name, judged[name]))
    save_json(args.out / "ais.json", {"linear": known} | judged)
    figure = plots.annealing_figure(known, judged)
    print(f"picture: {plots.save_figure(figure, args.out / 'ais.png')}")
    return session.status


def linear(rng, ladder) -> dict:
    """Images of a linear decoder, whose ln p(x) is known, and what the measures make of it."""
    latent, values, count = LINEAR
    G = Sequential(Linear(latent, values, rng=rng, init=normal(0.5))).astype("float64").eval()
    z = rng.normal((count, latent), "float64")
    x = simulated(G, V_LINEAR, z, rng=rng)
    W, b, here = (rng.backend.to_numpy(a) for a in (*(p.data for p in G.parameters()), x))
    said = {"exact": float(linear_log_likelihood(W, b, V_LINEAR, here).mean())}
    found = [bdmc_bounds(G, V_LINEAR, x, z, rng=rng, schedule=n, pilots=4) for n in ladder]
    said["lower"], said["upper"] = ([float(f[k].mean()) for f in found] for k in (0, 1))
    return said | {"temperatures": ladder} | windows(G, V_LINEAR, {"kde": x}, rng, latent)


def judge(args, name, decoder, sets, rng) -> dict:
    """ln p of real images and of the model's own, means in nats: by annealing and by windows."""

    def annealed(measure, what, v, x, more, count=args.temperatures, **how):
        """What is done of it is kept, so a run that is resumed goes on from there."""
        kept = args.out / "annealed" / f"{name}_{what}.npz"
        how |= {"chains": args.chains, "pilots": FEW, "leapfrogs": args.leapfrogs}
        how |= {"schedule": sigmoid_schedule(count, FROM, 0), "rng": rng, "kept": kept}
        return measure(decoder, v, x, more, progress=True, **how)

    few, fast, grid = sets["train"][:GRID_IMAGES], max(1, args.temperatures // 4), {}
    for v in GRID:
        found = annealed(ais_log_likelihood, f"v{v}", v, few, args.latent, fast)
        grid[v] = float(found.log_likelihood.mean())
    v = max(grid, key=grid.get)
    found = {k: annealed(ais_log_likelihood, k, v, x, args.latent) for k, x in sets.items()}
    z = rng.normal((args.count, args.latent))
    both = annealed(bdmc_bounds, "simulated", v, simulated(decoder, v, z, rng=rng), z, back=FEW)
    found["simulated"] = both.forward
    said = {what: float(each.log_likelihood.mean()) for what, each in found.items()}
    said |= {f"{k}_error": standard_error(each.log_likelihood) for k, each in found.items()}
    said |= {f"{k}_effective": float(each.effective.mean()) for k, each in found.items()}
    said |= {"upper": float(both.upper.mean()), "gap": both.gap, "v": v, "grid": grid}
    said["most"] = GaussianLikelihood(v).most(few.shape[1:])
    return said | windows(decoder, v, {f"kde_{k}": x for k, x in sets.items()}, rng, args.latent)


def windows(decoder, v, sets, rng, latent) -> dict:
    """Means of ln p under windows around samples, as wide as suits half of the first images best,
    and as wide as p(x | z), σ² = v: the integral that annealing estimates, by z at random."""
    samples = in_chunks(decoder, rng.normal((CENTRES, latent), next(iter(sets.values())).dtype))
    samples, said = samples.reshape(CENTRES, -1), {}
    for name, x in sets.items():
        x = rng.backend.to_numpy(x).reshape(len(x), -1)
        if "sigma" not in said:
            said["sigma"] = parzen_sigma(x[: len(x) // 2 + 1], samples, SIGMAS)
        for key, sigma in ((name, said["sigma"]), (f"{name}_at_v", v**0.5)):
            said[key] = float(parzen_log_likelihood(x, samples, sigma).mean())
    return said


def linear_in_words(said) -> str:
    exact, (low, *_, lower), upper = said["exact"], said["lower"], said["upper"][-1]
    return (
        f"linear: exact {exact:.2f} nats, AIS {lower - exact:+.3f}, gap {upper - lower:.3f}; "
        f"off: one temperature {low - exact:+.0f}, KDE {said['kde'] - exact:+.0f}"
    )


def in_words(name, said) -> str:
    return (
        f"{name}, v {said['v']}: train {said['train']:.1f}, test {said['test']:.1f} "
        f"(± {said['test_error']:.1f}) nats, none passes {said['most']:.0f}; its own images "
        f"{said['simulated']:.2f} to {said['upper']:.2f}, gap {said['gap']:.2f}; KDE of test: "
        f"{said['kde_test']:.1f}, sigma {said['sigma']:.2f} (at v: {said['kde_test_at_v']:.0f})"
    )


if __name__ == "__main__":
    run(main)
