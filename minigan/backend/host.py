"""The CPU, on NumPy; and with it what a device has to offer.

A `Backend` is one device: its array namespace, its random numbers, its transfers, and the few
array kernels that are worth writing per device. They stand here in the form to be read first.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import math
import os
import platform
from typing import NamedTuple

import numpy as np


class DeviceError(RuntimeError):
    """A device was asked for that is not there, or two devices met in one operation."""


class CaptureError(RuntimeError):
    """A training step does something that can't be recorded and replayed."""


class Window(NamedTuple):
    """The geometry of a convolution: which input pixels each output pixel looks at.

    Output pixel (i, j) reads input pixels (i·s − p + u, j·s − p + v) for 0 ≤ (u, v) < kernel.
    Every field is a (vertical, horizontal) pair of pixel counts.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]

    @property
    def reach(self) -> tuple[int, int]:
        """How many padded pixels the windows cover, (o − 1)·s + k, per direction."""
        return tuple(
            (o - 1) * s + k for o, s, k in zip(self.output, self.stride, self.kernel, strict=True)
        )


class Generator:
    """Random numbers on the CPU: NumPy's PCG64, drawn in the dtype that is asked for.

    A generator is always passed or owned, never global: one seed gives one run.
    """

    def __init__(self, backend: Backend, seed):
        self.backend = backend
        self._numpy = np.random.Generator(np.random.PCG64(seed))

    def normal(self, shape, dtype="float32"):
        """N(0, 1) samples, an array of `shape` in float32 or float64."""
        return self._numpy.standard_normal(shape, dtype=np.dtype(dtype).type)

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        """Samples uniform on [low, high), up to rounding: `shape`, in float32 or float64."""
        unit = self._numpy.random(shape, dtype=np.dtype(dtype).type)
        return unit * float(high - low) + float(low)

    def integers(self, low, high, shape):
        """int64 samples uniform on {low, …, high − 1}, an array of `shape`."""
        return self._numpy.integers(low, high, shape)

    def permutation(self, n):
        """The numbers 0 … n − 1 in random order, int64 of shape (n,)."""
        return self._numpy.permutation(n)

    def spawn(self, count) -> list[Generator]:
        """`count` new generators, statistically independent of this one and of each other."""
        children = self._numpy.bit_generator.seed_seq.spawn(count)
        return [Generator(self.backend, child) for child in children]

    def state(self) -> dict:
        """All that is needed to continue the stream, as JSON values (not how often it spawned)."""
        return self._numpy.bit_generator.state

    def load_state(self, state: dict):
        """Continues the stream that `state()` was taken from; ValueError if it is foreign.

        A stream from another device can't be continued: a new one begins, fixed by that state.
        """
        if isinstance(state, dict) and state.get("bit_generator") == "Philox4x32":
            self._numpy = np.random.Generator(np.random.PCG64(seed_from(state)))
            return
        try:
            self._numpy.bit_generator.state = state
        except (TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"not a PCG64 state: {state!r}") from error


def seed_from(state: dict) -> int:
    """A seed that depends on all of a generator's state."""
    text = json.dumps(state, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


class Live:
    """A few numbers that change from step to step, such as a learning rate: live[0], live[1], …

    Here they are Python numbers. On a device that replays captured steps they are memory of the
    device, because a number in Python would be the same in every replay.
    """

    def __init__(self):
        self._values = ()

    def set(self, *values: float):
        self._values = values

    def __getitem__(self, index):
        return self._values[index]


class Log:
    """Rows of scalars, kept until somebody looks; here with all their digits."""

    def __init__(self):
        self._rows = []

    def __len__(self):
        return len(self._rows)

    def append(self, scalars):
        """One row: 0-d arrays of this device."""
        self._rows.append(scalars)

    def drain(self) -> np.ndarray:
        """All rows since the last look, float64 (rows, columns); waits for the device."""
        rows, self._rows = self._rows, []
        return np.array([[float(x) for x in row] for row in rows])


class Backend:
    """The CPU, and the base of every other device.

    Attributes: `name` ("cpu", "cuda") and `xp`, the array namespace (NumPy's API).
    """

    name = "cpu"
    xp = np
    precision = "float32"  # of matrix products

    # The columns of one chunk of images stay in the cache until the matrix product has read
    # them; see `conv.py`.
    COLUMN_BYTES = 2 << 20
    # An optimiser's five vectors, a block at a time, stay in the second-level cache.
    OPTIMIZER_BLOCK = 32 * 1024

    def __repr__(self):
        return f"<minigan backend {self.name}>"

    def __reduce__(self):
        """A device is not copied with what lives on it, nor pickled: it is asked for by name."""
        from minigan.backend import get_backend

        return get_backend, (self.name,)

    def enter(self):
        """Makes the device ready for the thread that calls; `get_backend` does."""

    def asarray(self, values, dtype=None):
        """`values` (a host array, a nested list, a number) as an array on this device."""
        return self.xp.asarray(values, dtype=dtype)

    def constant(self, values, dtype="float32"):
        """Host values that are the same every time, as an array here; sent to a device once."""
        return np.asarray(values, dtype)

    def to_numpy(self, array) -> np.ndarray:
        """A NumPy array with the values of a device array; here the very same memory."""
        return np.asarray(array)

    def empty(self, shape, dtype):
        """An array that holds anything. DeviceError if a device has no room for it."""
        return np.empty(shape, dtype)

    def generator(self, seed) -> Generator:
        """A random generator on this device; `seed` is an int or a sequence of ints."""
        return Generator(self, seed)

    def sum(self, x, axis=None, keepdims=False):
        """Σ x over `axis`. Float32 of one sign adds up to five digits, however many there are.

        A sum over neighbouring axes, but not the last one, is a product 1ᵀ x: BLAS is 4 times
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
        """a b, for (stacks of) matrices. With nothing to sum over, BLAS is 20 times slower."""
        if a.shape[-1] == 1 and out is None:
            return a * b
        return np.matmul(a, b, out=out)

    def broadcast_to(self, x, shape):
        """x repeated to `shape`, as a view that is not to be written to."""
        if x.size == 1:  # the same array as below, made in a quarter of the time
            return np.ndarray(shape, x.dtype, x, strides=(0,) * len(shape))
        return np.broadcast_to(x, shape)

    def check_range(self, what, values, size):
        """ValueError unless all of the integers `values` are from 0 to size − 1."""
        if values.size and not (values.min() >= 0 and values.max() < size):
            raise ValueError(
                f"{what} run from {values.min()} to {values.max()}, expected 0 to {size - 1}"
            )

    def scatter_add(self, shape, index, values):
        """Zeros of `shape` with `values` added at `index`, repeated indices included."""
        out = self.xp.zeros(shape, values.dtype)
        if _is_basic(index):
            out[index] = values
        else:
            self.xp.add.at(out, index, values)
        return out

    # --- A training step that can be replayed ---

    def capture(self, step):
        """`step`, a function without arguments, in the form in which this device runs it fastest.

        Every call is one step. A device that can, records the step once and then replays it
        without Python; the CPU calls the function. So a step must do the same at every call: a
        Python number that varies would stay what it was, unless it goes through `live`.
        """
        return step

    def host(self, work):
        """Does `work()`: what the host has to do once per step, also when the step is replayed."""
        work()

    def live(self) -> Live:
        """Room for numbers that change from step to step."""
        return Live()

    def log(self, columns: int) -> Log:
        """A log of rows with that many scalars."""
        return Log()

    def synchronize(self):
        """Waits until the device has done all it was told to do."""

    # --- Kernels ---

    def to_unit(self, images, index=None):
        """Bytes to what a network sees, float32 in [−1, 1]; all images, or those at `index`.

        TypeError unless the images are uint8, ValueError unless the index counts from 0 to n − 1.
        """
        check_bytes(images)
        if index is not None:
            self.check_range("to_unit: indices", index, len(images))
        unit = (images if index is None else images.take(index, axis=0)).astype("float32")
        unit /= 127.5
        unit -= 1
        return unit

    def sigmoid(self, x):
        """1 / (1 + e⁻ˣ). No exponent is positive: e^min(x, 0) / (1 + e^−|x|) is the same."""
        return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))

    def softplus(self, x):
        """ln(1 + eˣ) as max(x, 0) + ln(1 + e^−|x|), exact for any x."""
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def rectify(self, x, slope):
        """x where x > 0, slope · x elsewhere."""
        if not slope:
            return np.maximum(x, np.zeros(x.shape[-1:], x.dtype))  # a row is faster than a number
        y = np.asarray(x * slope)
        return np.maximum(x, y, out=y)

    def select(self, condition, x):
        """x where `condition` holds, 0 elsewhere. A product with 0 and 1 would make NaN of ∞ · 0.

        `np.where` is 20 times slower on a long condition without order; then it is the bits of x,
        read as an integer, that are multiplied.
        """
        if x.size <= FEW:
            return np.where(condition, x, _zero(x.dtype))
        bits = f"i{x.itemsize}"
        chosen = condition.astype(bits)
        if chosen.shape != x.shape:
            return (chosen * x.view(bits)).view(x.dtype)
        chosen *= x.view(bits)
        return chosen.view(x.dtype)

    def rectify_grad(self, g, y, slope):
        """g where y > 0, slope · g elsewhere. Arithmetic is far cheaper here than `where`."""
        if not slope:
            return self.select(y > 0, g)
        step = self.step_function(y, slope)
        step *= g
        return step

    def step_function(self, y, low):
        """1 where y > 0, `low` elsewhere."""
        step = (y > 0).astype(y.dtype)
        if low:
            step *= 1.0 - low
            step += low
        return step

    def normalize(self, x, scale, shift, axes, eps):
        """y = γ (x − μ) / √(σ² + ε) + β, with μ and σ² over `axes`; γ and β (or None) vary only
        behind these. Returns y, μ, σ² and `kept`, what the gradient will be computed from.
        """
        share = 1 / size_over(x.shape, axes)
        mu = self.sum(x, axes, True) * share
        centred = x - mu
        variance = self.sum(centred * centred, axes, True) * share
        k = 1 / np.sqrt(variance + eps)
        y = centred * (k if scale is None else k * scale)
        if shift is not None:
            y += shift
        return y, mu, variance, centred

    def normalize_sums(self, g, kept, mu, axes):
        """Σ g and Σ g (x − μ) over `axes`."""
        return self.sum(g, axes, True), self.sum(g * kept, axes, True)

    def normalize_scale_grad(self, sums, variance, eps):
        """The gradient in γ, Σ g x̂."""
        return sums[1] / np.sqrt(variance + eps)

    def normalize_grad(self, g, kept, mu, variance, scale, sums, axes, eps):
        """The gradient in x, γ r (g − mean g − (x − μ) r² mean(g (x − μ))), r = 1/√(σ² + ε)."""
        share = 1 / size_over(g.shape, axes)
        total, along = sums
        r = 1 / np.sqrt(variance + eps)
        part = kept * (along * r**2 * share)
        part += total * share
        np.subtract(g, part, out=part)
        part *= r if scale is None else r * scale
        return part

    def normalize_input(self, kept, mu):
        """x again: to keep it as well would cost an array per layer."""
        return kept + mu

    def optimize(self, rule, theta, g, moments):
        """Lets an optimiser's rule update flat arrays, in blocks that fit the cache."""
        for block in self.blocks(theta.size):
            rule.update(theta[block], g[block], *(moment[block] for moment in moments))

    def average(self, average, source, live):
        """a ← a + (1 − b) (θ − a), in place; live[0] is 1 − b."""
        for block in self.blocks(len(average)):
            average[block] += live[0] * (source[block] - average[block])

    def track(self, running, x, momentum, factor=1.0):
        """running ← (1 − momentum) running + momentum · factor · x, in place."""
        running *= 1 - momentum
        running += x.reshape(-1) * (momentum * factor)

    def blocks(self, size):
        """Slices that cover range(size), each small enough for an optimiser's cache."""
        for start in range(0, size, self.OPTIMIZER_BLOCK):
            yield slice(start, start + self.OPTIMIZER_BLOCK)

    def chunks(self, images, window: Window, channels, itemsize):
        """Slices that cover range(images), each with columns of at most COLUMN_BYTES."""
        positions = window.output[0] * window.output[1]
        taps = window.kernel[0] * window.kernel[1] * channels
        most = max(1, self.COLUMN_BYTES // (positions * taps * itemsize))
        count = -(-images // most)
        step = -(-images // count) if count else 1  # equal shares: a small rest would be slow
        for start in range(0, images, step):
            yield slice(start, min(start + step, images))

    def columns(self, images, window: Window, channels, dtype):
        """An uninitialised array columns[n, i, j, u, v, c] of the pixels under each window.

        Reshaped to (n·i·j, u·v·c) it is a matrix without a copy. With one channel the pixels of
        a row are not neighbours in memory, so there (u, v) vary slowest instead of fastest.
        """
        (kh, kw), (oh, ow) = window.kernel, window.output
        if channels > 1:
            return np.empty((images, oh, ow, kh, kw, channels), dtype)
        return np.empty((kh, kw, channels, images, oh, ow), dtype).transpose(3, 4, 5, 0, 1, 2)

    def im2col(self, x, window: Window, out):
        """out[n, i, j, u, v, c] = x[n, i·s − p + u, j·s − p + v, c], zero outside the image."""
        (kh, kw), (sh, sw), (oh, ow) = window.kernel, window.stride, window.output
        padded = self._padded(x, window)
        images, _, _, channels = padded.shape
        n, i, j, c = padded.strides
        windows = np.ndarray(  # what as_strided makes, in a tenth of the time
            (images, oh, ow, kh, kw, channels),
            padded.dtype,
            padded,
            strides=(n, i * sh, j * sw, i, j, c),
        )
        np.copyto(out, windows)

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
        """out[n, i·s − p + u, j·s − p + v, c] = Σ columns[n, i, j, u, v, c], the adjoint."""
        (kh, kw), (sh, sw), (ph, pw) = window.kernel, window.stride, window.padding
        (h, w), (oh, ow), (rh, rw) = window.image, window.output, window.reach
        images, channels = len(columns), columns.shape[-1]
        if kh % sh == 0 and kw % sw == 0:
            padded = self._add_blocks(columns, window)
        else:
            padded = np.zeros((images, max(rh, ph + h), max(rw, pw + w), channels), out.dtype)
            for u in range(kh):
                for v in range(kw):
                    padded[:, u : u + sh * oh : sh, v : v + sw * ow : sw] += columns[:, :, :, u, v]
        out[...] = padded[:, ph : ph + h, pw : pw + w]

    def _add_blocks(self, columns, window: Window):
        """The same sum when s divides k: whole s×s blocks at once, (k/s)² additions, not k²."""
        (kh, kw), (sh, sw), (ph, pw) = window.kernel, window.stride, window.padding
        (h, w), (oh, ow), (rh, rw) = window.image, window.output, window.reach
        images, channels = len(columns), columns.shape[-1]
        rows = -(-max(rh, ph + h) // sh)
        cols = -(-max(rw, pw + w) // sw)
        if channels > 1:
            padded = np.empty((images, rows, sh, cols, sw, channels), columns.dtype)
        else:  # in the memory order of one-channel columns; see `columns`
            padded = np.empty((sh, sw, channels, images, rows, cols), columns.dtype)
            padded = padded.transpose(3, 4, 0, 5, 1, 2)
        padded[:, oh:] = 0
        padded[:, :, :, ow:] = 0
        for a in range(kh // sh):
            for b in range(kw // sw):
                block = columns[:, :, :, a * sh : (a + 1) * sh, b * sw : (b + 1) * sw]
                block = block.transpose(0, 1, 3, 2, 4, 5)
                if a == b == 0:
                    padded[:, :oh, :, :ow] = block
                else:
                    padded[:, a : a + oh, :, b : b + ow] += block
        return padded.reshape(images, rows * sh, cols * sw, channels)


# How many rows one product may add up in float32, for a relative error of 1e-5 at most where all
# are alike, which is the worst case. It depends on which kernel OpenBLAS takes: one column is a
# scalar product, with many sums side by side; two or three columns are added row by row.
LONGEST = 4096
LONGEST_OF_FEW = {1: 65_536, 2: 1024, 3: 1024}


FEW = 2048  # values that are selected one by one


@functools.cache
def _zero(dtype):
    return np.zeros((), dtype)


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


def size_over(shape, axes) -> int:
    """How many values of an array of `shape` are summed over `axes`."""
    return math.prod(shape[axis] for axis in axes)


def check_bytes(images):
    """TypeError unless images are uint8: any other number would be scaled to something else."""
    if images.dtype != "uint8":
        raise TypeError(f"to_unit: images are {images.dtype}, expected uint8, from 0 to 255")


def _is_basic(index) -> bool:
    """Whether NumPy's basic indexing applies, under which no element is named twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts)


def _keep_freed_memory():
    """Asks glibc to reuse large blocks that were freed instead of returning them to the system.

    A training step frees and allocates the same few megabytes over and over; as shipped, glibc
    unmaps each of them and the next step pays a page fault for every 4 KiB. Raising both
    thresholds together removes some ten thousand faults a step. MINIGAN_MALLOC=off declines.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("MINIGAN_MALLOC") == "off":
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(mmap_threshold, 32 << 20)  # glibc accepts no more than 32 MiB
    mallopt(trim_threshold, 1 << 30)


_keep_freed_memory()
cpu = Backend()

# Reductions on the CPU return NumPy scalars, which count as 0-d arrays everywhere in minigan.
HOST_TYPES = (
    *(np.ndarray, np.float32, np.float64, np.bool_),
    *(np.dtype(code).type for code in np.typecodes["AllInteger"]),
)
