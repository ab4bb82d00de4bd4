"""The operators and the graph.

Every other file of the package rests on this one, and a wrong gradient does not crash: it trains
a worse network. So each operation is held against NumPy for its values and against differences
for its gradients of first and second order, and the graph against what its docstrings promise.
"""

import asyncio
import contextlib
import itertools
import operator
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import (
    OPERATIONS,
    arrays,
    broadcasting,
    check_float32,
    check_op,
    check_values,
    fill,
    operands,
    ops,
    reductions,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan import backend
from minigan import functional as F
from minigan.backend import DeviceError
from minigan.engine import (
    ShapeError,
    StaleGraphError,
    Tensor,
    Variable,
    frozen,
    grad,
    is_recording,
    no_grad,
    record,
    tensor,
)


def leaf(shape=(), domain="real", dtype="float64", seed=0):
    return tensor(fill(shape, domain, seed), dtype=dtype, requires_grad=True)


# --- Operations: values, gradients of first and second order, float32 ----------------------------

BINARY = {
    "add": (lambda a, b: a + b, np.add, "real", "real"),
    "sub": (lambda a, b: a - b, np.subtract, "real", "real"),
    "mul": (lambda a, b: a * b, np.multiply, "real", "real"),
    "div": (lambda a, b: a / b, np.divide, "real", "nonzero"),
    "power": (lambda a, b: a**b, np.power, "positive", "real"),
}


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_binary_operators(name, data):
    f, reference, *domains = BINARY[name]
    check_op(f, reference, *data.draw(broadcasting(*domains)))


UNARY = {
    "neg": (lambda x: -x, np.negative, "real"),
    "log": (ops.log, np.log, "positive"),
    "x ** 0": (lambda x: x**0, np.ones_like, "real"),
    "x ** 1": (lambda x: x**1, lambda x: x, "real"),
    "x ** 2": (lambda x: x**2, lambda x: x * x, "real"),
    "x ** 3": (lambda x: x**3, lambda x: x * x * x, "real"),
    "x ** -1": (lambda x: x**-1, lambda x: 1 / x, "nonzero"),
    "x ** -2.0": (lambda x: x**-2.0, lambda x: 1 / (x * x), "nonzero"),
    "x ** 0.5": (lambda x: x**0.5, np.sqrt, "positive"),
    "x ** np.float64(1.5)": (lambda x: x ** np.float64(1.5), lambda x: x * np.sqrt(x), "positive"),
    "2 ** x": (lambda x: 2**x, lambda x: np.exp(x * np.log(2)), "real"),
    "np.float64(3) ** x": (lambda x: np.float64(3) ** x, lambda x: np.exp(x * np.log(3)), "real"),
    "x + 2": (lambda x: x + 2, lambda x: x - -2, "real"),
    "2.5 + x": (lambda x: 2.5 + x, lambda x: x + 2.5, "real"),
    "x + np.sqrt(2)": (lambda x: x + np.sqrt(2), lambda x: x + 1.4142135623730951, "real"),
    "np.sqrt(2) + x": (lambda x: np.sqrt(2) + x, lambda x: x + 1.4142135623730951, "real"),
    "x - 2": (lambda x: x - 2, lambda x: x + -2, "real"),
    "2.5 - x": (lambda x: 2.5 - x, lambda x: -(x - 2.5), "real"),
    "x * 3": (lambda x: x * 3, lambda x: x + x + x, "real"),
    "np.float64(3) * x": (lambda x: np.float64(3) * x, lambda x: x + x + x, "real"),
    "x * np.float32(3)": (lambda x: x * np.float32(3), lambda x: x + x + x, "real"),
    "x * True": (lambda x: x * True, lambda x: x, "real"),
    "x / np.int64(4)": (lambda x: x / np.int64(4), lambda x: 0.25 * x, "real"),
    "2 / x": (lambda x: 2 / x, lambda x: 2 * x**-1, "nonzero"),
}


@pytest.mark.parametrize("name", UNARY)
@given(data=st.data())
def test_unary_operators_and_numbers_that_adopt_the_dtype(name, data):
    f, reference, domain = UNARY[name]
    check_op(f, reference, data.draw(arrays(domain=domain)))


def variance(x, axis, keepdims):
    centre = np.mean(x, axis=axis, keepdims=True)
    return np.mean(np.abs(x - centre) ** 2, axis=axis, keepdims=keepdims)


REDUCTIONS = {
    "sum": (ops.sum, lambda x, axis, keepdims: np.sum(x, axis=axis, keepdims=keepdims), "real"),
    "mean": (ops.mean, lambda x, axis, keepdims: np.mean(x, axis=axis, keepdims=keepdims), "real"),
    "max": (ops.max, lambda x, axis, keepdims: np.max(x, axis=axis, keepdims=keepdims), "even"),
    "var": (ops.var, variance, "real"),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@given(data=st.data())
def test_reductions(name, data):
    f, reference, domain = REDUCTIONS[name]
    x, axis, keepdims = data.draw(reductions(domain))
    check_op(lambda x: f(x, axis, keepdims), lambda x: reference(x, axis, keepdims), x)
    method = getattr(tensor(x), name)(axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(method.data, f(tensor(x), axis, keepdims).data)


def test_max_shares_the_gradient_among_ties():
    x = tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    (g,) = grad(x.max(axis=1).sum(), [x])
    np.testing.assert_allclose(g.data, [[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, -1, (0,), None])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_one_value(name, axis):
    value = {"var": 0.0}.get(name, 1.5)
    f = getattr(ops, name)
    check_op(lambda x: f(x, axis), lambda x: value, np.array(1.5))
    check_op(lambda x: f(x.sum(), axis, True) * x, lambda x: value * x, np.array([1.5]))


def test_the_mean_of_nothing_is_nan_and_its_maximum_an_error():
    x = tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    for f in (ops.mean, ops.var):
        for axis in (None, 0):
            y = f(x, axis)
            assert np.isnan(y.numpy()).all()
            assert y.dtype == np.float32
            assert grad(y.sum(), [x])[0].shape == (0, 3)
        assert f(x, 1).shape == (0,)
    assert x.max(axis=1).shape == (0,)
    for axis in (None, 0):
        with pytest.raises(ShapeError, match=r"max: there are no values.*\(0, 3\)"):
            x.max(axis=axis)


# Where a rule multiplies 0 by an infinity, though the function has a derivative: f, the point, and
# there the gradient, and the gradient of its sum.
LIMITS = {
    "square": (lambda b, p: b**p, [(0.0,), (2.0,)], [0, 0], [2, 0]),
    "cube": (lambda b, p: b**p, [(0.0,), (3.0,)], [0, 0], [0, 0]),
    "nothing": (lambda b, p: b**p, [(0.0,), (0.0,)], [0, 0], None),
    "power of 0": (lambda p: 0.0**p, [(0.5, 1.0, 2.0)], [[0] * 3], [[0] * 3]),
    "power of 2": (lambda p: 2.0**p, [(0.0,)], [np.log(2)], [np.log(2) ** 2]),
    "root of relu": (lambda x: F.sqrt(F.relu(x)), [(-1.0,)], [0], [0]),
    "root of clip": (lambda x: F.sqrt(F.clip(x, 0, 1)), [(-1.0,)], [0], [0]),
    "log of maximum": (lambda x: F.log(F.maximum(x, 0.0) + 0.0), [(1.0,)], [1], [-1]),
    "root of minimum": (lambda x: F.sqrt(F.minimum(x, 0.0)), [(1.0,)], [0], [0]),
    "root of maximum": (lambda x: F.sqrt(F.maximum(0.0, x)), [(-1.0,)], [0], [0]),
    "where": (lambda x: F.where(x > 0, F.relu(x), x * x), [(-1.0,)], [-2], [2]),
    "loser of max": (
        lambda a, b: F.sqrt(F.stack([a, b]).max(axis=0)),
        [(0.0,), (-1.0,)],
        [np.inf, 0],
        [-np.inf, 0],
    ),
    "pooling": (
        lambda x: F.sqrt(F.max_pool2d(x.reshape(1, 2, 2, 1), 2)),
        [(0.0, -1.0, -2.0, -1.0)],
        [[np.inf, 0, 0, 0]],
        [[-np.inf, 0, 0, 0]],
    ),
    "log_softmax": (
        lambda x: F.log_softmax(x)[..., 0],
        [(1.0, 1.0, -np.inf)],
        [[0.5, -0.5, 0]],
        [[0] * 3],
    ),
    "softmax": (lambda x: F.softmax(x)[0], [(1.0, 1.0, -np.inf)], [[0.25, -0.25, 0]], [[0] * 3]),
    "sigmoid": (F.sigmoid, [(-np.inf, np.inf)], [[0, 0]], [[0, 0]]),
    "softplus": (F.softplus, [(-np.inf, np.inf)], [[0, 1]], [[0, 0]]),
    "tanh": (F.tanh, [(-np.inf, np.inf)], [[0, 0]], [[0, 0]]),
    "elu": (F.elu, [(-np.inf, np.inf)], [[0, 1]], [[0, 0]]),
    "exp": (F.exp, [(-np.inf,)], [0], [0]),
    "div": (lambda a, b: a / b, [(1.0,), (np.inf,)], [0, 0], [0, 0]),
    "variance of one": (lambda x: x.var(), [(3.0,)], [0], [0]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_gradient_that_is_a_limit(name):
    f, at, first, second = LIMITS[name]
    xs = [tensor(np.array(x), requires_grad=True) for x in at]
    with np.errstate(divide="ignore", invalid="ignore"):
        gradients = grad(f(*xs).sum(), xs, create_graph=True, unused="zeros")
        total = sum(g.sum() for g in gradients[:1])
        again = grad(total, xs, unused="zeros") if total.requires_grad else None
    for g, expected in zip(gradients, first, strict=True):
        np.testing.assert_allclose(g.numpy(), np.broadcast_to(expected, g.shape), atol=1e-15)
    if second is not None:
        for k, expected in enumerate(second):
            g = again[k].numpy() if again else np.zeros(xs[k].shape)
            np.testing.assert_allclose(g, np.broadcast_to(expected, g.shape), atol=1e-15)


@given(data=st.data())
def test_reshape(data):
    x = data.draw(arrays())
    shape = data.draw(st.permutations((*x.shape, 1)).map(tuple))
    shape = data.draw(st.sampled_from([shape, (x.size,), (-1,), (1, -1), (x.size, 1)]))
    check_op(lambda x: ops.reshape(x, shape), lambda x: np.reshape(x, shape), x)
    check_values(lambda x: x.reshape(*shape), lambda x: np.reshape(x, shape), x)
    check_values(lambda x: x.reshape(shape), lambda x: np.reshape(x, shape), x)


@given(data=st.data())
def test_transpose(data):
    x = data.draw(arrays())
    axes = data.draw(st.permutations(range(x.ndim)).map(tuple))
    axes = tuple(a - x.ndim if data.draw(st.booleans()) else a for a in axes)
    check_op(lambda x: ops.transpose(x, axes), lambda x: np.transpose(x, axes), x)
    check_values(lambda x: x.transpose(*axes), lambda x: np.transpose(x, axes or None), x)
    check_values(lambda x: x.T, lambda x: np.transpose(x), x)


@given(x=arrays(shapes(min_dims=2, max_dims=4)))
def test_swap_last(x):
    check_op(ops.swap_last, lambda x: np.einsum("...ij->...ji", x), x)


@given(data=st.data())
def test_broadcast_to(data):
    drawn = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3))
    x = data.draw(arrays(drawn.input_shapes[0]))
    shape = drawn.result_shape
    check_op(lambda x: ops.broadcast_to(x, shape), lambda x: x + np.zeros(shape), x)


INDICES = {
    "int": 2,
    "negative int": -1,
    "NumPy int": np.int64(1),
    "all ints": (1, 2, 0),
    "slice": slice(1, 3),
    "empty slice": slice(2, 2),
    "negative step": slice(None, None, -1),
    "negative stride 2": (slice(None), slice(3, None, -2)),
    "None": None,
    "None amid": (slice(None), None, 1),
    "Ellipsis": (..., 1),
    "Ellipsis amid": (0, ..., slice(None, None, 2)),
    "list": [0, 2, 0],
    "array, repeats": np.array([1, 1, 0, 1]),
    "negative entries": np.array([-1, 3, 0]),
    "2-D array": np.array([[0, 1], [1, 0]]),
    "tuple of arrays, repeats": (np.array([0, 1, 0]), np.array([2, 2, 2])),
    "arrays that broadcast": (np.array([[0], [1]]), np.array([0, 0, 4])),
    "array and slice": (slice(None), np.array([4, 0, 4]), slice(0, 2)),
    "arrays apart": (np.array([0, 0]), slice(None), np.array([1, 1])),
    "mask": np.arange(60).reshape(4, 5, 3) % 7 < 3,
    "mask of rows": np.array([True, False, True, True]),
    "mask amid": (1, np.array([True, False, True, True, False])),
    "mask of nothing": np.zeros(4, bool),
    "integer tensor": Tensor(np.array([3, 3, 1])),
    "tuple with a tensor": (Tensor(np.array([3, 3, 1])), 0),
    "mask tensor": Tensor(np.arange(4) > 1),
}


def plain(index):
    """The index with arrays for tensors, for NumPy."""
    if isinstance(index, tuple):
        return tuple(map(plain, index))
    return index.data if isinstance(index, Tensor) else index


@pytest.mark.parametrize("name", INDICES)
def test_getitem(name):
    index = INDICES[name]
    x = fill((4, 5, 3), seed=len(name))
    check_op(lambda x: x[index], lambda x: x[plain(index)], x)


@given(data=st.data())
def test_getitem_with_drawn_slices(data):
    x = data.draw(arrays(shapes(max_dims=4)))
    index = data.draw(hnp.basic_indices(x.shape, allow_newaxis=True, max_dims=6))
    check_op(lambda x: x[index], lambda x: x[index], x)


@given(data=st.data())
def test_getitem_with_drawn_index_arrays(data):
    x = data.draw(arrays(shapes(min_dims=1)))
    index = data.draw(hnp.integer_array_indices(x.shape))
    check_op(lambda x: x[index], lambda x: x[index], x)


def scattered(values, index, shape):
    """Zeros with values added at the index, one by one."""
    flat = np.zeros(shape).reshape(-1)
    places = np.arange(flat.size).reshape(shape)[index]
    for place, value in zip(np.ravel(places), np.ravel(values), strict=True):
        flat[place] += value
    return flat.reshape(shape)


@pytest.mark.parametrize("name", INDICES)
def test_scatter_add(name):
    index, shape = plain(INDICES[name]), (4, 5, 3)
    x = fill(np.empty(shape)[index].shape, seed=len(name))
    check_op(lambda x: ops.scatter_add(x, index, shape), lambda x: scattered(x, index, shape), x)


@given(x=arrays())
def test_astype(x):
    narrow = x.astype(np.float32)
    y = tensor(x).astype("float32")
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, narrow)
    leaf = tensor(narrow, requires_grad=True)
    wide = leaf.astype("float64")
    (g,) = grad((wide * wide * wide).sum(), [leaf], create_graph=True)
    assert (wide.dtype, g.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(g.data, 3 * narrow**2, rtol=1e-6)
    (h,) = grad(g.sum(), [leaf])
    assert h.dtype == np.float32
    np.testing.assert_allclose(h.data, 6 * narrow, rtol=1e-6)
    whole = leaf.astype("int64")
    assert whole.dtype == np.int64
    assert not whole.requires_grad


def product(a, b):
    """The matrix product by its definition, Σⱼ a[…, i, j] b[…, j, k]."""
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    out = (left[..., :, :, None] * right[..., None, :, :]).sum(axis=-2)
    out = out[..., 0] if b.ndim == 1 else out
    return out[..., 0, :] if a.ndim == 1 and b.ndim > 1 else out[..., 0] if a.ndim == 1 else out


@given(data=st.data())
def test_matmul(data):
    signature = np.matmul.signature  # (m?,n),(n,p?)->(m?,p?): one dimension counts as a vector
    drawn = data.draw(hnp.mutually_broadcastable_shapes(signature=signature, max_dims=2))
    a, b = (data.draw(arrays(shape)) for shape in drawn.input_shapes)
    check_op(lambda a, b: a @ b, product, a, b)


MATMUL_SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((3,), (5, 3, 2)),
    ((5, 2, 3), (3,)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL_SHAPES)
def test_matmul_of_every_rank(a, b):
    check_op(lambda a, b: a @ b, product, fill(a, seed=1), fill(b, seed=2))


def test_third_order():
    x = leaf((3,), "positive")
    (first,) = grad((x**4).sum(), [x], create_graph=True)
    (second,) = grad(first.sum(), [x], create_graph=True)
    (third,) = grad(second.sum(), [x])
    np.testing.assert_allclose(third.data, 24 * x.data, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, (0, 1), 1, None])
def test_sums_of_an_empty_batch_are_zero(axis):
    x = tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    y = x.sum(axis=axis)
    np.testing.assert_array_equal(y.data, np.zeros((0, 3)).sum(axis=axis))
    (g,) = grad(y.sum(), [x])
    assert g.shape == (0, 3)


# --- Tensors: making them, reading them, meeting NumPy -------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (1, "float32"),
        (0.5, "float32"),
        ([1, 2], "float32"),
        ([[0.5]], "float32"),
        (np.zeros(2), "float64"),
        (np.zeros(2, np.float32), "float32"),
        (np.zeros(2, np.uint8), "uint8"),
        (np.zeros(2, bool), "bool"),
        (Tensor(np.zeros(2)), "float64"),
    ],
)
def test_arrays_keep_their_dtype_and_everything_else_is_float32(values, dtype):
    assert tensor(values).dtype == dtype
    assert tensor(values, dtype="float64").dtype == np.float64


def test_a_tensor_reads_like_its_array():
    x = tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert (x.shape, x.ndim, x.size, len(x), x.backend.name) == ((2, 3), 2, 6, 2, "cpu")
    assert [row.data.tolist() for row in x] == [[1, 2, 3], [4, 5, 6]]
    assert x[1, 2].item() == 6.0
    assert bool(x[0, 0] > 0)
    assert (x > 2).data.tolist() == [[False, False, True], [True, True, True]]
    assert (x >= 2).data.sum() == 5
    assert (x < x[0, 2]).data.sum() == 2
    assert (x <= np.float32(3)).data.sum() == 3
    assert isinstance(x.numpy(), np.ndarray)
    assert "float32" in repr(x)
    assert "requires_grad" not in repr(x)
    assert "requires_grad" in repr(leaf((2,)))


NO_ROWS = {
    "iter": iter,
    "list": list,
    "sum": sum,
    "any": any,
    "len": len,
    "reversed": reversed,
    "unpacking": lambda x: (lambda *rows: rows)(*x),
}


@pytest.mark.parametrize("name", NO_ROWS)
def test_one_value_has_no_rows(name):
    for x in (tensor(3.0), leaf((2,)).sum()):
        with pytest.raises(TypeError, match=r"0-d tensor|must be an iterable"):
            NO_ROWS[name](x)


def test_rows_keep_their_place_in_the_graph():
    x = leaf((2, 3))
    first, second = x
    (g,) = grad((first * 2 + second * 3).sum(), [x])
    np.testing.assert_array_equal(g.numpy(), [[2] * 3, [3] * 3])
    np.testing.assert_array_equal([row.numpy() for row in reversed(x)], x.numpy()[::-1])
    assert x.numpy()[1, 2] in x
    assert 99.0 not in x
    assert 3 in tensor(3.0)


def test_one_value_reads_like_a_number():
    x = tensor([[-1.2345]], dtype="float64")
    for one in (x, x[0, 0]):
        assert f"{one:.3f}" == "-1.234"
        assert f"{one}" == str(one)
        assert (int(one), round(one), round(one, 2)) == (-1, -1, -1.23)
        assert type(round(one)) is int
    many = tensor([1.0, 2.0])
    assert f"{many}" == str(many)
    with pytest.raises(TypeError, match=r"'\.3f' is for one value.*\(2,\)"):
        f"{many:.3f}"
    for read in (int, float, round, Tensor.item):
        with pytest.raises(ValueError, match=r"shape \(2,\) is not one value"):
            read(many)


def test_arguments_one_by_one_or_in_a_tuple():
    x = tensor(fill((2, 3, 4)))
    for y in (x.transpose(0, 2, 1), x.transpose((0, 2, 1)), x.transpose([np.int64(0), 2, -2])):
        np.testing.assert_array_equal(y.numpy(), np.transpose(x.numpy(), (0, 2, 1)))
    for y in (x.transpose(), x.transpose(None)):
        np.testing.assert_array_equal(y.numpy(), x.numpy().T)
    for axis in [(0, 1), [0, 1], (np.int64(0), -2)]:
        np.testing.assert_allclose(x.sum(axis).numpy(), x.numpy().sum(axis=(0, 1)))
    assert x[:1, :1, :1].reshape().shape == ()
    check_op(abs, np.abs, fill((3,), "nonzero"))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int32"])
def test_small_integers_add_up_as_in_numpy(dtype):
    x = np.full((300, 2), 1, dtype)
    for axis in (None, 0, 1):
        for name in ("sum", "mean", "max"):
            ours, theirs = getattr(tensor(x), name)(axis), getattr(x, name)(axis=axis)
            assert (ours.dtype, ours.numpy().tolist()) == (theirs.dtype, theirs.tolist())
    one = tensor(x.max())
    assert (one.dtype, one.shape) == (x.dtype, ())


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_array_and_a_tensor_make_a_tensor(operator):
    f = OPERATORS[operator]
    a, b = fill((3, 3), "positive", 1), fill((3, 3), "positive", 2)
    for y in (f(a, tensor(b)), f(tensor(a), tensor(b)), f(tensor(a), b)):
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.data, f(a, b), rtol=1e-12)


