"""Distances within a set, which a mapping to another set can be asked to keep.

Two sets alone say nothing of which image of one belongs to which of the other: every mapping whose
images look real is as good. What may tell is that similar images have similar partners (Benaim and
Wolf 2017, DistanceGAN), and for this no way back is needed.
"""

from __future__ import annotations

from minigan.engine import ShapeError, Tensor, no_grad
from minigan.engine import functional as F
from minigan.engine.operations import mean, reshape, var


def pairwise_distances(x: Tensor) -> Tensor:
    """How far each sample of a batch is from every other: (n, …) -> (n − 1, n), both ways round.

    The mean of |xᵢ − xⱼ| over their values. It takes n² times a sample's memory. ShapeError unless
    n >= 2.
    """
    n = len(x) if x.ndim else 0
    if x.ndim < 2 or n < 2:
        raise ShapeError(f"pairwise_distances: got shape {x.shape}, expected (n, …), n >= 2")
    flat = reshape(x, (n, -1))
    distances = mean(F.abs(reshape(flat, (n, 1, -1)) - reshape(flat, (1, n, -1))), 2)
    # Less the diagonal, from each sample to itself, which is every (n + 1)-th of them.
    return reshape(reshape(distances, (n * n,))[1:], (n - 1, n + 1))[:, :n]


def self_distances(x: Tensor) -> Tensor:
    """How far the left half of each image is from its right half: (n, h, w, …) -> (n,).

    The mean of |left − right|; of an odd width the middle column is in neither. ShapeError unless
    there are two columns.
    """
    if x.ndim < 3 or x.shape[2] < 2:
        raise ShapeError(f"self_distances: got shape {x.shape}, expected (n, h, w, …), w >= 2")
    half = x.shape[2] // 2
    return mean(F.abs(x[:, :, :half] - x[:, :, x.shape[2] - half :]), tuple(range(1, x.ndim)))


class KeptDistances:
    """How far a mapping is from keeping distances (Benaim and Wolf 2017, eqs. 5 and 6).

        mean over pairs of |(d(xᵢ, xⱼ) − μ_A) / σ_A − (d(G(xᵢ), G(xⱼ)) − μ_B) / σ_B|

    μ and σ are those of distances within each set, so that the sets may have scales of their own.
    It is the distances of one and the same pair that are compared: that their means over the batch
    agree would be true of any mapping onto B.

        keep = KeptDistances(some_a, some_b)
        …
        loss = loss + keep(x, G(x))

    some_a, some_b: samples of the two sets, (n, …) and (m, …). distances: `pairwise_distances` or,
    for images, `self_distances` (eqs. 7 and 8), which is cheaper and works with a batch of 1, but
    asks of each image for one number alone. ValueError if the samples of a set are all equally far
    apart.
    """

    def __init__(self, some_a: Tensor, some_b: Tensor, distances=pairwise_distances):
        self.distances = distances
        with no_grad():
            self.a, self.b = (_mean_and_std(distances(some)) for some in (some_a, some_b))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """x (n, …) of A, and what became of each in B, y (n, …): a scalar, >= 0."""
        if len(x) != len(y):
            raise ShapeError(f"KeptDistances: got shapes {x.shape} and {y.shape}: want pairs")
        (mean_a, std_a), (mean_b, std_b) = self.a, self.b
        before = (self.distances(x) - mean_a) / std_a
        after = (self.distances(y) - mean_b) / std_b
        return mean(F.abs(before - after))


def _mean_and_std(distances: Tensor) -> tuple[float, float]:
    centre, spread = mean(distances).item(), var(distances).item() ** 0.5
    if not spread > 0:
        raise ValueError(f"KeptDistances: all distances of a set are {centre}: none to keep")
    return centre, spread
