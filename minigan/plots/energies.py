"""A run with a D that rebuilds images: samples, what D makes of them, and the run's numbers."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from minigan.plots.curves import moving_average
from minigan.plots.grids import sample_grid
from minigan.plots.style import D_STAR, DPI, GUIDE, P_DATA, P_G, STYLE, D

_COLUMNS = {
    "real": ("L(x)", P_DATA),
    "fake": ("L(G(z))", P_G),
    "diversity": ("diversity", P_G),
    "k": ("k", D_STAR),
    "m": ("M", D),
}


def energy_figure(samples, pairs, panels, numbers: dict, beside: dict, collapsed) -> Figure:
    """Samples on the left; on the right images above what D makes of them, and below the panels.

    samples    images as for `sample_grid`, six in a row
    pairs      (images, the same rebuilt) of real ones; of samples also the nearest real images
    panels     which columns of the numbers each shows, as [["m"], ["diversity"], ["k"]]
    numbers    of the run, step by step, (steps,) each: "real" and "fake", the energies of images,
               "diversity", "k" and "m"; above a panel stand the means of the last 100
    beside     those of another run, which are dotted; {} if there is none
    collapsed  the diversity below which a G has collapsed
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 5.2), dpi=DPI)
        edges = {"left": 0.01, "right": 0.985, "top": 0.94, "bottom": 0.1}
        left, right = figure.add_gridspec(1, 2, width_ratios=[5, 8], wspace=0.1, **edges)
        _show(figure.add_subplot(left), samples, 6, "samples")
        above, below = right.subgridspec(2, 1, height_ratios=[1.4, 2.7], hspace=0.22)
        titles = "real images, rebuilt by D", "samples, rebuilt by D, and the nearest"
        for cell, pair, title in zip(
            above.subgridspec(1, 2, wspace=0.05), pairs, titles, strict=True
        ):
            _show(figure.add_subplot(cell), np.concatenate(pair), len(pair[0]), title)
        cells = below.subgridspec(1, len(panels), wspace=0.3)
        for cell, columns in zip(cells, panels, strict=True):
            _draw(figure.add_subplot(cell), columns, numbers, beside, collapsed)
    return figure


def _show(axes, images, columns, title):
    axes.imshow(sample_grid(images, columns), interpolation="nearest")
    axes.set_title(title, loc="left")
    axes.set_anchor("NW")
    axes.axis("off")


def _draw(axes, columns, numbers, beside, collapsed):
    last = {column: numbers[column][-100:].mean() for column in columns}
    for column in columns:
        name, color = _COLUMNS[column]
        axes.plot(moving_average(numbers[column]), color=color, label=name)
        if column in beside:
            other = moving_average(beside[column])
            axes.plot(other, color=color, ls=":", label="the other run")
    if "diversity" in columns:
        axes.axhline(collapsed, color=GUIDE, lw=1, label="collapsed below")
    shares = {"diversity", "k"} >= set(columns)  # of about 1 at most
    axes.set_ylim(0, 1.4 if shares else 4 * max(last.values()))
    said = ", ".join(f"{_COLUMNS[column][0]} = {value:.3f}" for column, value in last.items())
    axes.set_title(said, loc="left")
    axes.set_xlabel("step")
    axes.legend(loc="upper right")
