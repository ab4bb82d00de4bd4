"""Points in the plane, the modes that they should have, and what D says of the plane."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from minigan.plots.style import DPI, GUIDE, P_DATA, P_G, STYLE

CELLS = 48  # of a heat map, along each side
_HEAT = LinearSegmentedColormap.from_list("D", ["#ffffff", "#4aa3d8"])


def heat_points(centres: np.ndarray) -> np.ndarray:
    """Where a heat map around the modes (k, 2) needs its values: (CELLS², 2), row by row from
    below, in the middle of each cell of the square that `draw_modes` shows.
    """
    reach = _reach(centres)
    ticks = (np.arange(CELLS) + 0.5) / CELLS * 2 * reach - reach
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)


def draw_modes(panel, samples, centres, *, heat=None, limits=None, size=3.0):
    """G's points (n, 2), n ≥ 0, in green, and a ring around each true mode (k, 2), in black.

    heat     values at the `heat_points`, drawn in blue below them
    limits   the values that are white and blue; by default the least and the largest
    size     of a point
    """
    reach = _reach(centres)
    if heat is not None:
        cells = np.asarray(heat).reshape(CELLS, CELLS)
        low, high = limits or (cells.min(), cells.max())
        extent = (-reach, reach) * 2
        panel.imshow(cells, _HEAT, origin="lower", extent=extent, vmin=low, vmax=high)
    panel.scatter(*samples.T, s=size, color=P_G, alpha=0.4, lw=0, label="G(z)")
    panel.scatter(*centres.T, s=70, facecolors="none", edgecolors=P_DATA, lw=0.8)
    panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set(visible=True, color=GUIDE)


def draw_points(panel, real, points):
    """Samples over data, (n, d) each, by the first and the last of their d coordinates."""
    for name, x, color in (("data", real, P_DATA), ("G(z)", points, P_G)):
        panel.scatter(x[:, 0], x[:, -1], s=3, color=color, alpha=0.4, lw=0, label=name)
    panel.set(xticks=[], yticks=[])
    panel.legend(loc="upper right", markerscale=3, fontsize=8)


def modes_side_by_side(runs: dict, centres: np.ndarray) -> Figure:
    """A panel for each run, as `draw_modes` draws it: {title: (samples (n, 2), caption)}."""
    columns = min(7, max(1, len(runs)))
    rows = math.ceil(len(runs) / columns)
    with matplotlib.rc_context(STYLE):
        size = 1.85 * columns, 2.3 * rows
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels[len(runs) :]:
            panel.set_axis_off()
        for panel, (title, (samples, caption)) in zip(panels, runs.items(), strict=False):
            draw_modes(panel, samples, centres, size=6)
            panel.set_title(title, loc="left", size=8.8, weight="bold")
            panel.set_xlabel(caption, size=8.5)
    return figure


def _reach(centres) -> float:
    """How far a square around the origin goes that has all modes well inside."""
    return 1.25 * np.abs(centres).max() + 0.15
