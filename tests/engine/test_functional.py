"""Activations, selection, joining, pooling and normalisation against their closed forms.

The references are written down here from the definitions, in plain NumPy and in loops; the
gradients are held against differences. Inputs keep away from kinks, where no derivative exists;
what happens on a kink is said by a test of its own.
"""

import functools
import math

import numpy as np
import pytest
from checks import (
    arrays,
    broadcasting,
    check_gradients,
    check_op,
    check_values,
    fill,
    leaves,
    reductions,
    shapes,
)
from hypothesis import given
from hypothesis import strategies as st

from minigan import functional as F
from minigan.backend import cpu
from minigan.engine import ShapeError, grad, tensor

# --- Elementwise ---------------------------------------------------------------------------------

UNARY = {
    "exp": (F.exp, np.vectorize(math.exp, [float]), "real"),
    "log": (F.log, np.vectorize(math.log, [float]), "positive"),
    "sqrt": (F.sqrt, np.vectorize(math.sqrt, [float]), "positive"),
    "abs": (F.abs, lambda x: np.where(x < 0, -x, x), "nonzero"),
    "tanh": (F.tanh, lambda x: 1 - 2 / (np.exp(2 * x) + 1), "real"),
    "sigmoid": (F.sigmoid, lambda x: 1 / (1 + np.exp(-x)), "real"),
    "softplus": (F.softplus, lambda x: np.log(1 + np.exp(x)), "real"),
    "relu": (F.relu, lambda x: x * (x > 0), "nonzero"),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x), "nonzero"),
    "leaky_relu 0.01": (
        lambda x: F.leaky_relu(x, 0.01),
        lambda x: np.where(x > 0, x, 0.01 * x),
        "nonzero",
    ),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.exp(x) - 1), "nonzero"),
    "elu 0.3": (
        lambda x: F.elu(x, 0.3),
        lambda x: np.where(x > 0, x, 0.3 * (np.exp(x) - 1)),
        "nonzero",
    ),
    "clip": (
        lambda x: F.clip(x, -0.25, 1.05),  # between the values of the domain
        lambda x: np.where(x < -0.25, -0.25, np.where(x > 1.05, 1.05, x)),
        "even",
    ),
    "maximum with a number": (
        lambda x: F.maximum(x, 0.5),
        lambda x: np.where(x > 0.5, x, 0.5),
        "even",
    ),
    "number's maximum": (
        lambda x: F.maximum(0.5, x),
        lambda x: np.where(x > 0.5, x, 0.5),
        "even",
    ),
    "minimum with a number": (
        lambda x: F.minimum(x, np.float64(0.5)),
        lambda x: np.where(x < 0.5, x, 0.5),
        "even",
    ),
    "number's minimum": (
        lambda x: F.minimum(0.5, x),
        lambda x: np.where(x < 0.5, x, 0.5),
        "even",
    ),
    "where, number first": (
        lambda x: F.where(x.data > 0, 1.0, x * x),
        lambda x: np.where(x > 0, 1, x * x),
        "nonzero",
    ),
    "where, number last": (
        lambda x: F.where(x > 0, x * x, 2),
        lambda x: np.where(x > 0, x * x, 2),
        "nonzero",
    ),
}


@pytest.mark.parametrize("name", UNARY)
@given(data=st.data())
def test_elementwise(name, data):
    f, reference, domain = UNARY[name]
    check_op(f, reference, data.draw(arrays(domain=domain)))


@pytest.mark.parametrize("name", UNARY)
def test_elementwise_on_a_result_without_dimensions(name):
    """A reduction returns a NumPy scalar; np.float64 counts as a Python float for isinstance."""
    f, reference, domain = UNARY[name]
    x = fill((3,), domain, seed=3)
    check_op(lambda x: f((x * 2.0).sum() * 0.5), lambda x: reference(np.asarray(x.sum())), x)


BINARY = {
    "maximum": (F.maximum, lambda a, b: np.where(a > b, a, b)),
    "minimum": (F.minimum, lambda a, b: np.where(a < b, a, b)),
}


@pytest.mark.parametrize("name", BINARY)
@given(data=st.data())
def test_maximum_and_minimum(name, data):
    check_op(*BINARY[name], *data.draw(broadcasting("even", "odd")))


@given(data=st.data())
def test_where(data):
    c, a, b = data.draw(broadcasting("nonzero", "real", "real"))
    check_op(lambda a, b: F.where(c > 0, a, b), lambda a, b: np.where(c > 0, a, b), a, b)
    check_values(
        lambda a, b: F.where(tensor(c) > 0, a, b), lambda a, b: np.where(c > 0, a, b), a, b
    )


