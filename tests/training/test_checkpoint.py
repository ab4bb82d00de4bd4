"""A checkpoint comes back bit for bit, or not at all and with the reason in one line."""

import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan.system import write
from minigan.training.checkpoint import CheckpointError, load, peek, save


class Part:
    """The least that a part can be: it keeps what it is given."""

    def __init__(self, growing=False, **values):
        self.values = values
        self.growing = growing

    def state(self):
        return dict(self.values)

    def load_state(self, state):
        self.values = state


class Stubborn(Part):
    """Changes itself, then raises: the worst that a part can do in `load_state`."""

    def load_state(self, state):
        if state["weight"][0] == 1:
            self.values = {"weight": np.full(2, 99.0)}
            raise RuntimeError("no, thanks")
        self.values = state


def assert_same(got, wanted):
    """Equal in value, type, dtype, shape and bits; NaN equals NaN."""
    if isinstance(wanted, (np.ndarray, np.generic)):
        wanted = np.asarray(wanted)
        assert isinstance(got, np.ndarray)
        assert got.dtype == wanted.dtype.newbyteorder("=")
        assert got.shape == wanted.shape
        assert got.tobytes() == wanted.astype(got.dtype).tobytes()
    else:
        assert type(got) is type(wanted)
        assert repr(got) == repr(wanted)  # repr tells NaN, -0.0 and True from 1


# Round trip.

DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="=")
    | hnp.unsigned_integer_dtypes(endianness="=")
    | hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def arrays(draw):
    """Arrays of every dtype, from 0-d to 4-d, empty ones and strided views among them."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = draw(hnp.arrays(draw(DTYPES), draw(shapes)))
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    if array.ndim and draw(st.booleans()):
        array = array[:: draw(st.sampled_from((-1, 2)))]
    return array


@given(state=st.dictionaries(st.text(max_size=5), arrays() | JSON, max_size=4), extra=JSON)
@settings(max_examples=150, deadline=None)
def test_round_trip(tmp_path_factory, state, extra):
    path = tmp_path_factory.mktemp("checkpoint") / "run" / "c.safetensors"
    save(path, {"a": Part(), "b": _part(state)}, note=extra, step=3)
    blank = {
        key: np.zeros_like(value) if isinstance(value, np.ndarray) else value
        for key, value in state.items()
    }
    restored = _part(blank)
    result = load(path, {"b": restored, "a": Part()})
    assert_same(result, {"note": extra, "step": 3})
    assert_same(peek(path), result)
    assert restored.values.keys() == state.keys()
    for key, value in state.items():
        assert_same(restored.values[key], value)


def _part(values):
    part = Part()
    part.values = values
    return part


def test_transposed_and_reversed_arrays_keep_their_order(tmp_path):
    x = np.arange(6.0).reshape(2, 3)
    save(tmp_path / "c", {"p": Part(t=x.T, r=x[::-1, ::2], b=x.astype(">f8"))})
    part = Part(t=np.zeros((3, 2)), r=np.zeros((2, 2)), b=np.zeros((2, 3)))
    load(tmp_path / "c", {"p": part})
    assert part.values["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert part.values["r"].tolist() == [[3, 5], [0, 2]]
    assert part.values["b"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_numpy_scalars_are_0d_arrays(tmp_path):
    save(tmp_path / "c", {"p": Part(loss=np.float32(0.5), n=np.int16(3))})
    part = Part(loss=np.float32(0), n=np.int16(0))
    load(tmp_path / "c", {"p": part})
    assert_same(part.values["loss"], np.array(0.5, np.float32))
    assert_same(part.values["n"], np.array(3, np.int16))


def test_generator_state_continues_the_stream(tmp_path):
    bits, other = np.random.PCG64(7), np.random.PCG64(8)
    save(tmp_path / "c", {"rng": Part(state=bits.state)})
    wanted = np.random.Generator(bits).normal(size=5)
    part = Part(state=other.state)
    load(tmp_path / "c", {"rng": part})
    other.state = part.values["state"]
    assert np.array_equal(np.random.Generator(other).normal(size=5), wanted)


def test_loaded_arrays_are_writable_and_apart_from_the_file(tmp_path):
    save(tmp_path / "c", {"p": Part(w=np.ones(3))})
    part = Part(w=np.zeros(3))
    load(tmp_path / "c", {"p": part})
    part.values["w"] += 1
    fresh = Part(w=np.zeros(3))
    load(tmp_path / "c", {"p": fresh})
    assert fresh.values["w"].tolist() == [1, 1, 1]


def test_growing_part_accepts_another_length_but_no_other_width(tmp_path):
    path = tmp_path / "c"
    save(path, {"history": Part(loss=np.arange(10.0), pairs=np.zeros((7, 2)))})
    history = Part(growing=True, loss=np.zeros(0), pairs=np.zeros((0, 2)))
    load(path, {"history": history})
    assert history.values["loss"].tolist() == list(range(10))
    history = Part(growing=True, loss=np.zeros(0), pairs=np.zeros((0, 3)))
    with pytest.raises(CheckpointError, match=r"history/pairs has shape \(7, 2\), expected \(0, 3"):
        load(path, {"history": history})
    with pytest.raises(CheckpointError, match=r"history/loss has shape \(10,\), expected \(\)"):
        load(path, {"history": Part(growing=True, loss=np.zeros(()), pairs=np.zeros((0, 2)))})


def test_extra_may_be_called_path_or_parts(tmp_path):
    save(tmp_path / "c", {}, path="a", parts=[1])
    assert peek(tmp_path / "c") == {"path": "a", "parts": [1]}


# What does not fit.


@pytest.mark.parametrize(
    ("saved", "expected", "message"),
    [
        (
            {"0.weight": np.zeros((4, 4, 1, 32))},
            {"0.weight": np.zeros((4, 4, 1, 64))},
            "G/0.weight has shape (4, 4, 1, 32), expected (4, 4, 1, 64)",
        ),
        ({"w": np.zeros(2)}, {"w": np.zeros(())}, "G/w has shape (2,), expected ()"),
        (
            {"w": np.zeros(2)},
            {"w": np.zeros(2, np.float32)},
            "G/w has dtype float64, expected float32",
        ),
        ({}, {"w": np.zeros(2)}, "has no entry G/w, expected an array of shape (2,) and dtype flo"),
        ({}, {"n": 1}, "has no entry G/n, expected a number"),
        ({"n": 1}, {}, "has an entry G/n, a number, which no part expects"),
        (
            {"w": np.zeros((1, 2))},
            {},
            "has an entry G/w, an array of shape (1, 2) and dtype float64, which no part expects",
        ),
        ({"n": 1}, {"n": "one"}, "G/n is a number, expected a string"),
        ({"n": True}, {"n": 1}, "G/n is a bool, expected a number"),
        ({"n": []}, {"n": {}}, "G/n is a list, expected a dict"),
        (
            {"n": 1},
            {"n": np.zeros(3)},
            "G/n is a number, expected an array of shape (3,) and dtype float64",
        ),
        (
            {"n": np.zeros(3)},
            {"n": None},
            "G/n is an array of shape (3,) and dtype float64, expected null",
        ),
        (
            {"a": 1, "b": 1, "c": 1},
            {"a": "", "b": "", "c": ""},
            "G/a is a number, expected a string (and 2 more)",
        ),
    ],
)
def test_misfit_names_file_entry_and_both_sides(tmp_path, saved, expected, message):
    path = tmp_path / "c.safetensors"
    save(path, {"G": _part(saved), "D": Part(w=np.ones(2))})
    discriminator, generator = Part(w=np.zeros(2)), _part(expected)
    with pytest.raises(CheckpointError) as raised:
        load(path, {"D": discriminator, "G": generator})
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)
    assert discriminator.values["w"].tolist() == [0, 0]
    assert generator.values is expected


def test_a_part_missing_on_either_side(tmp_path):
    save(tmp_path / "c", {"G": Part(w=np.ones(2))})
    with pytest.raises(CheckpointError, match="has no entry ema/w"):
        load(tmp_path / "c", {"G": Part(w=np.ones(2)), "ema": Part(w=np.ones(2))})
    with pytest.raises(CheckpointError, match=r"has an entry G/w, .* which no part expects"):
        load(tmp_path / "c", {})


@pytest.mark.parametrize(("saved", "expected"), [(None, 0.5), (0.5, None), (1, 1.0), (None, None)])
def test_null_fits_any_json_value_and_int_fits_float(tmp_path, saved, expected):
    save(tmp_path / "c", {"p": Part(best=saved)})
    part = Part(best=expected)
    load(tmp_path / "c", {"p": part})
    assert_same(part.values["best"], saved)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "p/v is a tuple, expected an array or a JSON value"),
        ([1, (2, 3)], "p/v holds a tuple, expected a JSON value"),
        ({"a": {1: 2}}, "p/v has the key 1, expected a string"),
        ({"a": np.zeros(2)}, "p/v holds a ndarray, expected a JSON value"),
        (np.zeros(2, complex), "p/v has dtype complex128, expected bool, an integer or a float"),
        (np.array(["text"]), "p/v has dtype <U4, expected"),
        (np.array([None]), "p/v has dtype object, expected"),
        (object(), "p/v is a object, expected an array or a JSON value"),
    ],
)
def test_save_refuses_what_would_not_come_back(tmp_path, value, message):
    path = tmp_path / "c"
    with pytest.raises(CheckpointError) as raised:
        save(path, {"p": Part(v=value)})
    assert str(raised.value).startswith(f"{path}: {message}")
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_foreign_extra_and_slashes(tmp_path):
    with pytest.raises(CheckpointError, match="extra 'size' holds a tuple"):
        save(tmp_path / "c", {}, size=(1, 2))
    with pytest.raises(CheckpointError, match="part name 'a/b' may not contain '/'"):
        save(tmp_path / "c", {"a/b": Part()})


def test_a_part_that_refuses_puts_every_part_back(tmp_path):
    path = tmp_path / "c"
    names = ("first", "second", "third")
    save(path, {name: Part(weight=np.ones(2)) for name in names})
    first = Part(weight=np.array([5.0, 6.0]))
    second = Stubborn(weight=np.array([7.0, 8.0]))
    third = Part(weight=np.array([9.0, 10.0]))
    with pytest.raises(CheckpointError, match=r"second refused its state \(RuntimeError: no, th"):
        load(path, dict(zip(names, (first, second, third), strict=True)))
    assert first.values["weight"].tolist() == [5, 6]
    assert second.values["weight"].tolist() == [7, 8]
    assert third.values["weight"].tolist() == [9, 10]


def test_a_part_that_loads_in_place_is_put_back(tmp_path):
    class InPlace(Part):
        def load_state(self, state):
            self.values["weight"][...] = state["weight"]
            self.values["log"][:] = state["log"]

    save(tmp_path / "c", {"a": Part(weight=np.ones(2), log=[1]), "b": Part(weight=np.ones(2))})
    part = InPlace(weight=np.array([5.0, 6.0]), log=[2, 3])
    with pytest.raises(CheckpointError, match="b refused"):
        load(tmp_path / "c", {"a": part, "b": Stubborn(weight=np.zeros(2))})
    assert part.values["weight"].tolist() == [5, 6]
    assert part.values["log"] == [2, 3]


# Damaged and foreign files.


def _refused(path):
    """The message with which `load` and `peek` both refuse the file, parts untouched."""
    part = Part(w=np.zeros((3, 4)), n=1)
    before = dict(part.values)
    with pytest.raises(CheckpointError) as raised:
        load(path, {"p": part})
    assert part.values == before
    with pytest.raises(CheckpointError):
        peek(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_truncated_at_every_offset(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    save(whole, {"p": Part(w=np.ones((3, 4)), n=1)}, step=1)
    data = whole.read_bytes()
    for length in range(len(data)):
        cut.write_bytes(data[:length])
        assert "cut short" in _refused(cut)


def test_any_single_byte_changed_is_refused(tmp_path):
    """Whatever it says: a length, a name, a dtype, a shape, a digit of a number, an array."""
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    save(whole, {"p": Part(w=np.ones((3, 4)), n=1)}, step=1)
    data = whole.read_bytes()
    rng = random.Random(0)
    for position, old in enumerate(data):
        others = {0x00, 0x22, 0x32, 0x5C, 0xFF, old ^ 1 << rng.randrange(8), rng.randrange(256)}
        for byte in others - {old}:
            damaged.write_bytes(data[:position] + bytes([byte]) + data[position + 1 :])
            _refused(damaged)


@pytest.mark.parametrize("more", [b"\0", b" ", bytes(8)])
def test_bytes_that_nobody_reads_are_refused(tmp_path, more):
    """At the end, and between the header and the arrays, where the header may be padded."""
    save(tmp_path / "c", {"p": Part(w=np.ones((3, 4)), n=1)})
    data = (tmp_path / "c").read_bytes()
    header = int.from_bytes(data[:8], "little")
    longer = (header + len(more)).to_bytes(8, "little") + data[8 : 8 + header] + more
    for changed in (data + more, longer + data[8 + header :]):
        (tmp_path / "c").write_bytes(changed)
        _refused(tmp_path / "c")


def write_version_1(path, arrays, values, extra, **changes):
    """A checkpoint as it was before the checksum covered the whole file, with other metadata."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode() + arrays[name].tobytes())
    metadata = {
        "format": "minigan checkpoint",
        "version": "1",
        "sha256": total.hexdigest(),
        "json": json.dumps({"values": values, "extra": extra}),
    }
    path.write_bytes(safetensors.numpy.save(arrays, metadata | changes))


