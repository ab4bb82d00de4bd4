"""Tensors, the graph behind them, and reverse-mode differentiation.

Every operation is one function. Its forward is a line of array arithmetic; beside it stands, per
input, the vector-Jacobian product (VJP): the function that takes the gradient of the loss in the
output, g, and returns the gradient in that input. VJPs are written in the same operations, so
they can be differentiated themselves: that is all there is to second derivatives.

The graph consists of nodes, not of tensors. A node knows its parents and their VJPs; a tensor
knows its node. References run from results to inputs only, never in a circle, so a graph is
freed the moment the last tensor that needs it goes out of scope.
"""

from __future__ import annotations

import itertools
import math
import numbers
import operator
from contextlib import contextmanager
from contextvars import ContextVar

from minigan.backend import Backend, DeviceError, backend_of, cpu, get_backend

_next_serial = itertools.count().__next__

# What the engine remembers between two lines of a program: whether operations are recorded, and the
# frozen leaves. Each thread has its own, and so has each task of asyncio, as one may sample while
# another trains.
_mode: ContextVar[tuple[bool, frozenset]] = ContextVar("mode", default=(True, frozenset()))
_mode_now = _mode.get


class ShapeError(ValueError):
    """The shapes of an operation's inputs do not fit together."""


class StaleGraphError(RuntimeError):
    """A gradient was asked through a graph whose parameters have been updated since."""


class Node:
    """The record of one operation: who its inputs were and how a gradient gets back to them.

    `edges` holds (parent node, VJP, parent's version at the time). `output` is the result's
    array where a VJP asked to be given it: an array, not the tensor, which would close a circle.
    `shared` computes from g what several VJPs need.
    Nodes are numbered as they are made, and an input is always made before its result: the
    order of creation is a topological order.
    """

    __slots__ = ("edges", "output", "serial", "shape", "shared")

    # What a leaf has of its own, and a view takes from its leaf, is the same for all other nodes.
    name = ""
    version = 0

    def __init__(self, shape, edges=(), output=None, shared=None):
        self.serial = _next_serial()
        self.shape = shape
        self.edges = edges
        self.output = output
        self.shared = shared


class Leaf(Node):
    """A node without parents: a parameter, or an input whose gradient is wanted.

    `version` counts in-place updates; `grad` is what `backward()` has accumulated.
    """

    __slots__ = ("grad", "name", "version")

    def __init__(self, shape, name=""):
        super().__init__(shape)
        self.version = 0
        self.grad = None
        self.name = name


class View(Node):
    """A result that may share its input's memory: it is frozen or updated when its input is.

    `root` is the input at the beginning of a chain of views.
    """

    __slots__ = ("root",)

    def __init__(self, shape, edges):
        super().__init__(shape, edges)
        parent = edges[0][0]
        self.root = parent.root if isinstance(parent, View) else parent

    @property
    def name(self):
        return self.root.name

    @property
    def version(self):
        return self.root.version


