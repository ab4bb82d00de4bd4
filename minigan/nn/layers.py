"""Layers that look at one sample at a time: linear, convolutional, shapes, activations."""

from __future__ import annotations

import math

from minigan.backend import Generator
from minigan.engine import conv2d, conv_transpose2d
from minigan.engine import functional as F
from minigan.engine.checks import check_sizes, pair, whole_number
from minigan.engine.operations import getitem, reshape
from minigan.engine.tensors import check_labels
from minigan.nn.initialisers import he, normal
from minigan.nn.module import Module
from minigan.nn.parameters import Parameter

# --- Layers with weights -------------------------------------------------------------------------


class _Weighted(Module):
    """What layers with a weight and a bias share; `output_axis` is the weight's axis of outputs.

    apply(x, weight) is the layer with another weight in the place of its own (for spectral
    normalisation).
    """

    def _make(self, shape, fans, rng, init, bias):
        self.weight = Parameter((init or he())(rng, shape, *fans))
        zeros = rng.backend.xp.zeros(shape[self.output_axis], "float32")
        self.bias = Parameter(zeros) if bias else None

    def forward(self, x):
        return self.apply(x, self.weight)


class Linear(_Weighted):
    """x W + b: (…, inputs) -> (…, outputs)."""

    output_axis = 1

    def __init__(self, inputs, outputs, *, rng: Generator, init=None, bias=True):
        shape = check_sizes("Linear", inputs, outputs)
        self._make(shape, shape, rng, init, bias)

    def apply(self, x, weight):
        return F.linear(x, weight, self.bias)

    def describe(self):
        return " -> ".join(map(str, self.weight.shape))


class Maxout(Linear):
    """The largest of several linear functions: (…, inputs) -> (…, units) (Goodfellow et al. 2013).

    Unit i is max over j of x W[:, j, i] + b[j, i], j = 1 … pieces: a convex, piecewise linear
    activation that is learnt. Pieces that tie share the gradient equally.
    """

    def __init__(self, inputs, units, pieces, *, rng: Generator, init=None, bias=True):
        inputs, units, pieces = check_sizes("Maxout", inputs, units, pieces)
        super().__init__(inputs, pieces * units, rng=rng, init=init, bias=bias)
        self.units, self.pieces = units, pieces

    def apply(self, x, weight):
        y = super().apply(x, weight)
        return reshape(y, (*y.shape[:-1], self.pieces, self.units)).max(axis=-2)

    def describe(self):
        return f"{self.weight.shape[0]} -> {self.units}, {self.pieces} pieces"


