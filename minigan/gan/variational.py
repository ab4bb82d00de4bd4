"""What a decoder with a likelihood is trained for: bounds of ln p(x) (Kingma and Welling 2014).

A GAN's G makes x of z and says nothing of how likely that x is. With a density around what it
makes, p(x | z), it has a likelihood, p(x) = ∫ p(x | z) N(z; 0, I) dz; but no one can do this
integral. An encoder that says where to look, q(z | x) = N(μ(x), diag σ²(x)), makes a lower bound:

    ln p(x) ≥ E_q ln p(x | z) − KL(q(z | x) ‖ N(0, I))                  the ELBO, in its two parts
    ln p(x) ≥ E ln 1/k Σ wᵢ,   w = p(x | z) p(z) / q(z | x)             tighter with k: IWAE

All are in nats per sample: sums over z's dimensions and over pixels. A mean over one of them in the
place of its sum is another objective: that of a β of some hundreds, or of its inverse.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minigan.backend import Generator
from minigan.engine import ShapeError, Tensor
from minigan.engine import functional as F
from minigan.engine.operations import log, mean, sum
from minigan.nn import Module, Parameter

LN_2PI = math.log(2 * math.pi)


class Bound(NamedTuple):
    """The ELBO of each sample in its two parts, tensors (n,), in nats."""

    reconstruction: Tensor  # E_q ln p(x | z), of one z
    kl: Tensor  # KL(q(z | x) ‖ N(0, I)), exact

    @property
    def elbo(self) -> Tensor:
        """reconstruction − KL, (n,)."""
        return self.reconstruction - self.kl


def reparametrised(mu: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = μ + σ ε, from N(μ, σ²) if ε is from N(0, 1), as a function of μ and σ that has gradients.

    mu, log_variance: (n, d); noise: (n, d), or (k, n, d) for k samples of each.
    """
    return mu + F.exp(0.5 * log_variance) * noise