def test_a_file_of_version_1_is_read_with_the_checks_it_has(tmp_path):
    path, weights = tmp_path / "c", np.arange(12.0).reshape(3, 4)
    write_version_1(path, {"p/w": weights}, {"p/n": 7}, {"step": 3})
    part = Part(w=np.zeros((3, 4)), n=1)
    assert load(path, {"p": part}) == peek(path) == {"step": 3}
    assert_same(part.values["w"], weights)
    assert part.values["n"] == 7
    save(path, {"p": part}, step=4)
    assert b'"version":"2"' in path.read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        '{"values": {"p/n": 7, "p/n": 7}, "extra": {}}',
        '{"values": {"p/n": 7},  "extra": {}}',
        '{"values": {"p/n": 1e999}, "extra": {}}',
        '{"values": {"p/n": 7}, "extra": {}, "more": {}}',
        '{"values": [["p/n", 7]], "extra": {}}',
    ],
)
def test_json_of_version_1_that_save_did_not_write(tmp_path, text):
    write_version_1(tmp_path / "c", {"p/w": np.ones((3, 4))}, {}, {}, json=text)
    assert "its JSON values are damaged" in _refused(tmp_path / "c")


def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "a device or pipe, expected a checkpoint file" in _refused(tmp_path / "pipe")


