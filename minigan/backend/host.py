"""The CPU, on NumPy: the contract of `base.py` kept in the form that is to be read first."""

from __future__ import annotations

import functools
import math

import numpy as np

from minigan.backend.base import (
    ALONE,
    Backend,
    Generator,
    Window,
    check_bytes,
    seed_from,
    size_over,
)
from minigan.system import keep_freed_memory


class HostGenerator(Generator):
    """Random numbers on the CPU: NumPy's PCG64."""

    def __init__(self, backend, seed):
        self.backend = backend
        self._numpy = np.random.Generator(np.random.PCG64(seed))

    def normal(self, shape, dtype="float32"):
        return self._numpy.standard_normal(shape, dtype=np.dtype(dtype).type)

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        unit = self._numpy.random(shape, dtype=np.dtype(dtype).type)
        return unit * float(high - low) + float(low)

    def integers(self, low, high, shape):
        return self._numpy.integers(low, high, shape)

    def permutation(self, n):
        return self._numpy.permutation(n)

    def _spawn(self, count) -> list[HostGenerator]:
        children = self._numpy.bit_generator.seed_seq.spawn(count)
        return [HostGenerator(self.backend, child) for child in children]

    def state(self) -> dict:
        return self._numpy.bit_generator.state

    def load_state(self, state: dict):
        if isinstance(state, dict) and state.get("bit_generator") == "Philox4x32":
            self._numpy = np.random.Generator(np.random.PCG64(seed_from(state)))
            return
        try:
            self._numpy.bit_generator.state = state
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"not a PCG64 state: {state!r}") from error


class Live(list):
    """A few numbers that change from step to step, such as a learning rate: live[0], live[1], …

    Here they are Python numbers. On a device that replays captured steps they are memory of the
    device, because a number in Python would be the same in every replay.
    """

    def set(self, *values: float):
        self[:] = values


class Log(list):
    """Rows of scalars, 0-d arrays of this device, kept until somebody looks; here in full."""

    def drain(self) -> np.ndarray:
        """All rows since the last look, float64 (rows, columns); waits for the device."""
        rows = np.array([[float(x) for x in row] for row in self])
        self.clear()
        return rows


