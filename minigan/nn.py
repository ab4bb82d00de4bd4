"""Layers: functions together with the parameters that they own.

A layer holds parameters, and at most running statistics, never activations: calling it twice
builds two independent graphs. Where a layer's parameters live is decided by the generator that
initialises them, so there is no default device to forget.

All parameters of a network stand in one flat array once an optimiser has taken them over (see
`FlatParameters`), so that an update is one pass over memory however many layers there are.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math

import minigan.functional as F
from minigan.backend import Generator, backend_of
from minigan.conv import conv2d, conv_transpose2d
from minigan.functional import pair
from minigan.tensor import (
    Leaf,
    ShapeError,
    Tensor,
    check_labels,
    getitem,
    is_recording,
    matmul,
    reshape,
    transpose,
    whole_number,
)


class Parameter(Tensor):
    """A leaf tensor that a network owns and an optimiser updates in place."""

    __slots__ = ("storage",)

    def __init__(self, data, name=""):
        super().__init__(data, Leaf(data.shape, name))
        self.storage = None

    def updated(self):
        """To be called after every in-place change of `data`: older graphs become stale."""
        self.node.version += 1

    def __deepcopy__(self, memo):
        return Parameter(self.data.copy(), self.node.name)


class FlatParameters:
    """Many parameters in one array: `data`, with every parameter's own data a view of it."""

    def __init__(self, parameters):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("there are no parameters to optimise")
        for p in self.parameters:
            if p.storage is not None:
                raise ValueError(
                    f"parameter {p.node.name!r} of shape {p.shape} already stands in the flat "
                    "array of another set of parameters: optimise the same set again, or another"
                )
        self.backend = backend_of(self.parameters[0].data)
        self.data = self.backend.xp.concatenate([p.data.reshape(-1) for p in self.parameters])
        for p, view in zip(self.parameters, self.views(self.data), strict=True):
            p.data = view
            p.storage = self

    @classmethod
    def of(cls, parameters) -> FlatParameters:
        """The storage that these very parameters have already, or a new one."""
        parameters = list(parameters)
        storage = parameters[0].storage if parameters else None
        if storage is not None and list(map(id, storage.parameters)) == list(map(id, parameters)):
            return storage
        return cls(parameters)

    def views(self, array) -> list:
        """The parts of a flat array that belong to each parameter, in the parameters' shapes."""
        views, start = [], 0
        for p in self.parameters:
            views.append(array[start : start + p.size].reshape(p.shape))
            start += p.size
        return views

    def updated(self):
        """To be called after every in-place change of `data`."""
        for p in self.parameters:
            p.updated()


# --- Initialisers: init(rng, shape, fan_in, fan_out) -> array ------------------------------------


def normal(std=0.02):
    """N(0, std²); 0.02 is DCGAN's (Radford et al. 2016)."""
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * std


def he(slope=0.0):
    """N(0, 2 / ((1 + slope²) fan_in)): for (leaky) ReLUs of that slope (He et al. 2015)."""
    gain = 2.0 / (1.0 + slope**2)
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * math.sqrt(gain / fan_in)


def xavier():
    """N(0, 2 / (fan_in + fan_out)): for tanh and linear layers (Glorot and Bengio 2010)."""
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape) * math.sqrt(2 / (fan_in + fan_out))


def uniform(bound):
    """Uniform on [−bound, bound), whatever the fans: the first GAN's (Goodfellow et al. 2014)."""
    return lambda rng, shape, fan_in, fan_out: rng.uniform(shape, -bound, bound)


def orthogonal(gain=1.0):
    """A random matrix with orthonormal rows or columns, times `gain` (Saxe et al. 2014)."""

    def init(rng, shape, fan_in, fan_out):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = rng.normal((max(rows, columns), min(rows, columns)))
        q, r = rng.backend.xp.linalg.qr(tall)
        q = q * rng.backend.xp.sign(r.diagonal())  # makes the distribution uniform
        return ((q if rows >= columns else q.T) * gain).reshape(shape)

    return init


# --- The base of all layers ----------------------------------------------------------------------


