"""CycleGAN: two sets of images, no pairs, and a mapping each way (Zhu et al. 2017).

D_B says whether G_AB(a) looks like B; of all mappings that do, the one is wanted that can be
undone: J(G) + λ (E |G_BA(G_AB(a)) − a| + E |G_AB(G_BA(b)) − b|). Discs of six hues and bars of six
orientations are a pair that only this term resolves; without it (--cycle 0) the way back finds
another hue. That it finds the right one is no proof that B says so: by day walls have colours which
night does not show, and yet they come back, hidden in G_AB(a) (Chu et al. 2017), until a little
noise is put on it.

    python examples/translation/cyclegan.py                               a minute on one CPU core
    python examples/translation/cyclegan.py --pair day                    a street at night
    python examples/translation/cyclegan.py --data horses zebras --size 64
    python examples/translation/cyclegan.py --resume --apply FOLDER       its images, from A to B

It writes cyclegan.png, samples_*.png, training.gif and checkpoint.safetensors.
"""

from __future__ import annotations

import numpy as np

from minigan import Tensor, data, losses, models, nn, optim, plots
from minigan import functional as F
from minigan.data import Batches
from minigan.evaluation import looks_real
from minigan.gan import History, discriminator_loss, generator_loss
from minigan.training import Record, Session, Watch, apply_to_folder, in_chunks, options, run

COUNTED, SHOWN = 1000, 10  # new images of each set that are counted, and those in a picture
NOISE = (0.0, 0.01, 0.03, 0.1, 0.3)  # σ on the image in the middle, of pixels from −1 to 1
# What suits images that change as a whole, and those whose parts keep their places.
WHOLE = {"batch": 32, "width": 24, "lr_g": 1e-3}
PARTS = {"batch": 8, "width": 12, "lr_g": 1e-3}


def parse(argv=None):
    p = options.parser(
        "CycleGAN: from one set of images to another, and back.",
        steps=2000,
        out="runs/cyclegan",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 8), "every": 100},
    )
    options.translation(p, batch=None, width=None, lr_g=None, lr_d=5e-4, every=250)
    add = p.add_argument
    add("--pair", choices=data.DOMAINS, default="hue", help="of drawn sets, without --data")
    add("--images", type=options.whole(1), default=4000, help="that are drawn, of each set")
    add("--cycle", type=options.at_least(0), default=10.0, help="λ, the weight of there and back")
    add("--identity", type=options.at_least(0), default=0.0, help="weight of E |G_AB(b) − b|")
    add("--generator", choices=("unet", "residual"), default="unet", help="where parts stay")
    add("--buffer", type=options.whole(1), default=50, help="past images that D is shown, too")
    args = options.parse(p, argv)
    for key, value in (PARTS if by_parts(args) else WHOLE).items():
        if getattr(args, key) is None:
            setattr(args, key, value)
    return args


def by_parts(args) -> bool:
    return args.data is not None or args.pair != "hue"


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    given, pair = options.domains(args), data.DOMAINS[args.pair]
    sets = given or pair.draw(args.images, args.seed)
    new = given or pair.draw(COUNTED, [args.seed, 1])
    size, channels = sets[0].images.shape[1], [part.images.shape[-1] for part in sets]
    if args.identity and channels[0] != channels[1]:
        raise options.OptionError(
            f"--identity: {sets[0].name} have colours and {sets[1].name} have none"
        )
    if args.buffer < args.batch / 2:
        raise options.OptionError(
            f"--buffer {args.buffer}: half of a --batch {args.batch} goes into it"
        )
    weights, *luck = backend.generator(args.seed).spawn(3)
    with options.building():
        batches = tuple(
            Batches(part, args.batch, args.seed + k, backend) for k, part in enumerate(sets)
        )
        G_AB, G_BA, D_A, D_B = networks(args, size, channels, weights)
    grey = [backend.xp.zeros((args.buffer, size, size, c), "float32") for c in channels]
    past_A, past_B = (History(Tensor(x), rng=rng) for x, rng in zip(grey, luck, strict=True))
    G_both, D_both = (
        [*one.parameters(), *other.parameters()] for one, other in ((G_AB, G_BA), (D_A, D_B))
    )
    rates = [optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d)]
    G_optimizer = optim.Adam(G_both, rates[0], betas=(0.5, 0.999))
    D_optimizer = optim.Adam(D_both, rates[1], betas=(0.5, 0.999))
    averages = optim.EMA(G_AB, 0.99), optim.EMA(G_BA, 0.99)
    objective, record = losses.LeastSquares(), Record("loss_d", "loss_g", "cycle")

    def step():
        a, b = (Tensor(part.next()) for part in batches)
        fake_a, fake_b = G_BA(b), G_AB(a)

        # (1) Both D: tell real images from those that the G make, now and before
        d_a, _ = discriminator_loss(D_A, objective, a, past_A.mix(fake_a))
        d_b, _ = discriminator_loss(D_B, objective, b, past_B.mix(fake_b))
        D_optimizer.descend(d_a + d_b)

        # (2) Both G: make what the D that have just moved take for real, and what can be undone
        g_a, _ = generator_loss(D_A, objective, fake_a)
        g_b, _ = generator_loss(D_B, objective, fake_b)
        loss, cycle = 2.0 * (g_a + g_b), 0.0  # the paper halves the squares of D, not those of G
        if args.cycle:
            cycle = F.abs(G_BA(fake_b) - a).mean() + F.abs(G_AB(fake_a) - b).mean()
            loss = loss + args.cycle * cycle
        if args.identity:
            same = F.abs(G_BA(a) - a).mean() + F.abs(G_AB(b) - b).mean()
            loss = loss + args.identity * same
        G_optimizer.descend(loss)
        for average in averages:
            average.update()
        record.add(d_a + d_b, loss, cycle)

    def made(which, images):
        """What an averaged generator, 0 of A or 1 of B, makes of floats (n, size, size, c)."""
        return in_chunks(averages[which].network, backend.asarray(images, "float32"))

    def samples():
        """Images of both sets, what the G make of them, and what comes back: six rows."""
        rows = []
        for k, part in enumerate(new):
            row = data.to_unit(part.images[np.arange(SHOWN) % len(part)])
            there = made(k, row)
            rows += [row, there, made(1 - k, there)]
        return plots.sample_grid(np.concatenate([row + np.zeros(3) for row in rows]), len(row))

    film = plots.Film(samples())
    parts = {"G_AB": G_AB, "G_BA": G_BA, "D_A": D_A, "D_B": D_B, "film": film, "record": record}
    parts |= {"G_optimizer": G_optimizer, "D_optimizer": D_optimizer, "past_A": past_A}
    parts |= {"average_AB": averages[0], "average_BA": averages[1], "past_B": past_B}
    parts |= {"luck_A": luck[0], "luck_B": luck[1]}
    watch = Watch(record, show="there and back {cycle:.3f}".format_map, batch=args.batch)
    with Session(args, parts, about=sets, watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())
    if session.lost:
        return session.status

    if folder:
        G = averages[0].network
        shape = {"size": size, "channels": channels[0], "backend": backend}
        print(
            f"{apply_to_folder(G, folder, args.out, **shape)} images mapped: {args.out / 'applied'}"
        )
        if session.done == session.start:
            return session.status
    curves = {} if given else round_trips(pair, new, made, args.seed)
    plots.save_figure(picture(sets, samples(), curves), args.out / "cyclegan.png")
    film.save_gif(args.out / "training.gif")
    if not given:
        print(*marks(pair, sets, new, made, curves), sep="\n")
    return session.status


