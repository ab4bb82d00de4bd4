"""Coloured digits on clutter: the drawn digits as they might be met in a street.

The digits are those of `drawn_digits`, some of them written with a broader pen. Ink and paper have
any two colours that can be told apart, so a digit may be dark on bright or bright on dark; discs
and boxes of other tints lie under it, and noise on all. What is the same as in MNIST is the digit;
so this is a domain from which one may wish to go to that one (Taigman et al. 2017, who went there
from the house numbers of SVHN).
"""

from __future__ import annotations

import numpy as np

from minigan.backend import Generator, cpu
from minigan.data.dataset import Dataset
from minigan.data.digits import SIZE, drawn_digits

CHUNK = 500  # images that are coloured at once
BROAD = 0.35  # the share of digits that are written with a broader pen
APART = 0.45  # by how much ink and paper differ in one channel at least, of 0 to 1
SPOTS, TINT, RADIUS = 3, 0.25, (2.0, 6.0)  # under each digit; ± in each channel; pixels
NOISE = 0.04  # the standard deviation of it, in each channel


def cluttered_digits(n: int, seed=0) -> Dataset:
    """`n` coloured digits in random order, of each class as many as of any other, give or take one.

    Images are uint8 (n, 28, 28, 3), classes "0" … "9". The same `n` and `seed` give the same
    images; `seed` is an int ≥ 0 or a sequence of such. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"cluttered_digits: got n = {n}, wanted at least 1")
    digits, (rng,) = drawn_digits(n, seed), cpu.generator(seed).spawn(1)
    images = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = _coloured(digits.images[part], rng)
    recipe = f"cluttered_digits({n}, {seed})"
    return Dataset("coloured digits", images, digits.labels, digits.classes, recipe)


def _coloured(digits, rng: Generator) -> np.ndarray:
    """Digits, uint8 (n, 28, 28, 1), in colour and on clutter, (n, 28, 28, 3)."""
    n = len(digits)
    covered = digits / np.float32(255)
    broad = rng.uniform((n, 1, 1, 1)) < BROAD
    covered = np.where(broad, _broader(covered), covered)
    paper, ink = (colour[:, None, None] for colour in _two_colours(rng, n))
    ground = paper
    for _ in range(SPOTS):
        ground = ground + _spot(rng, n) * rng.uniform((n, 1, 1, 3), -TINT, TINT)
    light = ground + covered * (ink - ground) + NOISE * rng.normal((n, SIZE, SIZE, 3))
    return np.rint(255 * np.clip(light, 0, 1)).astype(np.uint8)


def _broader(covered):
    """What a pen that is a pixel broader, right and down, covers: the largest of 2 × 2 pixels."""
    wide = np.maximum(covered, np.roll(covered, 1, axis=1))
    return np.maximum(wide, np.roll(wide, 1, axis=2))


def _two_colours(rng: Generator, n):
    """Those of paper and of ink, (n, 3) each: any two that are APART."""
    paper, ink = rng.uniform((n, 3)), rng.uniform((n, 3))
    while (alike := np.abs(ink - paper).max(1) < APART).any():
        ink[alike] = rng.uniform((int(alike.sum()), 3))
    return paper, ink


def _spot(rng: Generator, n):
    """1 within a disc or a box that lies somewhere, 0 elsewhere: (n, 28, 28, 1)."""
    pixel = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x, y = (rng.uniform((n, 1, 1), 0, SIZE) for _ in range(2))
    dx, dy = np.abs(pixel - x), np.abs(pixel[:, None] - y)
    disc, box = np.hypot(dx, dy), np.maximum(dx, dy)
    away = np.where(rng.uniform((n, 1, 1)) < 0.5, disc, box)
    return (away < rng.uniform((n, 1, 1), *RADIUS)).astype(np.float32)[..., None]
