"""Samples side by side, and how many there are of each class."""

from __future__ import annotations

import math

import numpy as np

from minigan.data import to_bytes
from minigan.plots.checks import check_finite, check_shape
from minigan.plots.style import P_DATA, P_G

_SEPARATOR = 2


def sample_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Samples side by side, row by row: uint8 pixels of shape (height, width, 3).

    `images` are floats of shape (n, h, w, c) with c = 1 (grey) or 3 (red, green, blue), from −1
    (dark) to 1 (bright); what lies beyond is clipped. There are `columns` in a row, about as many
    as rows if None, 2 white pixels between them, and white cells where the last row ends early.

    ValueError for any other shape, no images, or values that are not finite.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"sample_grid: images of shape {images.shape}, expected (n, h, w, 1) or (n, h, w, 3)"
        )
    check_finite("sample_grid: images", images)
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"sample_grid: {columns} columns, expected 1 or more")
    rows = math.ceil(count / columns)
    step_down, step_right = height + _SEPARATOR, width + _SEPARATOR
    shape = (rows * step_down - _SEPARATOR, columns * step_right - _SEPARATOR, 3)
    grid = np.full(shape, 255, np.uint8)
    for index, image in enumerate(to_bytes(images)):
        top, left = index // columns * step_down, index % columns * step_right
        grid[top : top + height, left : left + width] = image
    return grid


def draw_rows(panel, grid, labels):
    """A grid of samples, uint8 pixels (height, width, 3), on a panel; `labels`: a word per row."""
    panel.imshow(grid)
    height = len(grid) / len(labels)
    panel.set_yticks([(i + 0.5) * height for i in range(len(labels))], labels)
    panel.set_xticks([])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def draw_pairs(panel, images, partners, *, labels, columns=10, title=""):
    """Rows of images, and below each row that of their partners, on a panel.

    Both are floats (n, h, w, c) as for `sample_grid`; labels: what the two kinds of row are called.
    """
    check_shape("draw_pairs: partners", partners, images.shape)
    starts = range(0, len(images), columns)
    rows = [part[start : start + columns] for start in starts for part in (images, partners)]
    blank = np.ones_like(images[:1])  # where a last row ends early
    rows = [np.concatenate([row, *[blank] * (columns - len(row))]) for row in rows]
    grid = sample_grid(np.concatenate(rows), columns)
    draw_rows(panel, grid, [*labels] * len(starts))
    panel.set_title(title, loc="left")


def draw_shares(panel, shares, real, classes, *, name="samples", color=P_G, title=""):
    """A bar for each class's share of some images, and a mark at its share of the training images.

    shares, real: (classes,); classes: their names; name: what the bars are called.
    """
    places = range(len(classes))
    panel.bar(places, shares, color=color, alpha=0.6, label=name)
    panel.plot(places, real, "_", color=P_DATA, ms=18, mew=2, label="training images")
    panel.set_xticks(places, classes, rotation=90 if max(map(len, classes)) > 2 else 0)
    panel.set_xlabel("class, by the classifier")
    panel.set_ylabel("share")
    panel.set_ylim(0, 1.25 * max(*real, *shares))
    panel.legend(loc="upper left", ncols=2)
    panel.set_title(title, loc="left")
