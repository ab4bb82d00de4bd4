"""A stand-in for CuPy that needs no GPU, so that CI can catch the mistakes that only a GPU shows.

NumPy does the arithmetic, but behind arrays that NumPy cannot see: whatever crosses to the host
is either refused, as CuPy refuses it, or counted. A CUDA graph records kernels instead of running
them and repeats exactly those, on the same memory. Where CuPy is silent about a mistake (memory
that a graph still uses but that is free, a time taken before the work is done), this is not:

    fake = make()                            each with counters of its own
    fake.synchronisations["float"]           how often the host waited for the device, by cause
    fake.transfers["asarray"]                copies from the host to the device, by cause
    fake.launches["matmul"]                  kernels launched, by name; a graph counts as one
    fake.reset_counts()
    with fake.refusing_synchronisation():    waiting raises here, which shows where it happens
    fake.peek(array)                         the values, without counting
    fake.hardware                            .driver, .devices, .missing: a machine to be changed

What is not here says so when asked for: that is no word on whether CuPy has it.
"""

import contextlib
import functools
import importlib
import itertools
import math
import operator
import time
import types
import weakref
from collections import Counter

import numpy as np

# What `fake` has and CuPy has not.
FAKE_ONLY = {
    "synchronisations", "transfers", "launches", "reset_counts", "refusing_synchronisation",
    "peek", "hardware", "gemm", "machine",
}  # fmt: skip

_SCALARS = (bool, int, float, complex, np.generic)
_DTYPES = "?bhilqBHILQefdFD"
_BLOCK = 512  # CuPy's pool hands out multiples of this many bytes


class DeviceSynchronised(AssertionError):
    """The host waited for the device where a test had forbidden it."""


# --- Errors, by CUDA's numbers and names ---------------------------------------------------------

_STATUS = {
    35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    400: "cudaErrorInvalidResourceHandle: invalid resource handle",
    401: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    600: "cudaErrorNotReady: device not ready",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during "
    "capture",
    906: "cudaErrorStreamCaptureImplicit: operation would make the legacy stream depend on a "
    "capturing blocking stream",
}


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(_STATUS[status])
        self.status = status


class CUDADriverError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


# --- Memory --------------------------------------------------------------------------------------


class Memory:
    """One block of a pool. It goes back when the last array on it is gone.

    A fresh block is full of ones in every bit, NaN to a float, because nobody may rely on what
    an uninitialised array holds.
    """

    def __init__(self, pool, size, capture):
        self.buffer = np.full(max(size, 1), 0xFF, np.uint8)
        self.size = size
        self.pool = weakref.ref(pool)
        pool.machine.blocks.add(self)
        self.made_in = capture.serial if capture else None

    def __del__(self):
        pool = self.pool()
        if pool is not None:
            pool._used -= self.size

    @property
    def ptr(self):
        return self.buffer.ctypes.data


class MemoryPointer:
    """An address within a block."""

    def __init__(self, mem, offset=0):
        self.mem, self.offset = mem, offset

    @property
    def ptr(self):
        return self.mem.ptr + self.offset

    def __add__(self, offset):
        return MemoryPointer(self.mem, self.offset + offset)