class Tensor:
    """An array together with its place in the graph.

    `data` is an array of the tensor's backend; `node` is None for constants. Tensors are made
    by `tensor()` and by operations; arithmetic between tensors asks for equal dtypes and equal
    devices, and Python numbers take the dtype of the tensor that they meet.
    """

    __slots__ = ("__weakref__", "data", "node")

    # Makes `array + tensor` come to Tensor.__radd__ instead of broadcasting over the tensor.
    __array_ufunc__ = None

    def __init__(self, data, node=None):
        if type(data) is list or type(data) is tuple:
            raise TypeError(f"Tensor takes an array, got a {type(data).__name__}: use tensor(…)")
        self.data = data
        self.node = node

    @property
    def shape(self):
        return self.data.shape

    @property
    def ndim(self):
        return self.data.ndim

    @property
    def size(self):
        return self.data.size

    @property
    def dtype(self):
        return self.data.dtype

    @property
    def backend(self) -> Backend:
        return backend_of(self.data)

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value):
        raise AttributeError(
            "requires_grad can't be set: `with frozen(…):` keeps a network or a leaf constant, and "
            "tensor(x, requires_grad=True) makes a leaf"
        )

    @property
    def grad(self) -> Tensor | None:
        """What `backward()` has accumulated in this leaf; set it to None to start anew."""
        return getattr(self.node, "grad", None)

    @grad.setter
    def grad(self, value: Tensor | None):
        self.node.grad = value

    @property
    def T(self):
        return transpose(self)

    def __len__(self):
        if not self.ndim:
            raise TypeError("len of a 0-d tensor: it has no rows")
        return self.shape[0]

    def __iter__(self):
        """The rows, tensors with their place in the graph."""
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor: it has no rows; .item() is its value")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value):
        """Whether any value equals `value`, as with arrays (waits for the device)."""
        return bool((self == value).data.any())

    def __repr__(self):
        mark = ", requires_grad" if self.requires_grad else ""
        return f"Tensor({self.data}, {self.dtype}, {self.backend.name}{mark})"

    def __reduce__(self):
        """What a copy or a pickle is made of. A graph has no meaning without its other tensors."""
        if self.node is not None:
            raise TypeError(
                f"a tensor of shape {self.shape} with a graph behind it is neither copied nor "
                "pickled: detach() it first"
            )
        return Tensor, (self.data,)

    def __array__(self, *args, **kwargs):
        raise TypeError("a Tensor is not converted silently: use .numpy() or .data")

    def __bool__(self):
        if self.size != 1:
            raise ValueError(f"a tensor of shape {self.shape} is neither true nor false")
        return bool(self.item())

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __round__(self, digits=None):
        """The one value rounded, a Python number."""
        return round(self.item(), digits)

    def __format__(self, spec):
        """f"{loss:.3f}" is that of the one value; without a format it is what `str` says."""
        if not spec:
            return str(self)
        if self.size != 1:
            raise TypeError(f"format {spec!r} is for one value, not for a tensor of {self.shape}")
        return format(self.item(), spec)

    def item(self):
        """The one value as a Python number (waits for the device). ValueError unless it is one."""
        if self.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} is not one value")
        return self.backend.to_numpy(self.data).item()

    def numpy(self):
        """The values as a NumPy array on the host (waits for the device)."""
        return self.backend.to_numpy(self.data)

    def detach(self) -> Tensor:
        """The same values, cut off from the graph; of a parameter a copy, as it will be updated."""
        shared = isinstance(self.node, (Leaf, View))
        return Tensor(self.data.copy() if shared else self.data)

    def backward(self, cotangent=None):
        """Adds d self / d leaf to the `.grad` of every leaf that self depends on.

        `grad(y, xs)` is the form to prefer: it returns gradients instead of storing them, and
        walks only the paths that lead to `xs`.
        """
        _, frozen = _mode_now()
        nodes = _ancestors(self.node)
        leaves = [node for node in nodes if isinstance(node, Leaf) and node not in frozen]
        for leaf, g in zip(leaves, _walk_back(self, leaves, cotangent, False), strict=True):
            if g is not None:
                leaf.grad = g if leaf.grad is None else Tensor(leaf.grad.data + g.data)

    def astype(self, dtype):
        return astype(self, dtype)

    def reshape(self, *shape):
        return reshape(self, _one_tuple(shape))

    def transpose(self, *axes):
        return transpose(self, None if axes in ((), (None,)) else _one_tuple(axes))

    def sum(self, axis=None, keepdims=False):
        return sum(self, axis, keepdims)

    def mean(self, axis=None, keepdims=False):
        return mean(self, axis, keepdims)

    def max(self, axis=None, keepdims=False):
        return max(self, axis, keepdims)

    def var(self, axis=None, keepdims=False):
        return var(self, axis, keepdims)

    def __neg__(self):
        return neg(self)

    def __abs__(self):
        return abs(self)

    def __add__(self, other):
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other):
        return sub(self, other)

    def __rsub__(self, other):
        return sub(other, self)

    def __mul__(self, other):
        return mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return div(self, other)

    def __rtruediv__(self, other):
        return div(other, self)

    def __pow__(self, exponent):
        return power(self, exponent)

    def __rpow__(self, base):
        return power(base, self)

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, other):
        return matmul(other, self)

    def __getitem__(self, index):
        return getitem(self, index)

    # As with arrays, == compares values; a tensor's hash is its identity.
    __hash__ = object.__hash__

    def __eq__(self, other):
        return Tensor(self.data == raw(other))

    def __ne__(self, other):
        return Tensor(self.data != raw(other))

    def __lt__(self, other):
        return Tensor(self.data < raw(other))

    def __le__(self, other):
        return Tensor(self.data <= raw(other))

    def __gt__(self, other):
        return Tensor(self.data > raw(other))

    def __ge__(self, other):
        return Tensor(self.data >= raw(other))


