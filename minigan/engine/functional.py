"""The differentiable functions that are not operators: activations, selection, pooling, norms.

Each follows the pattern of `operations.py`, whose abs, broadcast_to, log and where are here too:
the forward is array arithmetic, the VJP beside it is written in differentiable operations. What is
selected (a mask, a sign, the winner of a maximum) is constant wherever the function is
differentiable, so masks enter as plain arrays.
"""

from __future__ import annotations

import functools
import math
import operator

from minigan.backend import Generator, backend_of
from minigan.backend.base import ALONE
from minigan.engine.checks import ShapeError, axis_of, check_alike, check_fits, pair, wrong_shape
from minigan.engine.graph import is_recording
from minigan.engine.operations import abs, broadcast_to, log, reduced, select, swap_last, where  # noqa: F401
from minigan.engine.tensors import Tensor, check_labels, is_number, operands, raw, record
from minigan.system import world

# --- Elementwise ---------------------------------------------------------------------------------


def exp(x):
    """eˣ."""
    return record(x.backend.xp.exp(x.data), (x, lambda g, y: g * y), keep=True)


def sqrt(x):
    """√x. Its derivative is infinite at 0: under a root of a sum of squares, add an ε first."""
    return record(x.backend.xp.sqrt(x.data), (x, lambda g, y: g * 0.5 / y), keep=True)


def tanh(x):
    """tanh x, in (−1, 1)."""
    return record(x.backend.xp.tanh(x.data), (x, lambda g, y: g * (1.0 - y * y)), keep=True)


def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), accurate and without overflow for any x."""
    return record(x.backend.sigmoid(x.data), (x, lambda g, y: g * (y * (1.0 - y))), keep=True)


def softplus(x):
    """ln(1 + eˣ) = −ln σ(−x), exact for any logit."""
    return record(x.backend.softplus(x.data), (x, lambda g: g * sigmoid(x)))


def relu(x):
    """max(x, 0), with gradient 0 at 0."""
    return _rectified(x, 0.0)


def leaky_relu(x, slope=0.2):
    """x where x > 0, slope · x elsewhere; 0 < slope < 1."""
    if not 0 < slope < 1:
        raise ValueError(f"leaky_relu: slope {slope} is not between 0 and 1")
    return _rectified(x, float(slope))


def _rectified(x, slope):
    backend = x.backend

    def vjp(g, y):
        if not is_recording():
            return Tensor(backend.rectify_grad(g.data, y.data, slope))
        if not slope:
            return select(y.data > 0, g)
        return g * Tensor(backend.step_function(y.data, slope))

    return record(backend.rectify(x.data, slope), (x, vjp), keep=True)


def elu(x, alpha=1.0):
    """x where x > 0, α (eˣ − 1) elsewhere (Clevert et al. 2016)."""
    alpha = float(alpha)
    xp = x.backend.xp
    data = xp.where(x.data > 0, x.data, alpha * xp.expm1(xp.minimum(x.data, 0)))
    return record(data, (x, lambda g, y: g * where(y.data > 0, 1.0, y + alpha)), keep=True)


def clip(x, low, high):
    """x limited to [low, high], two numbers; gradient 1 inside (ends included), 0 outside."""
    if not low <= high:
        raise ValueError(f"clip: low {low} is above high {high}")
    low, high = float(low), float(high)
    inside = (x.data >= low) & (x.data <= high)
    data = x.backend.xp.clip(x.data, low, high)
    return record(data, (x, lambda g: select(inside, g)))


def maximum(a, b):
    """The larger of both, elementwise; where they tie, each gets half the gradient."""
    a, b = operands("maximum", a, b)
    like = a if is_number(b) else b

    def share(g, x, y):
        return select(x.data >= y.data, where(x.data == y.data, g * 0.5, g))

    data = like.backend.xp.maximum(a.data, b.data)
    return record(data, (a, lambda g: share(g, a, b)), (b, lambda g: share(g, b, a)))


def minimum(a, b):
    """The smaller of both, elementwise; where they tie, each gets half the gradient."""
    a, b = operands("minimum", a, b)
    return -maximum(-a, -b)


def dropout(x, p, rng: Generator):
    """Each value zeroed with probability p, the others scaled by 1 / (1 − p)."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout: probability {p} is not in [0, 1)")
    kept = rng.uniform(x.shape, dtype=x.dtype) >= p
    return x * Tensor(kept.astype(x.dtype) * float(1.0 / (1.0 - p)))


