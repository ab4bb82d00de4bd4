"""Images moved, mirrored and warped at random: more variety than there are images.

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


def warped(
    images: Tensor, rng: Generator, *, turn=0.25, zoom=0.2, shear=0.3, shift=2.0, noise=0.3
) -> Tensor:
    """Each image turned by up to `turn` radians, scaled by e^±zoom, sheared and moved by up to
    `shift` pixels, with noise of up to σ = `noise` on it.

    Between pixels it is bilinear, and beyond the edge an image goes on as its edge.
    """
    n, h, w, c = images.shape
    xp = rng.backend.xp
    x, y = (xp.arange(size, dtype="float32") - (size - 1) / 2 for size in (w, h))
    angle, scale, slant, right, down = (
        rng.uniform((n, 1, 1), -most, most) for most in (turn, zoom, shear, shift, shift)
    )
    scale, cos, sin = xp.exp(scale), xp.cos(angle), xp.sin(angle)
    slanted, y = x + slant * y[:, None], y[:, None]
    # Where each pixel comes from: column u and row v, with a pixel to the right and one below.
    u = (scale * (cos * slanted - sin * y) + right + (w - 1) / 2).clip(0, w - 1.001)
    v = (scale * (sin * slanted + cos * y) + down + (h - 1) / 2).clip(0, h - 1.001)
    j, i = xp.floor(u), xp.floor(v)
    b, a = Tensor((u - j)[..., None]), Tensor((v - i)[..., None])
    first = (xp.arange(n)[:, None, None] * h + i.astype("int64")) * w + j.astype("int64")
    rows = images.reshape(-1, c)
    corners = [rows[first + step] for step in (0, 1, w, w + 1)]
    above, below = (corners[k] + b * (corners[k + 1] - corners[k]) for k in (0, 2))
    sigma = rng.uniform((n, 1, 1, 1), 0, noise)
    return above + a * (below - above) + Tensor(sigma * rng.normal(images.shape))