class Variable(Tensor):
    """A leaf of the graph: an input whose gradient is wanted, or a network's parameter.

    `x.data = array`, and `x += y` under `no_grad()`, put new values into the memory that graphs and
    optimisers know as its, and graphs that were built with the old ones become stale. ShapeError,
    TypeError or DeviceError if they don't fit. A copy, or what a pickle gives back, is a new leaf
    with the same values and no `grad`.
    """

    __slots__ = ()

    def __init__(self, data, name=""):
        data = backend_of(data).asarray(data)  # NumPy's scalars can't be changed
        super().__init__(data, Leaf(data.shape, name))

    def __setattr__(self, key, value):
        if key == "data" and hasattr(self, "data"):
            self._take_over(value)
        else:
            super().__setattr__(key, value)

    def _take_over(self, values):
        values = raw(values)
        if values is not self.data:  # else they are there: `x.data += 1`
            what = f"x.data = …{_named(self.node)}"
            check_alike(what, self, Tensor(values))
            if values.shape != self.shape:
                raise ShapeError(f"{what}: got shape {values.shape}, expected {self.shape}")
            self.data[...] = values
        self.updated()

    def updated(self):
        """To be called after `x.data[...] = array` and the like: older graphs become stale."""
        self.node.version += 1

    def _in_place(self, result: Tensor):
        if is_recording():
            raise RuntimeError(
                f"a leaf of the graph{_named(self.node)} of shape {self.shape} can't be changed "
                "in place while operations are recorded: for an update, do it under no_grad(); "
                "for a new tensor, write x = x + y instead of x += y"
            )
        self.data = result
        return self

    def __iadd__(self, other):
        return self._in_place(self + other)

    def __isub__(self, other):
        return self._in_place(self - other)

    def __imul__(self, other):
        return self._in_place(self * other)

    def __itruediv__(self, other):
        return self._in_place(self / other)

    def __ipow__(self, other):
        return self._in_place(self**other)

    def __imatmul__(self, other):
        return self._in_place(self @ other)

    def __reduce__(self):
        return type(self), (self.data.copy(), self.node.name)


def tensor(values, *, device=None, dtype=None, requires_grad=False) -> Tensor:
    """A tensor of `values`: a number, a nested list, an array or a tensor.

    Arrays keep their dtype and device; numbers and lists become float32 on the CPU unless
    `dtype` or `device` (a backend or its name) say otherwise. With `requires_grad` the tensor is
    a leaf of the graph. TypeError for anything but floats, integers and booleans.
    """
    values = raw(values)
    device = get_backend(device) if isinstance(device, str) else device
    try:
        home = backend_of(values)
    except TypeError:
        home, dtype = device or cpu, dtype or "float32"
        if home.asarray(values).dtype.kind not in "fiub":  # NumPy would make None a NaN
            raise TypeError(f"tensor: expected numbers, got {values!r}") from None
    if device is not None and device is not home:
        values = home.to_numpy(values)
    data = (device or home).asarray(values, dtype)
    if data.dtype.name not in ("float32", "float64") and data.dtype.kind not in "iub":
        raise TypeError(f"tensor: dtype {data.dtype} is not float32, float64, integer or bool")
    if requires_grad and data.dtype.kind != "f":
        raise TypeError(f"tensor: only floats have gradients, got dtype {data.dtype}")
    return Variable(data) if requires_grad else Tensor(data)


# --- Recording -----------------------------------------------------------------------------------