# --- Joining and padding -------------------------------------------------------------------------


def concatenate(xs, axis=0):
    """The tensors `xs` joined along `axis`; every other dimension must agree."""
    return _join("concatenate", list(xs), axis)


def stack(xs, axis=0):
    """The tensors `xs`, all of one shape, along a new axis."""
    xs = list(xs)
    if xs:
        axis = axis_of("stack", axis, (*xs[0].shape, 1))
        if any(x.shape != xs[0].shape for x in xs):
            raise ShapeError(f"stack: shapes {[x.shape for x in xs]} differ")
    return _join("stack", [x.reshape(*x.shape[:axis], 1, *x.shape[axis:]) for x in xs], axis)


def _join(op, xs, axis):
    if not xs:
        raise ValueError(f"{op}: no tensors to join")
    for x in xs[1:]:
        check_alike(op, xs[0], x)
    axis = axis_of(op, axis, xs[0].shape)
    if len({(x.ndim, x.shape[:axis], x.shape[axis + 1 :]) for x in xs}) > 1:
        raise ShapeError(f"{op}: shapes {[x.shape for x in xs]} differ off axis {axis}")
    edges, start = [], 0
    for x in xs:
        part = (slice(None),) * axis + (slice(start, start + x.shape[axis]),)
        edges.append((x, lambda g, part=part: g[part]))
        start += x.shape[axis]
    return record(xs[0].backend.xp.concatenate([x.data for x in xs], axis), *edges)


def pad(x, widths, value=0.0):
    """x surrounded by `value`; `widths` is one (before, after) pair per axis."""
    if len(widths) != x.ndim:
        raise ShapeError(f"pad: {len(widths)} pairs of widths for shape {x.shape}")
    inside = tuple(slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True))
    shape = tuple(b + n + a for (b, a), n in zip(widths, x.shape, strict=True))
    data = x.backend.xp.full(shape, value, x.dtype)
    data[inside] = x.data
    return record(data, (x, lambda g: g[inside]))


def reflect_pad(x, width):
    """Images that go on as in a mirror: (n, h, w, c) -> (n, h + 2p, w + 2q, c).

    The pixels at the edge are the mirrors and come once: with q = 2, a row 1 2 3 is 3 2 1 2 3 2 1.
    width: p = q, or (p, q). ShapeError if it is not less than the image's sides.
    """
    check_images("reflect_pad", x)
    widths = pair("reflect_pad: width", width, 0)
    if any(p >= side for p, side in zip(widths, x.shape[1:3], strict=True)):
        raise ShapeError(f"reflect_pad: {widths} pixels beside an image of {x.shape}: want fewer")
    p, q = widths
    if p:
        x = concatenate([x[:, p:0:-1], x, x[:, -2 : -2 - p : -1]], 1)
    if q:
        x = concatenate([x[:, :, q:0:-1], x, x[:, :, -2 : -2 - q : -1]], 2)
    return x


# --- Over ranks ----------------------------------------------------------------------------------
#
# Each rank has a loss of its own rows; what is differentiated is the sum of them all.


def mean_over_ranks(x, across=None):
    """The mean of x over all ranks of the world, on each of them: what a batch's mean is of the
    means of its shares. x itself, where there is one rank.
    """
    across = world() if across is None else across
    if across.size == 1:
        return x
    return record(across.mean(x.data.copy()), (x, lambda g: mean_over_ranks(g, across)))


def rows_of_all_ranks(x):
    """The rows (n, …) of every rank one after the other, (size · n, …), on each of them."""
    size, n = world().size, len(x)
    if size == 1:
        return x
    mine = world().part(size * n)
    data = x.backend.xp.zeros((size * n, *x.shape[1:]), x.dtype)
    data[mine] = x.data
    return record(world().sum(data), (x, lambda g: (mean_over_ranks(g) * float(size))[mine]))


# --- Conditions ----------------------------------------------------------------------------------


def one_hot(labels, classes):
    """1 at each label, 0 elsewhere: integers (…), an array or a tensor -> float32 (…, classes).

    TypeError unless they are integers; ValueError for one that is not from 0 to classes − 1, but on
    a GPU, where to look would be to wait, it gets zeros only.
    """
    labels = check_labels("one_hot", labels, classes)
    numbers = backend_of(labels).xp.arange(classes)
    return Tensor((labels[..., None] == numbers).astype("float32"))


