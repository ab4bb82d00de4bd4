"""Sums over GPUs, one to each rank, by NVIDIA's NCCL: what MPI is to arrays of the host.

A sum is work on the backend's stream like any kernel, and so it is recorded into a captured step
and replayed with it: no rank's host waits for another's. The ranks find each other over MPI.
"""

from __future__ import annotations

from minigan.backend.base import DeviceError
from minigan.system import world


def own_gpu(cupy) -> int:
    """Which of this machine's GPUs is this rank's, made the current one.

    DeviceError, on all ranks, if one of them has none of its own: NCCL refuses to share them.
    """
    ranks, count = world(), cupy.cuda.runtime.getDeviceCount()
    most = ranks.largest(ranks.local + 1 if ranks.local >= count else 0)
    if most:
        raise DeviceError(
            f"device 'cuda': {most} ranks here, but GPUs: {count}; each needs its own"
        )
    cupy.cuda.Device(ranks.local).use()
    return ranks.local


class Nccl:
    """The communicator of all ranks' GPUs. DeviceError if CuPy has no NCCL."""

    def __init__(self, backend):
        nccl = backend.cupy.cuda.nccl
        if not nccl.available:
            raise DeviceError(
                "device 'cuda': several ranks need NCCL, which CuPy can't load: "
                "pip install nvidia-nccl-cu12, or nvidia-nccl-cu13"
            )
        ranks = world()
        self._backend, self._sum = backend, nccl.NCCL_SUM
        self._types = {
            "float32": nccl.NCCL_FLOAT32,
            "float64": nccl.NCCL_FLOAT64,
            "int64": nccl.NCCL_INT64,
        }
        name = ranks.first(nccl.get_unique_id() if ranks.rank == 0 else None)
        self._communicator = nccl.NcclCommunicator(ranks.size, name, ranks.rank)

    def all_reduce(self, array):
        """array ← Σ over the ranks, an array without gaps."""
        place, kind = array.data.ptr, self._types[array.dtype.name]
        stream = self._backend.stream.ptr
        self._communicator.allReduce(place, place, array.size, kind, self._sum, stream)
