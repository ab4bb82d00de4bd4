"""The operations on tensors: arithmetic, products, reductions, shapes.

Every operation is one function. Its forward is a line of array arithmetic; beside it stands, per
input, the vector-Jacobian product (VJP): the function that takes the gradient of the loss in the
output, g, and returns the gradient in that input. VJPs are written in the same operations, so
they can be differentiated themselves: that is all there is to second derivatives.
"""

from __future__ import annotations

import math

from minigan.engine.checks import ShapeError, axis_of, check_alike, check_broadcast, check_fits
from minigan.engine.tensors import Tensor, is_number, lift, operands, raw, record


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
    by_a, by_b = (a, lambda g, y: div(g, b)), (b, lambda g, y: neg(div(mul(g, y), b)))
    return record(a.data / b.data, by_a, by_b, keep=True)


def power(base, exponent):
    """base ** exponent, one of which may be a number; a tensor exponent asks for base ≥ 0.

    At base 0 the gradient in a base of exponent p < 1 is infinite; that in an exponent p ≥ 0 is 0.
    """
    exponent = lift(exponent)
    if not is_number(exponent):
        return _exponential(base, exponent)
    p = float(exponent.data)
    if p == 0:
        return record(base.data**0, (base, lambda g: mul(g, 0.0)))
    return record(base.data**p, (base, lambda g: mul(g, mul(power(base, p - 1), p))))


def _exponential(base, exponent: Tensor):
    base = lift(base)
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


def where(condition, a, b):
    """a where `condition` (a boolean array or tensor) holds, b elsewhere."""
    condition = raw(condition)
    if condition.dtype.kind != "b":
        raise TypeError(f"where: the condition is {condition.dtype}, expected bool")
    a, b = operands("where", a, b)
    for x in (a, b):
        if not is_number(x):
            check_broadcast("where", condition.shape, x.shape)
    like = a if is_number(b) else b
    xp = like.backend.xp
    both = [xp.full((), x.data, like.dtype) if is_number(x) else x.data for x in (a, b)]
    data = xp.where(condition, *both)
    return record(data, (a, lambda g: select(condition, g)), (b, lambda g: select(~condition, g)))


def matmul(a, b):
    """a @ b over the last two axes, broadcasting the others; 1-D inputs as in NumPy."""
    a, b = lift(a), lift(b)
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
    by_a, by_b = (a, lambda g: matmul(g, swap_last(b))), (b, lambda g: matmul(swap_last(a), g))
    return record(a.backend.matmul(a.data, b.data), by_a, by_b)


def _check_matmul(a, b):
    m, n = a.shape, b.shape
    if not m or not n:
        raise ShapeError(f"matmul: {m} @ {n}: needs at least one dimension each")
    inner = n[-2:][0]  # a vector's only axis
    if m[-1] != inner:
        raise ShapeError(f"matmul: {m} @ {n}: inner dimensions {m[-1]} and {inner} differ")
    check_broadcast("matmul", m[:-2], n[:-2])


def swap_last(x):
    """The transpose of every matrix in x: its last two axes exchanged."""
    return record(x.data.swapaxes(-1, -2), (x, swap_last), view=True)


def sum(x, axis=None, keepdims=False):
    """Σ x over `axis` (an int, a tuple, or None for all); small integers add up as in NumPy."""
    (axes, kept), shape = reduced("sum", axis, x.shape), x.shape
    return record(x.backend.sum(x.data, axes, keepdims), (x, lambda g: _spread(g, kept, shape)))


def _spread(g, kept, shape):
    """The adjoint of a sum: g again for each of the values that were added up."""
    return broadcast_to(reshape(g, kept), shape)


def mean(x, axis=None, keepdims=False):
    """The mean over `axis`; of no values NaN, as in NumPy, but without a warning."""
    (axes, kept), shape = reduced("mean", axis, x.shape), x.shape
    total = x.backend.sum(x.data, axes, keepdims)
    share = total.size / x.size if x.size else math.nan
    return record(total * share, (x, lambda g: _spread(mul(g, share), kept, shape)))


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
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if axis is None or (not shape and all(a in (0, -1) for a in axes)):
        return None, ()  # one value has no axis, but NumPy reduces it over its first or last one
    axes = sorted([axis_of(op, a, shape) for a in axes])
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{op}: axes {axis} name one axis twice")
    return tuple(axes), tuple(1 if i in axes else n for i, n in enumerate(shape))


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
    total = total if total.shape == shape else total.reshape(shape)
    return record(total, (x, lambda g: _spread(g, reduced("sum_to", axes, before)[1], before)))


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
    axes = range(x.ndim)[::-1] if axes is None else axes
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


# --- Tensor's operators and methods, which only forward ------------------------------------------


def one_tuple(arguments: tuple) -> tuple:
    """Whether called as f(2, 3) or as f((2, 3)): the tuple (2, 3)."""
    alone = len(arguments) == 1 and isinstance(arguments[0], (tuple, list))
    return tuple(arguments[0]) if alone else arguments


Tensor.T = property(transpose)
Tensor.astype = astype
Tensor.sum, Tensor.mean, Tensor.max, Tensor.var = sum, mean, max, var
Tensor.reshape = lambda x, *shape: reshape(x, one_tuple(shape))
Tensor.transpose = lambda x, *axes: transpose(x, None if axes in ((), (None,)) else one_tuple(axes))
Tensor.__getitem__ = getitem
Tensor.__neg__, Tensor.__abs__ = neg, abs
Tensor.__add__ = Tensor.__radd__ = add
Tensor.__mul__ = Tensor.__rmul__ = mul
Tensor.__sub__, Tensor.__rsub__ = sub, lambda x, other: sub(other, x)
Tensor.__truediv__, Tensor.__rtruediv__ = div, lambda x, other: div(other, x)
Tensor.__pow__, Tensor.__rpow__ = power, lambda x, base: power(base, x)
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, lambda x, other: matmul(other, x)