def gaussian_kl(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − ln σ²): (n, d) -> (n,), a sum over d.

    Kingma and Welling 2014, appendix B.
    """
    return 0.5 * sum(mu * mu + F.exp(log_variance) - log_variance - 1.0, -1)


def log_mean_exp(values: Tensor, axis=0) -> Tensor:
    """ln of the mean of eᵛ over an axis; the largest v is taken out, so that nothing overflows."""
    largest = Tensor(values.data.max(axis=axis, keepdims=True))
    shifted = log(mean(F.exp(values - largest), axis))
    return shifted + Tensor(largest.data.squeeze(axis))


# --- Likelihoods ---------------------------------------------------------------------------------


class GaussianLikelihood(Module):
    """p(x | z) = N(x; G(z), v I): (x, G(z)) -> ln p(x | z).

        −½ Σ ((x − G(z))² / v + ln v + ln 2π)                           over all pixels

    variance   v > 0, ValueError otherwise
    rng        if given, ln v is a parameter that is learnt with the rest, on rng's device

    A density needs data that have one: `dequantised` pixels. On bytes as they are, v could shrink
    to nothing and the likelihood grow without bound. With the best v for G, E ln p(x | z) is
    −½ D (1 + ln 2πv) for D pixels.
    """

    def __init__(self, variance=0.1, *, rng: Generator | None = None):
        if not 0 < variance < math.inf:
            raise ValueError(f"GaussianLikelihood: variance is {variance}, expected a number > 0")
        self.log_variance = math.log(variance)
        if rng is not None:
            self.log_variance = Parameter(rng.backend.asarray(self.log_variance, "float32"))

    @property
    def variance(self) -> float:
        """v; where it is learnt this waits for the device."""
        learnt = isinstance(self.log_variance, Parameter)
        return math.exp(self.log_variance.item() if learnt else self.log_variance)

    def forward(self, x, made):
        """x (n, …), made (n, …) -> (n,); or made (k, n, …) -> (k, n)."""
        gap = x - made
        each = x.ndim - 1
        squares = sum(gap * gap, tuple(range(-each, 0)))
        ln_v, pixels = self.log_variance, math.prod(x.shape[1:])
        precision = F.exp(-ln_v) if isinstance(ln_v, Tensor) else math.exp(-ln_v)
        return -0.5 * (squares * precision + pixels * (ln_v + LN_2PI))

    def most(self, shape) -> float:
        """−½ D ln 2πv, in nats: what no decoder passes, with this v, on any x of this shape."""
        return -0.5 * math.prod(shape) * (math.log(self.variance) + LN_2PI)

    def expected(self, made):
        """E(x | z): what G makes."""
        return made

    def describe(self):
        return "learnt" if isinstance(self.log_variance, Parameter) else f"v={self.variance:.3g}"


class BernoulliLikelihood(Module):
    """p(x | z) = Π σ(l)ˣ (1 − σ(l))¹⁻ˣ with logits l = G(z): (x, G(z)) -> ln p(x | z).

    A probability if all x are 0 or 1, as of binarised images; for grey pixels it is no likelihood
    of anything. Pixels that are drawn anew from their grey value in each epoch are other data than
    those that are drawn once, and score some nats more. G(z) is logits, as ln σ(l) = −softplus(−l)
    is exact for any l.
    """

    def forward(self, x, made):
        """x (n, …), made (n, …) -> (n,); or made (k, n, …) -> (k, n)."""
        return sum(x * made - F.softplus(made), tuple(range(1 - x.ndim, 0)))

    def expected(self, made):
        """E(x | z) = σ(l)."""
        return F.sigmoid(made)


# --- Bounds --------------------------------------------------------------------------------------


def elbo(encoder, decoder, likelihood, x: Tensor, noise: Tensor) -> Bound:
    """The evidence's lower bound of each x, from one z each (Kingma and Welling 2014, eq. 10).

        loss = beta * mean(bound.kl) − mean(bound.reconstruction)       β = 1: −ELBO

    encoder      x -> (μ, ln σ²), both (n, d)
    decoder      z (n, d) -> what the likelihood takes beside x
    likelihood   (x, G(z)) -> ln p(x | z), (n,)
    x, noise     (n, …), and (n, d) from N(0, 1)
    """
    mu, log_variance = encoder(x)
    _check_noise("elbo", mu, noise, 2)
    made = decoder(reparametrised(mu, log_variance, noise))
    return Bound(likelihood(x, made), gaussian_kl(mu, log_variance))


def log_weights(encoder, decoder, likelihood, x: Tensor, noise: Tensor) -> Tensor:
    """ln w = ln p(x | z) + ln p(z) − ln q(z | x) of k samples z each: (k, n), in nats.

    `log_mean_exp` of it over the first axis is IWAE's bound L_k (Burda et al. 2016, eq. 8), which
    is the ELBO for k = 1, on average; its mean over x, negative, is a loss. With z = μ + σ ε the
    last two terms are ½ Σ (ε² − z² + ln σ²).

    noise: (k, n, d) from N(0, 1); the rest as for `elbo`.
    """
    mu, log_variance = encoder(x)
    _check_noise("log_weights", mu, noise, 3)
    z = reparametrised(mu, log_variance, noise)
    k, n, d = z.shape
    made = decoder(z.reshape(k * n, d)).reshape(k, n, *x.shape[1:])
    prior = 0.5 * sum(noise * noise - z * z + log_variance, -1)
    return likelihood(x, made) + prior


def _check_noise(what, mu: Tensor, noise: Tensor, ndim):
    """ShapeError unless the noise has the shape of μ (n, d), behind another axis if ndim is 3."""
    if noise.ndim != ndim or noise.shape[-2:] != mu.shape:
        wanted = ("k, " if ndim == 3 else "") + ", ".join(map(str, mu.shape))
        raise ShapeError(f"{what}: noise has shape {noise.shape}, expected ({wanted})")
