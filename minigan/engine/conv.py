"""Convolution as one trilinear form, read three ways.

For images x (n, h, w, c), filters w (kh, kw, c, k) and images y (n, h', w', k), let

    T(x, w, y) = Σ x[n, i·s − p + u, j·s − p + v, c] · w[u, v, c, k] · y[n, i, j, k],

summed over every index, x being zero outside its borders. T is linear in each argument, and its
three partial derivatives are the three functions of this file:

    conv2d(x, w)             = ∂T/∂y     the convolution,
    conv_transpose2d(y, w)   = ∂T/∂x     the transposed ("fractionally strided") convolution,
    conv2d_filter_grad(x, y) = ∂T/∂w     the filter gradient.

So the VJPs of each are the other two, and derivatives of every order come for free.

On arrays each is one matrix product with `columns`, the matrix whose row (n, i, j) holds the
pixels under one window. The batch is worked through in chunks whose columns fit the cache, and
columns are computed again for the filter gradient rather than kept: memory stays small, and the
product reads what has just been written.
"""

from __future__ import annotations

from minigan.backend import Window
from minigan.engine.checks import ShapeError, check_alike
from minigan.engine.differentiate import Tensor
from minigan.engine.functional import pair
from minigan.engine.tensors import raw, record

# --- Differentiable functions --------------------------------------------------------------------


def conv2d(x, w, bias=None, *, stride=1, padding=0) -> Tensor:
    """The convolution (cross-correlation, as everywhere in deep learning) of images and filters.

    x: images (n, h, w, c); w: filters (kh, kw, c, k); bias (k,), added to every pixel; stride and
    padding in pixels, an int or a (vertical, horizontal) pair. Returns (n, h', w', k) with
    h' = (h + 2p − kh) // s + 1. ShapeError if the shapes do not fit.
    """
    _check_filter("conv2d", x, w, channel_axis=2)
    window = _window("conv2d", x.shape[1:3], w.shape[:2], stride, padding)
    _check_bias("conv2d", bias, w, channel_axis=3)
    return _conv(x, w, window, bias)


def conv_transpose2d(y, w, bias=None, *, stride=1, padding=0, output_size=None) -> Tensor:
    """The adjoint of `conv2d` in its image: the layer that a generator enlarges images with.

    y: images (n, h', w', k); w: filters (kh, kw, c, k), the same array as the convolution that
    maps c channels to k; bias (c,). Returns (n, h, w, c). Several sizes h convolve to one h':
    the smallest, (h' − 1)·s − 2p + kh, unless `output_size` = (h, w) names another. ShapeError as
    above.
    """
    _check_filter("conv_transpose2d", y, w, channel_axis=3)
    kernel, (sh, sw), (ph, pw) = w.shape[:2], pair(stride), pair(padding)
    smallest = (
        (y.shape[1] - 1) * sh - 2 * ph + kernel[0],
        (y.shape[2] - 1) * sw - 2 * pw + kernel[1],
    )
    size = smallest if output_size is None else pair(output_size)
    window = _window("conv_transpose2d", size, kernel, stride, padding)
    if window.output != y.shape[1:3]:
        raise ShapeError(
            f"conv_transpose2d: an image of {size} convolves to {window.output}, not to the "
            f"input's {y.shape[1:3]}: output_size must be at least {smallest}, by less than stride"
        )
    _check_bias("conv_transpose2d", bias, w, channel_axis=2)
    return _conv_transpose(y, w, window, bias)


def conv2d_filter_grad(x, y, kernel, *, stride=1, padding=0) -> Tensor:
    """The gradient of ⟨y, conv2d(x, w)⟩ in w.

    x: images (n, h, w, c); y: images (n, h', w', k). Returns (kh, kw, c, k). ShapeError as above.
    """
    check_alike("conv2d_filter_grad", x, y)
    if x.ndim != 4:
        raise ShapeError(f"conv2d_filter_grad: expected images (n, h, w, c), got {x.shape}")
    window = _window("conv2d_filter_grad", x.shape[1:3], pair(kernel), stride, padding)
    expected = (x.shape[0], *window.output)
    if y.ndim != 4 or y.shape[:3] != expected:
        raise ShapeError(
            f"conv2d_filter_grad: x {x.shape} with a {window.kernel} kernel wants y "
            f"{(*expected, 'k')}, got {y.shape}"
        )
    return _filter_grad(x, y, window)