def record(data, *edges, keep=False, shared=None, view=False) -> Tensor:
    """The result of an operation: its array and, per input, the pair (input, VJP).

    A VJP is called as vjp(g). If `keep` asks for the operation's own output y, it is called as
    vjp(g, y); if `shared` is a function of g, for what several VJPs need but should compute only
    once, as vjp(g, shared(g)). It may return a gradient of the broadcast shape: the engine sums
    it down to the input's. `view` says that the result may share the memory of its one input.
    """
    recording, frozen = _mode_now()
    if not recording:
        return Tensor(data)
    if frozen:
        tracked, alive = _without_frozen(edges, frozen)
    else:
        tracked = alive = []
        for parent, vjp in edges:
            node = parent.node
            if node is not None:
                tracked.append((node, vjp, node.version))
    if view and tracked:  # also if frozen: whoever uses it must know when its memory changes
        return Tensor(data, View(data.shape, tracked))
    if not alive:
        return Tensor(data)
    return Tensor(data, Node(data.shape, tracked, data if keep else None, shared))


def _without_frozen(edges, frozen) -> tuple[list, bool]:
    """What a node keeps of its inputs, without the rules of frozen ones; and if any is left."""
    tracked, alive = [], False
    for parent, vjp in edges:
        node = parent.node
        if node is not None:
            kind = type(node)
            if kind is not Node and (node if kind is Leaf else node.root) in frozen:
                vjp = None
            else:
                alive = True
            tracked.append((node, vjp, node.version))
    return tracked, alive


def is_recording() -> bool:
    """Whether operations are being recorded: no inside no_grad() and plain gradients."""
    return _mode_now()[0]


@contextmanager
def _record(on: bool):
    before, frozen = _mode_now()
    _mode.set((on, frozen))
    try:
        yield
    finally:  # of the other half whatever it is by then: a generator may end at any time
        _mode.set((before, _mode_now()[1]))


def no_grad():
    """`with no_grad():` operations inside, in this thread, are not recorded."""
    return _record(False)


@contextmanager
def frozen(*owners):
    """`with frozen(D):` D's parameters count as constants for what this thread computes inside.

    Takes anything that has `parameters`, and iterables of leaf tensors. Gradients still flow
    through a frozen network to its input; its own filter gradients are never computed. TypeError
    for what is no leaf.
    """
    leaves = []
    for owner in owners:
        parameters = getattr(owner, "parameters", owner)
        parameters = parameters() if callable(parameters) else parameters
        leaves += [p.node if isinstance(p, Variable) else _refuse_to_freeze(p) for p in parameters]
    recording, before = _mode_now()
    _mode.set((recording, before.union(leaves)))
    try:
        yield
    finally:
        _mode.set((_mode_now()[0], before))


def _refuse_to_freeze(x):
    what = "tensor that is no leaf" if isinstance(x, Tensor) else type(x).__name__
    raise TypeError(f"frozen: got a {what}, expected networks, or leaves of the graph")


# --- Differentiating -----------------------------------------------------------------------------


def grad(y: Tensor, xs, *, cotangent=None, create_graph=False, unused="error") -> list[Tensor]:
    """The gradients of y in each of `xs`, a list of tensors shaped as they are.

    y:            a scalar; or of any shape with `cotangent`, the vector of the product, given.
    create_graph: record the gradients' own computation, so that they can be differentiated.
    unused:       what to do about an x on which y does not depend: "error" or "zeros".

    ValueError if y or an x has no place in the graph, or y does not depend on an x;
    StaleGraphError if a parameter was updated after the graph was built.
    """
    if isinstance(xs, Tensor) or not hasattr(xs, "__iter__"):
        raise TypeError(f"grad: xs is a {type(xs).__name__}, expected a list of tensors")
    xs = list(xs)
    for k, x in enumerate(xs):
        if x.node is None:
            raise ValueError(f"grad: xs[{k}], of shape {x.shape}, does not require a gradient")
    gradients = _walk_back(y, [x.node for x in xs], cotangent, create_graph)
    for k, (x, g) in enumerate(zip(xs, gradients, strict=True)):
        if g is None and unused != "zeros":
            raise ValueError(
                f"grad: y does not depend on xs[{k}]{_named(x.node)}, of shape {x.shape}: it was "
                'not used, or was detached or frozen; unused="zeros" accepts that'
            )
        if g is None:
            gradients[k] = Tensor(x.backend.xp.zeros_like(x.data))
    return gradients


