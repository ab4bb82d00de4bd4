"""What the engine's tests share: gradients against finite differences, and drawn arrays.

Nothing here knows the function under test. A gradient is compared with differences of the
function's own values; a value is compared with a reference that the test writes down itself.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan import functional as F
from minigan.backend import cpu
from minigan.engine import Tensor, conv2d, conv_transpose2d, grad, tensor
from minigan.engine import operations as ops
from minigan.engine.conv import conv2d_filter_grad


def gpu_is_there() -> bool:
    """Whether this machine has CuPy and a GPU."""
    return (
        importlib.util.find_spec("cupy") is not None
        and importlib.import_module("cupy").is_available()
    )


# --- Gradients -----------------------------------------------------------------------------------


def check_gradients(f, *arrays, order=2, eps=1e-5, rtol=1e-6, atol=1e-8, seed=0):
    """Asserts that f's gradients, up to `order`, are the derivatives of f's values.

    f takes one tensor per array and returns a tensor. Both sides are projected on random vectors
    u and v, so that one number decides: reverse mode gives ⟨u, Jᵀv⟩, central differences give
    ⟨v, f(x + εu) − f(x − εu)⟩ / 2ε. Then the same is asked of the gradient, (x, v) ↦ Jᵀv, as a
    function of x *and of v*: a rule that reads a raw array is constant in one of them.
    """
    arrays = [np.asarray(a, np.float64) for a in arrays]
    random = np.random.default_rng(seed)
    _check(lambda *xs: [f(*xs)], arrays, random, order, order, eps, rtol, atol)


def _check(f, arrays, random, order, orders, eps, rtol, atol):
    def values(sign):
        moved = [a + sign * eps * u for a, u in zip(arrays, us, strict=True)]
        return [y.data for y in f(*leaves(moved))]

    xs = leaves(arrays)
    ys = f(*xs)
    us = [random.standard_normal(a.shape) for a in arrays]
    vs = [random.standard_normal(y.shape) for y in ys]
    gradients = pull_back(ys, [tensor(v, dtype="float64") for v in vs], xs)
    for x, g in zip(xs, gradients, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype), f"gradient {g!r} of an input {x!r}"

    reverse = [u * g.data for u, g in zip(us, gradients, strict=True)]
    differences = [
        v * (above - below) / (2 * eps)
        for v, above, below in zip(vs, values(+1), values(-1), strict=True)
    ]
    error = abs(_total(reverse) - _total(differences))
    size = _total(map(np.abs, reverse)) + _total(map(np.abs, differences))
    noise = 1 + _total(np.abs(v * y.data) for v, y in zip(vs, ys, strict=True))
    assert error <= rtol * size + atol * noise, (
        f"order {orders - order + 1}: reverse mode gives {_total(reverse):.9g}, "
        f"differences give {_total(differences):.9g}"
    )

    if order > 1:

        def gradient(*inputs):
            xs, vs = inputs[: len(arrays)], inputs[len(arrays) :]
            return pull_back(f(*xs), vs, xs, create_graph=True)

        _check(gradient, arrays + vs, random, order - 1, orders, eps, rtol, atol)


def _total(terms):
    return float(sum(np.sum(t) for t in terms))


def leaves(arrays):
    return [tensor(a, requires_grad=True) for a in arrays]


def pull_back(ys, vs, xs, create_graph=False):
    """Σ Jᵀv over several outputs ys with their cotangents vs, one tensor per x."""
    totals = [Tensor(np.zeros(x.shape, x.dtype)) for x in xs]
    for y, v in zip(ys, vs, strict=True):
        if y.requires_grad:
            parts = grad(y, xs, cotangent=v, create_graph=create_graph, unused="zeros")
            totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return totals


# --- Values and dtypes ---------------------------------------------------------------------------


def check_values(f, reference, *arrays, rtol=1e-10, atol=1e-12):
    """Asserts that f of tensors is `reference` of the float64 arrays: values, shape and dtype."""
    actual = f(*map(tensor, arrays))
    expected = np.asarray(reference(*arrays), np.float64)
    assert actual.dtype == np.float64
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual.numpy(), expected, rtol=rtol, atol=atol)


def check_float32(f, *arrays):
    """Asserts float32 in, float32 out: the value, the gradients, and their gradients."""
    xs = leaves(np.asarray(a, np.float32) for a in arrays)
    level = [f(*xs)]
    for _ in range(3):
        for y in level:
            assert y.dtype == np.float32, f"{y.dtype} from float32"
        ones = [tensor(np.ones(y.shape, np.float32), requires_grad=True) for y in level]
        level = [y for y in pull_back(level, ones, xs, create_graph=True) if y.requires_grad]


def check_op(f, reference, *arrays, order=2):
    """All that is asked of every operation: its values, its gradients, its dtype."""
    check_values(f, reference, *arrays)
    check_gradients(f, *arrays, order=order)
    check_float32(f, *arrays)


# --- Complete tables -----------------------------------------------------------------------------


def public(module):
    """(name, value) of all that a module or folder of the package offers, and only its own."""
    names = getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"])
    found = ((name, getattr(module, name)) for name in names)
    own = module.__name__
    return [(n, v) for n, v in found if str(getattr(v, "__module__", "")).startswith(own)]


def is_a(value, kind) -> bool:
    """Whether it is a class, and a kind of another."""
    return isinstance(value, type) and issubclass(value, kind)


def first_word(name) -> str:
    """What a row of a table is about: `Linear` of "Linear, no bias"."""
    return re.match(r"\w+", name)[0]


# --- Drawn arrays --------------------------------------------------------------------------------

# Hypothesis draws the shape, the layout in memory and a seed; the seed fills the array, so that
# many shapes are tried in little time. Each domain keeps away from what makes differences lie.
DOMAINS = {
    "real": lambda random, n: 1.5 * random.standard_normal(n),
    "positive": lambda random, n: random.uniform(0.4, 2.5, n),
    "nonzero": lambda random, n: random.choice([-1.0, 1.0], n) * random.uniform(0.3, 2.5, n),
    # No two values nearer than 0.2, within one array and between the arrays of both domains.
    "even": lambda random, n: 0.4 * (random.permutation(n) - n // 2),
    "odd": lambda random, n: 0.4 * (random.permutation(n) - n // 2) + 0.2,
}


def fill(shape, domain="real", seed=0):
    """A float64 array of `shape` with values of a domain."""
    count = int(np.prod(shape, dtype=int))
    return DOMAINS[domain](np.random.default_rng(seed), count).reshape(shape).astype(np.float64)


LAYOUTS = {
    "contiguous": lambda x: x.copy(),
    "transposed": lambda x: x.copy(order="F"),
    "reversed": lambda x: np.flip(np.flip(x).copy()),
    "strided": lambda x: np.stack([x, x + 100], axis=-1)[..., 0],
}


def shapes(min_dims=0, max_dims=3, max_side=4):
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=1, max_side=max_side)


@st.composite
def arrays(draw, shape=None, domain="real"):
    """An array of a drawn (or given) shape, often not contiguous."""
    shape = draw(shapes()) if shape is None else shape
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    return LAYOUTS[layout](fill(shape, domain, draw(st.integers(0, 10**6))))


@st.composite
def broadcasting(draw, *domains, max_dims=3):
    """One array per domain, of shapes that broadcast together: 0-d, length 1, missing axes."""
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=len(domains), max_dims=max_dims))
    return [
        draw(arrays(shape, domain))
        for shape, domain in zip(drawn.input_shapes, domains, strict=True)
    ]


@st.composite
def reductions(draw, domain="real", min_dims=0):
    """(array, axis, keepdims): axis is None, a number or a tuple, counted from either end."""
    x = draw(arrays(shapes(min_dims=min_dims), domain))
    choices = [st.none()]
    if x.ndim:
        choices += [st.integers(-x.ndim, x.ndim - 1), hnp.valid_tuple_axes(x.ndim, min_size=1)]
    return x, draw(st.one_of(choices)), draw(st.booleans())


# --- Every operation, once -----------------------------------------------------------------------


class Operation(NamedTuple):
    """A function of tensors, and per input its shape and domain."""

    f: Callable[..., Tensor]
    inputs: tuple[tuple[tuple[int, ...], str], ...]


def _on(f, *inputs):
    """An operation on inputs given as a shape, or as a shape and the name of its domain."""
    pairs = ((i[0], i[1]) if isinstance(i[-1], str) else (i, "real") for i in inputs)
    return Operation(f, tuple(pairs))


_ROWS, _IMAGES, _FILTERS = (4, 3), (2, 4, 4, 3), (3, 3, 3, 2)
_POSITIVE, _NONZERO, _DISTINCT = (_ROWS, "positive"), (_ROWS, "nonzero"), (_ROWS, "even")
_PICK = np.array([2, 0, 2])

# For what is asked of all of them alike: dtypes and memory. The first word is the public name.
OPERATIONS = {
    "add": _on(ops.add, _ROWS, (3,)),
    "sub": _on(ops.sub, _ROWS, (3,)),
    "neg": _on(ops.neg, _ROWS),
    "mul": _on(ops.mul, _ROWS, (3,)),
    "div": _on(ops.div, _ROWS, ((3,), "nonzero")),
    "power by a number": _on(lambda x: ops.power(x, 3), _ROWS),
    "power by a root": _on(lambda x: ops.power(x, np.float64(0.5)), _POSITIVE),
    "power by a tensor": _on(ops.power, _POSITIVE, (3,)),
    "power of a number": _on(lambda x: ops.power(np.float64(2), x), _ROWS),
    "log": _on(ops.log, _POSITIVE),
    "select": _on(lambda x: ops.select(x.data > 0, x), _NONZERO),
    "abs": _on(ops.abs, _NONZERO),
    "matmul": _on(ops.matmul, _ROWS, (3, 2)),
    "matmul in batches": _on(ops.matmul, (2, 1, 4, 3), (5, 3, 2)),
    "matmul of vectors": _on(ops.matmul, (3,), (3,)),
    "swap_last": _on(ops.swap_last, _ROWS),
    "sum": _on(lambda x: ops.sum(x, 0), _ROWS),
    "sum of all": _on(ops.sum, _ROWS),
    "mean": _on(lambda x: ops.mean(x, 1, True), _ROWS),
    "var": _on(lambda x: ops.var(x, 0), _ROWS),
    "max": _on(lambda x: ops.max(x, 1), _DISTINCT),
    "sum_to": _on(lambda x: ops.sum_to(x, (1, 3)), _ROWS),
    "broadcast_to": _on(lambda x: ops.broadcast_to(x, (2, 4, 3)), _ROWS),
    "reshape": _on(lambda x: ops.reshape(x, (2, 6)), _ROWS),
    "transpose": _on(ops.transpose, _ROWS),
    "getitem": _on(lambda x: ops.getitem(x, slice(1, 3)), _ROWS),
    "getitem by an array": _on(lambda x: ops.getitem(x, _PICK), _ROWS),
    "scatter_add": _on(lambda x: ops.scatter_add(x, _PICK, (4, 3)), (3, 3)),
    "astype": _on(lambda x: ops.astype(x, x.dtype), _ROWS),
    "exp": _on(F.exp, _ROWS),
    "sqrt": _on(F.sqrt, _POSITIVE),
    "tanh": _on(F.tanh, _ROWS),
    "sigmoid": _on(F.sigmoid, _ROWS),
    "softplus": _on(F.softplus, _ROWS),
    "relu": _on(F.relu, _NONZERO),
    "leaky_relu": _on(F.leaky_relu, _NONZERO),
    "leaky_relu with a NumPy slope": _on(lambda x: F.leaky_relu(x, np.float64(0.1)), _NONZERO),
    "elu": _on(F.elu, _NONZERO),
    "elu with a NumPy alpha": _on(lambda x: F.elu(x, np.float64(0.5)), _NONZERO),
    "clip": _on(lambda x: F.clip(x, np.float64(-0.25), np.float64(0.25)), _DISTINCT),
    "maximum": _on(F.maximum, _DISTINCT, ((3,), "odd")),
    "maximum with a number": _on(lambda x: F.maximum(np.float64(0.1), x), _DISTINCT),
    "minimum": _on(F.minimum, _DISTINCT, ((3,), "odd")),
    "where": _on(lambda a, b: F.where(a > 0, a, b), _NONZERO, (3,)),
    "where with a number": _on(lambda x: F.where(x > 0, np.float64(2), x), _NONZERO),
    "dropout": _on(lambda x: F.dropout(x, np.float64(0.5), cpu.generator(1)), _ROWS),
    "concatenate": _on(lambda a, b: F.concatenate([a, b], 1), _ROWS, (4, 2)),
    "stack": _on(lambda a, b: F.stack([a, b], 1), _ROWS, _ROWS),
    "pad": _on(lambda x: F.pad(x, [(1, 0), (2, 1)], np.float64(3)), _ROWS),
    "reflect_pad": _on(lambda x: F.reflect_pad(x, (1, 3)), _IMAGES),
    "one_hot": _on(lambda x: x * F.one_hot((x.data[:, 0] > 0) + 1, 3).astype(x.dtype), _NONZERO),
    "tile_over": _on(lambda x: F.tile_over(x[:, 0, 0], x) * x, _IMAGES),
    "linear": _on(F.linear, _ROWS, (3, 2), (2,)),
    "linear without bias": _on(F.linear, _ROWS, (3, 2)),
    "softmax": _on(F.softmax, _ROWS),
    "log_softmax": _on(F.log_softmax, _ROWS),
    "normalize": _on(lambda *xs: F.normalize(*xs, (0, 1, 2))[0], _IMAGES, (3,), (3,)),
    "normalize without scale": _on(
        lambda x: F.normalize(x, None, None, (1, 2), eps=np.float64(1e-3))[0], _IMAGES
    ),
    "avg_pool2d": _on(lambda x: F.avg_pool2d(x, 2), _IMAGES),
    "max_pool2d": _on(lambda x: F.max_pool2d(x, 2), (_IMAGES, "even")),
    "upsample_nearest": _on(lambda x: F.upsample_nearest(x, 2), _IMAGES),
    "conv2d": _on(lambda x, w: conv2d(x, w, stride=2, padding=1), _IMAGES, _FILTERS),
    "conv_transpose2d": _on(
        lambda y, w: conv_transpose2d(y, w, stride=2, padding=1), (2, 2, 2, 2), _FILTERS
    ),
    "conv2d_filter_grad": _on(
        lambda x, y: conv2d_filter_grad(x, y, 3, padding=1), _IMAGES, (2, 4, 4, 2)
    ),
}


def operands(name):
    """The arrays that an operation of the table is called with, the same ones each time."""
    inputs = OPERATIONS[name].inputs
    return [fill(shape, domain, seed) for seed, (shape, domain) in enumerate(inputs)]
