"""Toy densities: data whose truth is known.

On images nobody can write down p_data(x). On these one can, so what a GAN has learned can be held
against the truth: the density itself, its distribution function and quantiles in one dimension
(the 1-D Gaussian that the GAN paper draws), the modes that were found or lost in two.

Every density draws float32 samples (n, dim) on the device of the generator it is given. What is
computed about it (`pdf`, `cdf` …) is for plots and metrics: float64, on the host.
"""

from __future__ import annotations

import math
import numbers
from statistics import NormalDist

import numpy as np

from minigan.backend import Generator

_erfc = np.vectorize(math.erfc, otypes=[float])
_normal_quantile = np.vectorize(NormalDist().inv_cdf, otypes=[float])


class Gaussian:
    """N(mean, std²) in one dimension. ValueError unless mean is finite and std > 0."""

    dim = 1

    def __init__(self, mean: float = 0.0, std: float = 1.0):
        self.mean = _finite("Gaussian: mean", mean)
        self.std = _positive("Gaussian: std", std)

    def sample(self, rng: Generator, n: int):
        """`n` samples, float32 (n, 1) on the generator's device."""
        return rng.normal((n, 1)) * self.std + self.mean

    def pdf(self, x) -> np.ndarray:
        """The density at each x, of x's shape."""
        z = self._standardised(x)
        return np.exp(-z * z / 2) / (self.std * math.sqrt(2 * math.pi))

    def cdf(self, x) -> np.ndarray:
        """P(X ≤ x) for each x; by erfc, which keeps its digits far out on the left."""
        return _erfc(-self._standardised(x) / math.sqrt(2)) / 2

    def quantile(self, u) -> np.ndarray:
        """The x with cdf(x) = u for each u; ∓∞ at 0 and 1. ValueError outside [0, 1]."""
        u = _probabilities(u)
        inner = (u > 0) & (u < 1)
        x = np.where(u > 0, np.inf, -np.inf)
        x[inner] = self.mean + self.std * _normal_quantile(u[inner])
        return x

    def _standardised(self, x):
        return (np.asarray(x, float) - self.mean) / self.std


class Uniform:
    """Equally likely between low and high, in one dimension. ValueError unless low < high."""

    dim = 1

    def __init__(self, low: float = 0.0, high: float = 1.0):
        self.low = _finite("Uniform: low", low)
        self.width = _positive("Uniform: high − low", _finite("Uniform: high", high) - self.low)
        self.mean, self.std = self.low + self.width / 2, self.width / math.sqrt(12)

    def sample(self, rng: Generator, n: int):
        """`n` samples, float32 (n, 1) on the generator's device."""
        return rng.uniform((n, 1)) * self.width + self.low

    def pdf(self, x) -> np.ndarray:
        """The density at each x, of x's shape."""
        share = (np.asarray(x, float) - self.low) / self.width
        return ((share >= 0) & (share <= 1)) / self.width

    def cdf(self, x) -> np.ndarray:
        """P(X ≤ x) for each x."""
        return np.clip((np.asarray(x, float) - self.low) / self.width, 0, 1)

    def quantile(self, u) -> np.ndarray:
        """The x with cdf(x) = u for each u; the ends at 0 and 1. ValueError outside [0, 1]."""
        return self.low + self.width * _probabilities(u)


class GaussianMixture1D:
    """Σ weights[k] · N(means[k], stds[k]²) in one dimension; equal weights if none are given.

    ValueError unless there is one std > 0 and one weight ≥ 0 to each mean, weights summing to 1.
    """

    dim = 1

    def __init__(self, means, stds, weights=None):
        count = len(means)
        weights = [1 / max(count, 1)] * count if weights is None else weights
        if count < 1 or not count == len(stds) == len(weights):
            raise ValueError(
                f"GaussianMixture1D: got {count} means, {len(stds)} stds, {len(weights)} weights;"
                " wanted as many of each, at least 1"
            )
        self.components = [Gaussian(*pair) for pair in zip(means, stds, strict=True)]
        self.weights = _distribution("GaussianMixture1D: weights", weights)
        self.mean = self._average([part.mean for part in self.components])
        within_and_between = [p.std**2 + (p.mean - self.mean) ** 2 for p in self.components]
        self.std = math.sqrt(self._average(within_and_between))

    def _average(self, values):
        """Σ weights[k] · values[k]."""
        return sum(weight * value for weight, value in zip(self.weights, values, strict=True))

    def sample(self, rng: Generator, n: int):
        """`n` samples, float32 (n, 1) on the generator's device."""
        place = rng.backend.constant
        means = place([part.mean for part in self.components])
        stds = place([part.std for part in self.components])
        # The last edge is left out: rounded below 1, it would send a draw past the last component.
        edges = place(np.cumsum(self.weights)[:-1])
        component = (rng.uniform((n, 1)) >= edges).sum(axis=1)
        return rng.normal((n, 1)) * stds[component][:, None] + means[component][:, None]

    def pdf(self, x) -> np.ndarray:
        """The density at each x, of x's shape."""
        return self._average([part.pdf(x) for part in self.components])

    def cdf(self, x) -> np.ndarray:
        """P(X ≤ x) for each x."""
        return self._average([part.cdf(x) for part in self.components])

    def quantile(self, u) -> np.ndarray:
        """The x with cdf(x) = u for each u; ∓∞ at 0 and 1. ValueError outside [0, 1].

        By bisection between the least and the greatest of the components' quantiles: to the left
        of all of them every component has less than u of its mass, to the right more.
        """
        u = _probabilities(u)
        ends = [part.quantile(u) for part in self.components]
        x, high = np.array(np.min(ends, axis=0)), np.array(np.max(ends, axis=0))
        inner = (u > 0) & (u < 1)
        x[inner] = self._bisect(u[inner], x[inner], high[inner])
        return x

    def _bisect(self, u, low, high):
        for _ in range(64):  # more halvings than a float64 has bits
            middle = (low + high) / 2
            is_left = self.cdf(middle) < u
            low, high = np.where(is_left, middle, low), np.where(is_left, high, middle)
        return low


