"""The GPU, on CuPy: the one file that knows it.

The arrays' arithmetic is CuPy's, which has NumPy's names. What this file adds is what makes a GPU
fast: kernels that do in one pass what NumPy does in five (`kernels.cu`), random numbers that a
kernel makes out of a counter (`philox.py`), matrix products that can be recorded (`cublas.py`), and
whole training steps that are recorded once and replayed without Python (`capture.py`). Where there
are several ranks, each has a GPU (`nccl.py`).

All work goes to one stream, which is made the current one, so that whatever is done in order here
is done in order there. CuPy's current stream belongs to a thread: each thread that computes asks
for the device by `get_backend("cuda")` first.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
from pathlib import Path

import numpy as np

from minigan.backend.base import ALONE, Backend, DeviceError, Window, check_bytes, size_over
from minigan.backend.capture import Captured, DeviceLive, DeviceLog
from minigan.backend.cublas import Cublas, loaded_library
from minigan.backend.nccl import Nccl, own_gpu
from minigan.backend.philox import PhiloxGenerator
from minigan.system import world

THREADS = 256  # in a block
MOST_BLOCKS = 65_535  # the kernels' loops go on from there
WORKSPACE = 32 << 20  # bytes, what NVIDIA recommends for Hopper
SOURCE = Path(__file__).with_name("kernels.cu")
REALS = {"float32": "float", "float64": "double"}  # what kernels.cu is compiled for


# --- Opening the device --------------------------------------------------------------------------


def open_device() -> CudaBackend:
    """The GPU. DeviceError names the first thing that is missing, and the command that mends it."""
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which can't be imported "
            f"({' '.join(str(error).split())}): pip install 'cupy-cuda13x[ctk]' for a driver of "
            "CUDA 13, 'cupy-cuda12x[ctk]' for CUDA 12 (nvidia-smi says which)"
        ) from error
    check(cupy)
    return CudaBackend(cupy, products)


def products(backend: CudaBackend) -> Cublas:
    """cuBLAS on the backend's stream, with memory of its own."""
    workspace = backend.workspace.data.ptr, WORKSPACE
    return Cublas(loaded_library(), backend.stream.ptr, workspace)


def check(cupy):
    """DeviceError if driver, GPU or a CUDA library is missing."""
    runtime = cupy.cuda.runtime
    try:
        driver = runtime.driverGetVersion()
    except RuntimeError:
        driver = 0
    if driver == 0:
        raise DeviceError(
            "device 'cuda': no NVIDIA driver: install it (on Ubuntu: sudo ubuntu-drivers install), "
            "or use --device cpu"
        )
    built_for = runtime.runtimeGetVersion() // 1000
    try:
        count, reason = runtime.getDeviceCount(), ""
    except RuntimeError as error:
        count, reason = 0, f" ({' '.join(str(error).split())})"
    if "InsufficientDriver" in reason:
        raise DeviceError(
            f"device 'cuda': this CuPy is for CUDA {built_for}, the driver for CUDA "
            f"{driver // 1000}: pip uninstall cupy-cuda{built_for}x, then pip install "
            f"'cupy-cuda{driver // 1000}x[ctk]'"
        )
    if count == 0:
        raise DeviceError(
            f"device 'cuda': the driver finds no GPU{reason}: see nvidia-smi, or use --device cpu"
        )
    _check_libraries(cupy, built_for)


def _check_libraries(cupy, version: int):
    try:
        one = cupy.ones((2, 2), "float32")
        float(cupy.matmul(one, one).sum())  # loads cuBLAS
        _compiled(cupy, "float").get_function("rectify")  # NVRTC
    except (ImportError, RuntimeError) as error:
        raise DeviceError(
            f"device 'cuda': a CUDA library is missing ({' '.join(str(error).split())}): "
            f"pip install 'cupy-cuda{version}x[ctk]'"
        ) from error
    except MemoryError as error:
        raise DeviceError(f"device 'cuda': its memory is full ({error}): see nvidia-smi") from error


def _compiled(cupy, real):
    """kernels.cu for one type of real numbers; compiled, or found in CuPy's cache, at first use."""
    source = SOURCE.read_text(encoding="utf-8")
    return cupy.RawModule(code=source, options=("-std=c++14", f"-DREAL={real}"))


# --- What the CPU has too ------------------------------------------------------------------------


