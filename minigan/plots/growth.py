"""A GAN that grew: the same z after each level, and what each level brought over time."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from minigan.plots.curves import use_log_axis
from minigan.plots.style import DPI, GUIDE, P_G, STYLE

_GAP = 2  # white pixels between columns


def growth_figure(columns: dict, curves: dict, reached: dict) -> Figure:
    """Columns of samples, a row for each z, beside a panel for each measure over time.

    columns   {what is written under it: pixels, uint8 (height, width, 3), all of one height}; those
              of another run may come last, with z of its own
    curves    {name of a measure: {name of a run: (seconds, values)}}; the first run is green,
              another grey
    reached   {what is written there: seconds}: when the levels of the first run ended
    """
    with matplotlib.rc_context(STYLE):
        size = (3.2 + 0.9 * len(columns) + 3.1 * len(curves), 4.6)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        widths = [0.9 * len(columns), *[3.1] * len(curves)]
        images, *panels = figure.subplots(1, 1 + len(curves), width_ratios=widths)
        _draw_columns(images, columns)
        for panel, (name, runs) in zip(panels, curves.items(), strict=True):
            panel.set(title=name, xlabel="seconds of training")
            values = np.concatenate([values for _, values in runs.values()])
            if np.isfinite(values).all() and values.min() > 0:
                use_log_axis(panel, decades=np.log10(values.max() / values.min()))
            for label, run in runs.items():
                color = P_G if label == next(iter(runs)) else GUIDE
                panel.plot(*run, color=color, marker=".", label=label)
            for label, at in reached.items():
                panel.axvline(at, color=P_G, linewidth=0.6, alpha=0.5)
                place = {"transform": panel.get_xaxis_transform(), "ha": "right", "va": "top"}
                panel.text(at, 1, label, size=8, **place)
            panel.legend()
    return figure


def _draw_columns(panel, columns):
    pixels = list(columns.values())
    strip = np.full((len(pixels[0]), _GAP, 3), 255, np.uint8)
    panel.imshow(np.concatenate([part for each in pixels for part in (each, strip)], 1))
    ends = np.cumsum([each.shape[1] + _GAP for each in pixels])
    middles = [end - _GAP - each.shape[1] / 2 for end, each in zip(ends, pixels, strict=True)]
    panel.set_xticks(middles, list(columns))
    panel.set_yticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_title("one z a row, after each level", loc="left")