class MemoryPool:
    """Counts what CuPy's pool would hold, and knows when it last served anything but a graph."""

    machine = None

    def __init__(self):
        self._used = self._total = self._limit = 0
        self.last_eager = 0

    def malloc(self, size):
        """A pointer to `size` bytes; OutOfMemoryError beyond the limit."""
        self.machine.check_device()
        blocks = -(-size // _BLOCK) * _BLOCK
        limit = self._limit or self.machine.hardware.memory
        if self._used + blocks > limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {blocks:,} bytes (allocated so far: {self._used:,} "
                f"bytes, limit set to: {limit:,} bytes)."
            )
        self._used += blocks
        self._total = max(self._total, self._used)
        capture = self.machine.stream.capture
        if capture is None:
            self.last_eager = next(self.machine.serials)
        return MemoryPointer(Memory(self, blocks, capture))

    def used_bytes(self):
        return self._used

    def free_bytes(self):
        return self._total - self._used

    def total_bytes(self):
        return self._total

    def free_all_blocks(self, stream=None):
        self._total = self._used

    def set_limit(self, size=None, fraction=None):
        if fraction is not None:
            size = int(fraction * self.machine.hardware.memory)
        self._limit = size or 0

    def get_limit(self):
        return self._limit


# --- The machine ---------------------------------------------------------------------------------


class Machine:
    """What the parts of one fake share: counters, streams, allocator, and the way of a kernel."""

    def __init__(self):
        self.synchronisations, self.transfers, self.launches = Counter(), Counter(), Counter()
        self.refusing = False
        self.hardware = types.SimpleNamespace(
            driver=12090, devices=1, memory=8 << 30, missing=set()
        )
        self.serials = itertools.count(1 << 20)
        self.blocks = weakref.WeakSet()  # the memory that there is
        self.capturing = []
        self.device_of_this_thread = 0
        self.Array = self.bind(Array, "ndarray")
        self.Event, self.Graph = self.bind(Event), self.bind(Graph)
        self.RawKernel, self.RawModule = self.bind(Kernel, "RawKernel"), self.bind(RawModule)
        self.Stream = self.bind(Stream)
        self.Stream.null = self.Stream(null=True)
        self.streams = [self.Stream.null]
        self.MemoryPool = self.bind(MemoryPool)
        self.default_pool = self.MemoryPool()
        self.allocator = self.default_pool.malloc

    def bind(self, base, name=None):
        """The class as this machine's own: arrays of two fakes must not mix."""
        return type(name or base.__name__, (base,), {"machine": self})

    @property
    def stream(self):
        return self.streams[-1]

    def check_device(self):
        """CUDARuntimeError if there is no driver or no device, as at CuPy's first real call."""
        if not self.hardware.driver:
            raise CUDARuntimeError(35)
        if not self.hardware.devices:
            raise CUDARuntimeError(100)

    def need_cublas(self, what):
        """CuPy's binding looks at the stream first, and so refuses under capture."""
        if "cublas" in self.hardware.missing:
            raise ImportError("libcublas.so.12: cannot open shared object file")
        if self.stream.capture:
            raise NotImplementedError(f"{what}: calling cuBLAS API during stream capture")

    def synchronise(self, cause, streams=None):
        """The host waits, for the current stream unless told which. An error under capture."""
        self.check_device()
        self.refuse_capture([self.stream] if streams is None else streams)
        if self.refusing:
            raise DeviceSynchronised(f"the host waits for the device: {cause}")
        self.synchronisations[cause] += 1

    def refuse_capture(self, streams=None):
        """CUDARuntimeError, and an end to their capture, if any of the streams is capturing."""
        broken = [s for s in ([self.stream] if streams is None else streams) if s.capture]
        for stream in broken:
            stream.capture.valid = False
        if broken:
            raise CUDARuntimeError(900)

    def send(self, values, cause, dtype=None):
        """Host values on the device. CuPy makes 0-d arrays by a kernel, without a transfer."""
        values = np.asarray(values, dtype)
        array = self.Array(values.shape, values.dtype)
        if values.ndim == 0:
            array.fill(values)
            return array
        self.refuse_capture()
        self.transfers[cause] += 1
        array._hidden[...] = values
        return array

    def unwrap(self, operand):
        """What NumPy computes with: the array behind an array, a scalar as it is."""
        if isinstance(operand, self.Array):
            return operand._hidden
        if operand is None or isinstance(operand, _SCALARS):
            return operand
        raise TypeError(f"Unsupported type {type(operand)}")

    def compute(self, name, function, *operands, out=None, casting="same_kind"):
        """Launches a kernel that writes function(operands) into `out` or a new C-ordered array."""
        self._before_launch()
        hidden = [self.unwrap(operand) for operand in operands]

        def work():
            with np.errstate(all="ignore"):
                return np.asarray(function(*hidden))

        value = work()  # under capture only for its shape and dtype
        if out is None:
            out = self.Array(value.shape, value.dtype)
        target = self.unwrap(out)
        _check_output(name, value, target, casting)
        if self.stream.capture:
            self.stream.capture.add(lambda: _write(target, work()), [*operands, out])
        else:
            self.launches[name] += 1
            _write(target, value)
        return out

    def launch(self, name, work, arrays):
        """Runs or records a kernel that writes where it pleases."""
        self._before_launch()
        if self.stream.capture:
            self.stream.capture.add(work, arrays)
        else:
            self.launches[name] += 1
            work()

    def _before_launch(self):
        self.check_device()
        blocking = [stream for stream in self.capturing if not stream.is_non_blocking]
        if self.stream.ptr == 0 and blocking:
            for stream in blocking:
                stream.capture.valid = False
            raise CUDARuntimeError(906)


def _check_output(name, value, target, casting):
    if not np.can_cast(value.dtype, target.dtype, casting):
        raise TypeError(f"{name}: cannot cast {value.dtype} to {target.dtype} ({casting})")
    if np.broadcast_shapes(value.shape, target.shape) != target.shape:
        raise ValueError(f"{name}: shape {value.shape} does not fit the output {target.shape}")


def _write(target, value):
    with np.errstate(all="ignore"):
        target[...] = value


# --- Streams, events and graphs ------------------------------------------------------------------


class Capture:
    """What a stream records: kernels, in order, and the memory that they touch."""

    def __init__(self, serial):
        self.serial = serial
        self.ended = None
        self.valid = True
        self.kernels = []
        self.memories = {}

    def add(self, kernel, operands):
        self.kernels.append(kernel)
        for memory in (x._memory for x in operands if isinstance(x, Array)):
            recorded = memory.made_in is not None  # in this part of a step, or in one before it
            self.memories[weakref.ref(memory)] = memory.pool if recorded else _never

    def check(self):
        """RuntimeError if a replay would touch memory that others may have been given since.

        A block made during the capture may be free, as only the graph knows of it, if its pool
        still exists and has served nobody else since.
        """
        for memory, pool in self.memories.items():
            if memory() is None and (pool() is None or pool().last_eager > self.ended):
                raise RuntimeError(
                    "the graph uses memory that has been freed: keep its inputs, its outputs and "
                    "a MemoryPool that serves nobody else"
                )


def _never():
    """In place of a pool: memory that was there before the capture must be kept."""


class Graph:
    """Recorded kernels, to be run again on the same memory."""

    machine = None

    def __init__(self, capture):
        self._capture = capture

    def launch(self, stream=None):
        self.machine.check_device()
        self.machine.refuse_capture([stream or self.machine.stream])
        self._capture.check()
        self.machine.launches["graph"] += 1
        for kernel in self._capture.kernels:
            kernel()

    def upload(self, stream=None):
        self._capture.check()


class Stream:
    machine = None
    null = None

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        if not null:
            self.machine.check_device()
        self.ptr = 0 if null else next(self.machine.serials)
        self.is_non_blocking = non_blocking
        self.capture = None

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return self.ptr

    def __enter__(self):
        self.machine.streams.append(self)
        return self

    def __exit__(self, *error):
        self.machine.streams.pop()

    def use(self):
        self.machine.streams[-1] = self
        return self

    def synchronize(self):
        self.machine.synchronise("stream", [self])

    def record(self, event=None):
        event = event or self.machine.Event()
        event.record(self)
        return event

    def wait_event(self, event):
        """Nothing to wait for: here, kernels are done when they have been launched."""

    def is_capturing(self):
        return self.capture is not None

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.capture:
            raise CUDARuntimeError(401)
        self.capture = Capture(next(self.machine.serials))
        self.machine.capturing.append(self)

    def end_capture(self):
        if not self.capture:
            raise CUDARuntimeError(401)
        capture, self.capture = self.capture, None
        capture.ended = next(self.machine.serials)
        self.machine.capturing.remove(self)
        if not capture.valid:
            raise CUDARuntimeError(901)
        return self.machine.Graph(capture)


class Event:
    """A point in a stream. It counts as reached once the host has waited since it was recorded."""

    machine = None

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.machine.check_device()
        self._waits = self.time = None

    def record(self, stream=None):
        self._waits = self.machine.synchronisations.total()
        self.time = time.perf_counter()

    def synchronize(self):
        self.machine.synchronise("event")

    @property
    def done(self):
        return self._waits is None or self._waits < self.machine.synchronisations.total()


def get_elapsed_time(start, end):
    """Milliseconds between two events; CUDARuntimeError before the second is known to be done."""
    if start.time is None or end.time is None:
        raise CUDARuntimeError(400)
    if not end.done:
        raise CUDARuntimeError(600)
    return 1000.0 * (end.time - start.time)


class Device:
    machine = None
    compute_capability = "90"

    def __init__(self, device=None):
        self.id = int(device or 0)

    def __enter__(self):
        return self.use()

    def __exit__(self, *error):
        pass

    def use(self):
        self.machine.check_device()
        if self.id >= self.machine.hardware.devices:
            raise CUDARuntimeError(101)
        self.machine.device_of_this_thread = self.id
        return self

    def synchronize(self):
        self.machine.synchronise("device", self.machine.capturing)

    @property
    def mem_info(self):
        return self.machine.cuda.runtime.memGetInfo()


# --- Arrays --------------------------------------------------------------------------------------


class Array:
    """An array that only its own module can compute with. `cupy.ndarray` is a subclass of it."""

    machine = None
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        dtype = np.dtype(dtype)
        if dtype.char not in _DTYPES:
            raise ValueError(f"Unsupported dtype {dtype}")
        fresh = memptr is None
        if fresh:
            memptr = self.machine.allocator(math.prod(shape) * dtype.itemsize)
        self._memory = memptr.mem
        buffer = memptr.mem.buffer
        self._hidden = np.ndarray(shape, dtype, buffer, memptr.offset, strides, order)
        if fresh and dtype.kind == "b":  # the one dtype for which not every byte is a value
            self._hidden.fill(True)

    def _view(self, hidden):
        view = object.__new__(type(self))
        view._hidden, view._memory = hidden, self._memory
        return view

    def _compute(self, name, function, *operands, **options):
        return self.machine.compute(name, function, self, *operands, **options)

    # What describes the array is known to the host: none of it waits for the device.

    shape = property(lambda self: self._hidden.shape)
    dtype = property(lambda self: self._hidden.dtype)
    ndim = property(lambda self: self._hidden.ndim)
    size = property(lambda self: self._hidden.size)
    nbytes = property(lambda self: self._hidden.nbytes)
    itemsize = property(lambda self: self._hidden.itemsize)
    strides = property(lambda self: self._hidden.strides)
    device = property(lambda self: self.machine.cuda.Device(0))

    @property
    def flags(self):
        flags = self._hidden.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous
        )

    @property
    def data(self):
        return MemoryPointer(self._memory, self._hidden.ctypes.data - self._memory.ptr)

    def __len__(self):
        return len(self._hidden)

    # --- To the host: refused, or counted ---

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def _to_host(self, cause):
        self.machine.synchronise(cause)
        return self._hidden.copy()

    def get(self, stream=None, order="C", out=None, blocking=True):
        values = self._to_host("get")
        if out is None:
            return np.array(values, order=order)
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(f"get: {out.dtype} {out.shape} for {self.dtype} {self.shape}")
        out[...] = values
        return out

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.shape != self.shape or arr.dtype != self.dtype:
            raise ValueError(f"set: {arr.dtype} {arr.shape} for {self.dtype} {self.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        self.machine.refuse_capture()
        self.machine.transfers["set"] += 1
        self._hidden[...] = arr

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self._to_host("item").item()

    def tolist(self):
        return self._to_host("tolist").tolist()

    def __bool__(self):
        return bool(self._to_host("bool"))

    def __int__(self):
        return int(self._to_host("int"))

    def __float__(self):
        return float(self._to_host("float"))

    def __iter__(self):
        """CuPy makes views without waiting; but who walks through an array wants its values."""
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        self.machine.synchronise("iter")
        return iter([self[i] for i in range(len(self))])

    def __repr__(self):
        return repr(self._to_host("repr"))

    def __str__(self):
        return str(self._to_host("str"))

    def __format__(self, spec):
        return format(self._to_host("format"), spec)

    # --- Shape and copies ---

    @property
    def T(self):
        return self if self.ndim < 2 else self._view(self._hidden.T)

    def transpose(self, *axes):
        return self._view(self._hidden.transpose(*axes))

    def swapaxes(self, axis1, axis2):
        return self._view(self._hidden.swapaxes(axis1, axis2))

    def squeeze(self, axis=None):
        return self._view(self._hidden.squeeze(axis))

    def diagonal(self, offset=0, axis1=0, axis2=1):
        return self._view(self._hidden.diagonal(offset, axis1, axis2))

    def view(self, dtype=None):
        return self._view(self._hidden.view() if dtype is None else self._hidden.view(dtype))

    def reshape(self, *shape, order="C"):
        if order != "C":
            raise NotImplementedError("the fake reshapes in C order only")
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        reshaped = self._hidden.reshape(shape)
        if np.may_share_memory(reshaped, self._hidden):
            return self._view(reshaped)
        return self._compute("copy", lambda x: x.reshape(shape))

    def ravel(self, order="C"):
        return self.reshape(-1, order=order)

    def flatten(self, order="C"):
        return self.copy().reshape(-1, order=order)

    def copy(self, order="C"):
        return self.astype(self.dtype, order)

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        if not copy and self.dtype == dtype:
            return self
        return self._compute("astype", _same, out=self._like(dtype, order), casting="unsafe")

    def _like(self, dtype=None, order="K"):
        """An uninitialised array of this shape, by default in this memory order."""
        model = np.empty_like(self._hidden, dtype, order)
        pointer = self.machine.allocator(model.nbytes)
        array = type(self)(model.shape, model.dtype, pointer, model.strides)
        if model.dtype.kind == "b":
            array._hidden.fill(True)
        return array

    def fill(self, value):
        if isinstance(value, np.ndarray):
            if value.shape != ():
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
            value = value.item()
        self.machine.compute("fill", _same, value, out=self, casting="unsafe")

    # --- Indexing ---

    def __getitem__(self, index):
        parts, arrays = self._prepare_index(index)
        if not arrays:
            return self._view(self._hidden[_with_ellipsis(parts)])
        return self._compute("take", lambda x, *_: np.array(x[_wrapped(x, parts)]), *arrays)

    def __setitem__(self, index, value):
        parts, arrays = self._prepare_index(index)
        if arrays:
            self._scatter(_assign, parts, arrays, value)
            return
        target = self._view(self._hidden[_with_ellipsis(parts)])
        if not isinstance(value, Array):
            target.fill(value)
        elif not _is_same(target, value):
            target._copy_from(value)

    def _copy_from(self, value):
        while value.ndim and value.shape[0] == 1:
            value = value[0]
        self.machine.compute("copy", _same, value, out=self, casting="unsafe")

    def _scatter(self, update, parts, arrays, value):
        """Changes this array in place at an index with arrays in it."""
        if not isinstance(value, Array):
            value = self.machine.send(value, "setitem", self.dtype)

        def scattered(x, v, *_):
            x = x.copy()
            update(x, _wrapped(x, parts), v)
            return x

        self._compute("scatter", scattered, value, *arrays, out=self)

    def _prepare_index(self, index):
        """The parts of an index as NumPy takes them, and the device arrays among them."""
        index = index if isinstance(index, tuple) else (index,)
        parts = [self._index_part(part) for part in index]
        arrays = [part for part in parts if isinstance(part, Array)]
        if any(part.dtype.kind == "b" for part in arrays):
            self.machine.synchronise("mask")  # CuPy asks the device how many are true
        return tuple(p._hidden if isinstance(p, Array) else p for p in parts), arrays

    def _index_part(self, part):
        if part is None or part is Ellipsis or isinstance(part, (slice, Array)):
            return part
        if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            return part
        empty = isinstance(part, (list, tuple)) and not len(part)
        return self.machine.send(part, "index", np.int32 if empty else None)

    def take(self, indices, axis=None, out=None):
        if not isinstance(indices, Array):
            indices = self.machine.send(indices, "index", int)
        return self._compute(
            "take", lambda x, i: np.take(x, i, axis, mode="wrap"), indices, out=out
        )

    # --- Arithmetic ---

    def dot(self, b, out=None):
        return self.machine.cupy.dot(self, b, out)

    def __matmul__(self, other):
        return NotImplemented if _wins(other) else self.machine.cupy.matmul(self, other)

    def __rmatmul__(self, other):
        return NotImplemented if _wins(other) else self.machine.cupy.matmul(other, self)

    def clip(self, min=None, max=None, out=None):
        return self._compute("clip", np.clip, min, max, out=out)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(None,), **options):
        function = getattr(self.machine.cupy, ufunc.__name__, None)
        if method != "__call__" or function is None:
            return NotImplemented
        return function(*inputs, out=out[0], **options)

    def __array_function__(self, function, types, args, options):
        own = getattr(self.machine.cupy, function.__name__, None)
        return NotImplemented if own is None else own(*args, **options)