class Host(Backend):
    """The CPU."""

    name = "cpu"
    xp = np

    # The columns of one chunk of images stay in the cache until the matrix product has read
    # them; see `engine/conv.py`.
    COLUMN_BYTES = 2 << 20
    # From such images on, transposed convolutions are faster block by block; see `engine/conv.py`.
    BLOCKWISE_SIDE = 8
    # From so many channels on, 3x3 convolutions are faster by Winograd's form.
    WINOGRAD_CHANNELS = 64
    # An optimiser's five vectors, a block at a time, stay in the second-level cache.
    OPTIMIZER_BLOCK = 32 * 1024

    def enter(self):
        pass

    def constant(self, values, dtype="float32"):
        return np.asarray(values, dtype)

    def to_numpy(self, array) -> np.ndarray:
        """The very same memory."""
        return np.asarray(array)

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def generator(self, seed) -> HostGenerator:
        return HostGenerator(self, seed)

    def sum(self, x, axis=None, keepdims=False):
        """A sum over neighbouring axes, but not the last one, is a product 1ᵀ x: BLAS is 4 times
        faster than NumPy. That is exact where it adds in the order of memory, as over the last
        axis; what is neither is added in float64.
        """
        span = _inner_axes(x, axis)
        if span is None:
            if x.size <= LONGEST or x.dtype != "float32" or _in_memory_order(x, axis):
                return x.sum(axis=axis, keepdims=keepdims)
            return x.sum(axis=axis, keepdims=keepdims, dtype="float64").astype(x.dtype)
        (first, last), shape = span, x.shape
        before, after = shape[:first], shape[last:]
        kept = (*before, *(1,) * (last - first), *after) if keepdims else (*before, *after)
        columns = math.prod(after)
        if not first:
            total = _column_sums(x if x.ndim == 2 else x.reshape(-1, columns))
            return total if total.shape == kept else total.reshape(kept)
        tables = x.reshape(math.prod(before), -1, columns)
        if tables.shape[1] <= LONGEST_OF_FEW.get(columns, LONGEST):
            return (_ones(tables.shape[1], x.dtype) @ tables).reshape(kept)
        return np.stack([_column_sums(rows) for rows in tables]).reshape(kept)

    def matmul(self, a, b, out=None):
        """With nothing to sum over, BLAS is 20 times slower."""
        if a.shape[-1] == 1:
            return np.multiply(a, b, out=out)
        return np.matmul(a, b, out=out)

    def broadcast_to(self, x, shape):
        if x.size == 1:  # the same array as below, made in a quarter of the time
            return np.ndarray(shape, x.dtype, x, strides=(0,) * len(shape))
        return np.broadcast_to(x, shape)

    def check_range(self, what, values, size):
        if values.size and not (values.min() >= 0 and values.max() < size):
            found = f"{values.min()} to {values.max()}"
            raise ValueError(f"{what} run from {found}, expected 0 to {size - 1}")

    # --- A training step that can be replayed ---

    def capture(self, step):
        return step

    def host(self, work):
        work()

    def live(self) -> Live:
        return Live()

    def log(self, columns: int) -> Log:
        return Log()

    def synchronize(self):
        pass

    # --- Kernels ---

    def to_unit(self, images, index=None):
        check_bytes(images)
        if index is not None:
            self.check_range("to_unit: indices", index, len(images))
        unit = (images if index is None else images.take(index, axis=0)).astype("float32")
        unit /= 127.5
        unit -= 1
        return unit

    def sigmoid(self, x):
        """No exponent is positive: e^min(x, 0) / (1 + e^−|x|) is the same."""
        return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))

    def softplus(self, x):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def rectify(self, x, slope):
        if not slope:
            return np.maximum(x, np.zeros(x.shape[-1:], x.dtype))  # a row is faster than a number
        y = np.asarray(x * slope)
        return np.maximum(x, y, out=y)

    def select(self, condition, x):
        """The bits of x, read as integers, times 0 or 1; `np.where` is 20 times slower on a long
        condition without order.
        """
        return np.multiply(condition, x.view(BITS[x.itemsize])).view(x.dtype)

    def rectify_grad(self, g, y, slope):
        """Arithmetic is far cheaper here than `where`."""
        if not slope:
            return self.select(y > 0, g)
        step = self.step_function(y, slope)
        step *= g
        return step

    def normalize(self, x, scale, shift, axes, eps, across=ALONE):
        share = 1 / size_over(x.shape, axes)
        mu = across.mean(self.sum(x, axes, True) * share)
        centred = x - mu
        variance = across.mean(self.sum(centred * centred, axes, True) * share)
        k = 1 / np.sqrt(variance + eps)
        y = centred * (k if scale is None else k * scale)
        if shift is not None:
            y += shift
        return y, mu, variance, centred

    def normalize_sums(self, g, kept, mu, axes):
        return self.sum(g, axes, True), self.sum(g * kept, axes, True)

    def normalize_scale_grad(self, sums, variance, eps):
        return sums[1] / np.sqrt(variance + eps)

    def normalize_grad(self, g, kept, mu, variance, scale, sums, axes, eps):
        share = 1 / size_over(g.shape, axes)
        total, along = sums
        r = 1 / np.sqrt(variance + eps)
        part = kept * (along * r**2 * share)
        part += total * share
        np.subtract(g, part, out=part)
        part *= r if scale is None else r * scale
        return part

    def normalize_input(self, kept, mu):
        """To keep x as well would cost an array per layer."""
        return kept + mu

    def optimize(self, rule, theta, g, moments):
        """In blocks that fit the cache."""
        for block in self.blocks(theta.size):
            rule.update(theta[block], g[block], *(moment[block] for moment in moments))

    def average(self, average, source, live):
        for block in self.blocks(len(average)):
            average[block] += live[0] * (source[block] - average[block])

    def track(self, running, x, momentum, factor=1.0):
        running *= 1 - momentum
        running += x.reshape(-1) * (momentum * factor)

    def blocks(self, size):
        """Slices that cover range(size), each small enough for an optimiser's cache."""
        for start in range(0, size, self.OPTIMIZER_BLOCK):
            yield slice(start, start + self.OPTIMIZER_BLOCK)

    def columns(self, images, window: Window, channels, dtype):
        """Of one channel, a row's pixels are no neighbours in memory: there (u, v) vary slowest."""
        if channels > 1:
            return np.empty((images, *window.output, *window.kernel, channels), dtype)
        columns = np.empty((*window.kernel, channels, images, *window.output), dtype)
        return columns.transpose(3, 4, 5, 0, 1, 2)

    def im2col(self, x, window: Window, out):
        padded, (sh, sw) = self._padded(x, window), window.stride
        n, i, j, c = padded.strides
        strides = n, i * sh, j * sw, i, j, c
        # What as_strided makes, in a tenth of the time.
        np.copyto(out, np.ndarray(out.shape, padded.dtype, padded, strides=strides))

    def _padded(self, x, window: Window):
        (ph, pw), (h, w) = window.padding, window.image
        if ph == pw == 0:
            return np.ascontiguousarray(x)
        images, _, _, channels = x.shape
        padded = np.empty((images, h + 2 * ph, w + 2 * pw, channels), x.dtype)
        padded[:, :ph] = padded[:, ph + h :] = 0
        padded[:, :, :pw] = padded[:, :, pw + w :] = 0
        padded[:, ph : ph + h, pw : pw + w] = x
        return padded

    def col2im(self, columns, window: Window, out):
        """Whole s×s blocks of taps are added at once: (k/s)² additions instead of k²."""
        (kh, kw), (sh, sw), (ph, pw) = window.kernel, window.stride, window.padding
        (h, w), (oh, ow), (rh, rw) = window.image, window.output, window.reach
        images, channels = len(columns), columns.shape[-1]
        rows, cols = -(-max(rh, ph + h) // sh), -(-max(rw, pw + w) // sw)
        if channels > 1:
            blocks = np.empty((images, rows, sh, cols, sw, channels), columns.dtype)
        else:  # in the memory order of one-channel columns; see `columns`
            blocks = np.empty((sh, sw, channels, images, rows, cols), columns.dtype)
            blocks = blocks.transpose(3, 4, 0, 5, 1, 2)
        blocks[:, oh:] = blocks[:, :, kh:] = 0  # what the first block of taps leaves out
        blocks[:, :, :, ow:] = blocks[:, :, :, :, kw:] = 0
        for a in range(0, kh, sh):
            for b in range(0, kw, sw):
                taps = columns[:, :, :, a : a + sh, b : b + sw].transpose(0, 1, 3, 2, 4, 5)
                i, j, (_, _, u, _, v, _) = a // sh, b // sw, taps.shape
                place = blocks[:, i : i + oh, :u, j : j + ow, :v]
                if a == b == 0:
                    place[...] = taps
                else:
                    place += taps
        padded = blocks.reshape(images, rows * sh, cols * sw, channels)
        out[...] = padded[:, ph : ph + h, pw : pw + w]


BITS = {size: np.dtype(f"i{size}") for size in (1, 2, 4, 8)}  # numbers of so many bytes as integers

# How many rows one product may add up in float32, for a relative error of 1e-5 at most where all
# are alike, which is the worst case. It depends on which kernel OpenBLAS takes: one column is a
# scalar product, with many sums side by side; two or three columns are added row by row.
LONGEST = 4096
LONGEST_OF_FEW = {1: 65_536, 2: 1024, 3: 1024}


@functools.lru_cache(maxsize=64)
def _ones(n, dtype):
    return np.ones(n, dtype)


def _column_sums(rows):
    """1ᵀ rows. Long columns are cut into parts, which are added up side by side, then likewise.

    Many parts of few rows make both sums short, and keep what is being added up in the first-level
    cache, so that it costs nothing; see LONGEST.
    """
    count, columns = rows.shape
    if count <= LONGEST_OF_FEW.get(columns, LONGEST):
        return _ones(count, rows.dtype).dot(rows)
    parts = min(1024, 4 * math.isqrt(count))
    each, rest = divmod(count, parts)
    whole = rows[:-rest] if rest else rows
    sums = _ones(parts, rows.dtype).dot(whole.reshape(parts, each * columns))
    total = _column_sums(sums.reshape(each, columns))
    return total + _ones(rest, rows.dtype).dot(rows[-rest:]) if rest else total


def _inner_axes(x, axis):
    """(first, last + 1) of the axes, if a sum runs over neighbours, in order, of which none is the
    last axis, of an array of floats that isn't stored by columns; None if not.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or axes[0] is None or x.dtype.kind != "f" or not x.size:
        return None
    first, last = axes[0], axes[-1] + 1
    fits = first >= 0 and last < x.ndim and axes == tuple(range(first, last))
    return (first, last) if fits and not x.flags.fnc else None


def _in_memory_order(x, axis) -> bool:
    """Whether what a sum runs over lies together in memory, so that NumPy adds it in pairs."""
    if axis is None:
        return x.flags.forc
    axes = {a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    last, first = set(range(x.ndim - len(axes), x.ndim)), set(range(len(axes)))
    return (x.flags.c_contiguous and axes == last) or (x.flags.f_contiguous and axes == first)


keep_freed_memory()
cpu = Host()

# Reductions on the CPU return NumPy scalars, which count as 0-d arrays everywhere in minigan.
_INTEGERS = [np.dtype(code).type for code in np.typecodes["AllInteger"]]
HOST_TYPES = np.ndarray, np.float32, np.float64, np.bool_, *_INTEGERS
