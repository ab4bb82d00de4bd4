"""Samples side by side."""

from __future__ import annotations

import math

import numpy as np

from minigan.data import to_bytes
from minigan.plots.checks import check_finite

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