def _same(value):
    return value


def _assign(x, index, value):
    x[index] = value


def _is_same(a, b):
    """Whether both are one and the same memory, as after `a[i] += b`, which assigns to itself."""
    return (a.data.ptr, a.shape, a.strides, a.dtype) == (b.data.ptr, b.shape, b.strides, b.dtype)


def _with_ellipsis(parts):
    """The same index, under which NumPy returns a view even of a single element."""
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _wrapped(x, parts):
    """The same index with every integer array modulo the length of its axis, as CuPy does it."""
    used = [_axes_used(part) for part in parts]
    axis, wrapped = 0, []
    for part, count in zip(parts, used, strict=True):
        if isinstance(part, np.ndarray) and part.dtype.kind in "iu" and x.shape[axis]:
            part = part % x.shape[axis]
        wrapped.append(part)
        axis += x.ndim - sum(used) if part is Ellipsis else count
    return tuple(wrapped)


def _axes_used(part):
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _wins(other):
    """Whether the operation is the other operand's to do: NumPy's protocol, which CuPy follows."""
    return getattr(other, "__array_ufunc__", True) is None


# --- Operators and reductions --------------------------------------------------------------------

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}

# The parameters after the array, in CuPy's order: neither `where` nor `initial` is among them.
_REDUCTIONS = {
    **dict.fromkeys(("sum", "prod", "mean"), ("axis", "dtype", "out", "keepdims")),
    **dict.fromkeys(("var", "std"), ("axis", "dtype", "out", "ddof", "keepdims")),
    **dict.fromkeys(("max", "min", "any", "all"), ("axis", "out", "keepdims")),
    **dict.fromkeys(("argmax", "argmin"), ("axis", "out", "keepdims")),
    "cumsum": ("axis", "dtype", "out"),
}