class GaussianModes:
    """Equally likely round Gaussians in two dimensions, all of one width.

    Attributes: `centres`, float64 (k, 2), and `std`. ValueError unless there are centres
    and std > 0.
    """

    dim = 2

    def __init__(self, centres, std: float):
        self.centres = np.array(centres, float)
        if self.centres.ndim != 2 or self.centres.shape[1] != 2 or not len(self.centres):
            raise ValueError(f"GaussianModes: centres of shape {self.centres.shape}, wanted (k, 2)")
        self.std = _positive(f"{type(self).__name__}: std", std)

    def sample(self, rng: Generator, n: int):
        """`n` samples, float32 (n, 2) on the generator's device."""
        centres = rng.backend.constant(self.centres)
        return centres[rng.integers(0, len(self.centres), n)] + rng.normal((n, 2)) * self.std

    def log_pdf(self, points) -> np.ndarray:
        """log p at each of `points` (n, 2), float64 (n,); finite however far out a point lies."""
        offsets = np.asarray(points, float)[:, None] - self.centres
        exponents = -(offsets**2).sum(axis=-1) / (2 * self.std**2)
        largest = exponents.max(axis=1)
        total = np.exp(exponents - largest[:, None]).sum(axis=1)
        scale = len(self.centres) * 2 * math.pi * self.std**2
        return largest + np.log(total) - math.log(scale)


class Ring(GaussianModes):
    """`modes` Gaussians, evenly spaced on a circle about the origin; the first is at (radius, 0).

    Defaults are those of Unrolled GANs (Metz et al. 2017). ValueError unless modes is an
    int ≥ 1 and radius > 0.
    """

    def __init__(self, modes: int = 8, radius: float = 1.0, std: float = 0.01):
        modes = _count("Ring: modes", modes)
        # Not linspace(0, 2π, modes): its last angle is its first, and one mode would be lost.
        angles = 2 * np.pi * np.arange(modes) / modes
        directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        super().__init__(_positive("Ring: radius", radius) * directions, std)


class Grid(GaussianModes):
    """side × side Gaussians on a square grid about the origin, `spacing` apart.

    Defaults are those of VEEGAN (Srivastava et al. 2017): 25 modes at {−4, −2, 0, 2, 4}².
    ValueError unless side is an int ≥ 1 and spacing > 0.
    """

    def __init__(self, side: int = 5, spacing: float = 2.0, std: float = 0.05):
        side = _count("Grid: side", side)
        steps = np.arange(side) - (side - 1) / 2
        along = _positive("Grid: spacing", spacing) * steps
        super().__init__([(x, y) for x in along for y in along], std)


class Spiral:
    """An Archimedean spiral from the origin out to `radius`, thickened by N(0, noise²).

    The point at parameter 0 ≤ t ≤ 1 lies at distance radius · t and angle 2π · turns · t.
    ValueError unless turns, radius and noise are > 0.
    """

    dim = 2

    def __init__(self, turns: float = 2.0, radius: float = 1.0, noise: float = 0.02):
        self.turns = _positive("Spiral: turns", turns)
        self.radius = _positive("Spiral: radius", radius)
        self.noise = _positive("Spiral: noise", noise)

    def curve(self, t) -> np.ndarray:
        """The spiral itself, without noise, at each t of shape (n,): float64 (n, 2)."""
        t = np.asarray(t, float)
        angle = 2 * math.pi * self.turns * t
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) * (self.radius * t)[:, None]

    def sample(self, rng: Generator, n: int):
        """`n` samples, float32 (n, 2) on the generator's device."""
        xp = rng.backend.xp
        # A turn's length grows with its distance, so t = √u spreads the points about evenly.
        t = xp.sqrt(rng.uniform((n, 1)))
        angle = t * (2 * math.pi * self.turns)
        points = xp.concatenate([xp.cos(angle), xp.sin(angle)], axis=1) * (t * self.radius)
        return points + rng.normal((n, 2)) * self.noise


# Numbers are made Python floats: as NumPy scalars they would turn float32 samples into float64.


def _finite(what: str, value) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{what}: got {value}, wanted a finite number")
    return float(value)


def _positive(what: str, value) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what}: got {value}, wanted a finite number > 0")
    return float(value)


def _count(what: str, value) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{what}: got {value!r}, wanted an int ≥ 1")
    return int(value)


def _distribution(what: str, values) -> list[float]:
    weights = [_finite(what, value) for value in values]
    total, tolerance = math.fsum(weights), max(1e-9, sum_error(values))
    if min(weights) < 0 or abs(total - 1) > tolerance:
        raise ValueError(
            f"{what}: got {weights}, whose sum is {total:.12g}; wanted numbers ≥ 0 that sum to 1,"
            f" within {tolerance:.2g}"
        )
    return weights


def sum_error(values) -> float:
    """How far from 1 rounding to their dtype may bring the sum of n probabilities: some ε √n.

    Errors of n terms that are rounded one by one add up like √n; that of a softmax's own sum too.
    """
    values = np.asarray(values)
    epsilon = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    return 4 * float(epsilon) * math.sqrt(values.size)


def _probabilities(u) -> np.ndarray:
    u = np.asarray(u, float)
    if not ((u >= 0) & (u <= 1)).all():
        raise ValueError("quantile: got a u outside [0, 1]")
    return u