def test_missing_file_folder_and_unreadable(tmp_path):
    assert _refused(tmp_path / "none") == f"{tmp_path / 'none'}: no such checkpoint"
    assert "a folder, expected a checkpoint file" in _refused(tmp_path)
    assert "cannot be read: File name too long" in _refused(tmp_path / ("long" * 100))


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"hello\n",
        bytes(8),
        bytes(1000),
        random.Random(1).randbytes(4096),
        b"\x0c" + bytes(7) + b'{"a": 1}    ',
        b"\x02" + bytes(7) + b"[]",
    ],
)
def test_foreign_files(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    assert "is no checkpoint" in _refused(path)


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_run(tmp_path, protocol):
    path, mark = tmp_path / "c", tmp_path / "mark"
    path.write_bytes(pickle.dumps(Trap(str(mark)), protocol))
    assert "is no checkpoint" in _refused(path)
    assert not mark.exists()


def test_safetensors_of_another_program(tmp_path):
    path = tmp_path / "c"
    array = {"p/w": np.ones((3, 4))}
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(safetensors.numpy.save(array, metadata))
        assert "a safetensors file, but not one that minigan wrote" in _refused(path)
    path.write_bytes(safetensors.numpy.save({}))
    assert "not one that minigan wrote" in _refused(path)


def test_another_format_version(tmp_path):
    metadata = {"format": "minigan checkpoint", "version": "3", "json": "[]"}
    (tmp_path / "c").write_bytes(safetensors.numpy.save({}, metadata))
    assert "has format version '3', this minigan reads versions 1 and 2" in _refused(tmp_path / "c")


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"values": 1, "extra": 2}', "[" * 10**5])
def test_damaged_json(tmp_path, text):
    metadata = {"format": "minigan checkpoint", "version": "1", "json": text}
    (tmp_path / "c").write_bytes(safetensors.numpy.save({}, metadata))
    assert "its JSON values are damaged" in _refused(tmp_path / "c")


def test_an_array_of_a_dtype_numpy_lacks(tmp_path):
    text = '{"values": {}, "extra": {}}'
    metadata = {"format": "minigan checkpoint", "version": "1", "json": text}
    entry = {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}
    header = json.dumps({"__metadata__": metadata, "p/w": entry}).encode()
    (tmp_path / "c").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(CheckpointError, match="has a dtype that NumPy lacks"):
        load(tmp_path / "c", {"p": Part(w=np.zeros(1))})


# Atomicity.

