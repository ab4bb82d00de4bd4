"""Runs the CUDA kernels on the CPU, so that they are tested where there is no GPU.

The very text of kernels.cu is compiled by g++ with a header that stands in for CUDA, and launched
with NumPy arrays in the place of device arrays. On a GPU an argument of the wrong type or number
is silent corruption, because a launch sees only bytes; here every launch is checked against the
signature that the source states.

The threads of a grid run one after another. Only a kernel that says __syncthreads gets real
threads, a block at a time.
"""

from __future__ import annotations

import ctypes
import functools
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = Path(__file__).with_name("cuda_shim.h")
SOURCE = Path(__file__).parents[2] / "minigan" / "backend" / "kernels.cu"

# Products are not fused into sums: that would round differently with each compiler.
FLAGS = [
    *("-O2", "-std=c++20", "-shared", "-fPIC", "-pthread"),
    *("-fvisibility=hidden", "-ffp-contract=off"),
]
REALS = {"float32": "float", "float64": "double"}
MOST_THREADS = 1024
MOST_BLOCKS = (2**31 - 1, 65535, 65535)


class CompileError(RuntimeError):
    """The kernels are not C++; the compiler's words are the message."""


def available() -> bool:
    """Whether there is a compiler to run the kernels with."""
    return shutil.which("g++") is not None


# --- What the source says ------------------------------------------------------------------------


class Parameter(NamedTuple):
    """One parameter of a kernel: a number, or the address of such numbers."""

    name: str
    c_type: str
    dtype: np.dtype
    pointer: bool
    written: bool


class Declaration(NamedTuple):
    """One kernel of a source."""

    parameters: tuple[Parameter, ...]
    meets: bool  # whether its threads wait for each other


def read_source() -> str:
    """The text of the library's kernels."""
    return SOURCE.read_text(encoding="utf-8")


def without_comments(source) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)


@functools.lru_cache(maxsize=16)
def declarations(source, dtype="float32") -> dict[str, Declaration]:
    """Every kernel of a source, by name, with `real` standing for `dtype`."""
    _, *texts = re.split(r'extern\s+"C"\s+__global__\s+void\s+', without_comments(source))
    found = {}
    for text in texts:
        name, inside = re.match(r"(\w+)\s*\(([^)]*)\)", text).groups()
        parameters = tuple(_parameter(part, dtype) for part in inside.split(","))
        found[name] = Declaration(parameters, "__syncthreads" in text)
    return found


def _parameter(text, dtype) -> Parameter:
    types = {
        "real": dtype,
        "int": "int32",
        "unsigned int": "uint32",
        "long long": "int64",
        "unsigned long long": "uint64",
        "unsigned char": "uint8",
    }
    match = re.fullmatch(r"(const )?([a-z ]+?)(\*?) (\w+)", " ".join(text.split()))
    if match is None or match[2] not in types:
        raise ValueError(f"the shim knows no parameter {text.strip()!r}")
    const, kind, star, name = match.groups(default="")
    pointer, written = bool(star), bool(star) and not const
    return Parameter(name, const + kind + star, np.dtype(types[kind]), pointer, written)


# --- Compiling -----------------------------------------------------------------------------------


def _driver(name, declaration) -> str:
    """C++ that runs a grid of one kernel, its arguments given by address as cuLaunchKernel's."""
    parameters = enumerate(declaration.parameters)
    values = ", ".join(f"*({p.c_type}*)arguments[{i}]" for i, p in parameters)
    together = "true" if declaration.meets else "false"
    return (
        'extern "C" __attribute__((visibility("default")))\n'
        f"bool run_{name}(const unsigned int* grid, const unsigned int* block, void** arguments)\n"
        "{\n"
        f"    return run_grid(grid, block, {together}, [=] {{ {name}({values}); }});\n"
        "}\n"
    )


