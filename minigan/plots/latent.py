"""The latent space in one figure: ways through it, arithmetic, images found again, a morph."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from minigan.plots.grids import draw_rows, sample_grid
from minigan.plots.style import DPI, STYLE

_GAP = 2  # white pixels between the images of a grid


def latent_figure(ways, sums, found, morph, *, titles) -> Figure:
    """Ways above a morph, formulas above what was found; images are floats as for `sample_grid`.

    ways    rows of images between two z: [(words, images), …]
    sums    {words: (k of one kind, k of another, [one more], [the result])}: rows that read
            k − k + one = result; of {} the panel stays empty
    found   images, the same as G draws them, their neighbours (n, h, w, c); and how far the second
            and the third are from the first, numbers (n,)
    morph   a row of images
    titles  of ways, sums, found and morph
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 6), dpi=DPI, layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.05])
        ways_panel, morph_panel = left.subplots(2, 1, height_ratios=[len(ways), 1.3])
        sums_panel, found_panel = right.subplots(2, 1, height_ratios=[max(1, len(sums)), 4.4])
        _rows(ways_panel, *zip(*ways, strict=True))
        _rows(morph_panel, [""], [morph])
        _found(found_panel, *found)
        if sums:
            _formulas(sums_panel, sums)
        else:
            sums_panel.set_axis_off()
        for panel, title in zip(
            (ways_panel, sums_panel, found_panel, morph_panel), titles, strict=True
        ):
            panel.set_title(title, loc="left")
    return figure


def _rows(panel, labels, rows):
    draw_rows(panel, sample_grid(np.concatenate(rows), len(rows[0])), labels)


def _formulas(panel, sums: dict):
    """Rows of images with − + = in white columns between them."""
    rows = []
    for row, terms in enumerate(sums.values()):
        parts, (_, height, width, _) = [], terms[0].shape
        for sign, term in zip(("", "−", "+", "="), terms, strict=True):
            if sign:
                x = (sum(map(len, parts)) + 0.5) * (width + _GAP)
                y = (row + 0.5) * (height + _GAP)
                panel.text(x, y, sign, ha="center", va="center", size=14)
                parts.append(np.ones_like(term[:1]))
            parts.append(term)
        rows.append(np.concatenate(parts))
    _rows(panel, [*sums], rows)


def _found(panel, images, drawn, neighbours, errors, distances):
    """Three rows, and under each image that is compared with the first how far it is from it."""
    _, height, width, _ = images.shape
    strip = (0, 0), (0, height // 3), (0, 0), (0, 0)  # of white, for the numbers
    rows = [np.pad(part, strip, constant_values=1.0) for part in (images, drawn, neighbours)]
    _rows(panel, ["held out", "G(ẑ)", "nearest\ntraining image"], rows)
    for row, numbers in ((1, errors), (2, distances)):
        for column, number in enumerate(numbers):
            x = column * (width + _GAP) + width / 2
            y = row * (height + height // 3 + _GAP) + height
            panel.text(x, y, f"{number:.3f}", ha="center", va="top", size=7.5)
