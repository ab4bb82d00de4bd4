"""One-sided mapping: what to send where, no pairs and no way back (Benaim and Wolf 2017).

That G's images look like those of the other set leaves open which becomes which. A cycle asks for a
mapping that can be undone, and so can many a twisted one. DistanceGAN asks for what is near to stay
near: E |d(xᵢ, xⱼ) − d(G(xᵢ), G(xⱼ))|, the distances of each set standardised. Here it is known what
is right: a square is to become a square, turned or mirrored at most, and an image of beams that
cross at (u, v) two bars of the heights u and v. What is printed is how far off each mapping is.

    python examples/translation/one_sided.py                      both, three ways each: a minute
    python examples/translation/one_sided.py --pair square        without the images: 4 seconds
    python examples/translation/one_sided.py --self --pair images     by an image's own halves

It writes one_sided.png.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigan import Tensor, data, gan, losses, nn, optim, plots
from minigan import functional as F
from minigan.gan import discriminator_loss, generator_loss
from minigan.models import dcgan_discriminator, mlp, waist_generator
from minigan.training import Record, Session, in_chunks, options, run

WAYS = ("nothing", "cycle", "distances")
COUNTED = 1000  # places
KNOWN = 200  # samples by whose distances others are standardised


def parse(argv=None):
    p = options.parser(
        "A mapping that keeps distances.",
        steps=1500,
        out="runs/one_sided",
        quick={"steps": lambda n: max(1, n // 8)},
    )
    options.shared(p, batch=32, lr=1e-3)
    add = p.add_argument
    add("--pair", choices=("both", *PAIRS), default="both", help="of sets")
    add("--weight", type=options.at_least(0), default=1.0, help="of the distances")
    add("--cycle", type=options.at_least(0), default=10.0, help="λ, the weight of there and back")
    add("--self", action="store_true", help="of images: keep the distance between their halves")
    return options.parse(p, argv)


class Pair(NamedTuple):
    """Two sets, and the networks that suit them."""

    sets: tuple[data.Square, data.Square]
    channels: tuple[int, int]
    generator: Callable
    discriminator: Callable


# Large weights: G begins as some folded map. From small ones it is nearly linear, and often lucky.
FOLDED = nn.normal(0.7)
PAIRS = {
    "square": Pair(
        (data.SQUARES["points"], data.SQUARES["points"]),
        (2, 2),
        lambda rng, *c: mlp([c[0], 64, 64, c[1]], rng=rng, init=FOLDED),
        lambda rng, c: mlp([c, 64, 64, 1], rng=rng, init=FOLDED),
    ),
    "images": Pair(
        (data.SQUARES["lights"], data.SQUARES["bars"]),
        (3, 1),
        lambda rng, *c: waist_generator(rng=rng, inputs=c[0], channels=c[1], width=16, hidden=128),
        lambda rng, c: dcgan_discriminator(  # with batch norm bars come late
            rng=rng, size=16, channels=c, width=16, batch_norm=False
        ),
    ),
}


class Found(NamedTuple):
    """What a run came to: G, how far from faithful it is, and how far from undone, or None."""

    G: nn.Module
    off: float
    returned: float | None


def train(pair: Pair, way: str, args, backend, session) -> Found:
    weights, noise = backend.generator(args.seed).spawn(2)
    a, b = pair.channels
    G, back = pair.generator(weights, a, b), pair.generator(weights, b, a)
    D_b, D_a = pair.discriminator(weights, b), pair.discriminator(weights, a)
    cycle = way == "cycle"
    G_set, D_set = G.parameters(), D_b.parameters()
    if cycle:
        G_set, D_set = G_set + back.parameters(), D_set + D_a.parameters()
    rate, betas = optim.linear_decay(args.lr, args.steps), (0.5, 0.999)
    G_optimizer, D_optimizer = (optim.Adam(some, rate, betas=betas) for some in (G_set, D_set))
    average, average_back = optim.EMA(G, 0.99), optim.EMA(back, 0.99)
    objective, record = losses.NonSaturating(), Record("loss")

    def draw(n):
        """n samples of each set, no two of which belong together."""
        return [Tensor(part.draw(noise.uniform((n, 2)))) for part in pair.sets]

    distances = gan.self_distances if args.self else gan.pairwise_distances
    keep = gan.KeptDistances(*draw(KNOWN), distances) if way == "distances" else None

    def step():
        a, b = draw(args.batch)
        fake = G(a)
        games = [(D_b, b, fake)]
        if cycle:
            fake_a = back(b)
            games.append((D_a, a, fake_a))
        # (1) D, of both sets if there is a way back
        costs = [discriminator_loss(D, objective, x, y.detach())[0] for D, x, y in games]
        D_optimizer.descend(sum(costs[1:], costs[0]))
        # (2) G, with what is asked of it beside
        costs = [generator_loss(D, objective, y)[0] for D, _, y in games]
        if cycle:
            again = F.abs(back(fake) - a).mean() + F.abs(G(fake_a) - b).mean()
            costs.append(args.cycle * again)
        if keep:
            costs.append(args.weight * keep(a, fake))
        loss = sum(costs[1:], costs[0])
        G_optimizer.descend(loss)
        average.update()
        average_back.update()
        record.add(loss)

    for _ in session.steps(step, args.steps):
        pass
    uv = backend.generator([args.seed, 1]).uniform((COUNTED, 2))
    made = in_chunks(average.network, pair.sets[0].draw(uv))
    uv, again = backend.to_numpy(uv), in_chunks(average_back.network, backend.asarray(made))
    returned = data.apart(uv, pair.sets[0].read(again)) if cycle else None
    return Found(average.network, data.unfaithful(uv, pair.sets[1].read(made)), returned)


def main(argv=None):
    args = parse(argv)
    backend = options.device(args)
    chosen = PAIRS if args.pair == "both" else [args.pair]
    if args.self and "square" in chosen:
        raise options.OptionError("--self: a point has no halves: want --pair images")
    runs = list(itertools.product(chosen, WAYS))
    with Session(args, total=len(runs) * args.steps) as session:
        found = {(name, way): train(PAIRS[name], way, args, backend, session) for name, way in runs}
    if session.status:
        return session.status
    if not np.isfinite([each.off for each in found.values()]).all():
        print("NaN or infinity: the weights are lost. Try a lower --lr.")
        return 1
    file = plots.save_figure(picture(found, backend), args.out / "one_sided.png")
    for (name, way), each in found.items():
        back = "" if each.returned is None else f"; there and back {each.returned:.3f}"
        print(f"{name}, {way}: {each.off:.3f} of a side from faithful{back}")
    print(f"{session.seconds:.1f} s; picture: {file}")
    return 0


def picture(found, backend):
    """A row for each pair; of images another, with what becomes of sixteen."""
    rows = [(name, draw_net) for name in PAIRS if (name, WAYS[0]) in found]
    rows += [(name, draw_images) for name, _ in rows if name == "images"]
    with plots.panels(len(rows), 4, size=(11, 2.9 * len(rows)), squeeze=False) as (figure, panels):
        for line, (name, draw) in zip(panels, rows, strict=True):
            for panel, way in zip(line, (None, *WAYS), strict=True):
                each = found.get((name, way))
                draw(panel, PAIRS[name], each and each.G, backend)
                panel.set_title(f"{way}: {each.off:.2f}" if each else PAIRS[name].sets[0].name)
    return figure


def made(pair, G, uv, backend):
    """What is in the first set at points (n, 2), and what G makes of it; without G the former."""
    shown = pair.sets[0].draw(backend.asarray(uv, "float32"))
    return in_chunks(G, shown) if G else backend.to_numpy(shown)


def draw_net(panel, pair, G, backend):
    """Where the lines of a square net come to lie, in the colours of where they were."""
    side, ticks = np.linspace(0, 1, 41), np.linspace(0, 1, 9)
    lines = np.array([[(x, y) for y in side] for x in ticks])
    lines = np.concatenate([lines, lines[:, :, ::-1]])
    places = pair.sets[bool(G)].read(made(pair, G, lines.reshape(-1, 2), backend))
    panel.scatter(*places.T, s=4, lw=0, c=[(u, 0.45, v) for u, v in lines.reshape(-1, 2)])
    panel.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1), aspect="equal", xticks=[], yticks=[])


def draw_images(panel, pair, G, backend):
    """The same of sixteen images, at the places of their lights."""
    uv = np.array([(u, v) for v in np.linspace(0, 1, 4) for u in np.linspace(0, 1, 4)])
    panel.imshow(plots.sample_grid(made(pair, G, uv, backend), 4))
    panel.set_axis_off()


if __name__ == "__main__":
    run(main)