def _operator(ufunc):
    def forward(self, other):
        return NotImplemented if _wins(other) else getattr(self.machine.cupy, ufunc)(self, other)

    return forward


def _reflected(ufunc):
    def backward(self, other):
        return NotImplemented if _wins(other) else getattr(self.machine.cupy, ufunc)(other, self)

    return backward


def _in_place(ufunc):
    def update(self, other):
        if _wins(other):
            return NotImplemented
        return getattr(self.machine.cupy, ufunc)(self, other, out=self)

    return update


def _unary(ufunc):
    return lambda self: getattr(self.machine.cupy, ufunc)(self)


def _reduction(name, parameters):
    def reduce(self, *args, **options):
        if len(args) > len(parameters) or options.keys() - set(parameters):
            raise TypeError(f"{name}() takes {parameters}, got {args} and {options}")
        options |= zip(parameters, args, strict=False)
        out = options.pop("out", None)
        return self._compute(name, operator.methodcaller(name, **options), out=out)

    return reduce


for _name, _ufunc in _OPERATORS.items():
    setattr(Array, f"__{_name}__", _operator(_ufunc))
    setattr(Array, f"__r{_name}__", _reflected(_ufunc))
    setattr(Array, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in _COMPARISONS.items():
    setattr(Array, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in _UNARY.items():
    setattr(Array, f"__{_name}__", _unary(_ufunc))
for _name, _parameters in _REDUCTIONS.items():
    setattr(Array, _name, _reduction(_name, _parameters))


# --- Ufuncs --------------------------------------------------------------------------------------

_UFUNCS = (
    "add", "subtract", "multiply", "divide", "true_divide", "floor_divide", "remainder", "mod",
    "power", "negative", "positive", "absolute", "abs", "sign", "exp", "exp2", "expm1", "log",
    "log2", "log10", "log1p", "sqrt", "cbrt", "square", "reciprocal", "sin", "cos", "tan",
    "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "tanh", "arcsinh", "arccosh",
    "arctanh", "hypot", "maximum", "minimum", "fmax", "fmin", "equal", "not_equal", "less",
    "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not",
    "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift",
    "right_shift", "isfinite", "isinf", "isnan", "signbit", "copysign", "rint", "floor", "ceil",
    "trunc",
)  # fmt: skip


class Ufunc:
    """An elementwise function. It takes no `where`, and its result is in C order."""

    def __init__(self, machine, name):
        self._machine, self._numpy = machine, getattr(np, name)
        self.__name__ = name

    def __call__(self, *operands, out=None, dtype=None, casting="same_kind"):
        if len(operands) > self._numpy.nin:
            *operands, out = operands
        function = functools.partial(self._numpy, dtype=dtype)
        return self._machine.compute(self.__name__, function, *operands, out=out, casting=casting)

    def at(self, a, indices, b=None):
        """Adds (or the like) at an index, repeated indices included."""
        if self.__name__ not in ("add", "subtract", "maximum", "minimum"):
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        if a.dtype.name not in ("float16", "float32", "float64", "int32", "uint32", "uint64"):
            raise TypeError(f"{self.__name__}.at does not support {a.dtype}")
        parts, arrays = a._prepare_index(indices)
        if arrays:
            a._scatter(self._numpy.at, parts, arrays, b)
        else:
            target = a[indices]
            self(target, b, out=target)


# --- Raw kernels ---------------------------------------------------------------------------------


class Kernel:
    """A function of a CUDA source, run on the CPU from that very source."""

    machine = None

    def __init__(self, code, name, options=()):
        if not isinstance(options, tuple):
            raise TypeError(f"options are a {type(options).__name__}, expected a tuple")
        if "nvrtc" in self.machine.hardware.missing:
            raise RuntimeError("CuPy failed to load libnvrtc.so.12")
        self.machine.check_device()
        if name.split("<")[0] not in code:
            raise CUDADriverError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        reals = [option[7:] for option in options if option.startswith("-DREAL=")]
        dtype = {"float": "float32", "double": "float64"}[reals[0] if reals else "float"]
        self.name = name
        self._launch = importlib.import_module("cuda_shim").kernel(name, np.dtype(dtype))

    def __call__(self, grid, block, args, *, shared_mem=0):
        if shared_mem:
            raise NotImplementedError("the fake has no dynamic shared memory")
        _check_grid(grid, block)
        parameters = self._launch.parameters
        if len(args) != len(parameters):
            raise TypeError(f"{self.name}: {len(args)} arguments for {len(parameters)} parameters")
        hidden = list(map(self._argument, parameters, args))
        self.machine.launch(self.name, lambda: self._launch(grid, block, hidden), args)

    def _argument(self, parameter, value):
        """A kernel takes bits, not values: what has no exact C type would be misread in silence.

        None is no null pointer to CuPy: the launch would read from address 0. Eight bytes of
        zeros are.
        """
        if type(value) is int and value == 0 and parameter.pointer:
            return 0
        if isinstance(value, np.generic):
            null = parameter.pointer and value.itemsize == 8 and value == 0
            return 0 if null else value
        if not isinstance(value, self.machine.Array):
            raise TypeError(
                f"{self.name}: Unsupported type {type(value)}: pass an array of the device, 0 for "
                "a null pointer, or a NumPy scalar of the parameter's own type, np.int32(…)"
            )
        if not value.flags.c_contiguous:
            raise ValueError(f"{self.name}: an array of strides {value.strides} is not contiguous")
        return value._hidden


def _check_grid(grid, block):
    for sizes, limits in ((grid, (2**31 - 1, 65535, 65535)), (block, (1024, 1024, 64))):
        if not isinstance(sizes, tuple) or not 1 <= len(sizes) <= 3:
            raise TypeError(f"grid and block are tuples of 1 to 3 numbers, got {sizes}")
        if any(not 1 <= n <= limit for n, limit in zip(sizes, limits, strict=False)):
            raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: invalid argument: {grid}, {block}")
    if math.prod(block) > 1024:
        raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: a block of {block} threads")


class RawModule:
    machine = None

    def __init__(self, code=None, *, options=(), backend="nvrtc", name_expressions=None):
        self.code, self.options = code, options

    def get_function(self, name):
        return self.machine.RawKernel(self.code, name, self.options)


# --- The module ----------------------------------------------------------------------------------


class FakeCupy(types.ModuleType):
    """The functions of `cupy` that the engine uses, with CuPy's signatures."""

    __version__ = "14.2.0"
    newaxis, pi, e, inf, nan = None, math.pi, math.e, math.inf, math.nan
    float16, float32, float64 = np.float16, np.float32, np.float64
    int8, int16, int32, int64 = np.int8, np.int16, np.int32, np.int64
    uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
    bool_, dtype, finfo, iinfo = np.bool_, np.dtype, np.finfo, np.iinfo
    result_type = staticmethod(np.result_type)

    def __init__(self, machine):
        super().__init__("cupy")
        self.machine, self.hardware = machine, machine.hardware
        self.synchronisations, self.transfers = machine.synchronisations, machine.transfers
        self.launches = machine.launches
        self.ndarray = machine.Array
        self.RawModule, self.RawKernel = machine.RawModule, machine.RawKernel
        self.cuda = machine.cuda
        self.linalg = types.SimpleNamespace(qr=self._qr)
        for name in _UFUNCS:
            setattr(self, name, Ufunc(machine, name))
        for name in _REDUCTIONS:
            setattr(self, name, functools.partial(self._reduce, name))
        self.amax, self.amin = self.max, self.min

    def __getattr__(self, name):
        raise AttributeError(f"the fake cupy has no {name!r}: if CuPy has it, add it there")

    # --- Of the fake alone ---

    def reset_counts(self):
        for counter in (self.synchronisations, self.transfers, self.launches):
            counter.clear()

    @contextlib.contextmanager
    def refusing_synchronisation(self):
        """Inside, DeviceSynchronised is raised where the host would wait for the device."""
        before, self.machine.refusing = self.machine.refusing, True
        try:
            yield
        finally:
            self.machine.refusing = before

    def peek(self, array):
        """A copy of the values, for a test to look at: it neither waits nor counts."""
        return self.machine.unwrap(array).copy()

    def gemm(self, a, b, out, *, tf32=False):
        """out = a b, as from cuBLAS directly: no copies, no conversions, fine under capture."""
        if "cublas" in self.hardware.missing:
            raise ImportError("libcublas.so.12: cannot open shared object file")
        _check_gemm(a, b, out)
        self.machine.compute("gemm", np.matmul, a, b, out=out)

    # --- Creation ---

    def empty(self, shape, dtype=float, order="C"):
        return self.ndarray(shape, dtype, order=order)

    def zeros(self, shape, dtype=float, order="C"):
        return self.full(shape, 0, dtype, order)

    def ones(self, shape, dtype=float, order="C"):
        return self.full(shape, 1, dtype, order)

    def full(self, shape, fill_value, dtype=None, order="C"):
        if dtype is None:
            dtype = getattr(fill_value, "dtype", None) or np.asarray(fill_value).dtype
        array = self.empty(shape, dtype, order)
        array.fill(fill_value)
        return array

    def empty_like(self, prototype, dtype=None, order="K", subok=None, shape=None):
        self._need_array("empty_like", prototype)
        if shape is not None:
            return self.empty(shape, dtype or prototype.dtype)
        return prototype._like(dtype, order)

    def zeros_like(self, a, dtype=None, order="K", subok=None, shape=None):
        return self.full_like(a, 0, dtype, order, subok, shape)

    def ones_like(self, a, dtype=None, order="K", subok=None, shape=None):
        return self.full_like(a, 1, dtype, order, subok, shape)

    def full_like(self, a, fill_value, dtype=None, order="K", subok=None, shape=None):
        array = self.empty_like(a, dtype, order, subok, shape)
        array.fill(fill_value)
        return array

    def arange(self, start, stop=None, step=1, dtype=None):
        start, stop = (0, start) if stop is None else (start, stop)
        return self.machine.compute("arange", lambda: np.arange(start, stop, step, dtype))

    def eye(self, N, M=None, k=0, dtype=float, order="C"):
        return self.machine.compute("eye", lambda: np.eye(N, M, k, dtype))

    def array(self, obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
        if isinstance(obj, Array):
            array = obj.astype(dtype or obj.dtype, order, copy=copy)
        elif _holds_arrays(obj):
            array = self.stack(obj).astype(dtype or obj[0].dtype, copy=False)
        else:
            array = self.machine.send(obj, "array", dtype)
        missing = ndmin - array.ndim
        return array.reshape((1,) * missing + array.shape) if missing > 0 else array

    def asarray(self, a, dtype=None, order=None, *, copy=None, blocking=False):
        if isinstance(a, Array) or _holds_arrays(a):
            return self.array(a, dtype, bool(copy), order or "K")
        return self.machine.send(a, "asarray", dtype)

    def ascontiguousarray(self, a, dtype=None):
        self._need_array("ascontiguousarray", a)
        a = a.reshape(1) if a.ndim == 0 else a
        same = a.flags.c_contiguous and (dtype is None or a.dtype == dtype)
        return a if same else a.astype(dtype or a.dtype, "C")

    def asnumpy(self, a, stream=None, order="C", out=None, *, blocking=True):
        """As in CuPy, host arrays pass."""
        if not isinstance(a, Array):
            return np.asarray(a, order=order)
        self.machine.synchronise("asnumpy")
        values = np.array(a._hidden, order=order)
        if out is None:
            return values
        out[...] = values
        return out

    # --- Shapes ---

    def reshape(self, a, newshape, order="C"):
        return self._need_array("reshape", a).reshape(newshape, order=order)

    def ravel(self, a, order="C"):
        return self._need_array("ravel", a).ravel(order)

    def transpose(self, a, axes=None):
        return self._need_array("transpose", a).transpose(axes)

    def swapaxes(self, a, axis1, axis2):
        return self._need_array("swapaxes", a).swapaxes(axis1, axis2)

    def squeeze(self, a, axis=None):
        return self._need_array("squeeze", a).squeeze(axis)

    def diagonal(self, a, offset=0, axis1=0, axis2=1):
        return self._need_array("diagonal", a).diagonal(offset, axis1, axis2)

    def expand_dims(self, a, axis):
        return self._need_array("expand_dims", a)._view(np.expand_dims(a._hidden, axis))

    def moveaxis(self, a, source, destination):
        return self._need_array("moveaxis", a)._view(np.moveaxis(a._hidden, source, destination))

    def flip(self, a, axis=None):
        return self._need_array("flip", a)._view(np.flip(a._hidden, axis))

    def broadcast_to(self, array, shape):
        return self._need_array("broadcast_to", array)._view(np.broadcast_to(array._hidden, shape))

    def concatenate(self, tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
        return self._join("concatenate", np.concatenate, tup, axis, out, dtype, casting)

    def stack(self, tup, axis=0, out=None, *, dtype=None, casting="same_kind"):
        return self._join("stack", np.stack, tup, axis, out, dtype, casting)

    def _join(self, name, function, tup, axis, out, dtype, casting):
        arrays = [self._need_array(name, array) for array in tup]
        if len(arrays) > 8:  # CuPy sends the list of their addresses to the device
            self.machine.refuse_capture()
        options = {} if dtype is None else {"dtype": dtype, "casting": casting}
        join = lambda *parts: function(parts, axis=axis, **options)
        return self.machine.compute(name, join, *arrays, out=out, casting=casting)

    # --- Selection ---

    def where(self, condition, x=None, y=None):
        self._need_array("where", condition)
        if x is None and y is None:
            return self.nonzero(condition)
        if x is None or y is None:
            raise ValueError("Must provide both 'x' and 'y' or neither.")
        return self.machine.compute("where", np.where, condition, x, y)

    def nonzero(self, a):
        self.machine.synchronise("nonzero")  # how many there are is known to the device alone
        found = np.nonzero(self.machine.unwrap(a))
        return tuple(self.machine.compute("nonzero", lambda i=i: i) for i in found)

    def argsort(self, a, axis=-1, kind=None):
        self._need_array("argsort", a)
        self.machine.refuse_capture()  # CuPy sorts with Thrust, which waits for its stream
        return self.machine.compute("argsort", lambda x: np.argsort(x, axis), a)

    def take(self, a, indices, axis=None, out=None):
        return self._need_array("take", a).take(indices, axis, out)

    def clip(self, a, a_min, a_max, out=None):
        return self._need_array("clip", a).clip(a_min, a_max, out)

    def copyto(self, dst, src, casting="same_kind", where=None):
        self._need_array("copyto", dst)
        if isinstance(src, np.ndarray):
            if src.size != 1:
                raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
            src = src.item()
        if where is None:
            self.machine.compute("copy", _same, src, out=dst, casting=casting)
        else:
            self.machine.compute("copy", np.where, where, src, dst, out=dst, casting=casting)

    # --- Products and reductions ---

    def matmul(self, a, b, out=None):
        self.machine.need_cublas("matmul")
        return self.machine.compute("matmul", np.matmul, a, b, out=out)

    def dot(self, a, b, out=None):
        self._need_array("dot", a), self._need_array("dot", b)
        self.machine.need_cublas("dot")
        if out is not None and not out.flags.c_contiguous:
            raise ValueError("Output array must be C-contiguous")
        return self.machine.compute("dot", np.dot, a, b, out=out)

    def tensordot(self, a, b, axes=2):
        self.machine.need_cublas("tensordot")
        return self.machine.compute("tensordot", lambda x, y: np.tensordot(x, y, axes), a, b)

    def _qr(self, a, mode="reduced"):
        self.machine.need_cublas("linalg.qr")
        hidden = self._need_array("linalg.qr", a)._hidden
        q, r = np.linalg.qr(hidden, mode)
        return tuple(self.machine.compute("qr", lambda part=part: part) for part in (q, r))

    def _reduce(self, name, a, *args, **options):
        return getattr(self._need_array(name, a), name)(*args, **options)

    def _need_array(self, name, a):
        """The array. TypeError for host data: some of CuPy's functions would let it pass unseen."""
        if not isinstance(a, self.ndarray):
            raise TypeError(f"{name}: Unsupported type {type(a)}, expected cupy.ndarray")
        return a

    # --- The device ---

    def is_available(self):
        return self.cuda.is_available()

    def get_default_memory_pool(self):
        return self.machine.default_pool


def _holds_arrays(values):
    return isinstance(values, (list, tuple)) and any(isinstance(v, Array) for v in values)


def _check_gemm(a, b, out):
    shapes = [x.shape for x in (a, b, out)]
    stack = out.shape[:-2]
    if len(stack) > 1 or any(shape[:-2] != stack or len(shape) < 2 for shape in shapes):
        raise ValueError(f"gemm: shapes {shapes}, expected three matrices, or stacks of them")
    (m, k), (inner, n) = (shape[-2:] for shape in shapes[:2])
    if k != inner or out.shape[-2:] != (m, n):
        raise ValueError(f"gemm: {a.shape} @ {b.shape} into {out.shape}")
    if not a.dtype == b.dtype == out.dtype or a.dtype.kind != "f":
        raise TypeError(f"gemm: dtypes {a.dtype}, {b.dtype} and {out.dtype}, expected equal floats")
    if not out.flags.c_contiguous:
        raise ValueError(f"gemm: an output of strides {out.strides} is not contiguous")
    for x in (a, b):
        if not (x.flags.c_contiguous or x.swapaxes(-1, -2).flags.c_contiguous):
            raise ValueError(f"gemm: strides {x.strides} are those of no matrix or its transpose")
        if np.may_share_memory(x._hidden, out._hidden):
            raise ValueError("gemm: the output overlaps an input")


# --- cupy.cuda -----------------------------------------------------------------------------------


class Runtime:
    """`cupy.cuda.runtime`, which answers for the hardware that the test describes."""

    CUDARuntimeError = CUDARuntimeError
    is_hip = False

    def __init__(self, machine):
        self._machine = machine

    def getDeviceCount(self):
        self._machine.check_device()
        return self._machine.hardware.devices

    def driverGetVersion(self):
        return self._machine.hardware.driver

    def runtimeGetVersion(self):
        return 12090

    def getDevice(self):
        self._machine.check_device()
        return 0

    def memGetInfo(self):
        self._machine.check_device()
        total = self._machine.hardware.memory
        return total - self._machine.default_pool.total_bytes(), total

    def getDeviceProperties(self, device):
        self._machine.check_device()
        return {
            "name": b"fake GPU",
            "major": 9,
            "minor": 0,
            "multiProcessorCount": 132,
            "totalGlobalMem": self._machine.hardware.memory,
            "warpSize": 32,
        }

    def deviceSynchronize(self):
        self._machine.synchronise("device", self._machine.capturing)


class NcclError(RuntimeError):
    def __init__(self, status):
        super().__init__({4: "NCCL_ERROR_INVALID_ARGUMENT", 5: "NCCL_ERROR_INVALID_USAGE"}[status])
        self.status = status


class NcclCommunicator:
    """Sums over the fake devices of several processes: by mpi4py, which the real one knows not.

    What it is told are addresses, of which NCCL believes every word; this one does not.
    """

    machine = None

    def __init__(self, ndev, commId, rank):
        from mpi4py import MPI

        self._world, self._in_place = MPI.COMM_WORLD, MPI.IN_PLACE
        names = self._world.allgather((commId, self.machine.device_of_this_thread))
        if len({name for name, _ in names}) > 1 or (ndev, rank) != (len(names), self._world.rank):
            raise NcclError(4)
        if len({device for _, device in names}) < ndev:  # duplicate GPU detected
            raise NcclError(5)

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        if datatype not in _NCCL_TYPES or op != 0 or stream != self.machine.stream.ptr:
            raise NcclError(4)
        source, target = (
            self._array(at, count, _NCCL_TYPES[datatype]) for at in (sendbuf, recvbuf)
        )

        def work():
            total = source._hidden.copy()
            self._world.Allreduce(self._in_place, total)
            target._hidden[...] = total

        self.machine.launch("ncclAllReduce", work, [source, target])

    def _array(self, address, count, dtype):
        """The array of `count` numbers at an address, all of it memory of the device."""
        size = count * np.dtype(dtype).itemsize
        for block in list(self.machine.blocks):
            if block.ptr <= address and address + size <= block.ptr + block.size:
                pointer = MemoryPointer(block, address - block.ptr)
                return self.machine.Array(count, dtype, pointer)
        raise NcclError(4)


_NCCL_TYPES = {4: "int64", 7: "float32", 8: "float64"}


def _make_nccl(machine):
    return types.SimpleNamespace(
        available=True,
        NcclCommunicator=machine.bind(NcclCommunicator),
        NcclError=NcclError,
        get_unique_id=lambda: b"fake %d" % next(machine.serials),
        NCCL_INT64=4,
        NCCL_FLOAT32=7,
        NCCL_FLOAT64=8,
        NCCL_SUM=0,
    )


def _make_cuda(machine):
    cuda = types.SimpleNamespace(
        Stream=machine.Stream,
        Event=machine.Event,
        Device=machine.bind(Device),
        Graph=machine.Graph,
        MemoryPool=machine.MemoryPool,
        MemoryPointer=MemoryPointer,
        nccl=_make_nccl(machine),
        runtime=Runtime(machine),
        driver=types.SimpleNamespace(CUDADriverError=CUDADriverError),
        memory=types.SimpleNamespace(
            OutOfMemoryError=OutOfMemoryError,
            MemoryPool=machine.MemoryPool,
            MemoryPointer=MemoryPointer,
        ),
        get_elapsed_time=get_elapsed_time,
        get_current_stream=lambda device_id=-1: machine.stream,
        is_available=lambda: bool(machine.hardware.driver and machine.hardware.devices),
        get_allocator=lambda: machine.allocator,
        alloc=lambda size: machine.allocator(size),
    )

    def set_allocator(allocator):
        machine.allocator = allocator

    @contextlib.contextmanager
    def using_allocator(allocator):
        before = machine.allocator
        set_allocator(allocator)
        try:
            yield
        finally:
            set_allocator(before)

    cuda.set_allocator, cuda.using_allocator = set_allocator, using_allocator
    return cuda


def make():
    """A new fake `cupy`, which shares no array and no count with any other."""
    machine = Machine()
    machine.cuda = _make_cuda(machine)
    machine.cupy = FakeCupy(machine)
    return machine.cupy
