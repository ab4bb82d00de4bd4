"""All pairs of points of two sets, block by block; and what a measure checks of its sets.

Most measures of samples look at all pairs of points. They do so in blocks, so that memory stays
below some 64 MB beside the arguments and the result, however many points there are.
"""

from __future__ import annotations

import math

import numpy as np

BLOCK = 1 << 20  # how many numbers the largest temporary arrays have: 8 MB each
LARGEST = 1e100  # larger numbers would overflow when they are squared and summed


def squared_distances(a, b, *, slack=0.0):
    """Yields rows, columns and ‖aᵢ − bⱼ‖² for the aᵢ and bⱼ of these slices: a block to overwrite.

    By |a|² + |b|² − 2ab, one matrix product for all pairs, with the points taken from the mean of
    b, or digits that all have in common would be lost. What is left of the error is at most
    rounding(d) · (|a|² + |b|²): points closer to each other than some 10⁻⁷ of their distance to
    that mean may come out as equal.

    slack: taken off the distance, in shares of |a|² + |b|².
    """
    centre = b.mean(axis=0, dtype=float)
    for rows in slices(a):
        left = a[rows] - centre
        left_norms = (1 - slack) * np.einsum("ij,ij->i", left, left)
        left *= -2
        for columns in slices(b):
            right = b[columns] - centre
            squared = left @ right.T
            squared += left_norms[:, None]
            squared += (1 - slack) * np.einsum("ij,ij->i", right, right)
            np.maximum(squared, 0, out=squared)
            yield rows, columns, squared


def rounding(d) -> float:
    """The relative error of a sum of d products and a few more operations, at most."""
    return (d + 8) * np.finfo(float).eps


def slices(x):
    """Slices that cover the points of x, such that neither they nor their pairs exceed BLOCK."""
    count, d = x.shape
    step = max(1, min(math.isqrt(BLOCK), BLOCK // d))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


# --- Arguments -----------------------------------------------------------------------------------


def two_sets(what, *, least=1, **sets) -> list[np.ndarray]:
    """Two sets of samples as (n, d) and (m, d), in the dtypes they have."""
    sets = {name: _points(f"{what}: {name}", x, least) for name, x in sets.items()}
    (one, a), (other, b) = sets.items()
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{what}: each of {one} has {a.shape[1]} numbers, each of {other} {b.shape[1]}: "
            "wanted equally many"
        )
    return [a, b]


def _points(what, x, least) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim == 0 or x.size == 0 or len(x) < least:
        raise ValueError(f"{what} of shape {x.shape}: wanted (n, …) with n ≥ {least}")
    x = x.reshape(len(x), -1)
    low, high = float(x.min()), float(x.max())  # NaN if any is
    if not (low > -LARGEST and high < LARGEST):
        raise ValueError(f"{what} go from {low} to {high}: wanted finite numbers below {LARGEST}")
    return x


def positive(what, value) -> float:
    """The value as a float. ValueError, naming what it is, unless 0 < value < ∞."""
    value = float(value)
    if not 0 < value < math.inf:
        raise ValueError(f"{what} is {value}: wanted a finite number > 0")
    return value


def count_up_to(what, value, most):
    """ValueError, naming what it is, unless the value is one of 1, 2, … most."""
    if value != int(value) or not 1 <= value <= most:
        raise ValueError(f"{what} is {value}: wanted a whole number from 1 to {most}")
