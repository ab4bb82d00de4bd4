"""Layers: functions together with the parameters that they own.

A layer holds parameters, and at most running statistics, never activations: calling it twice
builds two independent graphs. Where a layer's parameters live is decided by the generator that
initialises them, so there is no default device to forget.

The parameters of a network stand side by side in a flat array once an optimiser has taken them over
(see `FlatParameters`), so that an update is one pass over memory however many layers there are.
"""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections import deque
from reprlib import recursive_repr
from types import FunctionType, MethodType

import minigan.functional as F
from minigan.backend import Generator, backend_of
from minigan.conv import conv2d, conv_transpose2d
from minigan.engine import (
    ShapeError,
    Tensor,
    Variable,
    check_alike,
    check_labels,
    getitem,
    is_recording,
    matmul,
    reshape,
    transpose,
    whole_number,
)
from minigan.functional import pair


class Parameter(Variable):
    """A leaf tensor that a network owns and an optimiser updates in place.

    `home` is the flat array that it stands in, from `start` on; None until it is in a set.
    """

    __slots__ = ("home", "start")

    def __init__(self, data, name=""):
        super().__init__(data, name)
        self.home, self.start = None, 0

    def move(self, array, home=None, start=0):
        """Lets `data` be this array, which stands in the flat array `home` or in none."""
        Tensor.data.__set__(self, array)
        self.home, self.start = home, start


class FlatParameters:
    """A set of parameters as one vector, for what goes over all of them in one pass.

    A parameter gets a place in a flat array from the first set that it is in, side by side with
    all others of that set that have none, and stays there. So sets may overlap, and may hold
    parameters of several networks: an optimiser for either half of G, and an average of all of G.

    `pieces` is where the vector lies in memory: pairs of a slice of the vector and the flat memory
    that it is. If the set was the first for all its parameters, as a network's optimiser mostly is,
    this is one piece.

    ValueError for a set without parameters; TypeError for what is no Parameter; TypeError or
    DeviceError if they differ in dtype or device.
    """

    def __init__(self, parameters):
        self.parameters = list(dict.fromkeys(parameters))
        _check_set(self.parameters)
        first = self.parameters[0].data
        self.backend, self.dtype = backend_of(first), first.dtype
        self._slices = _slices(self.parameters)
        self.size = self._slices[-1].stop
        self._settle([p for p in self.parameters if p.home is None])
        self._places = [p.data for p in self.parameters]
        self.pieces = self._pieces()

    def _settle(self, homeless):
        """Gives these parameters a flat array."""
        if homeless:
            home = self.backend.xp.concatenate([p.data.reshape(-1) for p in homeless])
            for p, part in zip(homeless, _slices(homeless), strict=True):
                p.move(home[part].reshape(p.shape), home, part.start)

    def _pieces(self) -> list:
        """Neighbours in the vector that are neighbours in memory are one piece."""
        runs = []  # of [the home, where the run begins in it, where in the vector, its size]
        for p, part in zip(self.parameters, self._slices, strict=True):
            if runs and runs[-1][0] is p.home and runs[-1][1] + runs[-1][3] == p.start:
                runs[-1][3] += p.size
            else:
                runs.append([p.home, p.start, part.start, p.size])
        return [(slice(at, at + n), home[begin : begin + n]) for home, begin, at, n in runs]

    def views(self, vector) -> list:
        """The parts of a vector that belong to each parameter, in the parameters' shapes."""
        parts = zip(self.parameters, self._slices, strict=True)
        return [vector[part].reshape(p.shape) for p, part in parts]

    def zeros(self):
        """A vector with a zero for each number of the parameters."""
        return self.backend.xp.zeros(self.size, self.dtype)

    def values(self):
        """The parameters' numbers as one vector, a copy."""
        return self.backend.xp.concatenate([memory for _, memory in self.pieces])

    def updated(self):
        """To be called after every in-place change of the pieces."""
        for p in self.parameters:
            p.updated()

    def paired_with(self, other) -> list:
        """Pairs of flat memory, this vector's and another's, that hold the same parts of both."""
        if len(self.pieces) == len(other.pieces) == 1:
            return [(self.pieces[0][1], other.pieces[0][1])]
        pairs = zip(self.parameters, other.parameters, strict=True)
        return [(mine.data.reshape(-1), theirs.data.reshape(-1)) for mine, theirs in pairs]

    def check(self, what, now=None):
        """RuntimeError if a parameter was converted, or is not the one that is there `now`."""
        parameters = self.parameters if now is None else now
        if len(parameters) == len(self._places):
            for p, place in zip(parameters, self._places, strict=True):
                if p.data is not place:
                    break
            else:
                return
        raise RuntimeError(
            f"{what}: parameters have been converted by .astype(), or replaced, since this was "
            "made, so it would have no effect on the new ones: make it afterwards, anew"
        )

    def __reduce__(self):  # in a copy, too, parameters stand in a flat array
        return FlatParameters, (self.parameters,)