def _conv(x, w, window: Window, bias=None):
    out = _conv_array(x.backend, x.data, w.data, raw(bias), window)
    edges = [
        (x, lambda g: _conv_transpose(g, w, window)),
        (w, lambda g: _filter_grad(x, g, window)),
    ]
    return _record_biased(out, edges, bias)


def _conv_transpose(y, w, window: Window, bias=None):
    out = _conv_transpose_array(y.backend, y.data, w.data, raw(bias), window)
    edges = [
        (y, lambda g: _conv(g, w, window)),
        (w, lambda g: _filter_grad(g, y, window)),
    ]
    return _record_biased(out, edges, bias)


def _record_biased(out, edges, bias):
    if bias is not None:
        edges.append((bias, lambda g: g))
    return record(out, *edges)


def _filter_grad(x, y, window: Window):
    return record(
        _filter_grad_array(x.backend, x.data, y.data, window),
        (x, lambda g: _conv_transpose(y, g, window)),
        (y, lambda g: _conv(x, g, window)),
    )


# --- The same on arrays --------------------------------------------------------------------------


def _conv_array(backend, x, w, bias, window: Window):
    channels, filters = w.shape[2:]
    out = backend.empty((len(x), *window.output, filters), x.dtype)
    matrix = w.reshape(-1, filters)
    for chunk in backend.chunks(len(x), window, channels, x.itemsize):
        columns = backend.columns(chunk.stop - chunk.start, window, channels, x.dtype)
        backend.im2col(x[chunk], window, columns)
        part = out[chunk].reshape(-1, filters)
        backend.matmul(columns.reshape(-1, len(matrix)), matrix, out=part)
        if bias is not None:
            part += bias
    return out


def _conv_transpose_array(backend, y, w, bias, window: Window):
    channels, filters = w.shape[2:]
    out = backend.empty((len(y), *window.image, channels), y.dtype)
    matrix = w.reshape(-1, filters).T
    rows = y.reshape(len(y), window.output[0] * window.output[1], filters)
    for chunk in backend.chunks(len(y), window, channels, y.itemsize):
        columns = backend.columns(chunk.stop - chunk.start, window, channels, y.dtype)
        taps = columns.reshape(-1, matrix.shape[1])
        backend.matmul(rows[chunk].reshape(-1, filters), matrix, out=taps)
        backend.col2im(columns, window, out[chunk])
        if bias is not None:
            out[chunk] += bias
    return out


def _filter_grad_array(backend, x, y, window: Window):
    channels, filters = x.shape[3], y.shape[3]
    taps = window.kernel[0] * window.kernel[1] * channels
    total = None
    for chunk in backend.chunks(len(x), window, channels, x.itemsize):
        columns = backend.columns(chunk.stop - chunk.start, window, channels, x.dtype)
        backend.im2col(x[chunk], window, columns)
        part = backend.matmul(columns.reshape(-1, taps).T, y[chunk].reshape(-1, filters))
        total = part if total is None else total + part
    if total is None:  # no images
        total = backend.xp.zeros((taps, filters), x.dtype)
    return total.reshape(*window.kernel, channels, filters)


# --- Checks --------------------------------------------------------------------------------------


def _check_filter(op, images, w, channel_axis):
    check_alike(op, images, w)
    if images.ndim != 4 or w.ndim != 4:
        raise ShapeError(
            f"{op}: expected images (n, h, w, channels) and filters (kh, kw, in, out), "
            f"got {images.shape} and {w.shape}"
        )
    if images.shape[3] != w.shape[channel_axis]:
        raise ShapeError(
            f"{op}: images {images.shape} have {images.shape[3]} channels, "
            f"filters {w.shape} want {w.shape[channel_axis]}"
        )


def _check_bias(op, bias, w, channel_axis):
    if bias is None:
        return
    check_alike(op, w, bias)
    if bias.shape != (w.shape[channel_axis],):
        raise ShapeError(f"{op}: bias {bias.shape} for filters {w.shape}: want one per channel")


def _window(op, image, kernel, stride, padding) -> Window:
    (h, w), (kh, kw), (sh, sw), (ph, pw) = image, kernel, pair(stride), pair(padding)
    if sh < 1 or sw < 1 or ph < 0 or pw < 0:
        raise ValueError(f"{op}: stride {stride} must be positive, padding {padding} not negative")
    output = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    if min(output) < 1 or h < 1 or w < 1:
        raise ShapeError(
            f"{op}: a {kh}x{kw} kernel does not fit an image of {h}x{w} with padding {ph}, {pw}"
        )
    return Window((kh, kw), (sh, sw), (ph, pw), (h, w), output)
