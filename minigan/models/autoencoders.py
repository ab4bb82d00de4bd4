"""Autoencoders: what a variational one is made of, and the linear one, which is PCA."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine.checks import whole_number
from minigan.engine.operations import sum
from minigan.models.perceptron import mlp
from minigan.nn import Flatten, Linear, Module, Reshape, Sequential, Sigmoid, Tanh, normal, xavier


class GaussianEncoder(Module):
    """q(z | x) = N(μ(x), diag σ²(x)): samples (n, …) -> (μ, ln σ²), both (n, latent).

    sizes: [numbers in x, hidden, …, latent]; with no hidden layer both are linear in x. At first
    σ² is about 1 for every x. ValueError for fewer than two sizes.
    """

    def __init__(self, sizes, *, rng: Generator, activation=Tanh, name="E"):
        *inner, latent = sizes
        if not inner:
            raise ValueError(f"GaussianEncoder: sizes {sizes}: want [numbers in x, …, latent]")
        layers = [Flatten()]
        if len(inner) > 1:
            layers += [mlp(inner, rng=rng, activation=activation, init=xavier()), activation()]
        self.features = Sequential(*layers)
        self.mean = Linear(inner[-1], latent, rng=rng, init=xavier())
        self.log_variance = Linear(inner[-1], latent, rng=rng, init=normal(0.001))
        self.name = name

    def forward(self, x):
        features = self.features(x)
        return self.mean(features), self.log_variance(features)


def vae_decoder(
    *,
    rng: Generator,
    latent=10,
    hidden=(64, 256, 256, 1024),
    size=28,
    channels=1,
    squash=True,
    name="G",
) -> Sequential:
    """The perceptron that a VAE or a GAN draws with: z (n, latent) -> (n, size, size, channels).

    Tanh after each hidden layer. The default sizes, 10-64-256-256-1024-784, are those of Wu et al.
    2017 for VAE and GAN alike; () is linear.

    squash: end in a sigmoid, pixels in [0, 1]. Without it what comes out are logits, for a
    Bernoulli likelihood, or the means of a linear model; the weights are the same ones.
    """
    sizes = [whole_number("vae_decoder: latent", latent, 1), *hidden, size * size * channels]
    layers = [mlp(sizes, rng=rng, activation=Tanh, init=xavier())]
    layers += [Sigmoid()] if squash else []
    return Sequential(*layers, Reshape(size, size, channels), name=name)


class LinearAutoencoder(Module):
    """x -> x W₁ W₂, through `code` numbers, with no bias: for rows (n, d) whose mean is 0.

    The best such map is the projection onto the first principal axes, and every other place where
    the gradient vanishes is a saddle (Baldi and Hornik 1989). But W₁ A and A⁻¹ W₂ do as well, for
    any invertible A: only the subspace is found. `decay` ends that.
    """

    def __init__(self, values, code, *, rng: Generator, init=None):
        self.encode = Linear(values, code, rng=rng, init=init or xavier(), bias=False)
        self.decode = Linear(code, values, rng=rng, init=init or xavier(), bias=False)

    def forward(self, x):
        return self.decode(self.encode(x))

    def decay(self, weights):
        """Σᵢ λᵢ (‖i-th column of W₁‖² + ‖i-th row of W₂‖²), a scalar.

        weights: λ for all, or an array (code,) on the network's device. Added to E ‖x − x W₁ W₂‖²
        it makes W₁ = W₂ᵀ. With one λ for all the singular values of W₂ are sᵢ² = 1 − λ / σᵢ², σᵢ²
        being the variance along axis i, and its right singular vectors the axes themselves (Kunin
        et al. 2019; of an axis with σᵢ² < λ nothing is left). With a λ for each, all different and
        below these variances, its rows are the axes, no less (Bao et al. 2020).
        """
        first, second = self.encode.weight, self.decode.weight
        squares = sum(first * first, 0) + sum(second * second, 1)
        return sum(squares * weights)