def _walk_back(y: Tensor, targets: list[Node], cotangent, create_graph) -> list[Tensor | None]:
    """Reverse accumulation: every node's gradient is complete before it is passed on."""
    gradients = {y.node: _seed(y, cotangent)}
    order = _ancestors(y.node)
    wanted = _leading_to(order, targets)
    asked = set(targets)
    with _record(create_graph):
        for node in reversed(order):
            g = gradients.get(node) if node in asked else gradients.pop(node, None)
            if g is None or node not in wanted:
                continue
            given = () if node.output is node.shared is None else _given(node, g)
            for parent, vjp, version in node.edges:
                if parent.version != version:
                    raise StaleGraphError(_stale(parent, version))
                if vjp is None or parent not in wanted:
                    continue
                part = vjp(g, *given)
                if part.data.shape != parent.shape:
                    part = sum_to(part, parent.shape)
                gradients[parent] = add(gradients[parent], part) if parent in gradients else part
    return [gradients.get(node) for node in targets]


def _given(node: Node, g: Tensor) -> tuple:
    """What the VJPs of a node are called with beside g: its output, or what they share."""
    return (Tensor(node.output, node) if node.shared is None else node.shared(g),)


def _seed(y: Tensor, cotangent):
    if y.node is None:
        raise ValueError("grad: y was not recorded: no input requires a gradient, or no_grad is on")
    if cotangent is None:
        if y.size != 1:
            raise ValueError(f"grad: y has shape {y.shape}, not one value: give a cotangent")
        return Tensor(y.backend.xp.ones(y.shape, y.dtype))
    cotangent = _lift(cotangent)
    if is_number(cotangent):
        cotangent = tensor(cotangent.data, device=y.backend, dtype=y.dtype)
    if cotangent.shape != y.shape or cotangent.dtype != y.dtype:
        raise ShapeError(
            f"grad: the cotangent is {cotangent.dtype} of shape {cotangent.shape}, "
            f"y is {y.dtype} of shape {y.shape}"
        )
    return cotangent


def _ancestors(node: Node | None) -> list[Node]:
    """All nodes that `node` was computed from, itself included, oldest first."""
    if node is None:
        return []
    seen, stack = {node}, [node]
    while stack:
        for parent, vjp, _ in stack.pop().edges:
            if vjp is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=operator.attrgetter("serial"))


def _leading_to(order: list[Node], targets) -> set[Node]:
    """The nodes of `order` through which a gradient can reach one of the targets."""
    wanted = set(targets)
    for node in order:
        for parent, vjp, _ in node.edges:
            if vjp is not None and parent in wanted:
                wanted.add(node)
                break
    return wanted


def _named(node) -> str:
    return f" ({node.name})" if node.name else ""


def _stale(leaf, version) -> str:
    return (
        f"parameter{_named(leaf)} of shape {leaf.shape} was updated {leaf.version - version} "
        "time(s) after this graph was built, so its gradients would be wrong: compute the forward "
        "pass again after the update (for a generator step, D(fake) anew)"
    )


# --- Checks on operands --------------------------------------------------------------------------