def networks(args, size, channels, rng):
    """G_AB, G_BA, D_A and D_B."""
    shape, (a, b) = {"rng": rng, "width": args.width}, channels
    if not by_parts(args):
        G = (models.waist_generator(**shape, size=size, inputs=a, channels=b),)
        G += (models.waist_generator(**shape, size=size, inputs=b, channels=a),)
        shape |= {"size": size, "hidden": 128}
        return *G, *(models.dcgan_discriminator(**shape, channels=c) for c in channels)
    shape["norm"] = nn.InstanceNorm  # what becomes of an image depends on no other
    if args.generator == "residual":
        G = [models.residual_generator(**shape) for _ in range(2)]
    else:
        G = [models.UNet(**shape, dropout=rng, noisy=0, size=size) for _ in range(2)]
    return *G, *(models.PatchDiscriminator(**shape) for _ in range(2))


def round_trips(pair, new, made, seed) -> dict:
    """How many images keep what can be read off them, there and back: {what: a share for each σ}.

    With noise of σ on the images in the middle, in which things may be hidden.
    """
    rng, curves = np.random.default_rng([seed, 2]), {}
    for k, part in enumerate(new):
        there = made(k, data.to_unit(part.images))
        for sigma in NOISE:
            noisy = there + sigma * rng.standard_normal(there.shape)
            back = data.to_bytes(made(1 - k, noisy))
            for what, read in pair.read[k].items():
                kept = (read(back) == read(part.images)).all(1).mean()
                curves.setdefault(f"{what}, {part.name}", []).append(kept)
    return curves


def marks(pair, sets, new, made, curves):
    """Lines of what was found: what is kept, what agrees between the sets, what looks real."""
    for what, kept in curves.items():
        shares = [f"{share:.1%} at {sigma}" for share, sigma in zip(kept, NOISE, strict=True)]
        yield f"there and back, {what}: {', '.join(shares)}"
    for here, other in ((0, 1), (1, 0)):
        there = data.to_bytes(made(here, data.to_unit(new[here].images)))
        for what in pair.read[here].keys() & pair.read[other].keys():
            same = pair.read[here][what](new[here].images) == pair.read[other][what](there)
            yield f"{new[here].name} to {new[other].name}, {what}: {same.all(1).mean():.1%} agree"
        yield f"{looks_real(there, new[other].images, sets[other].images):.1%} look like {new[other].name}"


def picture(sets, grid, curves):
    """Six rows of images and, if it is known what is in them, how much of it survives noise."""
    a, b = (part.name for part in sets)
    with plots.panels(1, 2, size=(11, 3.6), width_ratios=[1.9, 1]) as (figure, (left, right)):
        plots.draw_rows(left, grid, [a, "there", "and back", b, "there", "and back"])
        right.set_axis_off()
        for what, kept in curves.items():
            right.set_axis_on()
            right.plot([f"{sigma:g}" for sigma in NOISE], kept, "o-", ms=3, label=what)
            right.set(ylim=(0, 1.05), xlabel="σ of noise on the image between")
            right.set_title("kept, there and back")
            right.legend(loc="lower left")
    return figure


if __name__ == "__main__":
    run(main)
