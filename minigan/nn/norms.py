"""Normalisation: of activations over a batch, a layer or an image, and of a layer's weights."""

from __future__ import annotations

import math

from minigan.backend import Generator
from minigan.backend.base import ALONE
from minigan.engine import ShapeError, Tensor, is_recording
from minigan.engine import functional as F
from minigan.engine.checks import check_sizes, wrong_shape
from minigan.engine.operations import matmul, mean, reshape, transpose
from minigan.nn.layers import Linear
from minigan.nn.module import Module
from minigan.nn.parameters import Parameter
from minigan.system import world


class _Norm(Module):
    """What the norms share: γ and β per channel; `axes` is the slice of all to normalise over."""

    least = 2  # axes that x must have
    over_ranks = False  # whether a batch that ranks share is one batch

    def __init__(self, features, *, eps=1e-5, rng: Generator):
        (self.features,) = check_sizes(type(self).__name__, features)
        self.eps = eps
        self._make_affine(features, rng)

    def _make_affine(self, features, rng):
        self.scale = Parameter(rng.backend.xp.ones(features, "float32"))
        self.shift = Parameter(rng.backend.xp.zeros(features, "float32"))

    def check(self, x):
        if x.ndim < self.least or x.shape[-1] != self.features:
            name, few = type(self).__name__, f"{self.least} axes or more"
            raise wrong_shape(f"{name}({self.features})", x, f"(n, …, {self.features}), {few}")

    def normalize(self, x, scale, shift):
        """The result, and by which mean and variance."""
        axes = range(x.ndim)[self.axes]
        across = world() if self.over_ranks else ALONE
        return F.normalize(x, scale, shift, axes, eps=self.eps, across=across)

    def forward(self, x):
        self.check(x)
        return self.normalize(x, self.scale, self.shift)[0]

    def describe(self):
        return f"{self.features}, eps={self.eps}"


class BatchNorm(_Norm):
    """Normalises each channel over the batch and all positions: (n, …, c) -> (n, …, c).

    While training, by the batch's own mean and variance, which are also averaged into
    `running_mean` and `running_variance` with weight `momentum`; in evaluation by those averages.
    A batch that ranks share is one batch: there, every rank must come here as often as the others.
    """

    axes = slice(0, -1)
    over_ranks = True
    buffers = ("running_mean", "running_variance")

    def __init__(self, features, *, eps=1e-5, momentum=0.1, rng: Generator):
        super().__init__(features, eps=eps, rng=rng)
        self.momentum = momentum
        self.running_mean = rng.backend.xp.zeros(features, "float32")
        self.running_variance = rng.backend.xp.ones(features, "float32")

    def forward(self, x):
        return self.scaled(x, self.scale, self.shift)

    def scaled(self, x, scale, shift):
        """x normalised, with these in the place of γ and β."""
        self.check(x)
        if not self.training:
            k = scale * Tensor(1 / (self.running_variance + self.eps) ** 0.5)
            return x * k + (shift - k * Tensor(self.running_mean.copy()))
        count = x.size // self.features * world().size
        if count < 2:
            values = "one value" if count else "no values"
            raise ShapeError(f"BatchNorm: {values} per channel, shape {x.shape}: no variance")
        y, mean, variance = self.normalize(x, scale, shift)
        # In place, because a replayed step knows arrays by their address; and by the unbiased
        # variance, which is what the next batch will have on average.
        track, momentum = x.backend.track, self.momentum
        track(self.running_mean, mean, momentum)
        track(self.running_variance, variance, momentum, count / (count - 1))
        return y