def raw(x):
    """The array of a tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def _lift(x) -> Tensor:
    """x as a tensor. A Python number stays one, so that it takes the dtype of what it meets."""
    if isinstance(x, Tensor):
        return x
    if type(x) is float or type(x) is int:
        return Tensor(x)
    if isinstance(x, numbers.Real):  # NumPy's scalars too: np.sqrt(2) must not make float64
        return Tensor(float(x))
    return tensor(x)


def is_number(x: Tensor) -> bool:
    """Whether x is a lifted Python number, which has neither a dtype nor a device."""
    return type(x.data) is float or type(x.data) is int


def operands(op: str, a, b) -> tuple[Tensor, Tensor]:
    """Both inputs of an elementwise operation as tensors that fit, or an error that names it."""
    if not isinstance(a, Tensor):
        a = _lift(a)
    if not isinstance(b, Tensor):
        b = _lift(b)
    x, y = a.data, b.data
    kind = type(x)
    if kind is not type(y) or kind is float or kind is int or x.dtype is not y.dtype:
        if is_number(a) or is_number(b):
            return a, b
        check_alike(op, a, b)
    if x.shape != y.shape:
        check_broadcast(op, x.shape, y.shape)
    return a, b


def check_alike(op, a: Tensor, b: Tensor):
    """DeviceError or TypeError, naming the operation, unless both share device and dtype."""
    if type(a.data) is type(b.data) and a.data.dtype is b.data.dtype:
        return
    if a.backend is not b.backend:
        raise DeviceError(f"{op}: one operand is on {a.backend.name}, one on {b.backend.name}")
    if a.dtype != b.dtype:
        raise TypeError(f"{op}: dtypes {a.dtype} and {b.dtype} differ: convert one with .astype()")


def check_broadcast(op, a: tuple, b: tuple):
    """ShapeError, naming the operation, unless the two shapes broadcast against each other."""
    for m, n in zip(reversed(a), reversed(b), strict=False):
        if m != n and m != 1 and n != 1:
            raise ShapeError(f"{op}: shapes {a} and {b} do not broadcast: {m} and {n} differ")


def check_fits(op, shape: tuple, into: tuple):
    """ShapeError, naming the operation, unless `shape` broadcasts to exactly `into`."""
    sides = zip(reversed(shape), reversed(into), strict=False)
    if len(shape) > len(into) or any(m not in (1, n) for m, n in sides):
        raise ShapeError(f"{op}: shape {shape} does not broadcast to {into}")


def whole_number(what, value) -> int:
    """`value` as a Python int, NumPy's integers too. TypeError, naming what it is, for all else."""
    if type(value) is int:
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} is {value!r}, expected an integer") from None


def _one_tuple(arguments: tuple) -> tuple:
    """Whether called as f(2, 3) or as f((2, 3)): the tuple (2, 3)."""
    alone = len(arguments) == 1 and isinstance(arguments[0], (tuple, list))
    return tuple(arguments[0]) if alone else arguments


def check_labels(op, labels, classes: int):
    """The array of `labels`, integers from 0 to `classes` − 1.

    TypeError unless they are an array of integers. ValueError, naming the smallest and the largest,
    if one names no class; on a GPU nothing is said, and CuPy counts it modulo `classes`.
    """
    labels = raw(labels)
    got = getattr(labels, "dtype", type(labels).__name__)
    if getattr(got, "kind", "") not in ("i", "u"):
        raise TypeError(f"{op}: labels must be integers, got {got}")
    backend_of(labels).check_range(f"{op}: labels", labels, classes)
    return labels


def axis_of(op, axis: int, shape: tuple) -> int:
    """The axis counted from the front. ShapeError, naming the operation, if there is none such."""
    if type(axis) is not int:
        axis = whole_number(f"{op}: axis", axis)
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{op}: axis {axis} is out of range for shape {shape}")
    return axis % len(shape)


# --- Operations ----------------------------------------------------------------------------------


def add(a, b):
    """a + b, broadcasting."""
    a, b = operands("add", a, b)
    return record(a.data + b.data, (a, lambda g: g), (b, lambda g: g))


def sub(a, b):
    """a − b, broadcasting."""
    a, b = operands("sub", a, b)
    return record(a.data - b.data, (a, lambda g: g), (b, neg))


def neg(x):
    """−x."""
    return record(-x.data, (x, neg))


def mul(a, b):
    """a · b, elementwise, broadcasting."""
    a, b = operands("mul", a, b)
    return record(a.data * b.data, (a, lambda g: mul(g, b)), (b, lambda g: mul(g, a)))


def div(a, b):
    """a / b, elementwise, broadcasting."""
    a, b = operands("div", a, b)
    return record(
        a.data / b.data,
        (a, lambda g, y: div(g, b)),
        (b, lambda g, y: neg(div(mul(g, y), b))),
        keep=True,
    )