KINKS = {
    "abs": (F.abs, 0.0, 0.0),
    "relu": (F.relu, 0.0, 0.0),
    "leaky_relu": (F.leaky_relu, 0.0, 0.2),
    "clip, low": (lambda x: F.clip(x, -1, 1), -1.0, 1.0),
    "clip, high": (lambda x: F.clip(x, -1, 1), 1.0, 1.0),
    "maximum": (lambda x: F.maximum(x, 2.0), 2.0, 0.5),
    "minimum": (lambda x: F.minimum(x, 2.0), 2.0, 0.5),
    "maximum of one and the same": (lambda x: F.maximum(x, x), 2.0, 1.0),
}


@pytest.mark.parametrize("name", KINKS)
def test_the_gradient_on_a_kink_is_the_documented_one(name):
    f, at, expected = KINKS[name]
    x = tensor([at], requires_grad=True)
    assert grad(f(x).sum(), [x])[0].data == pytest.approx(expected)


# --- Joining and padding -------------------------------------------------------------------------


@given(data=st.data())
def test_concatenate(data):
    shape = data.draw(shapes(min_dims=1))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for length in data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = length
        parts.append(data.draw(arrays(tuple(part))))

    def reference(*xs):
        return np.moveaxis(
            np.array([row for x in xs for row in np.moveaxis(x, axis, 0)]), 0, axis % len(shape)
        )

    check_op(lambda *xs: F.concatenate(xs, axis), reference, *parts)


@given(data=st.data())
def test_stack(data):
    shape = data.draw(shapes())
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    xs = [data.draw(arrays(shape)) for _ in range(data.draw(st.integers(1, 3)))]
    check_op(lambda *xs: F.stack(xs, axis), lambda *xs: np.moveaxis(np.array(xs), 0, axis), *xs)


@given(data=st.data())
def test_pad(data):
    x = data.draw(arrays(shapes(min_dims=1)))
    widths = [data.draw(st.tuples(st.integers(0, 2), st.integers(0, 3))) for _ in x.shape]
    value = data.draw(st.sampled_from([0.0, -1.5]))

    def reference(x):
        for axis, (before, after) in enumerate(widths):
            rows = [np.full_like(np.take(x, 0, axis), value)]
            rows = (
                rows * before + [np.take(x, i, axis) for i in range(x.shape[axis])] + rows * after
            )
            x = np.stack(rows, axis)
        return x

    check_op(lambda x: F.pad(x, widths, value), reference, x)


def test_one_tensor_twice_in_a_concatenation_gets_both_gradients():
    (x,) = leaves([fill((2,))])
    (g,) = grad(F.concatenate([x, x]), [x], cotangent=np.array([1.0, 2.0, 10.0, 20.0]))
    np.testing.assert_array_equal(g.data, [11, 22])


# --- Dropout -------------------------------------------------------------------------------------


@given(x=arrays(), seed=st.integers(0, 100), p=st.sampled_from([0.0, 0.3, 0.9]))
def test_dropout(x, seed, p):
    """With the same seed the mask is the same, so dropout is a function that can be checked."""
    mask = F.dropout(tensor(np.ones_like(x)), p, cpu.generator(seed)).data
    np.testing.assert_allclose(mask[mask != 0], 1 / (1 - p), rtol=1e-12)
    check_gradients(lambda x: F.dropout(x, p, cpu.generator(seed)), x)
    check_values(lambda x: F.dropout(x, p, cpu.generator(seed)), lambda x: x * mask, x)


def test_dropout_keeps_the_mean_and_the_fraction():
    y = F.dropout(tensor(np.ones(40000, np.float32)), 0.3, cpu.generator(1)).data
    assert y.dtype == np.float32
    assert abs((y == 0).mean() - 0.3) < 0.01  # 4 standard deviations
    assert abs(y.mean() - 1) < 0.015


# --- Conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,), ()])
def test_one_hot(shape, dtype):
    labels = cpu.generator(0).integers(0, 5, shape)
    expected = np.zeros((*shape, 5))
    for index in np.ndindex(shape):
        expected[(*index, labels[index])] = 1
    for given_labels in (np.asarray(labels).astype(dtype), tensor(labels)):
        y = F.one_hot(given_labels, 5)
        assert y.dtype == np.float32 and not y.requires_grad
        np.testing.assert_array_equal(y.numpy(), expected)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 5), (2, 5)])
