"""The CUDA backend on a stand-in for CuPy: see fake_cupy.py."""

import fake_cupy

from minigan.backend import cuda


class FakeProducts:
    """In place of cuBLAS: the products of the fake device."""

    def __init__(self, fake):
        self._fake = fake

    def gemm(self, a, b, out, *, tf32):
        self._fake.gemm(a, b, out)


def fake_device(devices=1) -> cuda.CudaBackend:
    """A backend of its own, on a machine with so many GPUs."""
    fake, workspace = fake_cupy.make(), cuda.WORKSPACE
    fake.hardware.devices = devices
    cuda.WORKSPACE = 1024  # of cuBLAS, which is not there
    try:
        return cuda.CudaBackend(fake, lambda backend: FakeProducts(fake))
    finally:
        cuda.WORKSPACE = workspace
