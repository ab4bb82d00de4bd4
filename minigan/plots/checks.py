"""What figures and films check of the arrays that they are given."""

from __future__ import annotations

import numpy as np


def check_shape(name: str, array: np.ndarray, shape: tuple):
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")


def check_finite(name: str, array: np.ndarray):
    bad = np.size(array) - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"{name}: {bad} of {np.size(array)} values are NaN or infinite")


def check_pixels(pixels):
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"got pixels of shape {pixels.shape} and dtype {pixels.dtype}, "
            "expected (height, width, 3) of uint8"
        )