class Module:
    """A layer or a network: parameters, running statistics (`buffers`), and sub-modules.

    Sub-classes assign their parts as attributes and define `forward`. `training` tells the
    layers that behave differently while training (batch norm, dropout) which way to behave.
    """

    training = True
    name = ""
    buffers: tuple[str, ...] = ()

    def __call__(self, x):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{type(self).__name__}: got a {type(x).__name__}, expected a Tensor: "
                "wrap it with minigan.tensor(…)"
            )
        return self.forward(x)

    def __setattr__(self, key, value):
        """Refuses what would hide parameters from the optimiser."""
        items = value.values() if isinstance(value, dict) else value
        if isinstance(value, (list, tuple, dict)) and any(
            isinstance(item, (Module, Parameter)) for item in items
        ):
            raise TypeError(
                f"{type(self).__name__}.{key}: layers in a {type(value).__name__} would not be "
                "trained: use Sequential, or one attribute for each"
            )
        super().__setattr__(key, value)

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def children(self) -> dict[str, Module]:
        """The sub-modules by attribute name, in the order of their definition."""
        return {key: value for key, value in vars(self).items() if isinstance(value, Module)}

    def modules(self, prefix="") -> list[tuple[str, Module]]:
        """This module and all below it, each with its dotted path."""
        found = [(prefix, self)]
        for key, child in self.children().items():
            found += child.modules(f"{prefix}.{key}" if prefix else key)
        return found

    def named_parameters(self, prefix="") -> dict[str, Parameter]:
        """Every parameter by its dotted path, in the order of definition."""
        found = {}
        for key, value in vars(self).items():
            if isinstance(value, Parameter):
                found[prefix + key] = value
            elif isinstance(value, Module):
                found |= value.named_parameters(f"{prefix}{key}.")
        return found

    def parameters(self) -> list[Parameter]:
        """Every parameter, in the same order. Called every step, so it builds no names."""
        found = []
        for value in vars(self).values():
            if isinstance(value, Parameter):
                found.append(value)
            elif isinstance(value, Module):
                found += value.parameters()
        return found

    def named_buffers(self) -> dict[str, tuple[Module, str]]:
        """Where every running statistic lives, by its dotted path."""
        return {
            f"{path}.{key}" if path else key: (module, key)
            for path, module in self.modules()
            for key in module.buffers
        }

    def flat(self) -> FlatParameters:
        """The one array that holds all parameters; made, and the parameters named, on first use."""
        prefix = f"{self.name}." if self.name else ""
        for key, p in self.named_parameters(prefix).items():
            p.node.name = key
        return FlatParameters.of(self.parameters())

    def train(self, mode=True) -> Module:
        """Sets training behaviour, for all sub-modules too; returns self."""
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Sets evaluation behaviour: running statistics instead of the batch's, no dropout."""
        return self.train(False)

    def copy(self) -> Module:
        """An independent network with the same values."""
        return copy.deepcopy(self)

    def astype(self, dtype) -> Module:
        """Converts parameters and buffers in place (float64 for gradient checks); returns self."""
        for p in self.parameters():
            p.data, p.storage = p.data.astype(dtype), None
            p.updated()
        for module, key in self.named_buffers().values():
            setattr(module, key, getattr(module, key).astype(dtype))
        return self

    def state(self) -> dict:
        """All parameters and buffers by dotted path: the arrays themselves, not copies."""
        arrays = {key: p.data for key, p in self.named_parameters().items()}
        buffers = {k: getattr(module, key) for k, (module, key) in self.named_buffers().items()}
        return arrays | buffers

    def load_state(self, state: dict):
        """Takes over arrays from `state()`. ValueError, before any change, if they do not fit."""
        mine = self.state()
        if mine.keys() != state.keys():
            different = sorted(mine.keys() ^ state.keys())
            raise ValueError(f"the networks differ in {', '.join(different)}")
        for key, array in mine.items():
            if state[key].shape != array.shape:
                raise ValueError(f"{key} has shape {state[key].shape}, expected {array.shape}")
        for key, p in self.named_parameters().items():
            p.data[...] = p.backend.asarray(state[key], p.dtype)
            p.updated()
        for key, (module, attribute) in self.named_buffers().items():
            old = getattr(module, attribute)
            old[...] = backend_of(old).asarray(state[key], old.dtype)

    @contextlib.contextmanager
    def at(self, weights):
        """`with D.at(weights):` D computes with these tensors in the place of its parameters.

        weights: one tensor for each parameter, in their order and shapes; graphs lead to whatever
        they were computed from. ValueError if they do not fit.
        """
        parameters, weights = self.named_parameters(), list(weights)
        if [w.shape for w in weights] != [p.shape for p in parameters.values()]:
            raise ValueError(
                f"at: got weights of shapes {[w.shape for w in weights]}, expected the "
                f"parameters' {[p.shape for p in parameters.values()]}"
            )
        places = []
        for path in parameters:
            *owners, key = path.split(".")
            places.append((functools.reduce(getattr, owners, self), key))
        try:
            for (owner, key), weight in zip(places, weights, strict=True):
                vars(owner)[key] = weight
            yield self
        finally:
            for (owner, key), parameter in zip(places, parameters.values(), strict=True):
                vars(owner)[key] = parameter

    def describe(self) -> str:
        """What the constructor was given, for `repr`."""
        return ""

    def __repr__(self):
        inner = "".join(
            f"\n  ({key}) {line}"
            for key, child in self.children().items()
            for line in [repr(child).replace("\n", "\n  ")]
        )
        return f"{type(self).__name__}({self.describe()})" + inner