def tile_over(y, x):
    """A vector per sample, repeated at every position of x: y (n, d), x (n, …, c) -> (n, …, d).

    So F.concatenate([x, F.tile_over(y, x)], -1) shows y to a convolution, as further channels.
    """
    if y.ndim != 2 or x.ndim < 2 or len(y) != len(x):
        raise ShapeError(f"tile_over: y {y.shape} over x {x.shape}: want (n, d) and (n, …, c)")
    (n, d), positions = y.shape, x.shape[1:-1]
    return broadcast_to(y.reshape(n, *(1,) * len(positions), d), (n, *positions, d))


# --- Layers' functions ---------------------------------------------------------------------------


def linear(x, weight, bias=None):
    """x W + b: x (…, in), weight (in, out), bias (out,); one node instead of two."""
    if bias is None:
        return x @ weight
    if x.ndim < 2 or x.shape[-1] != weight.shape[0]:
        raise wrong_shape(f"linear: x for weight {weight.shape}", x, f"(n, …, {len(weight)})")
    if bias.shape != weight.shape[1:]:
        raise wrong_shape(f"linear: bias for weight {weight.shape}", bias, weight.shape[1:])
    check_alike("linear", x, weight)
    check_alike("linear", x, bias)
    data = x.backend.matmul(x.data, weight.data)
    data += bias.data
    by_x, by_weight = (x, lambda g: g @ swap_last(weight)), (weight, lambda g: swap_last(x) @ g)
    return record(data, by_x, by_weight, (bias, lambda g: g))


def softmax(x, axis=-1):
    """eˣ / Σ eˣ over `axis`, shifted by the maximum so that nothing overflows."""
    axes, _ = reduced("softmax", axis, x.shape)
    e = x.backend.xp.exp(_shifted(x, axes))
    data = e / x.backend.sum(e, axes, True)
    return record(data, (x, lambda g, y: y * (g - (g * y).sum(axes, True))), keep=True)


def _shifted(x, axes):
    """x less its maximum over `axes`, as an array; of no values none."""
    return x.data - x.data.max(axis=axes, keepdims=True) if x.size else x.data


def log_softmax(x, axis=-1):
    """x − ln Σ eˣ over `axis`, without overflow and without the logarithm of a rounded zero."""
    axes, _ = reduced("log_softmax", axis, x.shape)
    backend, shifted = x.backend, _shifted(x, axes)
    data = shifted - backend.xp.log(backend.sum(backend.xp.exp(shifted), axes, True))
    return record(data, (x, lambda g, y: g - exp(y) * g.sum(axes, True)), keep=True)


def normalize(x, scale, shift, axes, *, eps=1e-5, across=ALONE):
    """γ (x − μ) / √(σ² + ε) + β, with mean μ and variance σ² taken over `axes`.

    Which axes makes the difference between the norms; for images (n, h, w, c):
    batch (0, 1, 2), layer (1, 2, 3), instance (1, 2). scale γ and shift β broadcast against x,
    or are None. Returns (y, μ, σ²), the latter two as arrays with the reduced axes kept as 1.
    across: the world over whose ranks they are taken as well, for a batch that ranks share.
    ShapeError if there are no values over `axes`. Source: Ioffe and Szegedy 2015.
    """
    axes, eps = tuple(sorted(axis_of("normalize", a, x.shape) for a in axes)), float(eps)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        raise ValueError(f"normalize: axes {axes} are not neighbours, as every norm's are")
    if not x.size and not all(x.shape[a] for a in axes):
        raise ShapeError(f"normalize: shape {x.shape} has no values over axes {axes}")
    affine = [p for p in (scale, shift) if p is not None]
    for parameter in affine:
        check_alike("normalize", x, parameter)
        check_fits("normalize", parameter.shape, x.shape)
    inner = x.ndim - 1 - axes[-1]  # the axes behind, in which alone a kernel's γ and β vary
    if any(math.prod(p.shape[: max(0, p.ndim - inner)]) != 1 for p in affine):
        y, mu, variance = normalize(x, None, None, axes, eps=eps, across=across)
        y = y if scale is None else y * scale
        return (y if shift is None else y + shift), mu, variance

    y, mu, variance, kept = x.backend.normalize(x.data, raw(scale), raw(shift), axes, eps, across)
    shared, *rules = _normalize_rules(x.node, scale, axes, eps, mu, variance, kept, across)
    edges = [edge for edge in zip((x, scale, shift), rules, strict=True) if edge[0] is not None]
    return record(y, *edges, shared=shared), mu, variance