@pytest.mark.parametrize("order", ["tensor first", "array first"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_float32_never_meets_float64_silently(operator, order):
    name = {"+": "add", "-": "sub", "*": "mul", "/": "div", "**": "power", "@": "matmul"}[operator]
    x, y = tensor(np.ones((2, 2), np.float32)), np.ones((2, 2))
    with pytest.raises(TypeError, match=rf"{name}.*float32.*float64|{name}.*float64.*float32"):
        OPERATORS[operator](*((x, y) if order == "tensor first" else (y, x)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_float32_stays_float32_to_third_order(name):
    """Every operation of the package, with NumPy's float64 scalars as its options."""
    check_float32(OPERATIONS[name].f, *operands(name))


def test_a_tensor_is_not_converted_silently():
    for x in (tensor([1.0]), tensor(1.0)):
        with pytest.raises(TypeError, match=r"numpy\(\)"):
            np.asarray(x)
        with pytest.raises(TypeError):
            np.sin(x)


# --- grad(): what it returns ---------------------------------------------------------------------


def test_gradients_accumulate_over_every_path():
    x = leaf((3,))
    twice, square = x + x, x * x
    diamond = (twice * square) + twice  # 2x·x² + 2x
    for y, expected in [
        (twice, np.full(3, 2.0)),
        (square, 2 * x.data),
        (diamond, 6 * x.data**2 + 2),
    ]:
        np.testing.assert_allclose(grad(y.sum(), [x])[0].data, expected, rtol=1e-12)


def test_accumulation_is_out_of_place():
    """add hands one array to both parents: adding into it would spoil the other's gradient."""
    a, b = leaf((3,), seed=1), leaf((3,), seed=2)
    y = (a + b) + a
    cotangent = np.array([1.0, 2.0, 3.0])
    ga, gb = grad(y, [a, b], cotangent=cotangent)
    np.testing.assert_array_equal(ga.data, [2, 4, 6])
    np.testing.assert_array_equal(gb.data, [1, 2, 3])
    np.testing.assert_array_equal(cotangent, [1, 2, 3])


def test_cotangent():
    x = leaf((2, 3))
    v = fill((2, 3), seed=5)
    (g,) = grad(x * x, [x], cotangent=v)
    np.testing.assert_allclose(g.data, 2 * v * x.data)
    (g,) = grad((x * x).sum(), [x], cotangent=np.array(3.0))
    np.testing.assert_allclose(g.data, 6 * x.data)
    (g,) = grad((x * x).sum(), [x], cotangent=3.0)
    np.testing.assert_allclose(g.data, 6 * x.data)


def test_gradients_of_inner_tensors_repeated_inputs_and_of_y_itself():
    x = leaf((3,))
    inner = x * 2
    y = (inner * inner).sum()
    by_inner, by_x, again, by_y = grad(y, [inner, x, x, y])
    np.testing.assert_allclose(by_inner.data, 2 * inner.data)
    np.testing.assert_allclose(by_x.data, 8 * x.data)
    np.testing.assert_array_equal(again.data, by_x.data)
    np.testing.assert_array_equal(by_y.data, 1.0)
    assert by_y.shape == ()
    assert grad(x, [x], cotangent=np.ones(3))[0].data.tolist() == [1, 1, 1]


def test_what_y_does_not_depend_on():
    x, other = leaf((2,)), leaf((3, 1))
    y = (x * x).sum()
    with pytest.raises(ValueError, match=r"xs\[1\].*\(3, 1\)"):
        grad(y, [x, other])
    gx, zeros = grad(y, [x, other], unused="zeros")
    np.testing.assert_allclose(gx.data, 2 * x.data)
    assert (zeros.shape, zeros.dtype) == ((3, 1), np.float64)
    assert not zeros.data.any()


def test_plain_gradients_are_constants_and_create_graph_records_them():
    x = leaf((3,))
    y = (x**3).sum()
    assert not grad(y, [x])[0].requires_grad
    assert grad(y, [x], create_graph=True)[0].requires_grad
    assert is_recording()


def test_detach_cuts():
    x = leaf((3,))
    (g,) = grad((x * x.detach()).sum(), [x])
    np.testing.assert_array_equal(g.data, x.data)
    assert not x.detach().requires_grad


def test_no_grad_records_nothing_and_restores_what_was():
    x = leaf((3,))
    with no_grad():
        assert not is_recording()
        with no_grad():
            assert not (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_recording()


def test_a_rule_that_raises_leaves_recording_on():
    x = leaf((3,))

    def rule(g):
        raise KeyError

    with pytest.raises(KeyError):
        grad(record(x.data.sum(), (x, rule)), [x])
    assert is_recording()


# --- backward() ----------------------------------------------------------------------------------


def test_backward_accumulates_in_leaves():
    x, unused = leaf((3,)), leaf((3,))
    assert x.grad is None
    y = x * x
    y.sum().backward()
    first = x.grad
    kept = first.data.copy()
    np.testing.assert_allclose(kept, 2 * x.data)
    y.backward(np.array([1.0, 10.0, 100.0]))
    np.testing.assert_allclose(x.grad.data, 2 * x.data * [2, 11, 101])
    np.testing.assert_array_equal(first.data, kept)
    assert unused.grad is None
    assert y.grad is None


def test_backward_skips_the_frozen():
    x, w = leaf((3,)), leaf((3,))
    with frozen([w]):
        (x * w).sum().backward()
    assert w.grad is None
    np.testing.assert_array_equal(x.grad.data, w.data)


# --- Paths that nobody asked for -----------------------------------------------------------------


def spy(x, calls, name):
    """The identity, whose rule notes that it was called."""

    def rule(g):
        calls.append(name)
        return g

    return record(x.data, (x, rule))


def test_only_the_paths_that_lead_to_an_x_are_walked():
    calls = []
    a, b, c = leaf(), leaf(), leaf()
    inner = spy(a, calls, "a") * spy(b, calls, "b")
    y = spy(inner, calls, "inner") * spy(c, calls, "c")
    for xs, expected in [
        ([a], ["a", "inner"]),
        ([b], ["b", "inner"]),
        ([c], ["c"]),
        ([inner], ["inner"]),
        ([a, b, c], ["a", "b", "c", "inner"]),
    ]:
        calls.clear()
        grad(y, xs)
        assert sorted(calls) == expected


def test_a_shared_node_is_walked_once():
    calls = []
    x = leaf()
    shared = spy(x, calls, "x")
    grad(shared * shared + shared, [x])
    assert calls == ["x"]


def test_nothing_above_an_inner_x_is_walked():
    calls = []
    x = leaf()
    inner = spy(x, calls, "x") * 2.0
    (g,) = grad(inner * inner, [inner])
    assert calls == []
    np.testing.assert_allclose(g.data, 2 * inner.data)


# --- frozen() ------------------------------------------------------------------------------------


class Network:
    def __init__(self, *weights):
        self.weights = weights

    def parameters(self):
        return list(self.weights)


def test_frozen_parameters_are_constants_but_gradients_flow_past_them():
    x, w = leaf((2, 3), seed=1), leaf((3, 4), seed=2)
    with frozen(Network(w)):
        y = (x @ w).sum()
        alone = w * 2.0
    assert not alone.requires_grad
    np.testing.assert_allclose(grad(y, [x])[0].data, np.tile(w.data.sum(axis=1), (2, 1)))
    with pytest.raises(ValueError, match="does not depend"):
        grad(y, [w])


def test_frozen_rules_are_never_called():
    calls = []
    x, w = leaf(seed=1), leaf(seed=2)

    def rule(name):
        return lambda g: calls.append(name) or g

    with frozen([w]):
        y = record(x.data * w.data, (x, rule("x")), (w, rule("w")))
    grad(y, [x])
    y.backward()
    assert set(calls) == {"x"}


def test_frozen_nests_and_survives_exceptions():
    a, b = leaf(seed=1), leaf(seed=2)

    def recorded():
        return (a * 1.0).requires_grad, (b * 1.0).requires_grad

    with frozen([a]):
        assert recorded() == (False, True)
        with frozen([a], Network(b)):
            assert recorded() == (False, False)
        assert recorded() == (False, True)
        with pytest.raises(KeyError), frozen([a, b]):
            raise KeyError
        assert recorded() == (False, True)
    assert recorded() == (True, True)


def test_what_is_no_leaf_cannot_be_frozen():
    for what, said in ((leaf() * 2, "tensor that is no leaf"), (Network(leaf()), "Network")):
        with pytest.raises(TypeError, match=f"frozen: got a {said}"), frozen([what]):
            pass


# --- Threads -------------------------------------------------------------------------------------


@contextlib.contextmanager
def elsewhere(manager):
    """`with elsewhere(m):` another thread is inside `with m:` meanwhile."""
    inside, over = threading.Event(), threading.Event()

    def hold():
        with manager:
            inside.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_recording_belongs_to_the_thread():
    """d/dx (x w + x³) = w + 3 x² = 15 at x = 2, w = 3, whatever others do meanwhile."""
    x, w = tensor(2.0, requires_grad=True), tensor(3.0, requires_grad=True)
    a = x * w
    with elsewhere(no_grad()):
        b = x * x * x
    assert grad(a + b, [x])[0].item() == 15

    with no_grad():  # and the other way round: here off, there on
        results = []
        thread = threading.Thread(target=lambda: results.extend(grad(x * x * x, [x])))
        thread.start()
        thread.join()
        assert not (x * w).requires_grad
    assert results[0].item() == 12


def test_exits_that_overlap_leave_recording_on():
    with contextlib.ExitStack() as stack, elsewhere(no_grad()):
        stack.enter_context(no_grad())
    assert is_recording()


def test_frozen_belongs_to_the_thread():
    w = leaf((3,))
    with elsewhere(frozen([w])):
        assert grad((w * w).sum(), [w])[0].numpy().tolist() == (2 * w.data).tolist()
    with frozen([w]), elsewhere(contextlib.nullcontext()):
        assert not (w * w).requires_grad


def test_a_generator_that_ends_late_changes_nothing_but_its_own():
    """It begins where w is frozen and ends where it no longer is."""
    w = leaf((3,))

    def samples():
        with no_grad():
            yield

    iterator = samples()
    with frozen([w]):
        next(iterator)
    del iterator
    assert (w * w).requires_grad and is_recording()


def test_tasks_of_one_thread_do_not_share_it_either():
    async def sample():
        with no_grad():
            await asyncio.sleep(0)
            return is_recording()

    async def train():
        await asyncio.sleep(0)
        return is_recording()

    async def both():
        return await asyncio.gather(sample(), train(), sample())

    assert asyncio.run(both()) == [False, True, False]


def test_two_threads_train_two_networks():
    """Each comes to the same weights as when it is alone."""

    def train(seed):
        w = tensor(fill((4, 3), seed=seed), requires_grad=True)
        for step in range(150):
            x = tensor(fill((5, 4), seed=step))
            with frozen([w]):
                (x @ w).sum()
            (g,) = grad(((x @ w) ** 2).mean(), [w])
            with no_grad():
                w -= 0.01 * g
        return w.data.tobytes()

    alone = [train(seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(train, (1, 2))) == alone


# --- Leaves keep their place ---------------------------------------------------------------------


def test_new_values_of_a_leaf_make_older_graphs_stale():
    """And are what later ones see: d/dx x² = 2 x."""
    x = tensor([1.0, 2.0], requires_grad=True)
    memory = x.data
    for write in ("data", "in place"):
        y = (x * x).sum()
        if write == "data":
            x.data = np.array([3.0, 4.0], np.float32)
        else:
            with no_grad():
                x -= tensor([1.0, 1.0])
        with pytest.raises(StaleGraphError):
            grad(y, [x])
        assert x.data is memory
        assert grad((x * x).sum(), [x])[0].numpy().tolist() == (2 * memory).tolist()
    assert memory.tolist() == [2, 3]


def test_a_leaf_of_one_number_keeps_its_place_too():
    """A reduction's result is a scalar of NumPy's, which can't be written to."""
    x = Variable(tensor([1.0, 3.0]).mean().data)
    x.data += np.float32(1)
    assert x.item() == 3
    with pytest.raises(AttributeError, match=r"`with frozen\(…\):`"):
        x.requires_grad = False


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (operator.iadd, [3.0, 6.0]),
        (operator.isub, [-1.0, -2.0]),
        (operator.imul, [2.0, 8.0]),
        (operator.itruediv, [0.5, 0.5]),
        (operator.ipow, [1.0, 16.0]),
    ],
)
def test_an_operation_in_place_is_an_update_or_an_error(change, result):
    x, y = tensor([1.0, 2.0], requires_grad=True), tensor([2.0, 4.0])
    with pytest.raises(RuntimeError, match=r"under no_grad\(\)"):
        change(x, y)
    assert x.data.tolist() == [1, 2]
    with no_grad():
        assert change(x, y) is x
    assert x.data.tolist() == result
    z = x * 1.0  # a result may be replaced by another, as ever
    z = change(z, y)
    assert z.requires_grad


# --- Stale graphs --------------------------------------------------------------------------------


def named_leaf(shape, name):
    w = leaf(shape)
    w.node.name = name
    return w


@pytest.mark.parametrize("freeze", [False, True], ids=["trained", "frozen"])
def test_a_graph_older_than_an_update_raises_and_names_the_parameter(freeze):
    x, w = leaf((2, 3)), named_leaf((3, 4), "D.layer1.weight")

    def forward():
        with frozen([w] if freeze else []):
            return (x @ w).sum()

    y = forward()
    w.data[...] *= 0.5
    w.node.version += 1
    for walk in (lambda: grad(y, [x]), y.backward):
        with pytest.raises(StaleGraphError, match=r"D\.layer1\.weight.*\(3, 4\)"):
            walk()
    (g,) = grad(forward(), [x])
    np.testing.assert_allclose(g.data, np.tile(w.data.sum(axis=1), (2, 1)))


def test_the_gradient_s_own_graph_grows_stale_too():
    x = named_leaf((3,), "w")
    (g,) = grad((x**3).sum(), [x], create_graph=True)
    x.node.version += 1
    with pytest.raises(StaleGraphError, match="w"):
        grad(g.sum(), [x])


def test_an_update_elsewhere_does_no_harm():
    x, w, other = leaf((3,)), leaf((3,)), leaf((3,))
    y = (x * w).sum() + (other * 2.0).sum()
    other.node.version += 1
    with pytest.raises(StaleGraphError):
        grad(y, [x, other])
    z = (x * w).sum()
    other.node.version += 1
    grad(z, [x, w])


@pytest.mark.parametrize(
    "view", [lambda w: w.T, lambda w: w.reshape(9), lambda w: w[0]], ids=["T", "reshape", "getitem"]
)
@pytest.mark.parametrize("freeze", [False, True], ids=["trained", "frozen"])
def test_a_view_of_an_updated_parameter_is_stale_too(view, freeze):
    """A view changes with the parameter, so a rule that captured it would use the new values."""
    w = named_leaf((3, 3), "D.weight")
    with frozen([w] if freeze else []):
        seen = view(w)
        x = leaf(seen.shape)
        y = (x * seen).sum()
    before = seen.data.copy()
    w.data[...] = 0.0
    w.node.version += 1
    try:
        (g,) = grad(y, [x])
    except StaleGraphError as error:
        assert "D.weight" in str(error)
    else:
        np.testing.assert_array_equal(g.data, before)


# --- Errors that name the operation and the shapes -----------------------------------------------

A23, A24 = tensor(np.zeros((2, 3))), tensor(np.zeros((2, 4)))
ERRORS = {
    "add": (lambda: A23 + A24, ShapeError, r"add.*\(2, 3\).*\(2, 4\)"),
    "sub": (lambda: A23 - A24, ShapeError, r"sub.*\(2, 3\).*\(2, 4\)"),
    "mul": (lambda: A23 * A24, ShapeError, r"mul.*\(2, 3\).*\(2, 4\)"),
    "div": (lambda: A23 / A24, ShapeError, r"div.*\(2, 3\).*\(2, 4\)"),
    "power": (lambda: A23**A24, ShapeError, r"power.*\(2, 3\).*\(2, 4\)"),
    "matmul": (lambda: A23 @ A24, ShapeError, r"matmul.*\(2, 3\) @ \(2, 4\).*3 and 2"),
    "matmul 0-d": (lambda: A23 @ tensor(1.0, dtype="float64"), ShapeError, r"matmul.*\(\)"),
    "matmul batch": (
        lambda: tensor(np.zeros((2, 1, 3))) @ tensor(np.zeros((4, 3, 1))),
        ShapeError,
        r"matmul.*2 and 4",
    ),
    "matmul number": (lambda: A23 @ 2.0, (ShapeError, TypeError), "matmul"),
    "reshape": (lambda: A23.reshape(4, 2), ShapeError, r"reshape.*\(2, 3\).*\(4, 2\)"),
    "transpose twice": (lambda: A23.transpose(0, 0), ShapeError, r"transpose.*\(2, 3\)"),
    "transpose few": (lambda: A23.transpose(0), ShapeError, r"transpose.*\(2, 3\)"),
    "transpose range": (lambda: A23.transpose(0, 3), ShapeError, r"transpose.*\(2, 3\)"),
    "sum axis": (lambda: A23.sum(axis=2), ShapeError, r"sum.*axis 2.*\(2, 3\)"),
    "sum axes": (lambda: A23.sum(axis=(0, -3)), ShapeError, r"-3.*\(2, 3\)"),
    "mean axis": (lambda: A23.mean(axis=2), ShapeError, r"axis 2.*\(2, 3\)"),
    "max axis": (lambda: A23.max(axis=-3), ShapeError, r"max.*axis -3.*\(2, 3\)"),
    "var axis": (lambda: A23.var(axis=2), ShapeError, r"axis 2.*\(2, 3\)"),
    "broadcast_to": (
        lambda: ops.broadcast_to(A23, (2, 4)),
        ShapeError,
        r"broadcast_to.*\(2, 3\).*\(2, 4\)",
    ),
    "broadcast_to fewer": (
        lambda: ops.broadcast_to(tensor([1.0, 2.0]), (1,)),
        ShapeError,
        r"broadcast_to.*\(2,\).*\(1,\)",
    ),
    "tensor dtype": (lambda: tensor(np.zeros(2, complex)), TypeError, "complex"),
    "tensor float16": (lambda: tensor(np.zeros(2, "float16")), TypeError, "float16"),
    "integer leaf": (lambda: tensor(np.arange(3), requires_grad=True), TypeError, "int64"),
    "vector y": (lambda: grad(leaf((2,)) * 2, [leaf()]), ValueError, r"\(2,\).*cotangent"),
    "constant y": (lambda: grad(A23.sum(), [leaf()]), ValueError, "not recorded"),
    "constant x": (lambda: grad(leaf() * 2, [A23]), ValueError, r"xs\[0\].*\(2, 3\)"),
    "constant backward": (lambda: A23.sum().backward(), ValueError, "not recorded"),
    "cotangent shape": (
        lambda: grad(leaf((2,)) * 2, [leaf()], cotangent=np.ones(3)),
        ShapeError,
        r"\(3,\).*\(2,\)",
    ),
    "cotangent dtype": (
        lambda: grad(leaf((2,)) * 2, [leaf()], cotangent=np.ones(2, "float32")),
        ShapeError,
        "float32.*float64",
    ),
    "max of two axes": (lambda: A23.max(axis=(1, -1)), ShapeError, r"max.*\(1, -1\).*twice"),
    "sum of one value": (lambda: A23.sum().sum(axis=1), ShapeError, r"sum: axis 1 .*shape \(\)"),
    "axis of a float": (lambda: A23.mean(axis=1.0), TypeError, "mean: axis is 1.0"),
    "axis of a bool": (lambda: A23.sum(axis=True), TypeError, "sum: axis is True"),
    "reshape of nothing": (lambda: A23.reshape(), ShapeError, r"\(2, 3\), do not fill \(\)"),
    "truth of many": (
        lambda: bool(A23),
        ValueError,
        r"\(2, 3\) is not one value.*no number",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_operation_and_the_shapes(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()


def test_two_devices_never_meet_silently(monkeypatch):
    class Elsewhere(np.ndarray):
        pass

    class Device(type(A23.backend)):
        name = "elsewhere"

    monkeypatch.setitem(backend._BACKEND_OF_TYPE, Elsewhere, Device())
    there = Tensor(np.zeros((2, 3)).view(Elsewhere))
    for name, f in OPERATORS.items():
        with pytest.raises(DeviceError, match=r"cpu.*elsewhere"):
            f(A23, there if name != "@" else there.T)


def test_no_grad_inside_a_rule_s_recording_is_restored_across_nested_calls():
    """grad() inside grad(create_graph=True), as a penalty inside a loss has it."""
    x = leaf((3,))
    flags = []

    def rule(g):
        flags.append(is_recording())
        with no_grad():
            flags.append(is_recording())
        flags.append(is_recording())
        return g * 1.0

    for create_graph in (True, False):
        grad(record(x.data, (x, rule)), [x], cotangent=x.data, create_graph=create_graph)
    assert flags == [True, False, True, False, False, False]


def test_broadcast_gradients_are_summed_for_every_pair_of_shapes():
    """Every pair out of (), (1,), (3,), (2, 1), (1, 3), (2, 3): the engine sums, not the op."""
    all_shapes = [(), (1,), (3,), (2, 1), (1, 3), (2, 3), (1, 1, 1)]
    for a, b in itertools.product(all_shapes, repeat=2):
        x, y = leaf(a, seed=1), leaf(b, seed=2)
        gx, gy = grad((x * y).sum(), [x, y])
        ones = np.ones(np.broadcast_shapes(a, b))
        np.testing.assert_allclose(gx.data.sum(), (ones * y.data).sum(), rtol=1e-12)
        assert (gx.shape, gy.shape) == (a, b)


def test_a_detached_parameter_does_not_change_with_it():
    """Its memory would be overwritten by the next update, and the gradient with it."""
    w, x = named_leaf((3,), "w"), leaf((3,))
    y, before = (x * w.detach()).sum(), w.data.copy()
    w.data[...] = 0.0
    w.node.version += 1
    (g,) = grad(y, [x])
    np.testing.assert_array_equal(g.numpy(), before)


def test_equality_is_elementwise_and_hashing_by_identity():
    x, y = tensor([1.0, 2.0]), tensor([1.0, 3.0])
    np.testing.assert_array_equal((x == y).numpy(), [True, False])
    np.testing.assert_array_equal((x != 1.0).numpy(), [False, True])
    assert len({x, y, x}) == 2


@pytest.mark.parametrize("value", [None, "3", [1.0, None], object()])
def test_what_is_no_number_makes_no_tensor(value):
    with pytest.raises(TypeError, match="expected numbers"):
        tensor(value)
    with pytest.raises(TypeError):
        tensor([1.0]) + value


def test_a_list_is_no_array():
    with pytest.raises(TypeError, match=r"got a list: use tensor\(…\)"):
        Tensor([1.0, 2.0])


def test_devices_by_name():
    assert tensor([1.0], device="cpu").backend.name == "cpu"
    with pytest.raises(DeviceError, match="unknown device 'tpu'"):
        tensor([1.0], device="tpu")


def test_gradients_can_be_cleared():
    x = leaf((2,))
    (x * x).sum().backward()
    x.grad = None
    (x * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * x.numpy())


@pytest.mark.parametrize("xs", [tensor([1.0], requires_grad=True), 3])
def test_gradients_are_asked_for_in_a_list(xs):
    with pytest.raises(TypeError, match="expected a list of tensors"):
        grad(leaf((1,)).sum(), xs)


def test_a_long_chain_of_views_knows_its_parameter():
    """Each view asks the parameter itself, not the view before it."""
    w = named_leaf((6,), "w")
    seen = w
    for _ in range(3000):
        seen = seen.reshape(2, 3).reshape(6)
    y = (seen * leaf((6,))).sum()
    (g,) = grad(y, [w])
    assert g.shape == (6,)
    w.node.version += 1
    with pytest.raises(StaleGraphError, match=r"\(w\)"):
        grad(y, [w])
