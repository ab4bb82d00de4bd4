"""Two sets of images, compared scale by scale: sliced Wasserstein distance on pyramids.

A Laplacian pyramid takes an image apart into what its scales add to each other: the finest level
is the image less what is left of it at half its size, and so on; the last is a small image. Patches
of 7 × 7 pixels of a level then say how contours and textures of that scale are distributed
(Karras et al. 2018, section 5).
"""

from __future__ import annotations

import numpy as np

from minigan.backend import Generator

BINOMIAL = np.array([1, 4, 6, 4, 1], np.float32) / 16  # along each axis
PATCH = 7  # pixels, a patch's side
CHUNK = 128  # directions that are looked along at once


def _smoothed(images, gain=1.0):
    """Images (n, h, w, c) smoothed by the 5 × 5 binomial filter, with mirrors at the edges."""
    for axis in (1, 2):
        width, length = [(0, 0)] * 4, images.shape[axis]
        width[axis] = (2, 2)
        padded = np.moveaxis(np.pad(images, width, mode="reflect"), axis, 0)
        parts = (w * padded[i : i + length] for i, w in enumerate(BINOMIAL * np.float32(gain)))
        images = np.moveaxis(sum(parts), 0, axis)
    return images


def _halved(images):
    return _smoothed(images)[:, ::2, ::2]


def _doubled(images):
    """Zeros between the pixels, then smoothed: Burt and Adelson 1983, their EXPAND."""
    n, h, w, c = images.shape
    large = np.zeros((n, 2 * h, 2 * w, c), images.dtype)
    large[:, ::2, ::2] = images
    return _smoothed(large, gain=2.0)


def laplacian_pyramid(images, *, least=16) -> list[np.ndarray]:
    """Images (n, h, h, c) -> the levels, float32, the finest first (Burt and Adelson 1983).

    Each has half the size of the one before, and the last no side below `least` pixels; it is what
    the image is at that size. Doubled from the last on, and added, they are the images again.
    ValueError unless the images are square and at least 7 pixels wide.
    """
    levels = [np.asarray(images, np.float32)]
    shape = levels[0].shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] < PATCH:
        wanted = f"(n, h, h, c), h at least {PATCH}"
        raise ValueError(f"laplacian_pyramid: images of shape {shape}: wanted {wanted}")
    while levels[-1].shape[1] % 2 == 0 and levels[-1].shape[1] // 2 >= least:
        smaller = _halved(levels[-1])
        levels[-1] = levels[-1] - _doubled(smaller)
        levels.append(smaller)
    return levels


def _patches(level, count, rng: Generator):
    """`count` patches from anywhere in each image: (n · count, 7, 7, c)."""
    n, h, _, _ = level.shape
    draw = lambda: rng.backend.to_numpy(rng.integers(0, h - PATCH + 1, (n * count,)))
    rows, columns = draw(), draw()
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    patches = windows[np.repeat(np.arange(n), count), rows, columns]
    return np.moveaxis(patches, 1, 3)


def pyramid_distances(
    images, real, rng: Generator, *, standardise="real", patches=128, directions=512
) -> dict[int, float]:
    """How far images are from real ones at each scale: {a level's side in pixels: distance · 10³}.

    Of 7 × 7 patches from every level of a Laplacian pyramid, the mean over random directions of W₁,
    which of equally many points on a line is the mean difference of the sorted ones (Karras et al.
    2018, section 5).

    standardise  patches have mean 0 and standard deviation 1 in each channel: by the numbers of the
                 "real" ones for both sets, or each set by its "own", as in the paper. Its own
                 numbers take from a set whatever tint and contrast it has, at every scale: images
                 in wrong colours, or half as bright, have the paper's distance of right ones.
    patches      from each image, at places drawn from rng
    directions   as many random ones

    Two sets of real images do not have 0 either: put their distance beside it, of as many.
    images, real: (n, h, h, c), bytes or floats, in the same units; ValueError unless they are
    equally many and alike, or for a level of `real` on which a channel is constant.
    """
    if standardise not in ("real", "own"):
        raise ValueError(f"pyramid_distances: standardise {standardise!r}: wanted real or own")
    shapes = np.shape(images), np.shape(real)
    if shapes[0] != shapes[1]:
        raise ValueError(f"pyramid_distances: shapes {shapes[0]} and {shapes[1]}: wanted equal")
    found = {}
    for fake_level, real_level in zip(*map(laplacian_pyramid, (images, real)), strict=True):
        fakes, reals = (_patches(level, patches, rng) for level in (fake_level, real_level))
        scale = _mean_and_std(reals)
        if not scale[1].all():
            raise ValueError("pyramid_distances: a channel of the real images is constant")
        own = scale if standardise == "real" else _mean_and_std(fakes)
        points = [_standardised(*each) for each in ((fakes, own), (reals, scale))]
        found[real_level.shape[1]] = 1e3 * _mean_distance(*points, rng, directions)
    return found


def _mean_and_std(patches):
    return [f(patches, axis=(0, 1, 2), dtype=np.float64) for f in (np.mean, np.std)]


def _standardised(patches, scale):
    """As points (n, d), float32; a channel that is constant in a set of its own becomes 0."""
    mean, std = (x.astype(np.float32) for x in scale)
    return ((patches - mean) / np.where(std > 0, std, 1)).reshape(len(patches), -1)


def _mean_distance(x, y, rng: Generator, directions) -> float:
    """The mean of W₁ along random directions, of points (n, d) and (n, d)."""
    total = 0.0
    for start in range(0, directions, CHUNK):
        shape = min(CHUNK, directions - start), x.shape[1]
        thetas = rng.backend.to_numpy(rng.normal(shape))
        thetas = thetas / np.linalg.norm(thetas, axis=1, keepdims=True)
        a, b = (np.sort(thetas @ points.T) for points in (x, y))
        total += float(np.abs(a - b).mean(1, dtype=np.float64).sum())
    return total / directions
