"""The IDX parser against files put together here by hand, byte for byte."""

import gzip
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigan.data.idx import DataError, parse_idx, read_idx

# (type code, struct's letter, a range of values that the type has)
CODES = [
    (0x08, "B", (0, 255)),
    (0x09, "b", (-128, 127)),
    (0x0B, "h", (-(2**15), 2**15 - 1)),
    (0x0C, "i", (-(2**31), 2**31 - 1)),
    (0x0D, "f", (-1000, 1000)),
    (0x0E, "d", (-1000, 1000)),
]


def idx_bytes(code, letter, shape, numbers):
    header = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + struct.pack(f">{len(numbers)}{letter}", *numbers)


SMALL = idx_bytes(0x08, "B", (2, 3), range(6))


@st.composite
def idx_files(draw):
    code, letter, (low, high) = draw(st.sampled_from(CODES))
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=4)))
    count = math.prod(shape)
    numbers = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    return idx_bytes(code, letter, shape, numbers), shape, numbers, letter


@given(idx_files(), st.booleans())
def test_round_trip(tmp_path_factory, file, zipped):
    data, shape, numbers, letter = file
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    path.write_bytes(gzip.compress(data) if zipped else data)
    array = read_idx(path)
    assert array.dtype == np.dtype(letter) and array.dtype.isnative
    assert array.shape == shape and array.flags.writeable
    assert array.ravel().tolist() == numbers


@given(st.binary(max_size=64))
def test_any_bytes_are_an_array_or_an_error_that_names_them(data):
    try:
        parse_idx(data, "drawn.idx")
    except DataError as error:
        assert "drawn.idx" in str(error) and "\n" not in str(error)


@given(st.data())
def test_truncated_or_extended_files_are_refused(data):
    file = data.draw(idx_files())[0]
    cut = data.draw(st.integers(0, len(file) - 1))
    with pytest.raises(DataError, match="cut"):
        parse_idx(file[:cut], "cut.idx")
    with pytest.raises(DataError, match="long"):
        parse_idx(file + b"\0", "long.idx")


@pytest.mark.parametrize(
    ("position", "value", "complaint"),
    [
        (0, 1, "two zeros"),
        (1, 1, "two zeros"),
        (2, 0x0A, "type code 0x0A"),
        (3, 0, "0 dimensions"),
        (3, 65, "65 dimensions"),
        (3, 9, "9 dimensions"),
        (7, 3, "takes 21"),
    ],
)
def test_flipped_header_bytes_are_named(position, value, complaint):
    data = bytearray(SMALL)
    data[position] = value
    with pytest.raises(DataError, match=rf"bad\.idx.*{complaint}"):
        parse_idx(bytes(data), "bad.idx")


def test_a_lying_header_allocates_nothing():
    huge = bytes([0, 0, 0x0E, 3]) + b"\xff" * 12
    with pytest.raises(DataError, match="got 16 bytes"):
        parse_idx(huge)


def test_an_empty_array_of_impossible_shape_is_refused():
    shape = (0, *[2**32 - 1] * 3)
    with pytest.raises(DataError, match="no array can have the shape"):
        parse_idx(idx_bytes(0x08, "B", shape, []))


@given(st.data())
def test_damaged_gzip_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("gz") / "file.gz"
    whole = gzip.compress(SMALL)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError, match=r"file\.gz"):
        read_idx(path)


def test_other_faults_of_the_file(tmp_path):
    page = tmp_path / "page.gz"
    page.write_bytes(b"<html>Sorry</html>")
    with pytest.raises(DataError, match=r"page\.gz: not a gzip file"):
        read_idx(page)
    with pytest.raises(DataError, match=r"absent: cannot be read"):
        read_idx(tmp_path / "absent")


def test_gzip_is_told_by_its_bytes_not_its_name(tmp_path):
    path = tmp_path / "plain-name"
    path.write_bytes(gzip.compress(SMALL))
    assert read_idx(path).tolist() == [[0, 1, 2], [3, 4, 5]]
