"""The IDX format, in which MNIST and its relatives are published.

An IDX file is a header and then the numbers, row-major and big-endian:

    byte 0, 1   zero
    byte 2      type of the numbers
    byte 3      how many dimensions
    then        the size of each dimension, as a 4-byte unsigned integer

A data file comes from somebody else's server, so nothing in it is believed before it is checked:
every fault is a `DataError` that names the file, and no array is made for more numbers than the
file has bytes. Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

GZIP_MAGIC = b"\x1f\x8b"
MOST_DIMENSIONS = 64  # NumPy's own limit

TYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


class DataError(ValueError):
    """A data set is missing, damaged, or not what it was taken for."""


def read_idx(path) -> np.ndarray:
    """The array in the IDX file at `path`, gzipped or plain, in this machine's byte order.

    DataError if the file cannot be read or is not exactly one IDX array.
    """
    return parse_idx(unpack(read_bytes(path), path), path)


def read_bytes(path) -> bytes:
    """The bytes of the file at `path`; DataError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def unpack(data: bytes, name) -> bytes:
    """`data` decompressed if it is gzipped, else as it is. `name` is for the messages.

    The bytes decide, since a gzip file begins unlike any IDX file; but a file that is called .gz
    and is not gzipped is most often a server's error page, and is refused.
    """
    if not data.startswith(GZIP_MAGIC):
        if str(name).endswith(".gz"):
            raise DataError(f"{name}: not a gzip file: begins with {data[:8]!r}, not {GZIP_MAGIC}")
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{name}: damaged gzip file of {len(data)} bytes: {error}") from error


def parse_idx(data: bytes, name="IDX data") -> np.ndarray:
    """The array in the bytes of an unpacked IDX file. `name` is for the messages.

    Returns an array of its own memory, in native byte order. DataError if `data` is anything else
    than one IDX array from its first byte to its last.
    """
    dtype, shape = _parse_header(data, name)
    start = 4 + 4 * len(shape)
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise DataError(f"{name}: got {len(data)} bytes, but {dtype.name} {shape} takes {wanted}")
    values = np.frombuffer(data, dtype, offset=start)
    try:
        return values.reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:  # an empty array may still have sizes beyond what NumPy can index
        raise DataError(f"{name}: no array can have the shape {shape}: {error}") from error


def _parse_header(data: bytes, name) -> tuple[np.dtype, tuple[int, ...]]:
    if len(data) < 4:
        raise DataError(f"{name}: got {len(data)} bytes, but an IDX header has at least 4")
    if data[:2] != b"\0\0":
        raise DataError(f"{name}: begins with {data[:2]!r}, but an IDX file begins with two zeros")
    code, dimensions = data[2], data[3]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02X}" for known in TYPES)
        raise DataError(
            f"{name}: IDX type code 0x{code:02X} is unknown; the known ones are {known}"
        )
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise DataError(f"{name}: got {dimensions} dimensions, wanted 1 to {MOST_DIMENSIONS}")
    sizes = data[4 : 4 + 4 * dimensions]
    if len(sizes) < 4 * dimensions:
        raise DataError(
            f"{name}: got {len(data)} bytes, but a header with {dimensions} dimensions"
            f" has {4 + 4 * dimensions}"
        )
    return TYPES[code], tuple(np.frombuffer(sizes, ">u4").tolist())