def test_tile_over(shape):
    y, x = fill((2, 3), seed=1), fill(shape, seed=2)
    check_op(
        lambda y: F.tile_over(y, tensor(x)),
        lambda y: np.array([np.full((*shape[1:-1], 3), row) for row in y]),
        y,
    )


# --- Layers' functions ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (1, 3), (2, 4, 3), (2, 1, 4, 3)])
def test_linear(shape):
    x, w, b = fill(shape, seed=1), fill((3, 2), seed=2), fill((2,), seed=3)

    def reference(x, w, b=0.0):
        return sum(x[..., i : i + 1] * w[i] for i in range(3)) + b

    check_op(F.linear, reference, x, w, b)
    check_op(F.linear, reference, x, w)


@given(drawn=reductions(min_dims=1))
def test_softmax_and_log_softmax(drawn):
    x, axis, _ = drawn
    axis = -1 if axis is None else axis

    def softmax(x):
        e = np.exp(x)
        return e / np.sum(e, axis=axis, keepdims=True)

    check_op(lambda x: F.softmax(x, axis), softmax, x)
    check_op(lambda x: F.log_softmax(x, axis), lambda x: np.log(softmax(x)), x)


@pytest.mark.parametrize("axis", [0, -1, (0,), None])
def test_softmax_of_one_value(axis):
    check_op(lambda x: F.softmax(x, axis), np.ones_like, np.array(1.5))
    check_op(lambda x: F.log_softmax(x, axis), np.zeros_like, np.array(1.5))


EXTREMES = np.array([-1e4, -100, -20, -1e-3, 0, 1e-3, 20, 100, 1e4], np.float32)
SATURATED = {
    "sigmoid": (F.sigmoid, [0, 3.8e-44, 2.0611537e-9, 0.49975, 0.5, 0.50025, 1, 1, 1]),
    "softplus": (
        F.softplus,
        [0, 3.8e-44, 2.0611537e-9, 0.69264725, 0.6931472, 0.69364725, 20, 100, 1e4],
    ),
    "tanh": (F.tanh, [-1, -1, -1, -1e-3, 0, 1e-3, 1, 1, 1]),
    "elu": (F.elu, [-1, -1, -1, -9.995e-4, 0, 1e-3, 20, 100, 1e4]),
    "leaky_relu": (F.leaky_relu, [-2e3, -20, -4, -2e-4, 0, 1e-3, 20, 100, 1e4]),
    "softmax": (F.softmax, [0, 0, 0, 0, 0, 0, 0, 0, 1]),
    "log_softmax": (F.log_softmax, EXTREMES - 1e4),
}


@pytest.mark.parametrize("name", SATURATED)
def test_extreme_logits_give_numbers_and_no_warning(name):
    f, expected = SATURATED[name]
    (x,) = leaves([EXTREMES])
    y = f(x)
    np.testing.assert_allclose(y.data, np.array(expected, np.float32), rtol=1e-4, atol=1e-43)
    (g,) = grad(y, [x], cotangent=np.ones_like(EXTREMES), create_graph=True)
    second = grad(g.sum(), [x], unused="zeros") if g.requires_grad else []
    for derivative in (g, *second):
        assert derivative.dtype == np.float32
        assert np.isfinite(derivative.data).all()


# --- Normalisation -------------------------------------------------------------------------------

NORMS = {
    "batch, images": ((3, 2, 4, 3), (0, 1, 2), (3,)),
    "batch, vectors": ((5, 3), (0,), (3,)),
    "layer, images": ((2, 3, 2, 3), (1, 2, 3), (3, 2, 3)),
    "layer, scale per channel": ((2, 3, 2, 3), (1, 2, 3), (3,)),
    "layer, vectors": ((2, 5), (-1,), (5,)),
    "instance": ((2, 3, 3, 2), (1, 2), (2,)),
}