class _Convolution(_Weighted):
    """What a convolution and a transposed one share."""

    def __init__(
        self, inputs, outputs, kernel, *, stride=1, padding=0, rng: Generator, init=None, bias=True
    ):
        name = type(self).__name__
        inputs, outputs = check_sizes(name, inputs, outputs)
        (kh, kw), self.stride = pair(f"{name}: kernel", kernel), pair(f"{name}: stride", stride)
        self.padding = pair(f"{name}: padding", padding, 0)
        shape, share = (kh, kw, inputs, outputs), 1
        if self.output_axis == 2:  # each output pixel sees about kh·kw / s² input pixels
            shape, share = (kh, kw, outputs, inputs), math.prod(self.stride)
        fans = (max(1, kh * kw * n // share) for n in (inputs, outputs))
        self._make(shape, fans, rng, init, bias)

    def apply(self, x, weight):
        return self.function(x, weight, self.bias, stride=self.stride, padding=self.padding)

    def describe(self):
        kh, kw, *ends = self.weight.shape
        inputs, outputs = ends if self.output_axis == 3 else reversed(ends)
        return f"{inputs} -> {outputs}, {kh}x{kw}, stride {self.stride}, padding {self.padding}"


class Conv2d(_Convolution):
    """Convolution of images: (n, h, w, inputs) -> (n, h', w', outputs)."""

    output_axis = 3
    function = staticmethod(conv2d)


class ConvTranspose2d(_Convolution):
    """Transposed convolution: (n, h', w', inputs) -> (n, h, w, outputs), h = (h' − 1)·s − 2p + kh.

    The weight is the filter (kh, kw, outputs, inputs) of the convolution that goes the other way.
    """

    output_axis = 2
    function = staticmethod(conv_transpose2d)


class Embedding(Module):
    """A vector per class: integer labels (…), from 0 to classes − 1 -> (…, features).

    A sequence of L words, (n, L), becomes (n, L, features). Gradients of a class that comes several
    times add up. A label out of range is a ValueError; on a GPU, where to look would be to wait, it
    counts modulo `classes` instead.
    """

    def __init__(self, classes, features, *, rng: Generator, init=None):
        check_sizes("Embedding", classes, features)
        init = init or normal(1.0)
        self.weight = Parameter(init(rng, (classes, features), classes, features))

    output_axis = 1

    def __call__(self, labels):
        return self.forward(labels)

    def forward(self, labels):
        return self.apply(labels, self.weight)

    def apply(self, labels, weight):
        return getitem(weight, check_labels("Embedding", labels, len(weight)))

    def describe(self):
        return " -> ".join(map(str, self.weight.shape))


# --- Layers without weights ----------------------------------------------------------------------


class Dropout(Module):
    """Zeroes values with probability p while training; the identity in evaluation."""

    def __init__(self, p=0.5, *, rng: Generator):
        self.p, self.rng = p, rng

    def forward(self, x):
        return F.dropout(x, self.p, self.rng) if self.training else x

    def describe(self):
        return f"p={self.p}"


class Flatten(Module):
    """(n, …) -> (n, everything else)."""

    def forward(self, x):
        return reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Module):
    """(n, …) -> (n, *shape); one side may be −1, the rest of a sample's values."""

    def __init__(self, *shape):
        self.shape = tuple(whole_number("Reshape: a size", n) for n in shape)
        if 0 in self.shape or min(self.shape, default=1) < -1 or self.shape.count(-1) > 1:
            raise ValueError(f"Reshape: {self.shape}, expected sizes of at least 1, or one -1")

    def forward(self, x):
        # A −1 is counted here, as for no samples any number would do.
        rest = math.prod(x.shape[1:]) // abs(math.prod(self.shape))
        return reshape(x, (x.shape[0], *(rest if n == -1 else n for n in self.shape)))

    def describe(self):
        return ", ".join(map(str, self.shape))


class _Function(Module):
    """A function of its input, and of the attributes that `given` names."""

    given: tuple[str, ...] = ()

    def forward(self, x):
        return self.function(x, *self._values())

    def _values(self):
        return [getattr(self, name) for name in self.given]

    def describe(self):
        return ", ".join(map(str, self._values()))


class Upsample(_Function):
    """Nearest-neighbour enlargement: (n, h, w, c) -> (n, h·factor, w·factor, c)."""

    function, given = staticmethod(F.upsample_nearest), ("factor",)

    def __init__(self, factor=2):
        pair("Upsample: factor", factor)
        self.factor = factor


class ReflectionPad2d(_Function):
    """Images that go on as in a mirror, `width` pixels on each side: see `functional.reflect_pad`.

    Before a convolution without padding, in whose results zeros beyond the edge would show.
    """

    function, given = staticmethod(F.reflect_pad), ("width",)

    def __init__(self, width):
        self.width = pair("ReflectionPad2d: width", width, 0)


class _Pool(_Function):
    """What poolings share: (n, h, w, c) -> (n, h', w', c); the stride is the kernel by default."""

    given = ("kernel", "stride")

    def __init__(self, kernel, stride=None):
        name, stride = type(self).__name__, kernel if stride is None else stride
        self.kernel, self.stride = pair(f"{name}: kernel", kernel), pair(f"{name}: stride", stride)


class AvgPool2d(_Pool):
    """The mean over each window of pixels."""

    function = staticmethod(F.avg_pool2d)


class MaxPool2d(_Pool):
    """The maximum over each window of pixels."""

    function = staticmethod(F.max_pool2d)


class ReLU(_Function):
    """max(x, 0)."""

    function = staticmethod(F.relu)


class LeakyReLU(_Function):
    """x where x > 0, slope · x elsewhere."""

    function, given = staticmethod(F.leaky_relu), ("slope",)

    def __init__(self, slope=0.2):
        self.slope = slope


class ELU(_Function):
    """x where x > 0, α (eˣ − 1) elsewhere."""

    function, given = staticmethod(F.elu), ("alpha",)

    def __init__(self, alpha=1.0):
        self.alpha = alpha


class Tanh(_Function):
    """tanh x: images in [−1, 1]."""

    function = staticmethod(F.tanh)


class Sigmoid(_Function):
    """σ(x). For a discriminator keep the logits instead: every loss here takes logits."""

    function = staticmethod(F.sigmoid)


class Softplus(_Function):
    """ln(1 + eˣ)."""

    function = staticmethod(F.softplus)
