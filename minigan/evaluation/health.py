"""What a game's own networks and batches say about its health, for the columns of a record.

Cheap enough for a training step, or for a look at its last batch: what is wrong with a run shows
here before it shows in the samples. `training/troubles.py` puts it in words. What returns a Tensor
returns a scalar on the device, and doesn't wait for it.
"""

from __future__ import annotations

import math

import numpy as np

from minigan.engine import Tensor, grad, tensor
from minigan.engine import functional as F
from minigan.engine.operations import matmul, mean, sum, transpose
from minigan.evaluation.metrics import spread
from minigan.evaluation.neighbours import nearest
from minigan.nn import BatchNorm, Module


def slope(gradients, parameters) -> Tensor:
    """‖∇J‖ ‖θ‖ over all parameters: how steep the loss is, whatever the size of the network.

    In the loss's units: how much it would change, were it straight, if the weights moved by their
    own length. gradients: as `grad(loss, parameters)` gives.
    """
    squares = [[sum(x.detach() ** 2) for x in xs] for xs in (gradients, parameters)]
    first, second = (sum(F.stack(column)) for column in squares)
    return F.sqrt(first * second)


def variety(samples: Tensor, real: Tensor, *, width=0.3) -> Tensor:
    """How many different samples a batch has, as a share of how many a real batch has.

    A batch counts as 1 / meanᵢⱼ exp(−‖xᵢ − xⱼ‖² / w²) samples, itself with itself included: 1 if
    all are alike, k if they sit on k points in equal parts, n if all are far apart. (It is the
    Vendi score of order 2, Pasarkar and Dieng 2024, of a Gaussian kernel.) w is `width` times the
    spread of the real batch. So it sees modes that are missing, which `diversity` does not, and one
    image over and over, both by one measure. Above 1 samples lie where the data are not. Arrays
    (n, …); of unequal n the smaller counts.
    """
    n = min(len(samples), len(real))
    w = width * spread(real)
    found, wanted = (_alike(x.detach()[:n].reshape(n, -1), w) for x in (samples, real))
    return wanted / found


def _alike(x, w) -> Tensor:
    """The mean of exp(−‖xᵢ − xⱼ‖² / w²) over all pairs of rows."""
    x = x - mean(x, 0)  # far from 0 the differences below would be lost in rounding
    lengths = sum(x * x, 1, keepdims=True)
    squared = F.relu(lengths + transpose(lengths) - 2.0 * matmul(x, transpose(x)))
    return mean(F.exp(-squared / (w * w)))


def normed_variance(network: Module) -> Tensor:
    """The variance that batch norm leaves, before its γ: mean over all channels of v / (v + ε).

    1 is what batch norm is for. v is the running variance: nothing is computed anew. ValueError for
    a network without BatchNorm.
    """
    norms = {id(part): part for part, _ in network.named_buffers().values()}.values()
    left = [
        Tensor(norm.running_variance / (norm.running_variance + norm.eps))
        for norm in norms
        if isinstance(norm, BatchNorm)
    ]
    if not left:
        raise ValueError("normed_variance: the network has no BatchNorm")
    return mean(F.concatenate(left))


def rank(G: Module, z: Tensor, *, least=0.02) -> float:
    """In how many directions G(z) moves with z: the Jacobian's singular values that count, on mean.

    Those that are at least `least` of the largest at their z. z: (n, latent), G(z): (n, d), with
    one gradient for each of the d outputs: for points, not for images. Waits for the device.
    """
    z = tensor(z.detach(), requires_grad=True)
    x = G(z)
    rows = [grad(sum(x[:, k]), [z], unused="zeros")[0].numpy() for k in range(x.shape[1])]
    values = np.linalg.svd(np.stack(rows, axis=1), compute_uv=False)  # (n, min(d, latent))
    return float((values > least * values[:, :1]).sum(axis=1).mean())


def intrinsic_dimension(points) -> float:
    """The dimension of what points (n, d) lie on, by the two nearest neighbours of each.

    n / Σ ln(r₂ / r₁), the maximum-likelihood estimate of TwoNN (Facco et al. 2017), whose only
    assumption is that the density hardly changes between a point and its second neighbour. Copies
    of a point tell nothing and are left out. ValueError for fewer than three different points.
    """
    points = np.unique(np.reshape(points, (len(points), -1)), axis=0)
    if len(points) < 3:
        raise ValueError(f"intrinsic_dimension: {len(points)} different points, wanted at least 3")
    distances = nearest(points, points, k=3)[0]  # a point is the nearest to itself
    total = float(np.log(distances[:, 2] / distances[:, 1]).sum())
    return len(points) / total if total else math.inf
