"""The base of all layers, and the chain of them.

A layer holds parameters, and at most running statistics, never activations: calling it twice
builds two independent graphs. Where a layer's parameters live is decided by the generator that
initialises them, so there is no default device to forget.
"""

from __future__ import annotations

import copy
import functools
from collections import deque
from reprlib import recursive_repr
from types import FunctionType, MethodType

from minigan.engine import Tensor, Variable
from minigan.nn.parameters import FlatParameters, Parameter, load_arrays


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
        wrong = [(place, value) for place, value in given if any(map(_is_array, _leaves(value)))]
        if inputs and not any(isinstance(leaf, Tensor) for leaf in _leaves(inputs)):
            wrong = wrong or given
        if wrong:
            place, value = wrong[0]
            got = type(value).__name__ + (f" for input {place}" if len(given) > 1 else "")
            how = "wrap it with minigan.tensor(…)"
            raise TypeError(f"{type(self).__name__}: got a {got}, expected a Tensor: {how}")

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
            how = "detach() it to take over its numbers, or compute with other weights by .at(…)"
            raise TypeError(f"{what}: got a result that was recorded: {how}")
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
        for inner, part in _parts(vars(self), f"{path}." if path else ""):
            if isinstance(part, Parameter):
                yield inner, part
            elif id(part) not in above:
                yield from part._below(inner, above)

    def parameters(self) -> list[Parameter]:
        """Every parameter once, in the same order. Called every step, so it builds no names."""
        found = []
        _gather(vars(self), found, (id(self),))
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
        arrays = [(key, p.data) for key, p in self.named_parameters().items()]
        arrays += [(key, getattr(*place)) for key, place in self.named_buffers().items()]
        return _by_name(arrays)

    def load_state(self, state: dict):
        """Takes over arrays from `state()`. ValueError, before any change, if they do not fit."""
        load_arrays("the networks", self.state(), state)
        for p in self.parameters():
            p.updated()

    def at(self, weights) -> Module:
        """This network with these tensors in the place of its parameters; self stays as it is.

        weights: one tensor for each of `parameters()`, in their order and shapes; graphs lead to
        whatever they were computed from. Everything else, buffers too, is self's own; as in a copy,
        a function that knows self by its closure goes on to use self's weights. ValueError if they
        do not fit.
        """
        parameters, weights = self.parameters(), list(weights)
        got, expected = [w.shape for w in weights], [p.shape for p in parameters]
        if got != expected:
            raise ValueError(f"at: got weights of shapes {got}, expected {expected}")
        return _replaced(self, dict(zip(map(id, parameters), weights, strict=True)))

    def describe(self) -> str:
        """What the constructor was given, for `repr`."""
        return ""

    @recursive_repr("itself")
    def __repr__(self):
        lines = [f"({key}) {child!r}" for key, child in self.children().items()]
        head = f"{type(self).__name__}({self.describe()})"
        return "\n".join([head, *lines]).replace("\n", "\n  ")


_HOLDERS = (list, tuple, dict)


def _items(holder):
    return holder.items() if isinstance(holder, dict) else enumerate(holder)


def _leaves(value):
    """A value, or what is in it, if it is a list, tuple or dict, and in those in there."""
    if isinstance(value, _HOLDERS):
        for _, item in _items(value):
            yield from _leaves(item)
    else:
        yield value


def _is_array(value) -> bool:
    array = hasattr(value, "__array__") and not isinstance(value, Tensor)
    return array and getattr(value, "ndim", 1) > 0  # NumPy's scalars are numbers


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
        else:
            items = value if isinstance(value, (set, frozenset, deque)) else (value,)
            if any(isinstance(item, (Variable, Module)) for item in items):
                what = f"{path}: a {type(value).__name__} would be neither trained nor saved"
                raise TypeError(f"{what}: use nn.Parameter, and a list, tuple or dict")


def _gather(holder, found, above):
    """Adds the parameters in a holder, and in modules there, to `found`; `above`: ids to skip."""
    for value in holder.values() if isinstance(holder, dict) else holder:
        if isinstance(value, Parameter):
            found.append(value)
        elif isinstance(value, Module) and id(value) not in above:
            _gather(vars(value), found, (*above, id(value)))
        elif isinstance(value, _HOLDERS):
            _gather(value, found, above)


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
    knowing = Module, Parameter, MethodType, functools.partial
    if not isinstance(value, _HOLDERS) or not any(isinstance(x, knowing) for x in _leaves(value)):
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
                what = getattr(layer, "__name__", type(layer).__name__)
                raise TypeError(f"Sequential: layer {i} is {what}, expected a Module like ReLU()")
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
