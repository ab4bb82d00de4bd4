"""The truncation trick: better samples for fewer kinds of them, after the training (Brock 2019).

G is trained with z ~ N(0, 1) and asked with z whose numbers beyond ±t are drawn again. The nearer
t is to 0, the more typical is what G draws, and the less of it there is. Two things are needed
beside: batch norms that know what z they are asked with, and a G that makes good images of such z,
as one with orthogonal weights more often does.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from contextlib import ExitStack

from minigan.backend import Generator
from minigan.engine import Tensor, no_grad
from minigan.engine.checks import expect, whole_number
from minigan.engine.operations import matmul, reshape, sum, transpose
from minigan.nn import BatchNorm, Conv2d, ConvTranspose2d, Linear, Module

# --- Noise ---------------------------------------------------------------------------------------


def truncated_normal(rng: Generator, shape, limit: float, dtype="float32"):
    """N(0, 1) whose numbers beyond ±limit were drawn again: an array on the generator's device.

    To draw again until all fit, somebody would have to look; so instead it is the quantile Φ⁻¹(u)
    of u uniform from Φ(−limit) to Φ(limit), which has that very distribution. It is another one
    than N(0, 1) times a number, or than what is cut off and put at the limit. ValueError unless
    limit > 0; beyond 6, where one number in 500 million would be drawn again, it is 6.
    """
    expect(limit > 0, "truncated_normal: limit", limit, "a number > 0")
    limit = float(min(limit, 6.0))
    inside = math.erf(limit / math.sqrt(2))
    q = rng.uniform(shape, -inside / 2, inside / 2, "float64")  # u − 1/2, which keeps its digits
    xp = rng.backend.xp
    return xp.clip(_quantile(xp, q), -limit, limit).astype(dtype)


# Φ⁻¹ by rational functions, correct to 16 digits (Wichura 1988, algorithm AS 241, PPND16).
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
     1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
     3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4,
     5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
     3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
     2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4,
     1.05075007164441684324e-9),
)  # fmt: skip


def _quantile(xp, q):
    """Φ⁻¹(½ + q) for |q| < ½, for results within ±6.6."""
    middle = abs(q) <= 0.425
    near = xp.where(middle, q, 0.0)
    r = 0.180625 - near * near
    centre = near * _ratio(_CENTRE, r)
    beyond = xp.where(middle, 0.25, 0.5 - abs(q))
    tail = _ratio(_TAIL, xp.sqrt(-xp.log(beyond)) - 1.6)
    return xp.where(middle, centre, xp.where(q < 0, -tail, tail))


def _ratio(polynomials, r):
    values = []
    for coefficients in polynomials:
        value = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            value = value * r + c
        values.append(value)
    return values[0] / values[1]


# --- Batch norms ---------------------------------------------------------------------------------


def standing_statistics(G: Module, draw: Callable, batches: int) -> Module:
    """Makes G's batch norms know what z they are asked with: their running mean and variance become
    the means of those of `batches` calls G(*draw()), whatever they were (Brock et al. 2019, 4.1).

    draw: a function to G's inputs, tensors, such as noise of one truncation with labels. Weights
    stay, and so does all else: it is as if in evaluation but for the batch norms. Returns G.
    """
    batches = whole_number("standing_statistics: batches", batches, 1)
    norms = dict.fromkeys(module for _, module in G.modules() if isinstance(module, BatchNorm))
    with ExitStack() as after, no_grad():
        for norm in norms:
            after.callback(setattr, norm, "training", norm.training)
            after.callback(setattr, norm, "momentum", norm.momentum)
            norm.training = True
        for made in range(1, batches + 1):
            for norm in norms:
                norm.momentum = 1 / made  # after which it is the mean of all so far
            G(*draw())
    return G


# --- Weights -------------------------------------------------------------------------------------


def orthogonal_penalty(network: Module, weight=1e-4) -> Tensor:
    """β Σ ‖WᵀW ⊙ (1 − I)‖²: no two of a layer's filters are to be alike, however large they are.

    Brock et al. 2019, eq. 3. W is each linear or convolutional layer's weight as a matrix
    (everything else, outputs), without the spectral norm that may be around; embeddings are left
    alone, as in the authors' code. A scalar, to be added to the loss of whose optimiser has them.
    """
    kinds = Linear, Conv2d, ConvTranspose2d
    layers = [layer for _, layer in network.modules() if isinstance(layer, kinds)]
    return weight * functools.reduce(operator.add, map(_alike, layers))


def _alike(layer) -> Tensor:
    """‖WᵀW ⊙ (1 − I)‖² = ‖WᵀW‖² − Σ ‖w‖⁴, and ‖WᵀW‖ = ‖WWᵀ‖, of which the smaller is made."""
    w, axis = layer.weight, layer.output_axis
    others = (i for i in range(w.ndim) if i != axis)
    matrix = reshape(transpose(w, (*others, axis)), (-1, w.shape[axis]))
    rows, columns = matrix.shape
    gram = matmul(matrix.T, matrix) if columns <= rows else matmul(matrix, matrix.T)
    norms = sum(matrix * matrix, 0)
    return sum(gram * gram) - sum(norms * norms)
