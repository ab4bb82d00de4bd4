"""The contract of a device: what every device must do, each kernel as the mathematics that it is.

A `Backend` is one device: its array namespace, its random numbers, its transfers, and the few
array kernels that are worth writing per device. The CPU's way of keeping the contract is in
`host.py`, the form to be read first; the GPU's is in `cuda.py`.

How to add a kernel:
1. State it here as an abstract method: its mathematics, its shapes, what may be overwritten.
2. Write it for the CPU in `host.py`, in NumPy, as plainly as its speed allows.
3. Write it for the GPU in `kernels.cu`, under its index map, and launch it in `cuda.py`.
4. Hold it against a plain loop in `tests/backend/test_kernels.py`, which runs on every device.
5. Call it by `x.backend.name(…)` in an operation, whose gradient is checked like any other's.
A device that lacks a kernel of the contract can't be made: no method of another runs by accident.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from minigan.system import world
from minigan.system.parallel import World

ALONE = World()  # for what is computed from a rank's own rows, however many ranks there are


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
        sides = zip(self.output, self.stride, self.kernel, strict=True)
        return tuple((o - 1) * s + k for o, s, k in sides)

    @property
    def turned(self) -> Window | None:
        """The window from the output's side, at stride 1: input pixel (i, j) is read by the output
        pixels (i + p − u, j + p − v). None if the stride isn't 1, or the padding beyond k − 1.
        """
        (kh, kw), (ph, pw) = self.kernel, self.padding
        if self.stride != (1, 1) or ph >= kh or pw >= kw:
            return None
        padding = kh - 1 - ph, kw - 1 - pw
        return Window(self.kernel, self.stride, padding, self.output, self.image)


class Generator(ABC):
    """Random numbers on a device, drawn in the dtype that is asked for.

    A generator is always passed or owned, never global: one seed gives one run. Its `backend` is
    the device on which it draws.
    """

    @abstractmethod
    def normal(self, shape, dtype="float32"):
        """N(0, 1) samples, an array of `shape` in float32 or float64."""

    @abstractmethod
    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        """Samples uniform on [low, high), up to rounding: `shape`, in float32 or float64."""

    @abstractmethod
    def integers(self, low, high, shape):
        """int64 samples uniform on {low, …, high − 1}, an array of `shape`."""

    @abstractmethod
    def permutation(self, n):
        """The numbers 0 … n − 1 in random order, int64 of shape (n,)."""

    def spawn(self, count, *, shared=()) -> list[Generator]:
        """`count` new generators, statistically independent of this one and of each other.

        shared: the places of those from whose draws each rank takes its rows; see `Share`. Where
        there is one rank, they are as the others.
        """
        places = shared if world().size > 1 else ()
        return [Share(g) if k in places else g for k, g in enumerate(self._spawn(count))]

    @abstractmethod
    def _spawn(self, count) -> list[Generator]:
        """Those that draw for all ranks."""

    @abstractmethod
    def state(self) -> dict:
        """All that is needed to continue the stream, as JSON values (not how often it spawned)."""

    @abstractmethod
    def load_state(self, state: dict):
        """Continues the stream that `state()` was taken from; ValueError if it is foreign.

        A stream from another device can't be continued: a new one begins, fixed by that state.
        """

    @property
    def whole(self) -> Generator:
        """The generator that draws for all ranks; see `Share`."""
        return self


class Share(Generator):
    """A generator whose draws are this rank's rows of a draw for all ranks.

    Asked for n rows, it draws size · n from a stream that is the same on every rank, and keeps
    those that are this rank's. So any number of ranks sees the numbers that one alone would see,
    in whatever batches, and a run can go on with another number of them. What is thrown away costs
    some 8 ns a number. The first axis of a draw counts samples; a single number, and a permutation,
    are the same on all ranks.
    """

    def __init__(self, generator: Generator):
        self._whole, self.backend = generator.whole, generator.backend

    @property
    def whole(self):
        return self._whole

    def normal(self, shape, dtype="float32"):
        return self._rows(shape, lambda shape: self._whole.normal(shape, dtype))

    def uniform(self, shape, low=0.0, high=1.0, dtype="float32"):
        return self._rows(shape, lambda shape: self._whole.uniform(shape, low, high, dtype))

    def integers(self, low, high, shape):
        return self._rows(shape, lambda shape: self._whole.integers(low, high, shape))

    def _rows(self, shape, draw):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not shape:
            return draw(shape)
        n = shape[0] * world().size
        return draw((n, *shape[1:]))[world().part(n)]

    def permutation(self, n):
        return self._whole.permutation(n)

    def _spawn(self, count):
        return [Share(child) for child in self._whole.spawn(count)]

    def state(self) -> dict:
        return self._whole.state()

    def load_state(self, state: dict):
        self._whole.load_state(state)


def seed_from(state: dict) -> int:
    """A seed that depends on all of a generator's state."""
    text = json.dumps(state, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


class Backend(ABC):
    """One device.

    Attributes: `name` ("cpu", "cuda"), `xp`, the array namespace (NumPy's API), `precision`
    ("float32", or "tf32" where a device has it) of matrix products, COLUMN_BYTES, how large the
    columns of one chunk of images may be (see `engine/conv.py`), and from where on other forms of a
    convolution are faster, if they ever are: BLOCKWISE_SIDE pixels before it is transposed, and
    WINOGRAD_CHANNELS for `engine/winograd.py`.
    """

    name: str
    precision = "float32"
    COLUMN_BYTES: int
    BLOCKWISE_SIDE = math.inf
    WINOGRAD_CHANNELS = math.inf

    def __repr__(self):
        return f"<minigan backend {self.name}>"

    def __reduce__(self):
        """A device is not copied with what lives on it, nor pickled: it is asked for by name."""
        from minigan.backend import get_backend

        return get_backend, (self.name,)

    # --- Arrays ---

    @abstractmethod
    def enter(self):
        """Makes the device ready for the thread that calls; `get_backend` does."""

    def asarray(self, values, dtype=None):
        """`values` (a host array, a nested list, a number) as an array on this device."""
        return self.xp.asarray(values, dtype=dtype)

    @abstractmethod
    def constant(self, values, dtype="float32"):
        """Host values that are the same every time, as an array here; sent to a device once."""

    @abstractmethod
    def to_numpy(self, array):
        """A NumPy array with the values of a device array; waits for the device."""

    @abstractmethod
    def empty(self, shape, dtype):
        """An array that holds anything. DeviceError if a device has no room for it."""

    @abstractmethod
    def generator(self, seed) -> Generator:
        """A random generator on this device; `seed` is an int or a sequence of ints."""

    @abstractmethod
    def sum(self, x, axis=None, keepdims=False):
        """Σ x over `axis`. Float32 of one sign adds up to five digits, however many there are."""

    @abstractmethod
    def matmul(self, a, b, out=None):
        """a b, for (stacks of) matrices."""

    @abstractmethod
    def broadcast_to(self, x, shape):
        """x repeated to `shape`, as a view that is not to be written to."""

    @abstractmethod
    def check_range(self, what, values, size):
        """ValueError unless all of the integers `values` are from 0 to size − 1.

        A device on which to look would be to wait says nothing.
        """

    def scatter_add(self, shape, index, values):
        """Zeros of `shape` with `values` added at `index`, repeated indices included."""
        out = self.xp.zeros(shape, values.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts):
            out[index] = values  # by NumPy's basic indexing no element is named twice
        else:
            self.xp.add.at(out, index, values)
        return out

    # --- A training step that can be replayed ---

    @abstractmethod
    def capture(self, step):
        """`step`, a function without arguments, in the form in which this device runs it fastest.

        Every call is one step. A device that can, records the step once and then replays it
        without Python; the CPU calls the function. So a step must do the same at every call: a
        Python number that varies would stay what it was, unless it goes through `live`.
        """

    @abstractmethod
    def host(self, work):
        """Does `work()`: what the host has to do once per step, also when the step is replayed."""

    @abstractmethod
    def live(self):
        """Room for a few numbers that change from step to step: live.set(a, b), live[0] …

        On a device that replays captured steps they are memory of the device, because a number in
        Python would be the same in every replay.
        """

    @abstractmethod
    def log(self, columns: int):
        """A log of rows with that many scalars, kept until somebody looks.

        log.append(scalars) takes a row of 0-d arrays of this device, len(log) counts the rows since
        the last look, and log.drain() is that look: float64 (rows, columns); waits for the device.
        """

    @abstractmethod
    def synchronize(self):
        """Waits until the device has done all it was told to do."""

    # --- Kernels ---

    @abstractmethod
    def to_unit(self, images, index=None):
        """Bytes to what a network sees, float32 in [−1, 1]; all images, or those at `index`.

        TypeError unless the images are uint8, ValueError unless the index counts from 0 to n − 1.
        """

    @abstractmethod
    def sigmoid(self, x):
        """1 / (1 + e⁻ˣ), exact for any x."""

    @abstractmethod
    def softplus(self, x):
        """ln(1 + eˣ), exact for any x."""

    @abstractmethod
    def rectify(self, x, slope):
        """x where x > 0, slope · x elsewhere."""

    @abstractmethod
    def rectify_grad(self, g, y, slope):
        """g where y > 0, slope · g elsewhere."""

    def step_function(self, y, low):
        """1 where y > 0, `low` elsewhere."""
        step = (y > 0).astype(y.dtype)
        if low:
            step *= 1.0 - low
            step += low
        return step

    @abstractmethod
    def select(self, condition, x):
        """x where `condition` holds, 0 elsewhere, whatever x is there: ∞ · 0 would be NaN."""

    @abstractmethod
    def normalize(self, x, scale, shift, axes, eps, across=ALONE):
        """y = γ (x − μ) / √(σ² + ε) + β, with μ and σ² over `axes`; γ and β (or None) vary only
        behind these. Returns y, μ, σ² and `kept`, what the gradient will be computed from.

        μ and σ² are also over the ranks of the world `across`, which have as many values each.
        """

    @abstractmethod
    def normalize_sums(self, g, kept, mu, axes):
        """Σ g and Σ g (x − μ) over `axes`."""

    @abstractmethod
    def normalize_scale_grad(self, sums, variance, eps):
        """The gradient in γ, Σ g x̂."""

    @abstractmethod
    def normalize_grad(self, g, kept, mu, variance, scale, sums, axes, eps):
        """The gradient in x, γ r (g − mean g − (x − μ) r² mean(g (x − μ))), r = 1/√(σ² + ε).

        `sums`: of `normalize_sums`, or their mean over the ranks that μ and σ² were over.
        """

    @abstractmethod
    def normalize_input(self, kept, mu):
        """x again, from what was kept of it."""

    @abstractmethod
    def optimize(self, rule, theta, g, moments):
        """Lets an optimiser's rule update flat arrays in place; g may be overwritten."""

    @abstractmethod
    def average(self, average, source, live):
        """a ← a + (1 − b) (θ − a), in place; live[0] is 1 − b."""

    @abstractmethod
    def track(self, running, x, momentum, factor=1.0):
        """running ← (1 − momentum) running + momentum · factor · x, in place."""

    # --- Convolution ---

    def chunks(self, images, window: Window, channels, itemsize):
        """Slices that cover range(images), each with columns of at most COLUMN_BYTES."""
        positions = window.output[0] * window.output[1]
        taps = window.kernel[0] * window.kernel[1] * channels
        most = max(1, self.COLUMN_BYTES // (positions * taps * itemsize))
        count = -(-images // most)
        step = -(-images // count) if count else 1  # equal shares: a small rest would be slow
        for start in range(0, images, step):
            yield slice(start, min(start + step, images))

    @abstractmethod
    def columns(self, images, window: Window, channels, dtype):
        """An uninitialised array columns[n, i, j, u, v, c] of the pixels under each window.

        Reshaped to (n·i·j, u·v·c) it is a matrix without a copy.
        """

    @abstractmethod
    def im2col(self, x, window: Window, out):
        """out[n, i, j, u, v, c] = x[n, i·s − p + u, j·s − p + v, c], zero outside the image."""

    @abstractmethod
    def col2im(self, columns, window: Window, out):
        """out[n, i·s − p + u, j·s − p + v, c] = Σ columns[n, i, j, u, v, c], the adjoint."""


def size_over(shape, axes) -> int:
    """How many values of an array of `shape` are summed over `axes`."""
    return math.prod(shape[axis] for axis in axes)


def check_bytes(images):
    """TypeError unless images are uint8: any other number would be scaled to something else."""
    if images.dtype != "uint8":
        raise TypeError(f"to_unit: images are {images.dtype}, expected uint8, from 0 to 255")
