"""The devices. Every array lives on one, and all arithmetic goes through its `Backend`.

Which backend an array belongs to is read off the array, so both devices can be used in one
process and no global setting decides anything. Code above this folder reaches NumPy, or CuPy,
only through `backend.xp`.

In the order of reading: base, host, capture, philox, cublas, nccl, cuda (with kernels.cu).
"""

from __future__ import annotations

from minigan.backend.base import (
    Backend,
    CaptureError,
    DeviceError,
    Generator,
    Window,
)
from minigan.backend.host import HOST_TYPES, cpu

_BACKENDS = {"cpu": cpu}
_BACKEND_OF_TYPE = dict.fromkeys(HOST_TYPES, cpu)


def backend_of(array) -> Backend:
    """The backend an array lives on. TypeError for anything that is no array."""
    try:
        return _BACKEND_OF_TYPE[type(array)]
    except KeyError:
        raise TypeError(f"expected an array, got {type(array).__name__}") from None


def get_backend(name: str) -> Backend:
    """The backend called `name`, ready for this thread.

    DeviceError says what is missing; there is no fallback.
    """
    if name not in _BACKENDS:
        if name != "cuda":
            raise DeviceError(f"unknown device {name!r}: the devices are 'cpu' and 'cuda'")
        from minigan.backend.cuda import open_device  # CuPy is loaded when it is asked for

        add(open_device())
    _BACKENDS[name].enter()
    return _BACKENDS[name]


def add(backend: Backend) -> Backend:
    """Makes a device known: `get_backend` and `backend_of` will find it."""
    _BACKENDS[backend.name] = backend
    _BACKEND_OF_TYPE[backend.xp.ndarray] = backend
    return backend