class Sequential(Module):
    """Layers applied one after the other."""

    def __init__(self, *layers: Module, name=""):
        self.name = name
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                what = layer.__name__ if hasattr(layer, "__name__") else type(layer).__name__
                raise TypeError(
                    f"Sequential: layer {i} is {what}, expected a Module such as ReLU()"
                )
            setattr(self, str(i), layer)

    def forward(self, x):
        for layer in self.children().values():
            x = layer(x)
        return x

    def __iter__(self):
        return iter(self.children().values())

    def __len__(self):
        return len(self.children())

    def __getitem__(self, index) -> Module:
        """One layer, or for a slice a network of the same layers: D[:-1] gives D's features."""
        chosen = list(self)[index]
        return Sequential(*chosen) if isinstance(index, slice) else chosen


# --- Layers with weights -------------------------------------------------------------------------


def check_sizes(layer, *sizes):
    """The sizes as Python ints. ValueError or TypeError, naming the layer, unless all are ≥ 1."""
    sizes = tuple(whole_number(f"{layer}: a size", size) for size in sizes)
    if min(sizes) < 1:
        raise ValueError(f"{layer}: sizes {sizes}, expected each to be at least 1")
    return sizes


class Linear(Module):
    """x W + b: (…, inputs) -> (…, outputs)."""

    output_axis = 1

    def __init__(self, inputs, outputs, *, rng: Generator, init=None, bias=True):
        check_sizes("Linear", inputs, outputs)
        init = init or he()
        self.weight = Parameter(init(rng, (inputs, outputs), inputs, outputs))
        self.bias = Parameter(rng.backend.xp.zeros(outputs, "float32")) if bias else None

    def forward(self, x):
        return self.apply(x, self.weight)

    def apply(self, x, weight):
        """The layer with another weight in the place of its own (for spectral normalisation)."""
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


class Conv2d(Module):
    """Convolution of images: (n, h, w, inputs) -> (n, h', w', outputs)."""

    output_axis = 3

    def __init__(
        self, inputs, outputs, kernel, *, stride=1, padding=0, rng: Generator, init=None, bias=True
    ):
        kh, kw = pair(kernel)
        check_sizes("Conv2d", inputs, outputs, kh, kw, *pair(stride))
        init = init or he()
        shape = (kh, kw, inputs, outputs)
        self.weight = Parameter(init(rng, shape, kh * kw * inputs, kh * kw * outputs))
        self.bias = Parameter(rng.backend.xp.zeros(outputs, "float32")) if bias else None
        self.stride, self.padding = pair(stride), pair(padding)

    def forward(self, x):
        return self.apply(x, self.weight)

    def apply(self, x, weight):
        return conv2d(x, weight, self.bias, stride=self.stride, padding=self.padding)

    def describe(self):
        kh, kw, inputs, outputs = self.weight.shape
        return f"{inputs} -> {outputs}, {kh}x{kw}, stride {self.stride}, padding {self.padding}"


