"""The latent space in one figure: ways through it, arithmetic, images found again, a morph."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from minigan.plots.grids import draw_rows, sample_grid
from minigan.plots.style import DPI, STYLE


def latent_figure(ways: dict, sums: dict, found, morph, *, titles) -> Figure:
    """Two panels above two; images are floats as for `sample_grid`.

    ways    {words: a row of images}: those between two z
    sums    {words: (k of one kind, k of another, [one more], [the result])}: a row for each formula
            "mean − mean + z = result"; {} leaves the panel out
    found   (images, the same as G draws them, their neighbours, L1 of the former, L1 of the latter)
    morph   a row of images
    titles  of the four panels
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 6.2), dpi=DPI, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[1.25, 1])
        left, right = above.subplots(1, 2, width_ratios=[1, 1.15])
        _rows(left, ways)
        right.set_axis_off()
        if sums:
            _formulas(right, sums)
        left_below, right_below = below.subplots(2, 1, height_ratios=[3, 1.15])
        _found(left_below, *found)
        _rows(right_below, {"": morph})
        for panel, title in zip((left, right, left_below, right_below), titles, strict=True):
            panel.set_title(title, loc="left")
    return figure


def _rows(panel, rows: dict):
    images = np.concatenate([*rows.values()])
    draw_rows(panel, sample_grid(images, len(images) // len(rows)), [*rows])


def _formulas(panel, sums: dict):
    """Rows of images with − + = in white columns between them."""
    rows, signs = [], []
    for terms in sums.values():
        blank, row = np.ones_like(terms[0][:1]), []
        for sign, term in zip(("", "−", "+", "="), terms, strict=True):
            if sign:
                signs.append((sum(map(len, row)), sign))
                row.append(blank)
            row.append(term)
        rows.append(np.concatenate(row))
    panel.set_axis_on()
    _rows(panel, dict(zip(sums, rows, strict=True)))
    _, height, width, _ = rows[0].shape
    for k, (column, sign) in enumerate(signs):
        y = (k // 3 + 0.5) * (height + 2)
        panel.text((column + 0.5) * (width + 2), y, sign, ha="center", va="center", size=14)


def _found(panel, images, drawn, neighbours, errors, distances):
    """Three rows, and under each image that is compared with the first how far it is from it."""
    _rows(panel, {"held out": images, "G(ẑ)": drawn, "nearest training image": neighbours})
    _, height, width, _ = images.shape
    for row, numbers in ((1, errors), (2, distances)):
        for column, number in enumerate(numbers):
            place = column * (width + 2) + width - 1, row * (height + 2) + height - 1
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            panel.text(*place, f"{number:.3f}", ha="right", va="bottom", size=6.5, bbox=box)