def power(base, exponent):
    """base ** exponent, one of which may be a number; a tensor exponent asks for base ≥ 0.

    At base 0 the gradient in a base of exponent p < 1 is infinite; that in an exponent p ≥ 0 is 0.
    """
    exponent = _lift(exponent)
    if not is_number(exponent):
        return _exponential(base, exponent)
    p = float(exponent.data)
    if p == 0:
        return record(base.data**0, (base, lambda g: mul(g, 0.0)))
    return record(base.data**p, (base, lambda g: mul(g, mul(power(base, p - 1), p))))


def _exponential(base, exponent: Tensor):
    base = _lift(base)
    if is_number(base):
        base = Tensor(exponent.backend.xp.full((), base.data, exponent.dtype))
    base, exponent = operands("power", base, exponent)

    # At base 0, 0 · 0⁻¹ and 0 · ln 0 stand for limits that are 0: there 0⁰ and ln 1 are taken.
    def base_rule(g, y):
        flat = (base.data == 0) & (exponent.data == 0)
        less = sub(exponent, Tensor((~flat).astype(exponent.dtype)))
        return mul(g, mul(exponent, power(base, less)))

    def exponent_rule(g, y):
        flat = (base.data == 0) & (exponent.data >= 0)
        return mul(mul(g, y), log(add(base, Tensor(flat.astype(base.dtype)))))

    return record(base.data**exponent.data, (base, base_rule), (exponent, exponent_rule), keep=True)


def log(x):
    """ln x. It stands here because the rule of `power` needs it."""
    return record(x.backend.xp.log(x.data), (x, lambda g: div(g, x)))


def abs(x):
    """|x|, with gradient 0 at 0."""
    xp = x.backend.xp
    return record(xp.abs(x.data), (x, lambda g: mul(g, Tensor(xp.sign(x.data)))))


def select(condition, x):
    """x where `condition`, an array of booleans, holds, and 0 elsewhere.

    What was not chosen gets gradient 0 even where g is infinite, unlike in a product with 0 and 1.
    """
    return record(x.backend.select(condition, x.data), (x, lambda g: select(condition, g)))


def matmul(a, b):
    """a @ b over the last two axes, broadcasting the others; 1-D inputs as in NumPy."""
    a, b = _lift(a), _lift(b)
    if is_number(a) or is_number(b):
        raise TypeError(f"matmul: {a.data} @ {b.data}: a number is no matrix; multiply with *")
    check_alike("matmul", a, b)
    m, n = a.data.shape, b.data.shape
    if not len(m) == len(n) == 2 or m[1] != n[0]:
        _check_matmul(a, b)
        if a.ndim == 1:
            row = matmul(reshape(a, (1, -1)), b)
            return getitem(row, (..., 0, slice(None)) if b.ndim > 1 else 0)
        if b.ndim == 1:
            return getitem(matmul(a, reshape(b, (-1, 1))), (..., 0))
    return record(
        a.backend.matmul(a.data, b.data),
        (a, lambda g: matmul(g, swap_last(b))),
        (b, lambda g: matmul(swap_last(a), g)),
    )


def _check_matmul(a, b):
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}: needs at least one dimension each")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: inner dimensions {a.shape[-1]} and {inner} differ"
        )
    check_broadcast("matmul", a.shape[:-2], b.shape[:-2])


def swap_last(x):
    """The transpose of every matrix in x: its last two axes exchanged."""
    return record(x.data.swapaxes(-1, -2), (x, swap_last), view=True)


def sum(x, axis=None, keepdims=False):
    """Σ x over `axis` (an int, a tuple, or None for all); small integers add up as in NumPy."""
    (axes, kept), shape = reduced("sum", axis, x.shape), x.shape
    return record(
        x.backend.sum(x.data, axes, keepdims),
        (x, lambda g: broadcast_to(reshape(g, kept), shape)),
    )


def mean(x, axis=None, keepdims=False):
    """The mean over `axis`; of no values NaN, as in NumPy, but without a warning."""
    (axes, kept), shape = reduced("mean", axis, x.shape), x.shape
    total = x.backend.sum(x.data, axes, keepdims)
    share = total.size / x.size if x.size else math.nan
    return record(
        total * share,
        (x, lambda g: broadcast_to(reshape(mul(g, share), kept), shape)),
    )