def _check_set(parameters):
    if not parameters:
        raise ValueError("there are no parameters to optimise")
    first = parameters[0]
    for p in parameters:
        if not isinstance(p, Parameter):
            raise TypeError(f"got a {type(p).__name__}, expected a Parameter: nn.Parameter(x.data)")
        check_alike(f"parameters {first.node.name!r} and {p.node.name!r}", first, p)


def _slices(parameters) -> list[slice]:
    """Where each parameter is in a vector of them all."""
    ends = [0, *itertools.accumulate(p.size for p in parameters)]
    return [slice(start, stop) for start, stop in itertools.pairwise(ends)]


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

    Sub-classes assign their parts as attributes, or put them into lists, tuples and dicts that are
    attributes, and define `forward`. `training` tells the layers that behave differently while
    training (batch norm, dropout) which way to behave.
    """

    training = True
    name = ""
    buffers: tuple[str, ...] = ()

    def __call__(self, *inputs, **options):
        """`forward` of tensors, and of whatever else it takes, by position or by name.

        TypeError for an array in the place of a tensor.
        """
        if len(inputs) == 1 and not options and isinstance(inputs[0], Tensor):
            return self.forward(inputs[0])  # as nearly always, in the quickest way
        self._check_inputs(inputs, options)
        return self.forward(*inputs, **options)

    def _check_inputs(self, inputs, options):
        given = [*enumerate(inputs, 1), *options.items()]
        wrong = [(place, value) for place, value in given if _holds(value, _is_array)]
        if inputs and not any(_holds(value, _is_tensor) for value in inputs):
            wrong = wrong or given
        if wrong:
            place, value = wrong[0]
            where = f" for input {place}" if len(given) > 1 else ""
            raise TypeError(
                f"{type(self).__name__}: got a {type(value).__name__}{where}, expected a Tensor: "
                "wrap it with minigan.tensor(…)"
            )

    def __setattr__(self, key, value):
        """Writes values into a parameter that is there, and refuses what would break the module."""
        mine = vars(self).get(key)
        if isinstance(mine, Parameter) and not isinstance(value, (Parameter, type(None))):
            self._write(key, mine, value)
            return
        self._check_attribute(key, value)
        super().__setattr__(key, value)

    def _write(self, key, parameter, value):
        what = f"{type(self).__name__}.{key} is a parameter of shape {parameter.shape}"
        if not isinstance(value, Tensor) and not _is_array(value):
            raise TypeError(f"{what}: got a {type(value).__name__}, expected a tensor or an array")
        if isinstance(value, Tensor) and value.node is not None:
            raise TypeError(
                f"{what}, and the new value a result that was recorded: detach() it to take over "
                "its numbers, or compute with other weights by .at(…)"
            )
        parameter.data = value

    def _check_attribute(self, key, value):
        what, there = f"{type(self).__name__}.{key}", getattr(type(self), key, None)
        part = isinstance(value, (Module, Tensor))
        own = (*self.buffers, "buffers", "name", "training")
        hidden = isinstance(there, FunctionType) and (part or not callable(value))
        if hidden or (part and key in own):
            whose = "method" if hidden else "attribute"
            raise AttributeError(f"{what} would hide the {whose} of that name: take another name")
        if key == "requires_grad":
            raise AttributeError(f"{what}: nothing reads this: `with frozen(…)` keeps it constant")
        if isinstance(value, Variable) and not isinstance(value, Parameter):
            raise TypeError(f"{what}: this tensor would not be trained: make it an nn.Parameter")

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def children(self) -> dict[str, Module]:
        """The sub-modules by attribute name, in the order of their definition; of a list also
        with their position, as in "layers.0".
        """
        return {path: part for path, part in _parts(vars(self)) if isinstance(part, Module)}

    def modules(self, prefix="") -> list[tuple[str, Module]]:
        """This module and all below it, each with its dotted path."""
        return [(path, part) for path, part in self._below(prefix) if isinstance(part, Module)]

    def named_parameters(self, prefix="") -> dict[str, Parameter]:
        """Every parameter by its dotted path, in the order of definition.

        One that is in two places has both paths. ValueError if two have the same path.
        """
        parts = self._below(prefix)
        return _by_name((path, part) for path, part in parts if isinstance(part, Parameter))

    def _below(self, path, above=()):
        """This module, and every parameter and module below it, with their paths."""
        yield path, self
        above = (*above, id(self))
        for key, part in _parts(vars(self)):
            inner = f"{path}.{key}" if path else key
            if isinstance(part, Parameter):
                yield inner, part
            elif id(part) not in above:
                yield from part._below(inner, above)

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the same order. Called every step, so it builds no names."""
        found = []
        _gather(vars(self).values(), found, (id(self),))
        return list(dict.fromkeys(found))

    def named_buffers(self) -> dict[str, tuple[Module, str]]:
        """Where every running statistic lives, by its dotted path."""
        return _by_name(
            (f"{path}.{key}" if path else key, (module, key))
            for path, module in self.modules()
            for key in module.buffers
        )

    def flat(self) -> FlatParameters:
        """All parameters as one vector; their names are set to their paths."""
        for key, p in self.named_parameters(self.name).items():
            p.node.name = key
        return FlatParameters(self.parameters())

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
            p.move(p.data.astype(dtype))
            p.updated()
        for module, key in self.named_buffers().values():
            setattr(module, key, getattr(module, key).astype(dtype))
        return self

    def state(self) -> dict:
        """All parameters and buffers by dotted path: the arrays themselves, not copies."""
        arrays = {key: p.data for key, p in self.named_parameters().items()}
        buffers = {k: getattr(module, key) for k, (module, key) in self.named_buffers().items()}
        return _by_name([*arrays.items(), *buffers.items()])

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

    def at(self, weights) -> Module:
        """This network with these tensors in the place of its parameters; self stays as it is.

        weights: one tensor for each of `parameters()`, in their order and shapes; graphs lead to
        whatever they were computed from. Everything else, buffers too, is self's own; as in a copy,
        a function that knows self by its closure goes on to use self's weights. ValueError if they
        do not fit.
        """
        parameters, weights = self.parameters(), list(weights)
        if [w.shape for w in weights] != [p.shape for p in parameters]:
            raise ValueError(
                f"at: got weights of shapes {[w.shape for w in weights]}, expected the "
                f"parameters' {[p.shape for p in parameters]}"
            )
        return _replaced(self, dict(zip(map(id, parameters), weights, strict=True)))

    def describe(self) -> str:
        """What the constructor was given, for `repr`."""
        return ""

    @recursive_repr("itself")
    def __repr__(self):
        inner = "".join(
            f"\n  ({key}) {line}"
            for key, child in self.children().items()
            for line in [repr(child).replace("\n", "\n  ")]
        )
        return f"{type(self).__name__}({self.describe()})" + inner


