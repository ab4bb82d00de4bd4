"""Images in pairs, side by side in one file each, as pix2pix's data sets are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.folder import image_files, name_of, opened, squared
from minigan.data.idx import DataError
from minigan.system import bar

SIDES = ("left", "right")


def load_pairs(path, size: int, *, source="left", progress: bool = True) -> tuple[Dataset, Dataset]:
    """Sources and targets, from all images in the folder `path` and below it, in sorted order.

    Each file has two squares side by side, of which the one called `source`, "left" or "right", is
    what a generator is shown and the other what it is to make of it. Both sets are uint8
    (n, size, size, 3), row i of one belongs to row i of the other, and

        Batches((sources, targets), 16, seed)

    keeps them together. ValueError for another `source`, or size < 1. DataError as for
    `load_folder`, and for an image that is not twice as wide as high.
    """
    if source not in SIDES:
        raise ValueError(f"load_pairs: source {source!r}, wanted left or right")
    if size < 1:
        raise ValueError(f"load_pairs: got size {size}, wanted at least 1 pixel")
    folder = Path(path)
    files = image_files(folder)
    halves = np.empty((2, len(files), size, size, 3), np.uint8)
    for i, file in enumerate(bar(files, desc="images", unit=" files", disable=not progress)):
        halves[:, i] = _read_pair(folder / file, size)
    left, right = (
        Dataset(f"{name_of(folder)}, {side}", images)
        for side, images in zip(SIDES, halves, strict=True)
    )
    return (left, right) if source == "left" else (right, left)


def _read_pair(file: Path, size: int) -> list[np.ndarray]:
    image = opened(file)
    width, height = image.size
    if width != 2 * height:
        raise DataError(
            f"{file}: {width} x {height} pixels, wanted a pair side by side, twice as wide as high"
        )
    return [squared(image.crop((x, 0, x + height, height)), size) for x in (0, height)]
