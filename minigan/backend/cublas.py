"""Matrix products on the GPU, straight from NVIDIA's cuBLAS.

CuPy's own products can't be recorded into a CUDA graph. This is the one function of cuBLAS that
minigan needs, called through ctypes: C = A B for matrices of float32 or float64, or for stacks of
them.

cuBLAS thinks in columns. A matrix stored by rows is its transpose stored by columns, so what is
asked of it is Cᵀ = Bᵀ Aᵀ.
"""

from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_double, c_float, c_int, c_longlong, c_size_t, c_void_p
from pathlib import Path

# From cublas_api.h and library_types.h.
_AS_IS, _TRANSPOSED = 0, 1
_FLOAT32, _FLOAT64 = 0, 1
_COMPUTE_FLOAT32, _COMPUTE_FLOAT64, _COMPUTE_TF32 = 68, 70, 77
_DEFAULT_ALGORITHM = -1


def loaded_library() -> str:
    """The path of the cuBLAS that this process has loaded; ImportError if it has not."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"(/\S*libcublas\.so\S*)", maps)
    if found is None:
        raise ImportError("libcublas is not loaded")
    return found[1]


class Cublas:
    """A cuBLAS handle that works on one stream.

    path: the shared library. stream: its CUDA address. workspace: address and size in bytes of
    device memory that cuBLAS may use; without it, it would allocate while a graph is recorded.
    """

    def __init__(self, path, stream: int, workspace: tuple[int, int]):
        self._library = ctypes.CDLL(path)
        self._handle = c_void_p()
        self._call("cublasCreate_v2", byref(self._handle))
        # In this order: setting the stream takes the workspace away.
        self._call("cublasSetStream_v2", self._handle, c_void_p(stream))
        address, size = workspace
        self._call("cublasSetWorkspace_v2", self._handle, c_void_p(address), c_size_t(size))

    def gemm(self, a, b, out, *, tf32=False):
        """out = a b: a (m, k), b (k, n) by rows or by columns, out (m, n) by rows.

        Or stacks of as many of each, (s, m, k), (s, k, n) and (s, m, n), one right after the other.
        """
        (*stack, m, k), n = a.shape, b.shape[-1]
        double = out.dtype.itemsize == 8
        kind = _FLOAT64 if double else _FLOAT32
        scalar = c_double if double else c_float
        compute = _COMPUTE_FLOAT64 if double else _COMPUTE_TF32 if tf32 else _COMPUTE_FLOAT32
        (op_a, ld_a), (op_b, ld_b) = _layout(a), _layout(b)
        from_one_to_next = lambda *sides: [c_longlong(sides[0] * sides[1])] if stack else []
        self._call(
            "cublasGemmStridedBatchedEx" if stack else "cublasGemmEx",
            *(self._handle, op_b, op_a, c_int(n), c_int(m), c_int(k), byref(scalar(1.0))),
            *(c_void_p(b.data.ptr), kind, c_int(ld_b), *from_one_to_next(k, n)),
            *(c_void_p(a.data.ptr), kind, c_int(ld_a), *from_one_to_next(m, k)),
            byref(scalar(0.0)),
            *(c_void_p(out.data.ptr), kind, c_int(n), *from_one_to_next(m, n)),
            *(*map(c_int, stack), compute, _DEFAULT_ALGORITHM),
        )

    def _call(self, name, *arguments):
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} failed with cuBLAS status {status}")


def _layout(matrix) -> tuple[int, int]:
    """How cuBLAS reads a matrix: whether to transpose it, and the length of what it stores."""
    *_, rows, columns = matrix.shape
    if matrix.flags.c_contiguous:
        return _AS_IS, columns
    return _TRANSPOSED, rows
