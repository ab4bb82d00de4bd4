"""Critics on a line, beside the best one, and what they say of the Wasserstein distance.

With h = F_g − F_d, the difference of the distribution functions, the best critic has the slope
sign h, and the distance is ∫ |h| dx. Where something is exact it is a broad pale line.
"""

from __future__ import annotations

import numpy as np

from minigan.plots.curves import draw_curve, moving_average
from minigan.plots.density import draw_densities
from minigan.plots.style import D_STAR, GUIDE, P_DATA, D

EXACT = {"color": P_DATA, "lw": 4, "alpha": 0.25}
SMOOTH = 7  # steps to either side that a value is averaged over


def draw_gap(panel, x, p_data, p_model, h, limits):
    """Two densities and the difference h of their distribution functions: arrays (nx,), over x.

    limits: of the axis of x, a pair.
    """
    draw_densities(panel, x, p_data, p_model)
    panel.plot(x, h, color=D_STAR, ls=":", label="$F_g - F_d$")
    panel.axhline(0, color=GUIDE, lw=0.8)
    panel.set(xlim=limits, xlabel="x")
    panel.legend()


def draw_critics(left, right, x, h, critics, limits):
    """Critics and their slopes beside the best one, where a share of 1% and more is to be moved.

    x, h: (nx,), an even grid and the gap on it. critics: a tuple for each, of its label, its colour
    and its values f (nx,), divided by its steepest slope. limits: of the axis of x, a pair.
    """
    width = x[1] - x[0]
    moved = np.abs(h) > 0.01
    best = np.where(moved, np.cumsum(np.sign(h)) * width, np.nan)
    best -= np.nanmean(best)
    left.plot(x, best, label="exact", **EXACT)
    right.plot(x, np.where(moved, np.sign(h), np.nan), **EXACT)
    for label, color, f in critics:
        left.plot(x, f - f[moved].mean(), color=color, label=label)
        right.plot(x[1:], np.diff(f) / width, color=color)
    left.set_title("the critics, f / K, K being the steepest slope")
    left.set_ylim(1.1 * np.nanmin(best), 1.1 * np.nanmax(best))
    left.legend(loc="lower left", fontsize=8.5)
    right.set_title("their slopes: ±1 where mass moves")
    for panel in (left, right):
        panel.set(xlim=limits, xlabel="x")


def draw_estimates(panel, steps, estimates, exact: float):
    """What critics have said of a distance as they learned.

    steps: (n,). estimates: a tuple for each curve, of its label, its colour, its line style and its
    values (n,). exact: the distance.
    """
    for label, color, style, values in estimates:
        panel.plot(steps, values, color=color, ls=style, label=label)
    panel.axhline(exact, **EXACT)
    panel.set(ylim=(0, 1.2 * exact), xlabel="step of the critic")
    panel.set_title("value / K, against the exact $W_1$")
    panel.legend(loc="lower right", fontsize=8.5)


def draw_norms(panel, norms):
    """How large a gradient is at each hidden layer of deep critics.

    norms: a tuple for each critic, of its label, its colour and its norms (layers,).
    """
    for label, color, values in norms:
        layers = np.arange(len(values)) + 1
        panel.semilogy(layers, values, "o-", ms=3, color=color, label=label)
    panel.set(title=f"gradient through {len(values)} hidden layers", xlabel="layer")
    panel.set_ylabel("norm of the gradient at its output")
    panel.legend(fontsize=8.5)


def draw_value(panel, value, exact=None):
    """The critic's value at each step of G (n,), beside the exact distance (n,) if it is known."""
    if exact is not None:
        panel.plot(exact, label="exact $W_1$", **EXACT)
        lowest = moving_average(value, SMOOTH).min(initial=0)
        panel.set_ylim(lowest, 1.1 * exact.max())
    draw_curve(panel, np.arange(len(value)), value, "critic's value", D, reach=SMOOTH)
    panel.set_xlabel("step of G")