_HOLDERS = (list, tuple, dict)


def _items(holder):
    return holder.items() if isinstance(holder, dict) else enumerate(holder)


def _holds(value, kind) -> bool:
    """Whether a value is of a kind, or a list, tuple or dict that holds such a one."""
    if isinstance(value, _HOLDERS):
        return any(_holds(item, kind) for _, item in _items(value))
    return kind(value)


def _is_tensor(value) -> bool:
    return isinstance(value, Tensor)


def _is_array(value) -> bool:
    array = hasattr(value, "__array__") and not isinstance(value, Tensor)
    return array and getattr(value, "ndim", 1) > 0  # NumPy's scalars are numbers


def _knows_modules(value) -> bool:
    return isinstance(value, (Module, Parameter, MethodType, functools.partial))


def _parts(attributes, prefix=""):
    """The parameters and modules among attributes, also in lists, tuples and dicts, with paths.

    TypeError for those in sets, and for other leaves: they would be neither trained nor saved.
    """
    for key, value in _items(attributes):
        path = f"{prefix}{key}"
        if isinstance(value, (Parameter, Module)):
            yield path, value
        elif isinstance(value, _HOLDERS):
            yield from _parts(value, f"{path}.")
        elif isinstance(value, Variable) or (
            isinstance(value, (set, frozenset, deque))
            and any(isinstance(item, (Parameter, Module)) for item in value)
        ):
            raise TypeError(
                f"{path}: a {type(value).__name__} would be neither trained nor saved: use "
                "nn.Parameter, and a list, tuple or dict"
            )


def _gather(values, found, above):
    """Adds the parameters among values, and in modules there, to `found`; `above`: ids to skip."""
    for value in values:
        if isinstance(value, Parameter):
            found.append(value)
        elif isinstance(value, Module):
            if id(value) not in above:
                _gather(vars(value).values(), found, (*above, id(value)))
        elif isinstance(value, _HOLDERS):
            _gather(value.values() if isinstance(value, dict) else value, found, above)


def _by_name(pairs) -> dict:
    """A dict of pairs (path, value). ValueError if a path comes twice, as one would be lost."""
    found = {}
    for path, value in pairs:
        if path in found:
            raise ValueError(f"two parts of the network are called {path!r}: rename one")
        found[path] = value
    return found


def _replaced(value, new: dict):
    """A value with new[id(part)] in the place of its parts; what has no modules is shared."""
    if id(value) in new:
        return new[id(value)]
    if isinstance(value, Module):
        twin = new[id(value)] = object.__new__(type(value))
        vars(twin).update(_replaced(vars(value), new))
        return twin
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _replaced(value.__self__, new))
    if isinstance(value, functools.partial):
        return functools.partial(_replaced(value.func, new), *value.args, **value.keywords)
    if not isinstance(value, _HOLDERS) or not _holds(value, _knows_modules):
        return value
    items = [_replaced(item, new) for _, item in _items(value)]
    if isinstance(value, dict):
        return dict(zip(value, items, strict=True))
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


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
        for layer in vars(self).values():
            if isinstance(layer, Module):
                x = layer(x)
        return x

    def __iter__(self):
        return iter([layer for layer in vars(self).values() if isinstance(layer, Module)])

    def __len__(self):
        return sum(1 for _ in self)

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