@functools.lru_cache(maxsize=16)
def _library(source, dtype) -> ctypes.PyDLL:
    drivers = (_driver(name, d) for name, d in declarations(source, dtype).items())
    program = "\n".join(
        [HEADER.read_text(encoding="utf-8"), '#line 1 "kernels.cu"', source, *drivers]
    )
    flags = [*FLAGS, f"-DREAL={REALS[dtype]}"]
    digest = hashlib.sha256("\0".join([program, *flags]).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"minigan-cuda-shim-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        # Under another name first: tests that run side by side must not load half a file.
        part = folder / f"{digest}.{os.getpid()}"
        command = ["g++", *flags, "-x", "c++", "-", "-o", str(part)]
        done = subprocess.run(command, input=program, capture_output=True, text=True)
        if done.returncode:
            raise CompileError(done.stderr)
        part.replace(library)
    # A PyDLL keeps Python's lock, so that two launches never share the grid's variables.
    return ctypes.PyDLL(str(library))


# --- Launching -----------------------------------------------------------------------------------


class Kernel:
    """A compiled kernel, called as CuPy's RawKernel is: kernel(grid, block, args)."""

    def __init__(self, name, parameters, function):
        self.name, self.parameters, self._function = name, parameters, function

    def __call__(self, grid, block, args):
        """Runs the kernel. TypeError or ValueError if its signature wants other arguments.

        grid, block: one to three sizes. args: for each pointer a C-contiguous array of its dtype,
        or None, 0 or np.uint64(0) for null; for each number a NumPy scalar of exactly its type.
        """
        grid, block = self._sizes("grid", grid), self._sizes("block", block)
        if any(n > most for n, most in zip(grid, MOST_BLOCKS, strict=True)):
            raise ValueError(f"{self.name}: a grid of {grid} blocks is too large")
        if block[0] * block[1] * block[2] > MOST_THREADS or block[2] > 64:
            raise ValueError(f"{self.name}: a block of {block} threads is too large")
        if len(args) != len(self.parameters):
            raise TypeError(
                f"{self.name}: {len(args)} arguments for {len(self.parameters)} parameters"
            )
        values = [self._value(p, a) for p, a in zip(self.parameters, args, strict=True)]
        addresses = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
        if not self._function((ctypes.c_uint * 3)(*grid), (ctypes.c_uint * 3)(*block), addresses):
            raise RuntimeError(f"{self.name}: __syncthreads must stand in the kernel itself")

    def _sizes(self, what, sizes):
        if not 1 <= len(sizes) <= 3 or any(int(n) != n or n < 1 for n in sizes):
            raise ValueError(f"{self.name}: {what} {sizes}, expected one to three positive sizes")
        return (*map(int, sizes), 1, 1)[:3]

    def _value(self, parameter, argument) -> np.ndarray:
        """The bytes that a launch copies: a number, or an address."""
        place = f"{self.name}: {parameter.name}"
        if not parameter.pointer:
            if not isinstance(argument, np.generic) or argument.dtype != parameter.dtype:
                raise TypeError(f"{place} wants a {parameter.dtype}, got {_describe(argument)}")
            return np.array(argument)
        if argument is None or (type(argument) in (int, np.uint64) and argument == 0):
            return np.zeros((), np.uintp)
        if not isinstance(argument, np.ndarray) or argument.dtype != parameter.dtype:
            raise TypeError(
                f"{place} wants an array of {parameter.dtype}, got {_describe(argument)}"
            )
        if not argument.flags.c_contiguous:
            raise ValueError(f"{place} wants a C-contiguous array, got strides {argument.strides}")
        if parameter.written and not argument.flags.writeable:
            raise ValueError(f"{place} is written to, but the array is read-only")
        return np.array(argument.ctypes.data, np.uintp)


def _describe(argument) -> str:
    if isinstance(argument, np.ndarray):
        return f"an array of {argument.dtype}"
    return f"{argument!r} of type {type(argument).__name__}"


def kernel(name, dtype, source=None) -> Kernel:
    """The kernel `name` for float32 or float64, of the library's source or of another one."""
    source, dtype = read_source() if source is None else source, np.dtype(dtype).name
    if name not in declarations(source, dtype):
        raise KeyError(f"no kernel {name!r}, only {sorted(declarations(source, dtype))}")
    function = _library(source, dtype)[f"run_{name}"]
    function.restype = ctypes.c_bool
    return Kernel(name, declarations(source, dtype)[name].parameters, function)
