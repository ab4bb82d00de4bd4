"""What a divergence measures, before any network: entropy, KL, JS, and why Wasserstein.

A GAN's losses are divergences between the data's distribution and the generator's. Three pictures
show what that means. How many questions tell the roll of a die, and what asking the wrong ones
costs. Why the direction of KL matters: a narrow model of two-humped data is cheap in one direction
and ruinous in the other. And why the divergences of the first GANs give no hint to a generator
whose samples lie beside the data: for two boxes that don't touch, JS is ln 2 at any distance, KL
infinite, while the Wasserstein distance says how far there is to go.

    python examples/theory/information_theory.py

It writes information_theory.png and prints the numbers.
"""

from __future__ import annotations

import math

import numpy as np

from minigan import plots
from minigan.data import Gaussian, GaussianMixture1D
from minigan.evaluation import (
    cells,
    cross_entropy,
    entropy,
    js,
    kl,
    shared_out,
    total_variation,
    wasserstein,
)
from minigan.training import make_folder, options, run

FAIR = [1 / 6] * 6
LOADED = [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8]
CELL = 0.01  # width of the grids' cells
SHIFTS = np.arange(0, 4.01, 0.1)  # of one box, of width 1, against the other


def main(argv=None):
    p = options.parser(__doc__.splitlines()[0], out="runs/information_theory")
    args = options.parse(p, argv)
    make_folder(args.out)
    with plots.panels(1, 3, size=(13, 4.2)) as (figure, panels):
        numbers = [draw(panel) for draw, panel in zip((dice, humps, boxes), panels, strict=True)]
    path = plots.save_figure(figure, args.out / "information_theory.png")
    for line in numbers:
        print(line)
    print(f"picture: {path}")
    return 0


def dice(panel) -> str:
    """A fair die, told with questions that suit a loaded one.

    KL is the mean of log(P / Q), a difference of logarithms. The lecture's slides print
    log P / log Q, a quotient, which is another number; theirs are those of log(P / Q), as here.
    """
    faces = np.arange(1, 7)
    panel.bar(faces - 0.2, FAIR, 0.4, color=plots.P_DATA, label="p: fair")
    panel.bar(faces + 0.2, LOADED, 0.4, color=plots.P_G, label="q: loaded")
    least = entropy(FAIR, unit="bits")
    asked = cross_entropy(FAIR, LOADED, unit="bits")
    cost = kl(FAIR, LOADED, unit="bits")
    coin = entropy([0.5, 0.5], unit="bits"), entropy([0.9, 0.1], unit="bits")
    panel.set_title(f"H(p) {least:.3f}, H(p, q) {asked:.3f}\nKL(p ‖ q) {cost:.3f} bits")
    panel.set(xlabel="face", ylabel="probability", ylim=(0, 0.34))
    panel.legend(loc="upper right")
    return (
        f"die: H(p) = {least:.3f}, H(p, q) = {asked:.3f}, KL(p || q) = {cost:.3f} bits; "
        f"coins: fair {coin[0]:.3f}, nine to one {coin[1]:.3f} bits"
    )


def humps(panel) -> str:
    """Two humps and a model of one of them: KL from either side."""
    x = cells(-6, 6, CELL)
    data, one, blurred = GaussianMixture1D([-2, 2], [0.6, 0.6]), Gaussian(2, 0.6), Gaussian(0, 2.1)
    p, narrow, wide = (shared_out(density.pdf(x), CELL) for density in (data, one, blurred))
    panel.fill_between(x, p, color=plots.P_DATA, alpha=0.15, lw=0)
    panel.plot(x, p, color=plots.P_DATA, label="p: data")
    lines = []
    for name, q, color in (("one hump", narrow, plots.P_G), ("both, blurred", wide, plots.D_STAR)):
        forward, backward = kl(p, q, cell=CELL), kl(q, p, cell=CELL)
        label = f"q: {name}\nKL(p ‖ q) {forward:.2f}, KL(q ‖ p) {backward:.2f}"
        panel.plot(x, q, color=color, label=label)
        lines.append(f"{name} KL(p || q) = {forward:.3f}, KL(q || p) = {backward:.3f}")
    panel.set_title("KL has a direction: (p ‖ q) punishes\nmissing data, (q ‖ p) inventing it")
    panel.set(xlabel="x", ylabel="density", ylim=(0, 1.25))
    panel.legend(loc="upper left")
    return "two humps: " + "; ".join(lines) + " nats"


def boxes(panel) -> str:
    """A box of width 1 and the same box, shifted: who notices how far?"""
    x = cells(0, 6, CELL)
    found = {"JS": [], "total variation": [], "Wasserstein-1": []}
    for shift in SHIFTS:
        p, q = (shared_out((x > left) & (x < left + 1), CELL) for left in (0.5, 0.5 + shift))
        found["JS"].append(js(p, q, cell=CELL))
        found["total variation"].append(total_variation(p, q, cell=CELL))
        found["Wasserstein-1"].append(wasserstein(x, x, p=p * CELL, q=q * CELL))
    colors = plots.D, plots.GUIDE, plots.P_G
    for (name, values), color in zip(found.items(), colors, strict=True):
        panel.plot(SHIFTS, values, color=color, label=name)
    panel.vlines(1, 0, 3, color=plots.P_DATA, lw=0.8, ls=":")
    panel.text(1.1, 0.56, "from here on they don't touch:\nJS stays ln 2, KL is infinite", va="top")
    panel.set_title("Two boxes of width 1, and how far apart\nthey are said to be")
    panel.set(xlabel="shift of one box", ylabel="nats, probability, or distance", ylim=(0, 4.2))
    panel.legend(loc="upper left")
    far, near = -1, int(np.argmin(np.abs(SHIFTS - 2)))
    return (
        f"disjoint boxes, shifts 2 and 4: JS = {found['JS'][near]:.3f}, {found['JS'][far]:.3f} "
        f"(ln 2 = {math.log(2):.3f}), W1 = {found['Wasserstein-1'][near]:.3f}, "
        f"{found['Wasserstein-1'][far]:.3f}"
    )


if __name__ == "__main__":
    run(main)
