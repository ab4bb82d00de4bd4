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

At stride 1 the form is its own mirror image: T(x, w, y) with padding p is T(y, w̃, x) with padding
k − 1 − p, where w̃ are the filters by half a turn, inputs and outputs exchanged. Then each function
can be computed as the other, and the cheaper one is: reading pixels into columns takes a third of
the time of adding columns up (for 16 channels; a half for 64), unless there are far fewer channels
on the other side. At a stride s, ∂T/∂x is a convolution at stride 1 as well, with s² times as many
channels, whose outcome is put together to an image: a quarter to a third faster than adding columns
up, for images of 16 × 16 pixels or more. And 3 × 3 filters of many channels are multiplied in a
form of their own, see `winograd.py`.
"""

from __future__ import annotations

import itertools
import math

from minigan.backend import Window
from minigan.engine import winograd
from minigan.engine.checks import ShapeError, check_alike, pair, wrong_shape
from minigan.engine.functional import check_images
from minigan.engine.tensors import Tensor, record

# At stride 1, columns are added up only where they have so many times fewer channels than what they
# come from: kernels from 3x3 to 7x7 break even at 4 to 8 on a CPU.
SCATTER = 4


def conv2d(x, w, bias=None, *, stride=1, padding=0) -> Tensor:
    """The convolution (cross-correlation, as everywhere in deep learning) of images and filters.

    x: images (n, h, w, c); w: filters (kh, kw, c, k); bias (k,), added to every pixel; stride and
    padding in pixels, an int or a (vertical, horizontal) pair. Returns (n, h', w', k) with
    h' = (h + 2p − kh) // s + 1. ShapeError if the shapes do not fit.
    """
    _check_filter("conv2d", x, w, bias, channel_axis=2)
    window = _window("conv2d", x.shape[1:3], w.shape[:2], stride, padding)
    return _conv(x, w, window, bias)


def conv_transpose2d(y, w, bias=None, *, stride=1, padding=0, output_size=None) -> Tensor:
    """The adjoint of `conv2d` in its image: the layer that a generator enlarges images with.

    y: images (n, h', w', k); w: filters (kh, kw, c, k), the same array as the convolution that
    maps c channels to k; bias (c,). Returns (n, h, w, c). Several sizes h convolve to one h':
    the smallest, (h' − 1)·s − 2p + kh, unless `output_size` = (h, w) names another. ShapeError as
    above.
    """
    op = "conv_transpose2d"
    _check_filter(op, y, w, bias, channel_axis=3)
    (sh, sw), (ph, pw) = pair(f"{op}: stride", stride), pair(f"{op}: padding", padding, 0)
    (rows, columns), (kh, kw) = y.shape[1:3], w.shape[:2]
    smallest = (rows - 1) * sh - 2 * ph + kh, (columns - 1) * sw - 2 * pw + kw
    size = smallest if output_size is None else pair(f"{op}: output_size", output_size)
    window = _window(op, size, (kh, kw), (sh, sw), (ph, pw))
    if window.output != y.shape[1:3]:
        got = f"an image of {size} convolves to {window.output}, not to {y.shape[1:3]}"
        raise ShapeError(f"{op}: {got}: output_size is {smallest} or more, by less than the stride")
    return _conv_transpose(y, w, window, bias)


def conv2d_filter_grad(x, y, kernel, *, stride=1, padding=0) -> Tensor:
    """The gradient of ⟨y, conv2d(x, w)⟩ in w.

    x: images (n, h, w, c); y: images (n, h', w', k). Returns (kh, kw, c, k). ShapeError as above.
    """
    op = "conv2d_filter_grad"
    check_alike(op, x, y)
    check_images(op, x)
    window = _window(op, x.shape[1:3], pair(f"{op}: kernel", kernel), stride, padding)
    expected = (len(x), *window.output)
    if y.shape[:-1] != expected:
        what = f"{op}: y for x {x.shape} and a {window.kernel} kernel"
        raise wrong_shape(what, y, (*expected, "k"))
    return _filter_grad(x, y, window)


# --- The three partial derivatives ---------------------------------------------------------------


def _conv(x, w, window: Window, bias=None):
    turned, (channels, filters) = window.turned, w.shape[2:]
    if turned is None or not _scatters(turned, channels, filters):
        out = _gathered(x, w.data, window, bias)
    else:
        out = _scattered(x, _turned(w.data), turned, bias)
    by_x = x, lambda g: _conv_transpose(g, w, window)
    by_w = w, lambda g: _filter_grad(x, g, window)
    return record(out, by_x, by_w, *_biased(bias))


def _conv_transpose(y, w, window: Window, bias=None):
    turned, (channels, filters) = window.turned, w.shape[2:]
    if _in_blocks(y.backend, window, channels, filters):
        out = _blockwise(y, w.data, window, bias)
    elif turned is None or _scatters(turned, filters, channels):
        out = _scattered(y, w.data, window, bias)
    else:
        out = _gathered(y, _turned(w.data), turned, bias)
    by_y = y, lambda g: _conv(g, w, window)
    by_w = w, lambda g: _filter_grad(g, y, window)
    return record(out, by_y, by_w, *_biased(bias))


def _filter_grad(x, y, window: Window):
    turned = window.turned
    if turned is None or x.shape[3] <= y.shape[3]:
        total = _correlated(x, y, window)
    else:
        total = _turned(_correlated(y, x, turned))
    by_x = x, lambda g: _conv_transpose(y, g, window)
    by_y = y, lambda g: _conv(x, g, window)
    return record(total, by_x, by_y)


def _scatters(window: Window, channels, filters) -> bool:
    """Whether, at stride 1, columns of the few channels that come out are the cheaper ones."""
    return window.kernel != (1, 1) and channels > SCATTER * filters


def _in_blocks(backend, window: Window, channels, filters) -> bool:
    """Whether `_blockwise` can compute it, and is the faster: for images that are not too small,
    so that the windows beyond their edges are few, with not much fewer channels than come in.
    """
    (kh, kw), (sh, sw), (rh, rw) = window.kernel, window.stride, window.reach
    (h, w), (ph, pw) = window.image, window.padding
    whole = kh % sh == kw % sw == 0 and h + ph <= rh and w + pw <= rw
    if not whole or kh == sh or kw == sw or sh * sw == 1:
        return False
    return min(window.output) >= backend.BLOCKWISE_SIDE and filters <= 2 * channels


def _turned(w):
    """Filters by half a turn, with their inputs and outputs exchanged: T of the mirror image."""
    return w[::-1, ::-1].swapaxes(2, 3)


# --- On arrays -----------------------------------------------------------------------------------


def _gathered(x, w, window: Window, bias):
    """∂T/∂y: columns of the input, times the filters."""
    backend, (channels, filters) = x.backend, w.shape[2:]
    if winograd.pays(x, window, filters):
        out = winograd.convolve(x, w, window)
        if bias is not None:
            out += bias.data
        return out
    out = backend.empty((len(x), *window.output, filters), x.dtype)
    matrix = w.reshape(-1, filters)
    for chunk in backend.chunks(len(x), window, channels, x.data.itemsize):
        part = out[chunk].reshape(-1, filters)
        backend.matmul(_columns(x, chunk, window), matrix, out=part)
        if bias is not None:
            part += bias.data
    return out


def _scattered(y, w, window: Window, bias):
    """∂T/∂x: the input times the filters makes columns, which are added up where they belong."""
    backend, (channels, filters) = y.backend, w.shape[2:]
    out = backend.empty((len(y), *window.image, channels), y.dtype)
    matrix = w.reshape(-1, filters).T
    for chunk in backend.chunks(len(y), window, channels, y.data.itemsize):
        columns = backend.columns(chunk.stop - chunk.start, window, channels, y.dtype)
        rows = y.data[chunk].reshape(-1, filters)
        backend.matmul(rows, matrix, out=columns.reshape(-1, matrix.shape[1]))
        backend.col2im(columns, window, out[chunk])
        if bias is not None:
            out[chunk] += bias.data
    return out


def _blockwise(y, w, window: Window, bias):
    """∂T/∂x at a stride s: a convolution at stride 1 with s² times as many channels, one for each
    place in a block of s × s pixels. Of k × k filters a block takes the (k/s)² that reach it.
    """
    backend, (kh, kw, channels, filters), (sh, sw) = y.backend, w.shape, window.stride
    (ph, pw), (oh, ow), th, tw = window.padding, window.output, kh // sh, kw // sw
    ends = oh + th - 1, ow + tw - 1
    blocks = Window((th, tw), (1, 1), (th - 1, tw - 1), window.output, ends)
    w = w.reshape(th, sh, tw, sw, channels, filters)[::-1, :, ::-1]
    w = w.transpose(0, 2, 5, 1, 3, 4).reshape(th, tw, filters, sh * sw * channels)
    out = backend.empty((len(y), *window.image, channels), y.dtype)
    for chunk in backend.chunks(len(y), blocks, filters, y.data.itemsize):
        made = _gathered(Tensor(y.data[chunk]), w, blocks, None)
        made = made.reshape(-1, *ends, sh, sw, channels)
        for a, b in itertools.product(range(sh), range(sw)):
            i, j = (a - ph) % sh, (b - pw) % sw  # the first pixel with this place in its block
            place, r, q = out[chunk, i::sh, j::sw], (i + ph) // sh, (j + pw) // sw
            rows, columns = place.shape[1:3]
            place[...] = made[:, r : r + rows, q : q + columns, a, b]
        if bias is not None:
            out[chunk] += bias.data
    return out


def _correlated(x, y, window: Window):
    """∂T/∂w: columns of x against y."""
    backend, channels, filters = x.backend, x.shape[3], y.shape[3]
    if winograd.pays(x, window, filters):
        return winograd.filter_grad(x, y, window)
    total = None
    for chunk in backend.chunks(len(x), window, channels, x.data.itemsize):
        columns = _columns(x, chunk, window)
        part = backend.matmul(columns.T, y.data[chunk].reshape(-1, filters))
        total = part if total is None else total + part
    if total is None:  # no images
        return backend.xp.zeros((*window.kernel, channels, filters), x.dtype)
    return total.reshape(*window.kernel, channels, filters)


def _columns(x, chunk, window: Window):
    """The columns of some of the images, as a matrix; under 1x1 windows the pixels themselves."""
    backend, part, channels = x.backend, x.data[chunk], x.shape[3]
    if window.turned and window.kernel == (1, 1):
        return part.reshape(-1, channels)
    columns = backend.columns(len(part), window, channels, x.dtype)
    backend.im2col(part, window, columns)
    return columns.reshape(-1, math.prod(window.kernel) * channels)


def _biased(bias) -> list:
    return [] if bias is None else [(bias, lambda g: g)]


# --- Checks --------------------------------------------------------------------------------------


def _check_filter(op, images, w, bias, channel_axis):
    check_alike(op, images, w)
    check_images(op, images)
    if w.ndim != 4:
        raise wrong_shape(f"{op}: filters", w, "(kh, kw, in, out)")
    channels, wanted = images.shape[3], w.shape[channel_axis]
    if channels != wanted:
        got = f"images {images.shape} have {channels} channels"
        raise ShapeError(f"{op}: {got}, filters {w.shape} want {wanted}")
    if bias is None:
        return
    check_alike(op, w, bias)
    if bias.shape != (w.shape[5 - channel_axis],):
        raise ShapeError(f"{op}: bias {bias.shape} for filters {w.shape}: want one per channel")


def _window(op, image, kernel, stride, padding) -> Window:
    (h, w), (kh, kw) = image, kernel
    (sh, sw), (ph, pw) = pair(f"{op}: stride", stride), pair(f"{op}: padding", padding, 0)
    output = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    if min(*output, h, w) < 1:
        image = f"an image of {h}x{w} with padding {ph}, {pw}"
        raise ShapeError(f"{op}: a {kh}x{kw} kernel does not fit {image}")
    return Window((kh, kw), (sh, sw), (ph, pw), (h, w), output)