class ThreadState(threading.local):
    """What the device remembers for each thread by itself."""

    entered = False  # whether the stream is this thread's current one
    captured = None  # the Captured whose recording is under way
    watched = None  # a list of what is launched, while somebody compares


class CudaBackend(Backend):
    """One GPU. `precision` is "float32", or "tf32": products of inputs rounded to 10 bits, faster.

    cupy:     the module, or what stands in for it in a test
    products: a function of the backend, for the object whose `gemm` multiplies its matrices
    """

    name = "cuda"
    precision = "float32"

    def __init__(self, cupy, products):
        self.xp = self.cupy = cupy
        self.gpu = own_gpu(cupy) if world().size > 1 else None
        self.thread = ThreadState()
        self._constants = {}
        self._pool = cupy.cuda.MemoryPool()
        cupy.cuda.set_allocator(functools.partial(self._allocate, self._pool))
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.enter()
        self.workspace = cupy.empty(WORKSPACE, "uint8")
        self._products = products(self)
        if self.gpu is not None:
            world().join(cupy.ndarray, Nccl(self))

    def enter(self):
        if not self.thread.entered:
            if self.gpu is not None:
                self.cupy.cuda.Device(self.gpu).use()
            self.stream.use()
            self.thread.entered = True

    def constant(self, values, dtype="float32"):
        table = np.asarray(values, dtype)
        key = table.tobytes(), table.shape, dtype
        if key not in self._constants:
            self._constants[key] = self.asarray(table)
        return self._constants[key]

    def to_numpy(self, array) -> np.ndarray:
        """A NumPy array with the values of a device array, as a copy; waits for the device."""
        return self.cupy.asnumpy(array)

    def empty(self, shape, dtype):
        try:
            return self.cupy.empty(shape, dtype)
        except DeviceError as error:  # the allocator knows only how many bytes
            raise DeviceError(f"{np.dtype(dtype).name} array {shape}: {error}") from error

    def generator(self, seed) -> PhiloxGenerator:
        return PhiloxGenerator(self, seed)

    def synchronize(self):
        self.stream.synchronize()

    # Beyond so many numbers a sum in float32 would lose the fifth digit.
    LONGEST = 1 << 15

    def sum(self, x, axis=None, keepdims=False):
        """Σ x over `axis`. CuPy's threads each add a 512th to a 16th of it, one number by one."""
        axes = axis if isinstance(axis, tuple) else range(x.ndim) if axis is None else (axis,)
        if size_over(x.shape, axes) > self.LONGEST and x.dtype == "float32":
            return x.sum(axis=axis, keepdims=keepdims, dtype="float64").astype(x.dtype)
        return x.sum(axis=axis, keepdims=keepdims)

    def broadcast_to(self, x, shape):
        return self.cupy.broadcast_to(x, shape)

    def matmul(self, a, b, out=None):
        """a b. Two matrices, or two stacks of as many, go straight to cuBLAS; whatever else a
        product is of, as of a stack and one matrix, through CuPy, and can't be captured.
        """
        plain = a.ndim == b.ndim in (2, 3) and a.shape[:-2] == b.shape[:-2]
        if not plain or a.dtype.name not in REALS:
            return self.cupy.matmul(a, b, out=out)
        if out is None:
            out = self.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
        if 0 in (*a.shape, *b.shape):
            out.fill(0)
        else:
            self.gemm(self._plain(a), self._plain(b), out)
        return out

    def _plain(self, matrix):
        """The matrix, or a copy by rows if it is stored neither by rows nor by columns.

        Of a stack each matrix is to be stored so, without gaps between them.
        """
        plain = matrix.flags.c_contiguous or matrix.swapaxes(-1, -2).flags.c_contiguous
        return matrix if plain else self._dense(matrix)

    def gemm(self, a, b, out):
        """out = a b, for matrices, or stacks of them, without gaps in memory."""
        self._note("a product of {} and {}", a.shape, b.shape)
        self._products.gemm(a, b, out, tf32=self.precision == "tf32")

    def _note(self, words, *values):
        """What this thread is about to launch. DeviceError if it hasn't asked for the device."""
        thread = self.thread
        if not thread.entered:
            raise DeviceError(
                f"{words.format(*values)}: this thread has not asked for the device, so it would "
                'not wait for the others: call get_backend("cuda") in it first'
            )
        if thread.watched is not None:
            thread.watched.append(words.format(*values))

    # --- Memory ---

    def _allocate(self, pool, size):
        out_of_memory = self.cupy.cuda.memory.OutOfMemoryError
        with contextlib.suppress(out_of_memory):
            return pool.malloc(size)
        if self.thread.captured is None:
            self._pool.free_all_blocks()  # a pool that is full gives back only its own
        try:
            return pool.malloc(size)
        except out_of_memory as error:
            free, total = self.cupy.cuda.runtime.memGetInfo()
            raise DeviceError(
                f"out of device memory: {_mb(size)} asked for, {_mb(pool.used_bytes())} in use, "
                f"{_mb(free)} of {_mb(total)} free: lower --batch or --width"
            ) from error

    # --- Convolution ---

    # One chunk as large as this keeps any GPU busy; smaller batches are done in one go.
    COLUMN_BYTES = 1 << 30

    def columns(self, images, window: Window, channels, dtype):
        (kh, kw), (oh, ow) = window.kernel, window.output
        return self.empty((images, oh, ow, kh, kw, channels), dtype)

    def im2col(self, x, window: Window, out):
        self.launch("im2col", out.size, self._dense(x), out, out.size, *_geometry(x, window))

    def col2im(self, columns, window: Window, out):
        self.launch("col2im", out.size, columns, out, out.size, *_geometry(out, window))

    # --- Kernels ---

    def launch(self, name, work, *arguments, blocks=None, threads=THREADS):
        """Runs the kernel `name` of kernels.cu with a thread for each of `work` items, or fewer.

        Python integers are passed as 64-bit; NumPy scalars as what they are.
        """
        self._note("{} of {:,} elements", name, work)
        if work == 0:
            return
        kinds = {a.dtype for a in arguments if isinstance(a, self.cupy.ndarray)}
        reals = {dtype.name for dtype in kinds if dtype.kind == "f"} or {"float32"}
        if len(reals) > 1 or not reals <= REALS.keys():  # a kernel would write past the end
            got = " and ".join(sorted(reals))
            raise TypeError(f"{name}: got arrays of {got}, want float32 or float64")
        (real,) = reals
        blocks = blocks or min(-(-work // threads), MOST_BLOCKS)
        passed = tuple(np.int64(a) if type(a) is int else a for a in arguments)
        self._kernel(name, real)((blocks,), (threads,), passed)

    @functools.cache  # noqa: B019 (the backend lives as long as the process)
    def _kernel(self, name, dtype):
        return self._module(dtype).get_function(name)

    @functools.cache  # noqa: B019
    def _module(self, dtype):
        return _compiled(self.cupy, REALS[dtype])

    def _dense(self, x):
        """x, or a copy of it without gaps in memory, which is how kernels read."""
        return self.cupy.ascontiguousarray(x)

    def check_range(self, what, values, size):
        """Nothing: to look would be to wait. An index of CuPy's then counts modulo `size`."""

    def select(self, condition, x):
        return self.cupy.where(condition, x, 0)

    def to_unit(self, images, index=None):
        check_bytes(images)
        if index is None:
            index = self.cupy.arange(len(images))
        out = self.empty((len(index), *images.shape[1:]), "float32")
        size = math.prod(images.shape[1:])
        self.launch("gather_images", out.size, images, index, out, size, out.size)
        return out

    def sigmoid(self, x):
        return self._elementwise("sigmoid", x)

    def softplus(self, x):
        return self._elementwise("softplus", x)

    def _elementwise(self, kernel, x):
        x, y = self._dense(x), self.empty(x.shape, x.dtype)
        self.launch(kernel, x.size, x, y, x.size)
        return y

    def rectify(self, x, slope):
        x = self._dense(x)
        y = self.empty(x.shape, x.dtype)
        self.launch("rectify", x.size, x, y, x.dtype.type(slope), x.size)
        return y

    def rectify_grad(self, g, y, slope):
        g, out = self._dense(g), self.empty(y.shape, y.dtype)
        self.launch("rectify_grad", y.size, g, self._dense(y), out, y.dtype.type(slope), y.size)
        return out

    def normalize(self, x, scale, shift, axes, eps, across=ALONE):
        x, (a, b, c), kept_shape = self._dense(x), *_folded(x.shape, axes)
        mu, variance = (self.empty(kept_shape, x.dtype) for _ in range(2))
        slices = _slices(b)
        parts = [self.empty((slices, a, c), x.dtype) for _ in range(2)]
        self.launch("moments_partial", slices * a * c, x, *parts, a, b, c, np.int32(slices))
        self.launch("moments_combine", a * c, *parts, mu, variance, a, b, c, np.int32(slices))
        if across.size > 1:
            mu, variance = _over_ranks(mu, variance, across)
        y = self.empty(x.shape, x.dtype)
        affine = [self._channels(p, x.shape, axes) for p in (scale, shift)]
        self.launch("normalize", x.size, x, mu, variance, *affine, y, x.dtype.type(eps), a, b, c)
        return y, mu, variance, x

    def normalize_sums(self, g, kept, mu, axes):
        g, (a, b, c), kept_shape = self._dense(g), *_folded(g.shape, axes)
        slices = _slices(b)
        parts = [self.empty((slices, a, c), g.dtype) for _ in range(2)]
        work = slices * a * c
        self.launch("normalize_sums", work, g, kept, mu, *parts, a, b, c, np.int32(slices))
        sums = [self.empty(kept_shape, g.dtype) for _ in range(2)]
        for part, total in zip(parts, sums, strict=True):
            self.launch("sum_slices", a * c, part, total, a * c, np.int32(slices))
        return tuple(sums)

    def normalize_scale_grad(self, sums, variance, eps):
        out = self.empty(variance.shape, variance.dtype)
        real = out.dtype.type
        self.launch("normalize_scale_grad", out.size, sums[1], variance, out, real(eps), out.size)
        return out

    def normalize_grad(self, g, kept, mu, variance, scale, sums, axes, eps):
        g, (a, b, c), _ = self._dense(g), *_folded(g.shape, axes)
        out = self.empty(g.shape, g.dtype)
        statistics = mu, variance, self._channels(scale, g.shape, axes), *sums
        self.launch("normalize_grad", g.size, g, kept, *statistics, out, g.dtype.type(eps), a, b, c)
        return out

    def normalize_input(self, kept, mu):
        return kept

    def _channels(self, parameter, shape, axes):
        """γ or β as C numbers, or a null pointer."""
        if parameter is None:
            return np.uint64(0)
        outer = axes[-1] + 1
        return self._dense(self.cupy.broadcast_to(parameter, (1,) * outer + shape[outer:]))

    # --- Optimisers ---

    def optimize(self, rule, theta, g, moments):
        if not rule.kernel:
            rule.update(theta, g, *moments)
            return
        real = theta.dtype.type
        constants = [getattr(rule, name) for name in rule.constants]
        constants = [np.int32(v) if type(v) is bool else real(v) for v in constants]
        arrays = theta, g, *moments, rule.live.array(theta.dtype)
        self.launch(rule.kernel, theta.size, *arrays, *constants, theta.size)

    def average(self, average, source, live):
        self.launch("ema", average.size, average, source, live.array(average.dtype), average.size)

    def track(self, running, x, momentum, factor=1.0):
        real = running.dtype.type
        arguments = running, x, real(momentum), real(factor), running.size
        self.launch("track", running.size, *arguments)

    # --- Steps that are replayed ---

    def capture(self, step):
        return Captured(self, step)

    def host(self, work):
        if self.thread.captured is None:
            work()
        else:
            self.thread.captured.register(work)

    def live(self) -> DeviceLive:
        return DeviceLive(self)

    def log(self, columns) -> DeviceLog:
        return DeviceLog(self, columns)


def _mb(size) -> str:
    return f"{size / 2**20:,.0f} MB"


def _geometry(image, window: Window):
    _, h, w, c = image.shape
    sizes = (h, w, c, *window.kernel, *window.stride, *window.padding, *window.output)
    return tuple(np.int32(size) for size in sizes)


def _folded(shape, axes):
    """(A, B, C) with B the size of `axes`, neighbours in order; and the shape with them as 1."""
    first, last = axes[0], axes[-1] + 1
    kept = (*shape[:first], *(1,) * (last - first), *shape[last:])
    return (*map(math.prod, (shape[:first], shape[first:last], shape[last:])),), kept


def _over_ranks(mu, variance, across):
    """The mean and the variance of all ranks' values, of those of each, which has as many."""
    mean = across.mean(mu.copy())
    return mean, across.mean(variance + (mu - mean) ** 2)


def _slices(rows):
    """Into how many parts a sum is cut: as many as each part is long, so that both the sums within
    the parts and the sum over them are short.
    """
    return max(1, min(512, math.isqrt(rows)))
