"""Tensors, leaves, and how an operation becomes a node of the graph."""

from __future__ import annotations

import numbers
import operator
from contextlib import contextmanager

from minigan.backend import Backend, backend_of, cpu, get_backend
from minigan.engine.checks import ShapeError, check_alike, check_broadcast, whole_number
from minigan.engine.graph import Leaf, Node, View, is_recording, mode, mode_now


def _comparison(compare):
    """An operator of the values, as with arrays."""

    def method(self, other):
        return Tensor(compare(self.data, raw(other)))

    return method


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

    shape = property(operator.attrgetter("data.shape"))
    ndim = property(operator.attrgetter("data.ndim"))
    size = property(operator.attrgetter("data.size"))
    dtype = property(operator.attrgetter("data.dtype"))

    @property
    def backend(self) -> Backend:
        return backend_of(self.data)

    @property
    def requires_grad(self) -> bool:
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, value):
        how = "`with frozen(…):` keeps leaves constant, tensor(x, requires_grad=True) makes one"
        raise AttributeError(f"requires_grad can't be set: {how}")

    @property
    def grad(self) -> Tensor | None:
        """What `backward()` has accumulated in this leaf; set it to None to start anew."""
        return getattr(self.node, "grad", None)

    @grad.setter
    def grad(self, value: Tensor | None):
        self.node.grad = value

    def __len__(self):
        if not self.ndim:
            raise TypeError("a 0-d tensor has no rows to count or to go through; see .item()")
        return self.shape[0]

    def __iter__(self):
        """The rows, tensors with their place in the graph."""
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
            what = f"a tensor of shape {self.shape} with a graph behind it"
            raise TypeError(f"{what} is neither copied nor pickled: detach() it first")
        return Tensor, (self.data,)

    def __array__(self, *args, **kwargs):
        raise TypeError("a Tensor is not converted silently: use .numpy() or .data")

    def __bool__(self):
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
            raise ValueError(f"shape {self.shape} is not one value: no number, nor true or false")
        return self.backend.to_numpy(self.data).item()

    def numpy(self):
        """The values as a NumPy array on the host (waits for the device)."""
        return self.backend.to_numpy(self.data)

    def detach(self) -> Tensor:
        """The same values, cut off from the graph; of a parameter a copy, as it will be updated."""
        shared = isinstance(self.node, (Leaf, View))
        return Tensor(self.data.copy() if shared else self.data)

    # == compares values; a tensor's hash is its identity.
    __hash__ = object.__hash__

    __eq__, __ne__ = _comparison(operator.eq), _comparison(operator.ne)
    __lt__, __le__ = _comparison(operator.lt), _comparison(operator.le)
    __gt__, __ge__ = _comparison(operator.gt), _comparison(operator.ge)


def _in_place(operation):
    """A leaf's operator that puts the result into its memory."""

    def method(self, other):
        result = operation(self, other)
        if is_recording():
            what = f"a leaf of the graph{named(self.node)} of shape {self.shape}"
            how = "update it under no_grad(), or write x = x + y, a new tensor, instead of x += y"
            raise RuntimeError(f"{what} can't be changed while operations are recorded: {how}")
        self.data = result
        return self

    return method


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
        if key != "data" or not hasattr(self, "data"):
            super().__setattr__(key, value)
            return
        values = raw(value)
        if values is not self.data:  # else they are there: `x.data += 1`
            what = f"x.data = …{named(self.node)}"
            check_alike(what, self, Tensor(values))
            if values.shape != self.shape:
                raise ShapeError(f"{what}: got shape {values.shape}, expected {self.shape}")
            self.data[...] = values
        self.updated()

    def updated(self):
        """To be called after `x.data[...] = array` and the like: older graphs become stale."""
        self.node.version += 1

    __iadd__, __isub__ = _in_place(operator.add), _in_place(operator.sub)
    __imul__, __itruediv__ = _in_place(operator.mul), _in_place(operator.truediv)
    __ipow__, __imatmul__ = _in_place(operator.pow), _in_place(operator.matmul)

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
    recording, frozen = mode_now()
    if not recording:
        return Tensor(data)
    tracked, alive = [], False
    for parent, vjp in edges:
        node = parent.node
        if node is None:
            continue
        if frozen and (node if type(node) is Leaf else node.root) in frozen:
            vjp = None
        else:
            alive = True
        tracked.append((node, vjp, node.version))
    if view and tracked:  # also if frozen: whoever uses it must know when its memory changes
        return Tensor(data, View(data.shape, tracked))
    if not alive:
        return Tensor(data)
    return Tensor(data, Node(data.shape, tracked, data if keep else None, shared))


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
        for p in parameters() if callable(parameters) else parameters:
            if not isinstance(p, Variable):
                what = "tensor that is no leaf" if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(f"frozen: got a {what}, expected networks, or leaves of the graph")
            leaves.append(p.node)
    recording, before = mode_now()
    mode.set((recording, before.union(leaves)))
    try:
        yield
    finally:
        mode.set((mode_now()[0], before))


# --- Operands ------------------------------------------------------------------------------------


def named(node) -> str:
    return f" ({node.name})" if node.name else ""


def raw(x):
    """The array of a tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


def lift(x) -> Tensor:
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
        a = lift(a)
    if not isinstance(b, Tensor):
        b = lift(b)
    x, y = a.data, b.data
    kind = type(x)
    if kind is not type(y) or kind is float or kind is int or x.dtype is not y.dtype:
        if is_number(a) or is_number(b):
            return a, b
        check_alike(op, a, b)
    if x.shape != y.shape:
        check_broadcast(op, x.shape, y.shape)
    return a, b


def check_labels(op, labels, classes: int):
    """The array of `labels`, integers from 0 to `classes` − 1.

    TypeError unless they are an array of integers. ValueError, naming the smallest and the largest,
    if one names no class; on a GPU nothing is said, and CuPy counts it modulo `classes`.
    """
    labels, classes = raw(labels), whole_number(f"{op}: classes", classes)
    got = getattr(labels, "dtype", type(labels).__name__)
    if getattr(got, "kind", "") not in ("i", "u"):
        raise TypeError(f"{op}: labels must be integers, got {got}")
    backend_of(labels).check_range(f"{op}: labels", labels, classes)
    return labels
