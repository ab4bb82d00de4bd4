"""The objectives of the game, each with its discriminator side and its generator side.

All take what D returns before any sigmoid: logits, or for the Wasserstein critic plain values.
Written on logits, ln σ(l) = −softplus(−l) and ln(1 − σ(l)) = −softplus(l) are exact for any l,
where a logarithm of a rounded sigmoid would be −∞. Every loss is to be minimised.
"""

from __future__ import annotations

import minigan.functional as F
from minigan.backend import Generator
from minigan.tensor import Tensor, grad, mean, sum, tensor


class Objective:
    """One objective: two functions from D's outputs (any shape) to a scalar tensor.

    `probabilistic` says whether D's outputs are logits, of the probability of being real.
    """

    name = ""
    probabilistic = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss, given its outputs for real and for generated samples."""
        raise NotImplementedError

    def generator(self, fake: Tensor) -> Tensor:
        """G's loss, given D's outputs for generated samples."""
        raise NotImplementedError

    def score(self, output: Tensor) -> Tensor:
        """D's verdict in its own units: a probability where D's outputs are logits."""
        return F.sigmoid(output) if self.probabilistic else output


def binary_cross_entropy(logits: Tensor, target: float) -> Tensor:
    """−mean [t ln σ(l) + (1 − t) ln(1 − σ(l))] for one target t in [0, 1] and all logits l.

    In softplus, t softplus(−l) + (1 − t) softplus(l), which is also softplus(−l) + (1 − t) l.
    """
    if target == 0:
        return mean(F.softplus(logits))
    loss = F.softplus(-logits)
    return mean(loss if target == 1 else loss + (1.0 - target) * logits)


class Minimax(Objective):
    """The zero-sum game of Goodfellow et al. 2014, eq. 1.

        J(D) = −E ln D(x) − E ln(1 − D(G(z))),      J(G) = E ln(1 − D(G(z)))

    J(G) is the part of −J(D) that G has a say in; at D's optimum, −J(D) = 2 JS(p_d, p_g) − ln 4.
    It saturates: where D is sure of its verdict, D(G(z)) ≈ 0, the gradient in the logit is
    −D(G(z)), next to nothing.
    `real_label` < 1 is one-sided label smoothing (Salimans et al. 2016): it keeps D from
    growing certain.
    """

    name = "minimax"
    probabilistic = True

    def __init__(self, real_label=1.0):
        if not 0 < real_label <= 1:
            raise ValueError(f"real_label is {real_label}, expected 0 < real_label <= 1")
        self.real_label = real_label

    def discriminator(self, real, fake):
        return binary_cross_entropy(real, self.real_label) + binary_cross_entropy(fake, 0.0)

    def generator(self, fake):
        return -mean(F.softplus(fake))


class NonSaturating(Minimax):
    """Goodfellow et al. 2014, section 3: the same D, and a G that maximises ln D(G(z)).

        J(G) = −E ln D(G(z))

    The gradient in the logit, D(G(z)) − 1, is largest exactly where D rejects the sample.
    """

    name = "non-saturating"

    def generator(self, fake):
        return binary_cross_entropy(fake, 1.0)


class LeastSquares(Objective):
    """Mao et al. 2017, eq. 9, with targets 1 for real and 0 for fake.

        J(D) = ½ E (D(x) − 1)² + ½ E D(G(z))²,      J(G) = ½ E (D(G(z)) − 1)²

    D's output is no logit. With targets −1, 1, 0 instead, the optimum would be Pearson's χ².
    """

    name = "least-squares"

    def __init__(self, real_label=1.0):
        self.real_label = real_label

    def discriminator(self, real, fake):
        return 0.5 * mean((real - self.real_label) ** 2) + 0.5 * mean(fake**2)

    def generator(self, fake):
        return 0.5 * mean((fake - 1.0) ** 2)


class Hinge(Objective):
    """Lim and Ye 2017; Miyato et al. 2018, eqs. 16 and 17.

        J(D) = E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))),      J(G) = −E D(G(z))

    D learns only from samples inside the margin.
    """

    name = "hinge"

    def discriminator(self, real, fake):
        return mean(F.relu(1.0 - real)) + mean(F.relu(1.0 + fake))

    def generator(self, fake):
        return -mean(fake)


class Wasserstein(Objective):
    """Arjovsky et al. 2017: the critic's gap, W₁(p_d, p_g) if the critic is 1-Lipschitz.

        J(D) = E D(G(z)) − E D(x),      J(G) = −E D(G(z))

    Nothing here bounds the critic's slope: add `gradient_penalty`.
    """

    name = "wasserstein"

    def discriminator(self, real, fake):
        return mean(fake) - mean(real)

    def generator(self, fake):
        return -mean(fake)


OBJECTIVES = {
    objective.name: objective
    for objective in (Minimax, NonSaturating, LeastSquares, Hinge, Wasserstein)
}


# --- Penalties on D's slope ----------------------------------------------------------------------
#
# Each returns a function penalty(D, real, fake) of two batches (n, …) of one shape, whose value is
# a scalar to be added to D's loss, and whose gradient goes through D's gradient.


def gradient_penalty(rng: Generator, *, weight=10.0, target=1.0, one_sided=False):
    """λ E (‖∇D(x̂)‖ − target)², x̂ between a real and a fake sample (Gulrajani et al. 2017, eq. 3).

    One-sided, max(0, ‖∇D‖ − target)², punishes only slopes that are too steep (Petzka et al.
    2018). The norm runs over all of a sample's values, one norm per sample. D must treat each
    sample by itself: no batch norm.
    """

    def penalty(D, real, fake):
        t = Tensor(rng.uniform((len(real),) + (1,) * (real.ndim - 1), dtype=real.dtype))
        x = tensor(t * real.detach() + (1.0 - t) * fake.detach(), requires_grad=True)
        excess = _slope(D, x) - target
        if one_sided:
            excess = F.relu(excess)
        return weight * mean(excess * excess)

    return penalty


def r1_penalty(*, weight=10.0):
    """γ/2 E ‖∇D(x)‖² at real samples (Mescheder et al. 2018, eq. 9)."""

    def penalty(D, real, fake):
        x = tensor(real.detach(), requires_grad=True)
        return (0.5 * weight) * mean(_squared_slope(D, x))

    return penalty


def _slope(D, x):
    """‖∇D‖ per sample. ε stands under the root: at a zero gradient √ has an infinite slope."""
    return F.sqrt(_squared_slope(D, x) + 1e-12)


def _squared_slope(D, x):
    (gradient,) = grad(sum(D(x)), [x], create_graph=True)
    return sum(gradient * gradient, tuple(range(1, x.ndim)))