def var(x, axis=None, keepdims=False):
    """The biased variance, mean |x − mean x|², over `axis`; of no values NaN."""
    return mean(power(sub(x, mean(x, axis, True)), 2), axis, keepdims)


def max(x, axis=None, keepdims=False):
    """The maximum over `axis`; where several values tie, they share the gradient equally."""
    axes, kept = reduced("max", axis, x.shape)
    if not x.size and math.prod(kept):
        raise ShapeError(f"max: there are no values over axis {axis} of shape {x.shape}")

    def vjp(g, y):
        winners = x.data == y.data.reshape(kept)
        count = winners.astype(x.dtype).sum(axis=axes, keepdims=True)
        return select(winners, div(reshape(g, kept), Tensor(count)))

    return record(x.data.max(axis=axes, keepdims=keepdims), (x, vjp), keep=True)


def reduced(op, axis, shape) -> tuple:
    """The axes of a reduction, counted from the front, and `shape` with each of them kept as 1.

    The axes are a tuple, or None for all, and the shape then (), which broadcasts as well.
    ShapeError, naming the operation, if there are no such axes.
    """
    if axis is None:
        return None, ()
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not shape and all(a in (0, -1) for a in axes):
        return None, ()  # one value has no axis, but NumPy reduces it over its first or last one
    axes = sorted([axis_of(op, a, shape) for a in axes])
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{op}: axes {axis} name one axis twice")
    kept = list(shape)
    for a in axes:
        kept[a] = 1
    return tuple(axes), tuple(kept)


def sum_to(x, shape):
    """The adjoint of broadcasting: x summed down to `shape`."""
    before = x.data.shape
    if before == shape:
        return x
    extra = len(before) - len(shape)
    axes = tuple(range(extra))
    if before[extra:] != shape:
        axes += tuple(i + extra for i, n in enumerate(shape) if n == 1 != before[i + extra])
    total = x.backend.sum(x.data, axes)
    return record(
        total if total.shape == shape else total.reshape(shape),
        (x, lambda g: broadcast_to(reshape(g, reduced("sum_to", axes, before)[1]), before)),
    )


def broadcast_to(x, shape):
    """x repeated along new and length-one axes to `shape`, as a view."""
    check_fits("broadcast_to", x.shape, shape)
    return record(x.backend.broadcast_to(x.data, shape), (x, lambda g: g), view=True)


def reshape(x, shape):
    """The same values in row-major order under another shape; one side may be −1."""
    before = x.shape
    if before == shape:
        return x
    try:
        data = x.data.reshape(shape)
    except ValueError:
        raise ShapeError(f"reshape: {x.size} values, shape {before}, do not fill {shape}") from None
    return record(data, (x, lambda g: reshape(g, before)), view=True)


def transpose(x, axes=None):
    """The axes permuted to the order `axes`; reversed by default."""
    if axes is None:
        axes = tuple(range(x.ndim))[::-1]
    else:
        axes = tuple(axis_of("transpose", a, x.shape) for a in axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"transpose: axes {axes} do not permute shape {x.shape}")
    inverse = tuple(axes.index(i) for i in range(x.ndim))
    return record(x.data.transpose(axes), (x, lambda g: transpose(g, inverse)), view=True)


def getitem(x, index):
    """x[index], by slices or index arrays; the gradients of a repeated index add up."""
    index = tuple(map(raw, index)) if isinstance(index, tuple) else raw(index)
    shape = x.shape
    return record(x.data[index], (x, lambda g: scatter_add(g, index, shape)), view=True)


def scatter_add(x, index, shape):
    """Zeros of `shape` with x added at `index`: the adjoint of `getitem`."""
    return record(x.backend.scatter_add(shape, index, x.data), (x, lambda g: getitem(g, index)))


def astype(x, dtype):
    """x in another float dtype; the gradient comes back in x's own."""
    before = x.dtype
    data = x.data.astype(dtype)
    if data.dtype.kind == "c":
        raise TypeError(f"astype: complex numbers are not supported, got {dtype}")
    if data.dtype.kind != "f":
        return Tensor(data)
    return record(data, (x, lambda g: astype(g, before)))
