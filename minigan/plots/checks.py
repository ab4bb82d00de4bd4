"""What figures and films check of the arrays that they are given."""

from __future__ import annotations

import numpy as np


def check_shape(name: str, array: np.ndarray, shape: tuple):
    """ValueError, with the name of the array, unless it has this very shape."""
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")


def check_finite(name: str, array: np.ndarray):
    """ValueError, with the name of the array, if a value in it is NaN or infinite."""
    bad = np.size(array) - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"{name}: {bad} of {np.size(array)} values are NaN or infinite")


def check_pixels(pixels):
    """ValueError unless these are the pixels of a picture: uint8 (height, width, 3)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"got pixels of shape {pixels.shape} and dtype {pixels.dtype}, "
            "expected (height, width, 3) of uint8"
        )