def _normalize_rules(node, gamma, axes, eps, mu, variance, kept, across):
    """The VJPs of `normalize`. With r = 1/√(σ² + ε) and x̂ = (x − μ) r, the gradients are

        in x:  γ r (g − mean g − x̂ mean(g x̂)),        in γ:  Σ g x̂,        in β:  Σ g.

    The first is g less its parts along 1 and along x̂, which normalising makes irrelevant. All
    three are made of Σ g and Σ g (x − μ), which are computed once. Where second derivatives will
    be taken, the same stands in differentiable operations, with x̂ and r as functions of x. They
    know x's node, and not x, so that its array need not be kept.

    Over several ranks, x's means are over all their values, as μ and σ² were; but γ's and β's
    gradients are this rank's, as every parameter's are until the optimiser has their mean.
    """

    def average(y):
        return mean_over_ranks(y.mean(axes, True), across)

    def shared(g):
        if not is_recording():
            return g.backend.normalize_sums(g.data, kept, mu, axes)
        x = Tensor(g.backend.normalize_input(kept, mu), node)
        centred = x - average(x)
        r = (average(centred * centred) + eps) ** -0.5
        return centred * r, r

    def by_x(g, shared):
        if not is_recording():
            if across.size > 1:
                both = across.mean(g.backend.xp.stack(shared))
                shared = both[0], both[1]
            statistics = mu, variance, raw(gamma)
            return Tensor(g.backend.normalize_grad(g.data, kept, *statistics, shared, axes, eps))
        x_hat, r = shared
        part = g - average(g) - x_hat * average(g * x_hat)
        return part * (r if gamma is None else r * gamma)

    def by_scale(g, shared):
        if not is_recording():
            return Tensor(g.backend.normalize_scale_grad(shared, variance, eps))
        return g * shared[0]

    def by_shift(g, shared):
        return g if is_recording() else Tensor(shared[0])

    return shared, by_x, by_scale, by_shift


# --- Pooling and resizing of images (n, h, w, c) -------------------------------------------------


def check_images(op, x):
    """ShapeError, naming the operation, unless x has the axes of images."""
    if x.ndim != 4:
        raise wrong_shape(op, x, "images (n, h, w, c)")


def _windows(op, x, kernel, stride):
    """For each offset (u, v) in the kernel, the strided view of the pixels at that offset."""
    check_images(op, x)
    kh, kw = pair(f"{op}: kernel", kernel)
    sh, sw = pair(f"{op}: stride", kernel if stride is None else stride)
    _, h, w, _ = x.shape
    if kh > h or kw > w:
        raise ShapeError(f"{op}: a {kh}x{kw} window does not fit an image of {h}x{w}")
    rows, columns = h - kh + 1, w - kw + 1
    return [x[:, u : u + rows : sh, v : v + columns : sw] for u in range(kh) for v in range(kw)]


def avg_pool2d(x, kernel, stride=None):
    """The mean over each window; stride defaults to the kernel. (n, h, w, c) -> (n, h', w', c)."""
    windows = _windows("avg_pool2d", x, kernel, stride)
    return functools.reduce(operator.add, windows) * (1 / len(windows))


def max_pool2d(x, kernel, stride=None):
    """The maximum over each window; stride defaults to the kernel. Ties share the gradient."""
    return stack(_windows("max_pool2d", x, kernel, stride)).max(axis=0)


def upsample_nearest(x, factor):
    """Each pixel repeated factor × factor times: (n, h, w, c) -> (n, h·f, w·f, c)."""
    check_images("upsample_nearest", x)
    (n, h, w, c), (fh, fw) = x.shape, pair("upsample_nearest: factor", factor)
    repeated = broadcast_to(x.reshape(n, h, 1, w, 1, c), (n, h, fh, w, fw, c))
    return repeated.reshape(n, h * fh, w * fw, c)
