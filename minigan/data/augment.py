"""Images moved and mirrored at random: more variety than there are images.

What D learns of real images then holds for these too, and so G may draw them as well: mirror what
may be mirrored, faces and not digits.
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import Tensor
from minigan.engine import functional as F


def shifted(images: Tensor, rng: Generator, most=1, *, black=True) -> Tensor:
    """Each image (n, h, w, c) moved by up to `most` pixels up or down and left or right.

    What comes in is black, −1, or with black=False the pixels of the edge once more.
    """
    xp = rng.backend.xp
    n, h, w, _ = images.shape
    rows, columns = (xp.arange(s) + rng.integers(0, 2 * most + 1, (n, 1)) for s in (h, w))
    if black:
        images = F.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), -1.0)
    else:
        rows, columns = xp.clip(rows - most, 0, h - 1), xp.clip(columns - most, 0, w - 1)
    return images[xp.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def mirrored(images: Tensor, rng: Generator) -> Tensor:
    """Each image (n, h, w, c) as it is or, with a chance of one half, as in a mirror."""
    xp = rng.backend.xp
    n, h, w, _ = images.shape
    swap, there = rng.integers(0, 2, (n, 1)), xp.arange(w)
    columns = swap * (w - 1 - there) + (1 - swap) * there
    return images[xp.arange(n)[:, None, None], xp.arange(h)[None, :, None], columns[:, None, :]]
