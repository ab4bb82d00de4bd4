"""Functions of one variable, looked at on a line: densities, and networks from number to number."""

from __future__ import annotations

import numpy as np

from minigan.backend import Backend
from minigan.engine import Tensor, no_grad


class Line:
    """A stretch of the line in cells of equal width, on which integrals are sums.

    x: the cells' centres, float64 (n,).
    """

    def __init__(self, low, high, cell=0.01):
        self.cell = cell
        self.x = np.arange(low, high, cell) + cell / 2

    def integral(self, values) -> float:
        """∫ f dx of values (n,) at x."""
        return float(np.sum(values) * self.cell)

    def density(self, values) -> np.ndarray:
        """Values (n,) ≥ 0 made to have the integral 1, as `kl` and the like want a density.

        What a density has in its tails beyond the line is shared out.
        """
        return values / (np.sum(values) * self.cell)

    def slope(self, values) -> np.ndarray:
        """f′ between x and the next, (n − 1,), of values (n,) at x."""
        return np.diff(values) / self.cell


def quantile_levels(n) -> np.ndarray:
    """The middles of n equal parts of [0, 1], (n,): quantiles there are a sample without noise."""
    return (np.arange(n) + 0.5) / n


def on_line(function, x, backend: Backend) -> np.ndarray:
    """The values of a network of one variable at the points x (n,), for pictures and measures.

    function: from a tensor (n, 1) on `backend` to one; a network, or one and what comes behind it.
    Returns a host array, float64 (n,); nothing is recorded.
    """
    with no_grad():
        y = function(Tensor(backend.asarray(x, "float32").reshape(-1, 1)))
    return y.numpy().astype(float).ravel()


def pushforward_density(edges, g_of_z, mass) -> np.ndarray:
    """The density of G(z) on the line, averaged over each cell between `edges`.

    g_of_z: (m,), G along a grid of z; mass: (m − 1,), the probability of each interval of it.
    G is taken as linear in between, so an interval's mass spreads evenly over [G(zᵢ), G(zᵢ₊₁)].
    edges: (k + 1,), ascending. Returns (k,), without a histogram's sampling noise.
    """
    low = np.minimum(g_of_z[:-1], g_of_z[1:])
    width = np.maximum(np.abs(np.diff(g_of_z)), 1e-12)
    below = np.clip((edges[:, None] - low) / width, 0, 1) @ mass
    return np.diff(below) / np.diff(edges)
