"""CycleGAN: two sets of images, no pairs, and a mapping each way (Zhu et al. 2017).

D_B says whether G_AB(a) looks like B; of all mappings that do, the one is wanted that can be
undone: J(G) + λ (E |G_BA(G_AB(a)) − a| + E |G_AB(G_BA(b)) − b|). Discs of six hues and bars of six
orientations are a pair that only this term resolves; without it (--cycle 0) another hue comes back.
The right one is no proof that B shows it: the colours of walls by day can come back from a night
that has none, hidden in G_AB(a) (Chu et al. 2017), until noise is put on it.

    python examples/translation/cyclegan.py                               90 seconds on one CPU core
    python examples/translation/cyclegan.py --pair day --cycle 30         what a night can hide
    python examples/translation/cyclegan.py --data horses zebras --size 64
    python examples/translation/cyclegan.py --resume --apply FOLDER       from A to B, or --backward

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
WHOLE = {"generator": "waist", "batch": 32, "width": 24, "lr_d": 5e-4}  # as a whole
PARTS = {"generator": "unet", "batch": 4, "width": 16, "lr_d": 1e-3}  # part by part


def parse(argv=None):
    p = options.parser(
        "CycleGAN: from one set of images to another, and back.",
        steps=3000,
        out="runs/cyclegan",
        resumable=True,
        quick={"steps": lambda n: max(1, n // 12), "every": 100},
    )
    options.translation(p, batch=None, width=None, lr_g=1e-3, lr_d=None, every=250)
    add = p.add_argument
    add("--pair", choices=data.DOMAINS, default="hue", help="of drawn sets, without --data")
    add("--images", type=options.whole(1), default=4000, help="that are drawn, of each set")
    add("--cycle", type=options.at_least(0), default=10.0, help="λ, the weight of there and back")
    add("--identity", type=options.at_least(0), default=0.0, help="weight of E |G_AB(b) − b|")
    add("--generator", choices=("waist", "unet", "residual"), help="hue: waist; others: unet")
    add("--buffer", type=options.whole(1), default=50, help="past images that D is shown, too")
    args = options.parse(p, argv)
    suits = WHOLE if args.pair == "hue" and args.data is None else PARTS
    vars(args).update({key: x for key, x in suits.items() if getattr(args, key) is None})
    return args


def main(argv=None):
    args = parse(argv)
    backend, folder = options.device(args), options.to_apply(args)
    way = int(vars(args).pop("backward"))  # 0: --apply maps from A to B
    given, pair = options.domains(args), data.DOMAINS[args.pair]
    sets = given or pair.draw(args.images, args.seed)
    new = given or pair.draw(COUNTED, [args.seed, 1])
    size, channels = sets[0].images.shape[1], [part.images.shape[-1] for part in sets]
    if args.identity and channels[0] != channels[1]:
        raise options.OptionError(f"--identity: one of {args.pair} is grey, the other is not")
    if size % 4:
        raise options.OptionError(f"--size {size}: expected a multiple of 4")
    if args.buffer < args.batch / 2:
        raise options.OptionError(f"--buffer {args.buffer}: want half of --batch {args.batch}")
    weights, *luck = backend.generator(args.seed).spawn(3)
    with options.building():
        batches = tuple(Batches(x, args.batch, k, backend) for k, x in enumerate(sets, args.seed))
        G_AB, G_BA, D_A, D_B = networks(args, size, channels, weights)
    grey = (Tensor(backend.xp.zeros((args.buffer, size, size, c), "float32")) for c in channels)
    past_A, past_B = (History(x, rng=rng) for x, rng in zip(grey, luck, strict=True))
    rates = [optim.linear_decay(lr, args.steps) for lr in (args.lr_g, args.lr_d)]
    G_both, D_both = G_AB.parameters() + G_BA.parameters(), D_A.parameters() + D_B.parameters()
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
            rows += [row, there := made(k, row), made(1 - k, there)]
        return plots.sample_grid(np.concatenate([row + np.zeros(3) for row in rows]), len(row))

    film = plots.Film(samples())
    parts = {"G_AB": G_AB, "G_BA": G_BA, "D_A": D_A, "D_B": D_B, "film": film, "record": record}
    parts |= {"G_optimizer": G_optimizer, "D_optimizer": D_optimizer}
    pairs = {"average": averages, "past": (past_A, past_B), "luck": luck}
    parts |= {f"{key}_{name}": two[k] for key, two in pairs.items() for k, name in enumerate("AB")}
    watch = Watch(record, show="there and back {cycle:.3f}".format_map, batch=args.batch)
    with Session(args, parts, about=sets, watch=watch, batches=batches) as session:
        for _ in session.steps(step):
            if session.due(args.every):
                session.show(samples())
    if session.lost:
        return session.status

    if folder:
        shown = {"size": size, "channels": channels[way], "backend": backend}
        count = apply_to_folder(averages[way].network, folder, args.out, **shown)
        print(f"{count} images mapped: {args.out / 'applied'}")
        if session.done == session.start:
            return session.status
    film.save_gif(args.out / "training.gif")
    curves = {} if given else round_trips(pair, new, made, args.seed)
    plots.save_figure(picture(sets, samples(), curves), args.out / "cyclegan.png")
    if not given:
        print(*marks(pair, sets, new, made, curves), sep="\n")
    return session.status


def networks(args, size, channels, rng):
    """G_AB, G_BA, D_A and D_B. A deeper U-Net than this would let things change their places."""
    shape = {"rng": rng, "width": args.width}
    # An instance norm would take a disc's hue away; elsewhere, an image's own is what counts.
    shape |= {"size": size} if args.generator == "waist" else {"norm": nn.InstanceNorm}
    both = [{"inputs": a, "channels": b} | shape for a, b in (channels, channels[::-1])]
    if args.generator == "waist":
        G = [models.waist_generator(**each) for each in both]
        return *G, *(models.dcgan_discriminator(channels=c, hidden=128, **shape) for c in channels)
    if args.generator == "unet":
        G = [models.UNet(dropout=rng, noisy=0, size=8, **each) for each in both]
    else:
        G = [models.residual_generator(**each) for each in both]
    shape |= {"width": 2 * args.width, "stages": 3 if size >= 16 else 2}
    return *G, *(models.PatchDiscriminator(channels=c, **shape) for c in channels)


def round_trips(pair, new, made, seed) -> dict:
    """What images keep, there and back, with noise on the image between: {what: a share per σ}."""
    rng, curves = np.random.default_rng([seed, 2]), {}
    for k, part in enumerate(new):
        there = made(k, data.to_unit(part.images))
        for sigma in NOISE:
            back = made(1 - k, there + sigma * rng.standard_normal(there.shape))
            for what, kept in pair.same(part.images, data.to_bytes(back), (k, k)).items():
                curves.setdefault(f"{what}, {part.name}", []).append(kept)
    return curves


def marks(pair, sets, new, made, curves):
    """Lines: what is kept, on what an image and what became of it agree, and what looks real."""
    for what, kept in curves.items():
        shares = [f"{share:.1%} at {sigma}" for share, sigma in zip(kept, NOISE, strict=True)]
        yield f"there and back, {what}: {', '.join(shares)}"
    for k, (part, other) in enumerate((new, new[::-1])):
        there = data.to_bytes(made(k, data.to_unit(part.images)))
        for what, share in pair.same(part.images, there, (k, 1 - k)).items():
            yield f"{part.name} to {other.name}: {what}, {share:.1%} agree"
        share = looks_real(there, other.images, sets[1 - k].images)
        yield f"{part.name} to {other.name}: {share:.1%} look real"


def picture(sets, grid, curves):
    """Six rows of images and, if it is known what is in them, how much of it survives noise."""
    a, b = (part.name for part in sets)
    with plots.panels(1, 2, size=(11, 4), width_ratios=[1.7, 1]) as (figure, (left, right)):
        plots.draw_rows(left, grid, [a, "there", "and back", b, "there", "and back"])
        right.set(ylim=(0, 1.05), xlabel="σ of noise on the image between", title="what comes back")
        for what, kept in curves.items():
            right.plot([f"{sigma:g}" for sigma in NOISE], kept, "o-", ms=3, label=what)
            right.legend(loc="lower left")
        right.set_visible(bool(curves))
    return figure


if __name__ == "__main__":
    run(main)