@pytest.mark.parametrize("affine", ["both", "scale", "shift", "neither"])
@pytest.mark.parametrize("name", NORMS)
def test_normalize(name, affine):
    shape, axes, channels = NORMS[name]
    eps = 1e-2
    inputs = [fill(shape, seed=1)]
    if affine in ("both", "scale"):
        inputs.append(fill(channels, "nonzero", seed=2))
    if affine in ("both", "shift"):
        inputs.append(fill(channels, seed=3))

    def split(x, *rest):
        rest = list(rest)
        scale = rest.pop(0) if affine in ("both", "scale") else None
        return x, scale, rest.pop(0) if rest else None

    def reference(*inputs):
        x, scale, shift = split(*inputs)
        count = np.prod([shape[a] for a in axes])
        mu = np.sum(x, axis=axes, keepdims=True) / count
        variance = np.sum((x - mu) ** 2, axis=axes, keepdims=True) / count
        y = (x - mu) / np.sqrt(variance + eps)
        return y * (1 if scale is None else scale) + (0 if shift is None else shift)

    check_op(lambda *inputs: F.normalize(*split(*inputs), axes, eps=eps)[0], reference, *inputs)


@given(x=arrays(shapes(min_dims=2, max_dims=4), "real"), data=st.data())
def test_normalize_of_drawn_shapes_returns_the_statistics(x, data):
    axes = data.draw(st.sampled_from([(0,), tuple(range(x.ndim - 1)), tuple(range(1, x.ndim))]))
    y, mu, variance = F.normalize(tensor(x), None, None, axes)
    np.testing.assert_allclose(mu, np.mean(x, axis=axes, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(variance, np.var(x, axis=axes, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(y.data * np.sqrt(variance + 1e-5) + mu, x, atol=1e-10)
    check_gradients(lambda x: F.normalize(x, None, None, axes, eps=1e-1)[0], x)


def test_normalize_to_third_order():
    x, scale, shift = fill((3, 4), seed=1), fill((4,), seed=2), fill((4,), seed=3)
    check_gradients(
        lambda *inputs: F.normalize(*inputs, (0,), eps=0.1)[0], x, scale, shift, order=3
    )


@pytest.mark.parametrize("name", ["relu", "leaky_relu", *NORMS])
def test_the_quick_rule_is_the_differentiable_rule(name):
    """Where nobody will differentiate the gradient, it is computed in fewer passes over memory."""
    if name in NORMS:
        shape, axes, channels = NORMS[name]
        inputs = leaves([fill(shape, seed=1), fill(channels, "nonzero", seed=2), fill(channels)])
        y = F.normalize(*inputs, axes, eps=0.1)[0]
    else:
        inputs = leaves([fill((3, 4), "nonzero", seed=1)])
        y = getattr(F, name)(*inputs)
    cotangent = fill(y.shape, seed=4)
    quick = grad(y, inputs, cotangent=cotangent)
    recorded = grad(y, inputs, cotangent=cotangent, create_graph=True)
    for a, b in zip(quick, recorded, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-14)
    assert np.array_equal(cotangent, fill(y.shape, seed=4))  # written to by neither


# --- Images --------------------------------------------------------------------------------------

images = shapes(min_dims=4, max_dims=4, max_side=5)


def pooled(reduce, x, kernel, stride):
    (kh, kw), (sh, sw) = kernel, stride
    rows, columns = range(0, x.shape[1] - kh + 1, sh), range(0, x.shape[2] - kw + 1, sw)
    windows = [[x[:, i : i + kh, j : j + kw] for j in columns] for i in rows]
    windows = [[reduce(reduce(w, axis=1), axis=1) for w in row] for row in windows]
    return np.moveaxis(np.array(windows), 2, 0)


POOLS = {"avg": (F.avg_pool2d, np.mean, "real"), "max": (F.max_pool2d, np.max, "even")}


@pytest.mark.parametrize("name", POOLS)
@given(data=st.data())
def test_pooling(name, data):
    f, reduce, domain = POOLS[name]
    x = data.draw(arrays(images, domain))
    kernel = tuple(data.draw(st.integers(1, min(3, side))) for side in x.shape[1:3])
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    check_op(lambda x: f(x, kernel, stride), lambda x: pooled(reduce, x, kernel, stride), x)
    check_values(lambda x: f(x, kernel), lambda x: pooled(reduce, x, kernel, kernel), x)
    if kernel[0] == kernel[1]:
        check_values(lambda x: f(x, kernel[0]), lambda x: pooled(reduce, x, kernel, kernel), x)


def test_max_pooling_of_ties_gives_out_the_whole_gradient_once():
    (x,) = leaves([np.zeros((1, 4, 4, 1))])
    (g,) = grad(F.max_pool2d(x, 2).sum(), [x])
    np.testing.assert_allclose(pooled(np.sum, g.data, (2, 2), (2, 2)), 1)


@given(data=st.data())
def test_upsample_nearest(data):
    x = data.draw(arrays(images))
    fh, fw = factor = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))

    def reference(x):
        n, h, w, c = x.shape
        out = np.zeros((n, h * fh, w * fw, c))
        for i in range(h * fh):
            for j in range(w * fw):
                out[:, i, j] = x[:, i // fh, j // fw]
        return out

    check_op(lambda x: F.upsample_nearest(x, factor), reference, x)
    check_values(lambda x: F.upsample_nearest(x, 2), lambda x: np.kron(x, np.ones((1, 2, 2, 1))), x)


# --- Composition ---------------------------------------------------------------------------------


@given(x=arrays(shapes(min_dims=2, max_dims=2)))
def test_a_penalty_on_a_gradient_can_be_differentiated(x):
    """The shape of WGAN-GP: (‖∇D(x)‖ − 1)², differentiated in the weights as well."""
    w, v = fill((x.shape[1], 3), seed=1), fill((3, 1), seed=2)

    def penalty(x, w, v):
        scores = F.softplus(x @ w) @ v
        (g,) = grad(scores.sum(), [x], create_graph=True)
        norms = F.sqrt((g * g).sum(axis=1) + 1e-3)
        return ((norms - 1) ** 2).mean()

    check_gradients(penalty, x, w, v, order=1)
    check_gradients(penalty, x, w, v, order=2, rtol=1e-5)


# --- Errors --------------------------------------------------------------------------------------

A = functools.partial(np.zeros, dtype=np.float32)
IMAGE = tensor(A((1, 3, 4, 2)))
ROWS, WIDE = tensor(A((2, 3))), tensor(np.zeros((2, 3)))
ERRORS = {
    "maximum": (lambda: F.maximum(ROWS, tensor(A((2, 4)))), ShapeError, r"maximum.*\(2, 3\).*4"),
    "minimum": (lambda: F.minimum(ROWS, tensor(A((2, 4)))), ShapeError, r"minimum.*\(2, 3\).*4"),
    "maximum dtype": (lambda: F.maximum(ROWS, WIDE), TypeError, r"maximum.*float32.*float64"),
    "minimum dtype": (lambda: F.minimum(ROWS, WIDE), TypeError, r"minimum.*float32.*float64"),
    "where": (lambda: F.where(A(3) > 0, ROWS, tensor(A(4))), ShapeError, r"where.*\(2, 3\).*4"),
    "where condition": (lambda: F.where(A(4) > 0, ROWS, ROWS), ShapeError, r"where.*\(4,\)"),
    "where dtype": (lambda: F.where(A(3) > 0, ROWS, WIDE), TypeError, r"where.*float32.*float64"),
    "concatenate": (
        lambda: F.concatenate([ROWS, tensor(A((2, 4)))]),
        ShapeError,
        r"concatenate.*\(2, 3\).*\(2, 4\)",
    ),
    "concatenate ndim": (
        lambda: F.concatenate([ROWS, tensor(A(3))]),
        ShapeError,
        r"concatenate.*\(2, 3\).*\(3,\)",
    ),
    "concatenate axis": (lambda: F.concatenate([ROWS, ROWS], 2), ShapeError, "2"),
    "concatenate 0-d": (lambda: F.concatenate([tensor(1.0)]), ShapeError, "concatenate|axis"),
    "concatenate nothing": (lambda: F.concatenate([]), ValueError, "concatenate"),
    "concatenate dtype": (
        lambda: F.concatenate([ROWS, WIDE]),
        TypeError,
        r"concatenate.*float32.*float64",
    ),
    "stack": (lambda: F.stack([ROWS, tensor(A((2, 4)))]), ShapeError, r"stack.*\(2, 3\).*\(2, 4\)"),
    "stack axis": (lambda: F.stack([ROWS, ROWS], 3), ShapeError, "3"),
    "pad": (lambda: F.pad(ROWS, [(1, 1)]), ShapeError, r"pad.*\(2, 3\)"),
    "reflect_pad": (
        lambda: F.reflect_pad(tensor(A((1, 4, 3, 1))), (1, 3)),
        ShapeError,
        r"reflect_pad.*\(1, 3\).*\(1, 4, 3, 1\)",
    ),
    "reflect_pad axes": (lambda: F.reflect_pad(ROWS, 1), ShapeError, "reflect_pad.*images"),
    "linear": (lambda: F.linear(ROWS, tensor(A((4, 2))), tensor(A(2))), ShapeError, "linear.*4, 2"),
    "linear 1-D": (lambda: F.linear(tensor(A(3)), ROWS, tensor(A(2))), ShapeError, "linear"),
    "linear bias": (
        lambda: F.linear(ROWS, tensor(A((3, 4))), tensor(A(5))),
        ShapeError,
        r"linear.*5",
    ),
    "linear weight dtype": (
        lambda: F.linear(ROWS, tensor(np.zeros((3, 4))), tensor(A(4))),
        TypeError,
        "linear.*float64",
    ),
    "linear bias dtype": (
        lambda: F.linear(ROWS, tensor(A((3, 4))), tensor(np.zeros(4))),
        TypeError,
        "linear.*float64",
    ),
    "normalize scale dtype": (
        lambda: F.normalize(ROWS, tensor(np.ones(3)), None, (0,)),
        TypeError,
        "normalize.*float64",
    ),
    "normalize shift dtype": (
        lambda: F.normalize(ROWS, None, tensor(np.ones(3)), (0,)),
        TypeError,
        "normalize.*float64",
    ),
    "normalize scale": (
        lambda: F.normalize(ROWS, tensor(A(4)), None, (0,)),
        ShapeError,
        r"normalize.*\(4,\)",
    ),
    "one_hot of floats": (lambda: F.one_hot(A(3), 4), TypeError, "one_hot: labels.*float32"),
    "one_hot of some classes": (
        lambda: F.one_hot(np.array([0]), 4.0),
        TypeError,
        r"classes is 4\.0",
    ),
    "one_hot out of range": (
        lambda: F.one_hot(np.array([0, 4]), 4),
        ValueError,
        "one_hot: labels run from 0 to 4, expected 0 to 3",
    ),
    "tile_over": (lambda: F.tile_over(ROWS, IMAGE), ShapeError, r"tile_over.*\(2, 3\).*\(1, 3, 4"),
    "tile_over of images": (lambda: F.tile_over(IMAGE, IMAGE), ShapeError, r"want \(n, d\)"),
    "broadcast_to": (
        lambda: F.broadcast_to(ROWS, (3, 3)),
        ShapeError,
        r"broadcast_to.*\(2, 3\).*\(3, 3\)",
    ),
    "avg_pool2d": (lambda: F.avg_pool2d(IMAGE, 4), ShapeError, "avg_pool2d.*4x4.*3x4"),
    "max_pool2d": (lambda: F.max_pool2d(IMAGE, (1, 5)), ShapeError, "max_pool2d.*1x5.*3x4"),
    "avg_pool2d rank": (lambda: F.avg_pool2d(ROWS, 2), ShapeError, r"avg_pool2d.*\(2, 3\)"),
    "max_pool2d rank": (lambda: F.max_pool2d(ROWS, 2), ShapeError, r"max_pool2d.*\(2, 3\)"),
    "upsample_nearest": (lambda: F.upsample_nearest(ROWS, 2), ShapeError, r"upsample.*\(2, 3\)"),
    "normalize axis": (
        lambda: F.normalize(ROWS, None, None, (2,)),
        ShapeError,
        "normalize.*axis 2",
    ),
    "normalize nothing": (
        lambda: F.normalize(tensor(A((0, 3))), None, None, (0,)),
        ShapeError,
        r"normalize.*\(0, 3\).*no values",
    ),
    "softmax axis": (lambda: F.softmax(ROWS, 2), ShapeError, "softmax: axis 2"),
    "log_softmax axis": (lambda: F.log_softmax(ROWS, 2), ShapeError, "log_softmax: axis 2"),
    "where of numbers": (lambda: F.where(A(3), ROWS, 0.0), TypeError, "where.*float32.*bool"),
    "half a kernel": (lambda: F.avg_pool2d(IMAGE, 1.5), TypeError, "1.5"),
    "three strides": (lambda: F.max_pool2d(IMAGE, 1, (1, 1, 1)), TypeError, r"\(1, 1, 1\).*pair"),
    "no stride": (lambda: F.max_pool2d(IMAGE, 1, 0), ValueError, "max_pool2d: stride is 0"),
    "no factor": (lambda: F.upsample_nearest(IMAGE, 0), ValueError, "factor is 0"),
    "clip": (lambda: F.clip(ROWS, 1, 0), ValueError, "clip.*1.*0"),
    "leaky_relu": (lambda: F.leaky_relu(ROWS, 1.5), ValueError, r"leaky_relu.*1\.5"),
    "dropout": (lambda: F.dropout(ROWS, 1.0, cpu.generator(0)), ValueError, r"dropout.*1\.0"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_the_operation_and_the_shapes(name):
    call, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        call()
