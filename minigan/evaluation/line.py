"""A network of one variable, looked at on a line; and grids on it, on which integrals are sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan.backend import Backend
from minigan.engine import Tensor, no_grad


def cells(low, high, width) -> np.ndarray:
    """The middles (n,) of the cells of a grid: there, ∫ p dx is `p.sum() * width`."""
    return np.arange(low, high, width) + width / 2


def shared_out(p, width) -> np.ndarray:
    """A density (n,) on the cells of a grid, its tails beyond them shared out: ∫ p dx = 1."""
    return p / (p.sum() * width)


def levels(n) -> np.ndarray:
    """n probabilities, evenly spaced: what a density's `quantile` makes a sample without noise."""
    return (np.arange(n) + 0.5) / n


def on_line(function, x, backend: Backend):
    """The values of a network of one variable at the points x (n,), for pictures and measures.

    function: from a tensor (n, 1) on `backend` to one; a network, or one and what comes behind it.
    Returns a host array, float64 (n,); nothing is recorded.
    """
    with no_grad():
        y = function(Tensor(backend.asarray(x, "float32").reshape(-1, 1)))
    return y.numpy().astype(float).ravel()


class CriticOnLine(NamedTuple):
    """A critic measured on the whole line, not on samples."""

    f: np.ndarray  # (nx,), on the grid
    value: float  # E f(x) − E f(G(z))
    steepest: float  # K, the largest slope

    @property
    def bound(self) -> float:
        """value / K ≤ W₁, for any f (Kantorovich and Rubinstein)."""
        return self.value / self.steepest


def critic_on_line(network, x, p_data, p_model, backend: Backend) -> CriticOnLine:
    """What a critic says of two densities (nx,) on the cells x (nx,) of a grid; `on_line`'s f."""
    f, width = on_line(network, x, backend), x[1] - x[0]
    value = float(((p_data - p_model) * f).sum() * width)
    return CriticOnLine(f, value, float(np.abs(np.diff(f)).max() / width))