class ConditionalBatchNorm(BatchNorm):
    """`BatchNorm` whose γ and β are linear in a vector that each sample brings along.

        y = (1 + A c) x̂ + B c,    x (n, …, features), c (n, inputs)

    c is the embedding of a class (Dumoulin et al. 2017, de Vries et al. 2017), or noise (Chen et
    al. 2019), or both joined (Brock et al. 2019). `scale` is the layer of A, `shift` that of B,
    neither with a bias; wrap is what is made of each, such as a `SpectralNorm` of it.

    ShapeError unless x and c have as many samples.
    """

    def __init__(
        self, features, inputs, *, rng: Generator, init=None, wrap=None, eps=1e-5, momentum=0.1
    ):
        super().__init__(features, eps=eps, momentum=momentum, rng=rng)
        for name in ("scale", "shift"):
            layer = Linear(inputs, features, rng=rng, init=init, bias=False)
            setattr(self, name, wrap(layer) if wrap else layer)

    def _make_affine(self, features, rng):
        """Nothing: both are layers."""

    def forward(self, x, c):
        self.check(x)
        if c.ndim != 2 or len(c) != len(x):
            raise wrong_shape(f"ConditionalBatchNorm: c for x {x.shape}", c, f"({len(x)}, inputs)")
        each = len(x), *(1,) * (x.ndim - 2), self.features
        scale, shift = (reshape(layer(c), each) for layer in (self.scale, self.shift))
        return self.scaled(x, 1.0 + scale, shift)


class LayerNorm(_Norm):
    """Normalises each sample over all its values: (n, …, c) -> (n, …, c) (Ba et al. 2016)."""

    axes = slice(1, None)


class InstanceNorm(_Norm):
    """Normalises each channel of each image: (n, h, w, c) -> (n, h, w, c) (Ulyanov et al. 2016).

    ShapeError for images of one pixel, of which nothing would be left but β.
    """

    axes = slice(1, -1)
    least = 3

    def check(self, x):
        super().check(x)
        if math.prod(x.shape[1:-1]) == 1:
            raise ShapeError(f"InstanceNorm: one value per channel, shape {x.shape}: no variance")


class PixelNorm(Module):
    """Each pixel's channels scaled to a mean square of 1: (n, …, c) -> (n, …, c).

        x / √(1/c Σ x² + ε)

    Karras et al. 2018, section 4.2. Without parameters and without a look at other pixels or
    samples: it does no more than keep G's activations from growing while it and D outdo each
    other. Of noise (n, latent) it takes the length away.
    """

    def __init__(self, *, eps=1e-8):
        self.eps = eps

    def forward(self, x):
        return x / F.sqrt(mean(x * x, -1, keepdims=True) + self.eps)

    def describe(self):
        return f"eps={self.eps}"


class SpectralNorm(Module):
    """A layer with its weight divided by the weight's largest singular value (Miyato et al. 2018).

    The weight is read as a matrix W (everything else, outputs). One step of power iteration per
    training call keeps u and v close to the first singular vectors, and σ = uᵀ W v is
    differentiated with u and v held constant.
    """

    buffers = ("u",)

    def __init__(self, layer: Module, *, rng: Generator, eps=1e-12):
        if not hasattr(layer, "apply"):
            got = type(layer).__name__
            raise TypeError(f"SpectralNorm: got {got}, expected Linear, Conv2d or the like")
        self.layer, self.eps = layer, eps
        outputs = layer.weight.shape[layer.output_axis]
        self.u = self._unit(rng.normal((layer.weight.size // outputs,)))

    def _unit(self, x):
        return x / ((x * x).sum() ** 0.5 + self.eps)

    def forward(self, x):
        weight, axis = self.layer.weight, self.layer.output_axis
        others = (i for i in range(weight.ndim) if i != axis)
        matrix = reshape(transpose(weight, (*others, axis)), (-1, weight.shape[axis]))
        product = weight.backend.matmul
        v = self._unit(product(matrix.data.T, self.u.reshape(-1, 1)))
        u = self._unit(product(matrix.data, v))
        if self.training and is_recording():
            self.u[...] = u.reshape(-1)
        sigma = matmul(reshape(Tensor(u), (1, -1)), matmul(matrix, Tensor(v)))
        return self.layer.apply(x, weight / reshape(sigma, ()))
