"""A training step as CUDA graphs, and what such a step reads and writes besides arrays."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import traceback
from pathlib import Path

import numpy as np

from minigan.backend.base import CaptureError

PACKAGE = Path(__file__).parents[1]


class Captured:
    """A training step that is run as it stands a few times, then recorded, then replayed.

    A CUDA graph is the list of all kernels with the addresses they work on. Replaying it takes
    one launch: no Python, no allocation. So everything a step reads that changes between steps
    must be device memory (`Backend.live`), and what the host has to do for a
    step is registered by `Backend.host` and done before the replay. Work that a step does twice
    (two updates by one optimiser) cuts it into several graphs, each replayed after its own work.

    What the step returns is the same memory every time: read it, or copy it, before the next
    call. After recording, what the step uses must stay where it is: `train()`, `eval()` or
    `astype()` on a network, or another optimiser, would not be noticed.

    The memory of the recorded step comes from a pool of its own, which nobody else may reuse.
    """

    WARM_UP = 3  # calls until kernels are compiled and the pool has what a step needs

    def __init__(self, backend, step):
        self.backend, self.step = backend, step
        self._pool = backend.cupy.cuda.MemoryPool()
        self._calls, self._seen, self._error = 0, [], None
        self._parts, self._result = [], None  # of (host work, graph), and what the step returned

    def __call__(self):
        if self._error is not None:
            raise self._error
        if self._calls < self.WARM_UP:
            return self._warm_up()
        if not self._parts:
            self._record()
        for host_work, graph in self._parts:
            for work in host_work:
                work()
            graph.launch(self.backend.stream)
        return self._result

    def _warm_up(self):
        """The step as it stands; CaptureError if the last two times it launched other kernels."""
        self._calls += 1
        self.backend.thread.watched = seen = []
        try:
            with self._own_memory():
                result = self.step()
        finally:
            self.backend.thread.watched = None
        if self._calls == self.WARM_UP and seen != self._seen:
            pairs = itertools.zip_longest(self._seen, seen, fillvalue="nothing")
            before, now = next((a, b) for a, b in pairs if a != b)
            self._error = CaptureError(
                f"this step changes from call to call, so it can't be replayed: {before}, then "
                f"{now}. Every call must do the same, with the same shapes"
            )
            raise self._error
        self._seen = seen
        return result

    def _own_memory(self):
        allocate = functools.partial(self.backend._allocate, self._pool)
        return self.backend.cupy.cuda.using_allocator(allocate)

    def _record(self):
        backend = self.backend
        with self._own_memory(), _no_collector():
            backend.thread.captured = self
            try:
                self._begin()
                self._result = self.step()
                self._end()
            except BaseException as error:  # Ctrl-C too: the stream must not stay in a capture
                self._parts = []
                with contextlib.suppress(Exception):
                    backend.stream.end_capture()
                if not isinstance(error, Exception):
                    raise
                self._error = CaptureError(_explained(error))
                raise self._error from error
            finally:
                backend.thread.captured = None

    def register(self, work):
        """Host work, met while recording."""
        if work in self._parts[-1][0]:
            self._end()
            self._begin()
        self._parts[-1][0].append(work)

    def _begin(self):
        self._parts.append(([], None))
        self.backend.stream.begin_capture()

    def _end(self):
        host_work, _ = self._parts.pop()
        self._parts.append((host_work, self.backend.stream.end_capture()))


@contextlib.contextmanager
def _no_collector():
    """Python's garbage collector may destroy graphs or modules, which a capture doesn't allow."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _explained(error) -> str:
    """Which operation broke off a capture, in which line of the user's, and why."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [Path(frame.filename).is_relative_to(PACKAGE) for frame in frames]
    # The user's last line, and what it called in this package; or, failing that, elsewhere.
    entries = [k for k in range(1, len(frames)) if ours[k] and not ours[k - 1]]
    last = entries[-1] if entries else min(2, len(frames) - 1)
    user, operation = frames[last - 1], frames[last].name
    return (
        f"{Path(user.filename).name}, line {user.lineno}: {operation} can't be part of a captured "
        f"step: {' '.join(str(error).split())}. A step may not wait for the device, send host "
        "arrays to it, or multiply stacks of matrices"
    )


# --- Numbers that change, and numbers to look at -------------------------------------------------


class DeviceLive:
    """Numbers that change, in device memory, where a replayed step finds what they are by then."""

    MOST = 3

    def __init__(self, backend):
        self._backend, self._values = backend, ()
        self._arrays = {}

    def set(self, *values):
        if values == self._values:
            return
        self._values = values
        for array in self._arrays.values():
            self._write(array)

    def array(self, dtype):
        """The numbers as an array of `dtype`, the same memory at every call."""
        if dtype.name not in self._arrays:
            if self._backend.thread.captured is not None:  # each replay would reset the numbers
                raise CaptureError(f"{dtype.name} numbers are first asked for in a captured step")
            self._arrays[dtype.name] = self._backend.cupy.zeros(self.MOST, dtype)
            self._write(self._arrays[dtype.name])
        return self._arrays[dtype.name]

    def _write(self, array):
        values = (*self._values, 0.0, 0.0, 0.0)[: self.MOST]
        numbers = [array.dtype.type(value) for value in values]
        self._backend.launch("set_live", 1, array, *numbers, np.int32(self.MOST), threads=1)

    def __getitem__(self, index):
        return self.array(np.dtype("float32"))[index]


class DeviceLog:
    """Rows of scalars in device memory: a ring of float32 rows, which a kernel appends to.

    A full ring is read before the next row goes into it, which is the only wait.
    """

    CAPACITY = 1024

    def __init__(self, backend, columns: int):
        self._backend, self._columns = backend, columns
        self._ring = backend.cupy.zeros((self.CAPACITY, columns), "float32")
        self._position = backend.cupy.zeros(1, "int64")
        self._begin = self._count = 0  # rows looked at, and rows appended
        self._looked = []

    def __len__(self):
        return self._count - self._begin + sum(map(len, self._looked))

    def append(self, scalars):
        row = self._backend.empty(self._columns, "float32")
        for i, scalar in enumerate(scalars):
            row[i] = scalar
        self._backend.host(self._make_room)
        self._backend.launch(
            *("append_row", self._columns, row, self._ring, self._position),
            *(np.int32(self._columns), np.int32(self.CAPACITY)),
            blocks=1,
        )

    def _make_room(self):
        if self._count - self._begin == self.CAPACITY:
            self._looked.append(self._read())
        self._count += 1

    def _read(self):
        index = np.arange(self._begin, self._count) % self.CAPACITY
        self._begin = self._count
        return self._backend.to_numpy(self._ring)[index].astype(np.float64)

    def drain(self):
        looked, self._looked = [*self._looked, self._read()], []
        return np.concatenate(looked)
