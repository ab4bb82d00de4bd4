"""What truncation trades: samples of a whole and of a truncated z, and two shares over t."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from minigan.plots.figures import panels
from minigan.plots.grids import draw_rows
from minigan.plots.style import D_STAR, GUIDE, P_G, SKY

_COLORS = P_G, D_STAR, SKY, GUIDE


def truncation_figure(grids: dict, classes, limits, curves: dict, real) -> Figure:
    """Grids of samples by what they are called, and precision and recall over the limit t.

    grids    uint8 pixels (height, width, 3), a row for each of the classes
    curves   for each way to truncate the precisions and recalls (len(limits), 2)
    real     the two of as many real images: the most there is
    """
    limits = np.asarray(limits)
    widths = [1] * len(grids) + [1.15] * 2
    size = 2.9 * len(grids) + 5.6, 4.2
    with panels(1, len(grids) + 2, size=size, width_ratios=widths) as (figure, all_panels):
        *pictures, precision, recall = all_panels
        for panel, (name, grid) in zip(pictures, grids.items(), strict=True):
            draw_rows(panel, grid, classes)
            panel.set_title(name)
        for k, (panel, name) in enumerate(((precision, "precision"), (recall, "recall"))):
            for color, (way, curve) in zip(_COLORS, curves.items(), strict=False):
                panel.plot(limits, np.asarray(curve)[:, k], "o-", color=color, ms=4, label=way)
            panel.axhline(real[k], color="black", ls=":", lw=1, label="real images")
            panel.set_title(name)
            panel.set_xlabel("$t$")
            panel.set_ylim(0, 1.02)
        precision.legend(loc="lower left")
    return figure