SAVER = """
    import itertools, sys
    import numpy as np
    from minigan.training.checkpoint import save

    class Part:
        def state(self):
            return {str(k): np.full(40_000, step) for k in range(8)} | {"n": step}

    for step in itertools.count():
        save(sys.argv[1], {"p": Part()}, step=step)
        if step == 0:
            print("ready", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_killed_while_saving(tmp_path):
    path = tmp_path / "c"
    rng = random.Random(2)
    for _ in range(8):
        command = [sys.executable, "-c", textwrap.dedent(SAVER), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.1))
            child.send_signal(signal.SIGKILL)
        part = Part(n=0, **{str(k): np.zeros(40_000, int) for k in range(8)})
        step = load(path, {"p": part})["step"]
        assert part.values.pop("n") == step
        assert all((array == step).all() for array in part.values.values())
    save(path, {"p": Part(n=0)})
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_writing_a_file_leaves_alone_what_others_are_writing(tmp_path):
    """Pictures and numbers may be written by several processes; of saves there is one at a time."""
    other = tmp_path / ".p.png.tmp-1"
    other.write_text("on its way")
    write(tmp_path / "p.png", b"mine")
    assert other.read_text() == "on its way" and (tmp_path / "p.png").read_bytes() == b"mine"


def test_leftovers_of_this_name_are_removed_and_no_others(tmp_path):
    keep = ["other", ".d.tmp-7", ".c.tmp-", ".c.tmp-7a", "c.tmp-7"]
    for name in [*keep, ".c.tmp-1", ".c.tmp-99999", f".c.tmp-{os.getpid()}"]:
        (tmp_path / name).write_bytes(b"half a checkpoint")
    save(tmp_path / "c", {})
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*keep, "c"])


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_disk_full_leaves_the_old_file(tmp_path, monkeypatch, function):
    path = tmp_path / "c"
    save(path, {"p": Part(n=1)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        save(path, {"p": Part(n=2)})
    assert [file.name for file in tmp_path.iterdir()] == ["c"]
    assert path.read_bytes() == before


# Links.


@pytest.mark.parametrize("kind", ["absolute", "relative", "of a link", "dangling", "of a folder"])
def test_a_link_stays_and_what_it_points_at_is_written(tmp_path, kind):
    disk, run = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    real, path = disk / "real", run / "c"
    real.write_text("the file before")
    (disk / ".real.tmp-77").write_text("left by a process that was killed")
    if kind == "of a folder":
        run.symlink_to(disk)
        path, link = run / "real", run
    else:
        run.mkdir()
        link = path
        if kind == "of a link":
            (disk / "other").symlink_to("real")
        if kind == "dangling":
            real.unlink()
        target = {"relative": "../disk/real", "of a link": disk / "other"}.get(kind, real)
        link.symlink_to(target)
    pointed_at = os.readlink(link)
    save(path, {"p": Part(n=2)})
    assert os.readlink(link) == pointed_at
    assert not real.is_symlink()
    part = Part(n=1)
    load(real, {"p": part})
    assert part.values["n"] == 2
    others = {"other"} if kind == "of a link" else set()
    assert {file.name for file in disk.iterdir()} == {"real"} | others


def test_links_that_lead_to_no_file_are_errors_and_stay(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path / "about")
    (tmp_path / "about").symlink_to(tmp_path / "round")
    (tmp_path / "nowhere").symlink_to(tmp_path / "no disk" / "c")
    (tmp_path / "folder").symlink_to(tmp_path)
    before = sorted((file.name, os.readlink(file)) for file in tmp_path.iterdir())
    for name in ("round", "nowhere", "folder"):
        with pytest.raises(OSError):
            save(tmp_path / name, {"p": Part(n=2)})
    assert sorted((file.name, os.readlink(file)) for file in tmp_path.iterdir()) == before


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    sync = os.fsync

    def files_only(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    save(tmp_path / "c", {"p": Part(n=2)})
    load(tmp_path / "c", {"p": Part(n=1)})


def test_a_partial_load_takes_some_parts_and_checks_them_as_strictly(tmp_path):
    path = tmp_path / "run"
    save(path, {"a": Part(x=np.ones(3)), "b": Part(y=np.ones(2))})
    a = Part(x=np.zeros(3))
    load(path, {"a": a}, partial=True)
    np.testing.assert_array_equal(a.values["x"], np.ones(3))
    with pytest.raises(CheckpointError, match="b/y"):
        load(path, {"a": a})
    with pytest.raises(CheckpointError, match="a/x has shape"):
        load(path, {"a": Part(x=np.zeros(4))}, partial=True)
    with pytest.raises(CheckpointError, match="no entry c/x"):
        load(path, {"c": Part(x=np.zeros(3))}, partial=True)


@given(st.data())
def test_a_flipped_bit_in_an_array_is_noticed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "run"
    save(path, {"a": Part(x=np.arange(50.0), y=np.ones((3, 4), np.float32))})
    content = bytearray(path.read_bytes())
    arrays = 50 * 8 + 12 * 4  # the file ends with them
    place = len(content) - 1 - data.draw(st.integers(0, arrays - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    part = Part(x=np.zeros(50), y=np.zeros((3, 4), np.float32))
    with pytest.raises(CheckpointError, match="checksum"):
        load(path, {"a": part})
    assert not part.values["x"].any()