class ConvTranspose2d(Module):
    """Transposed convolution: (n, h', w', inputs) -> (n, h, w, outputs), h = (h' − 1)·s − 2p + kh.

    The weight is the filter (kh, kw, outputs, inputs) of the convolution that goes the other way.
    """

    output_axis = 2

    def __init__(
        self, inputs, outputs, kernel, *, stride=1, padding=0, rng: Generator, init=None, bias=True
    ):
        kh, kw = pair(kernel)
        check_sizes("ConvTranspose2d", inputs, outputs, kh, kw, *pair(stride))
        init = init or he()
        self.stride, self.padding = pair(stride), pair(padding)
        sh, sw = self.stride
        # each output pixel sees about kh·kw / s² input pixels
        fans = (max(1, kh * kw * n // (sh * sw)) for n in (inputs, outputs))
        self.weight = Parameter(init(rng, (kh, kw, outputs, inputs), *fans))
        self.bias = Parameter(rng.backend.xp.zeros(outputs, "float32")) if bias else None

    def forward(self, x):
        return self.apply(x, self.weight)

    def apply(self, x, weight):
        return conv_transpose2d(x, weight, self.bias, stride=self.stride, padding=self.padding)

    def describe(self):
        kh, kw, outputs, inputs = self.weight.shape
        return f"{inputs} -> {outputs}, {kh}x{kw}, stride {self.stride}, padding {self.padding}"


class Embedding(Module):
    """A vector per class: integer labels (n,), from 0 to classes − 1 -> (n, features).

    A label out of range is a ValueError; on a GPU, where to look would be to wait, it counts modulo
    `classes` instead.
    """

    def __init__(self, classes, features, *, rng: Generator, init=None):
        check_sizes("Embedding", classes, features)
        init = init or normal(1.0)
        self.weight = Parameter(init(rng, (classes, features), classes, features))

    def __call__(self, labels):
        return self.forward(labels)

    def forward(self, labels):
        return getitem(self.weight, check_labels("Embedding", labels, len(self.weight)))

    def describe(self):
        return " -> ".join(map(str, self.weight.shape))


# --- Normalisation -------------------------------------------------------------------------------


class _Norm(Module):
    """What the norms share: γ and β per channel and the check of the channel count."""

    def __init__(self, features, *, eps=1e-5, rng: Generator):
        (features,) = check_sizes(type(self).__name__, features)
        xp = rng.backend.xp
        self.scale = Parameter(xp.ones(features, "float32"))
        self.shift = Parameter(xp.zeros(features, "float32"))
        self.features, self.eps = features, eps

    def check(self, x):
        if x.ndim < 2 or x.shape[-1] != self.features:
            raise ShapeError(
                f"{type(self).__name__}({self.features}): got shape {x.shape}, "
                f"expected (n, …, {self.features})"
            )

    def describe(self):
        return f"{self.features}, eps={self.eps}"


class BatchNorm(_Norm):
    """Normalises each channel over the batch and all positions: (n, …, c) -> (n, …, c).

    While training, by the batch's own mean and variance, which are also averaged into
    `running_mean` and `running_variance` with weight `momentum`; in evaluation by those averages.
    """

    buffers = ("running_mean", "running_variance")

    def __init__(self, features, *, eps=1e-5, momentum=0.1, rng: Generator):
        super().__init__(features, eps=eps, rng=rng)
        self.momentum = momentum
        self.running_mean = rng.backend.xp.zeros(features, "float32")
        self.running_variance = rng.backend.xp.ones(features, "float32")

    def forward(self, x):
        self.check(x)
        if not self.training:
            k = self.scale * Tensor(1 / (self.running_variance + self.eps) ** 0.5)
            return x * k + (self.shift - k * Tensor(self.running_mean.copy()))
        count = x.size // self.features
        if count < 2:
            values = "one value" if count else "no values"
            raise ShapeError(f"BatchNorm: {values} per channel, shape {x.shape}: no variance")
        axes = tuple(range(x.ndim - 1))
        y, mean, variance = F.normalize(x, self.scale, self.shift, axes, eps=self.eps)
        # In place, because a replayed step knows arrays by their address; and by the unbiased
        # variance, which is what the next batch will have on average.
        track, momentum = x.backend.track, self.momentum
        track(self.running_mean, mean, momentum)
        track(self.running_variance, variance, momentum, count / (count - 1))
        return y


class LayerNorm(_Norm):
    """Normalises each sample over all its values: (n, …, c) -> (n, …, c) (Ba et al. 2016)."""

    def forward(self, x):
        self.check(x)
        return F.normalize(x, self.scale, self.shift, tuple(range(1, x.ndim)), eps=self.eps)[0]


class InstanceNorm(_Norm):
    """Normalises each channel of each image: (n, h, w, c) -> (n, h, w, c) (Ulyanov et al. 2016)."""

    def forward(self, x):
        self.check(x)
        if x.ndim < 3:
            raise ShapeError(f"InstanceNorm: got shape {x.shape}, expected images (n, h, w, c)")
        axes = tuple(range(1, x.ndim - 1))
        return F.normalize(x, self.scale, self.shift, axes, eps=self.eps)[0]


class SpectralNorm(Module):
    """A layer with its weight divided by the weight's largest singular value (Miyato et al. 2018).

    The weight is read as a matrix W (everything else, outputs). One step of power iteration per
    training call keeps u and v close to the first singular vectors, and σ = uᵀ W v is
    differentiated with u and v held constant.
    """

    buffers = ("u",)

    def __init__(self, layer: Module, *, rng: Generator, eps=1e-12):
        if not hasattr(layer, "apply"):
            raise TypeError(
                f"SpectralNorm: got {type(layer).__name__}, expected Linear, Conv2d or "
                "ConvTranspose2d"
            )
        self.layer = layer
        self.eps = eps
        outputs = layer.weight.shape[layer.output_axis]
        self.u = self._unit(rng.normal((layer.weight.size // outputs,)))

    def _unit(self, x):
        return x / ((x * x).sum() ** 0.5 + self.eps)

    def _matrix(self):
        weight, axis = self.layer.weight, self.layer.output_axis
        others = tuple(i for i in range(weight.ndim) if i != axis)
        return reshape(transpose(weight, (*others, axis)), (-1, weight.shape[axis]))

    def forward(self, x):
        matrix = self._matrix()
        product = x.backend.matmul
        v = self._unit(product(matrix.data.T, self.u.reshape(-1, 1)))
        u = self._unit(product(matrix.data, v))
        if self.training and is_recording():
            self.u[...] = u.reshape(-1)
        sigma = matmul(reshape(Tensor(u), (1, -1)), matmul(matrix, Tensor(v)))
        return self.layer.apply(x, self.layer.weight / reshape(sigma, ()))


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


class Upsample(Module):
    """Nearest-neighbour enlargement: (n, h, w, c) -> (n, h·factor, w·factor, c)."""

    def __init__(self, factor=2):
        check_sizes("Upsample", *pair(factor))
        self.factor = factor

    def forward(self, x):
        return F.upsample_nearest(x, self.factor)

    def describe(self):
        return str(self.factor)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        return F.relu(x)


class LeakyReLU(Module):
    """x where x > 0, slope · x elsewhere."""

    def __init__(self, slope=0.2):
        self.slope = slope

    def forward(self, x):
        return F.leaky_relu(x, self.slope)

    def describe(self):
        return str(self.slope)


class ELU(Module):
    """x where x > 0, α (eˣ − 1) elsewhere."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, x):
        return F.elu(x, self.alpha)

    def describe(self):
        return str(self.alpha)


class Tanh(Module):
    """tanh x: images in [−1, 1]."""

    def forward(self, x):
        return F.tanh(x)


class Sigmoid(Module):
    """σ(x). For a discriminator keep the logits instead: every loss here takes logits."""

    def forward(self, x):
        return F.sigmoid(x)


class Softplus(Module):
    """ln(1 + eˣ)."""

    def forward(self, x):
        return F.softplus(x)
