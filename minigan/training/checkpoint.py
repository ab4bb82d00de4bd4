"""Save and resume: everything a run needs to go on, in one file.

A GAN has no loss that tells when to stop, so runs are long, and long runs get interrupted. To go
on as if nothing had happened takes more than the weights: the optimisers' moments, the step, the
random generators' states, the loss histories. Each of these is a *part*, any object with

    state() -> dict                   what it must remember, by name
    load_state(state: dict) -> None   takes such a dict back; arrays in it are on the host

and a checkpoint is a dict of named parts. A value in a state is an array, on any device (NumPy
scalars count as 0-d arrays), or a JSON value: None, bool, int, float, str, and lists and dicts of
them. Ints may have any size, as a PCG64 state needs, and floats, NaN and the infinities come back
exactly. A part whose arrays get longer along axis 0 as the run goes on (a loss history) says so
with an attribute `growing = True`.

Three promises, each kept by one function, here and in system/files.py:

- `write`: whoever looks sees the old file or the new one, whole, even if the process is killed;
- `_read`: loading runs no code from the file, as a pickle would, and a file in which a single bit
  is not as it was saved is refused; the format is safetensors;
- `load`: every entry is checked before the first part changes, so nothing is half-loaded.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from minigan.backend import backend_of
from minigan.system import remove_leftovers, world, write

NAME = "checkpoint.safetensors"  # in the folder of a run

_MARKER = "minigan checkpoint"
_VERSION = "2"
_NO_SEAL = "0" * 64  # stands in the header where the seal will, while the seal is computed

_DTYPES = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_JSON_KINDS = {
    type(None): "null",
    bool: "a bool",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a dict",
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, read, or loaded into these parts."""


def save(path, parts: dict, /, **extra):
    """Writes the states of `parts`, and the JSON values `extra`, to the file `path`.

    Folders are created. The file that was there is replaced in one instant or, if anything
    fails, left alone. One process at a time may write to a path: of several ranks, the first.

    Raises CheckpointError for a value that is neither an array nor JSON, or has a dtype that
    safetensors lacks, and if ranks differ in anything that is saved; OSError if the file cannot be
    written (disk full, no permission).
    """
    path = Path(path)
    entries = _entries(path, parts)
    _check_ranks(path, entries)
    for name, value in extra.items():
        _check_json(path, f"extra {name!r}", value)
    arrays = {name: value for name, value in entries.items() if isinstance(value, np.ndarray)}
    values = {name: value for name, value in entries.items() if name not in arrays}
    metadata = {
        "format": _MARKER,
        "version": _VERSION,
        "sha256": _NO_SEAL,
        "json": json.dumps({"values": values, "extra": extra}),
    }
    file = safetensors.numpy.save(arrays, metadata)
    if world().rank == 0:
        remove_leftovers(Path(os.path.realpath(path)))
        write(path, file.replace(_entry(_NO_SEAL), _entry(_seal(file, _NO_SEAL)), 1))


def _check_ranks(path: Path, entries: dict):
    """CheckpointError unless all ranks are about to save the same."""
    if world().size == 1:
        return
    digests = {
        name: hashlib.sha256(value if isinstance(value, np.ndarray) else repr(value).encode())
        for name, value in entries.items()
    }
    seen = world().gather({name: digest.digest() for name, digest in digests.items()})
    unlike = [name for name, first in seen[0].items() if any(d.get(name) != first for d in seen)]
    if unlike:
        raise CheckpointError(
            f"{path}: not saved, as {world().size} ranks differ in {', '.join(unlike[:3])}: they "
            "must run the same program on the same kind of machine"
        )


def from_first(parts: dict):
    """Gives the parts of every rank the states that they have on the first."""
    if world().size == 1:
        return
    entries = world().first(_entries(Path("what ranks share"), parts))
    for name, part in parts.items():
        part.load_state(_part_state(entries, name))


def load(path, parts: dict, /, *, partial=False) -> dict:
    """Gives each of `parts` its state from the file `path`; returns the `extra` of `save`.

    With `partial` the file may hold more parts than these: to sample from a run, its generator
    is enough.

    The parts must have the names, and their current states the entries, shapes and dtypes, that
    the file has. Arrays handed to `load_state` are host copies that the part may keep.

    Raises CheckpointError, with every part as it was, if the file is missing or damaged, does
    not fit the parts, or one of the parts refuses its state.
    """
    path = Path(path)
    saved, extra = _read(path)
    if partial:
        saved = {name: v for name, v in saved.items() if name.partition("/")[0] in parts}
    previous = copy.deepcopy(_entries(path, parts))
    growing = {name for name, part in parts.items() if getattr(part, "growing", False)}
    _check_fit(path, saved, previous, growing)
    for position, (name, part) in enumerate(parts.items()):
        try:
            part.load_state(_part_state(saved, name))
        except Exception as error:
            # The part that raised may have changed in part, so it goes back as well.
            for changed in list(parts)[: position + 1]:
                with contextlib.suppress(Exception):
                    parts[changed].load_state(_part_state(previous, changed))
            raise CheckpointError(
                f"{path}: {name} refused its state ({type(error).__name__}: {error}); "
                "every part is as it was"
            ) from error
    return extra


def peek(path) -> dict:
    """The `extra` of the checkpoint at `path`, without any part.

    With it a resumed run can rebuild its networks from the options they were made with. The whole
    file is read: only all of it together can be checked.
    Raises CheckpointError as `load` does for a file that is missing or damaged.
    """
    return _read(Path(path))[1]


def within(path: Path) -> Path:
    """The checkpoint that a path means: a folder stands for the one of the run in it."""
    return path / NAME if path.is_dir() else path


def about_data(data) -> dict:
    """What a checkpoint keeps of a `Dataset`, of a tuple of them, or of a density's name.

    JSON values for its extra. Of several sets the order counts: two that are swapped are others.
    """
    parts = data if isinstance(data, tuple) else (data,)
    digests = [getattr(part, "sha256", None) for part in parts]
    return {
        "data": " and ".join(map(str, parts)),
        "data_sha256": None if None in digests else " ".join(digests),
    }


def same_data(about: dict, data) -> bool:
    """Whether `about_data` was of this data: the digest decides, whatever the name.

    The name decides for densities, and for checkpoints that know their data by name alone.
    """
    here = about_data(data)
    key = "data" if None in (about.get("data_sha256"), here["data_sha256"]) else "data_sha256"
    return about.get(key) == here[key]


def _entries(path: Path, parts: dict) -> dict:
    """All states in one dict by "part/key": C-contiguous host arrays and JSON values."""
    entries = {}
    for part_name, part in parts.items():
        if "/" in part_name:
            raise CheckpointError(f"{path}: part name {part_name!r} may not contain '/'")
        for key, value in part.state().items():
            name = f"{part_name}/{key}"
            if type(value) in _JSON_KINDS:
                _check_json(path, name, value)
                entries[name] = value
            else:
                entries[name] = _host_array(path, name, value)
    return entries


def _seal(file: bytes, found: str) -> str:
    """SHA-256 of the whole file, with zeros in the place of the seal that stands there.

    So it covers names, dtypes, shapes, JSON and the file's very structure as well as the arrays:
    safetensors itself does not notice a flipped bit in any of them, as long as it can be parsed.
    """
    whole, entry = memoryview(file), _entry(found)
    place = file.index(entry)
    total = hashlib.sha256(whole[:place])
    total.update(_entry(_NO_SEAL))
    total.update(whole[place + len(entry) :])
    return total.hexdigest()


def _entry(seal: str) -> bytes:
    """How the seal stands in the header; no text there reads so, as its quotes are escaped."""
    return f'"sha256":"{seal}"'.encode(errors="replace")


def _digest_version_1(arrays: dict) -> str:
    """SHA-256 of the arrays' names and values, which is all that files of version 1 have."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(arrays[name].data if arrays[name].size else b"")
    return total.hexdigest()


def _host_array(path: Path, name: str, value) -> np.ndarray:
    """`value` in host memory, in the one layout that safetensors writes as it is meant.

    safetensors copies an array's memory from its start and never looks at its strides: a
    transposed array would come back with its elements in another order.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    else:
        try:
            array = backend_of(value).to_numpy(value)
        except TypeError:
            raise CheckpointError(
                f"{path}: {name} is a {type(value).__name__}, expected an array or a JSON value"
            ) from None
    if array.dtype.name not in _DTYPES:
        raise CheckpointError(
            f"{path}: {name} has dtype {array.dtype}, expected bool, an integer or a float "
            "of at most 64 bits"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _check_json(path: Path, name: str, value):
    """CheckpointError unless `value` comes back from JSON as the very same value.

    Exact types only: JSON would turn a tuple into a list and the key 1 into "1" in silence.
    """
    if type(value) not in _JSON_KINDS:
        raise CheckpointError(
            f"{path}: {name} holds a {type(value).__name__}, expected a JSON value "
            "(None, bool, int, float, str, list or dict)"
        )
    if type(value) is list:
        for item in value:
            _check_json(path, name, item)
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise CheckpointError(f"{path}: {name} has the key {key!r}, expected a string")
            _check_json(path, name, item)


def _read(path: Path) -> tuple[dict, dict]:
    """The entries of a checkpoint (writable host arrays and JSON values) and its extra."""
    metadata, file = _whole(path)
    version, seal = metadata.get("version"), metadata.get("sha256")
    if version not in ("1", _VERSION):
        raise CheckpointError(
            f"{path}: has format version {version!r}, this minigan reads versions 1 and "
            f"{_VERSION}; load it with the minigan that wrote it"
        )
    if version == _VERSION and (_entry(seal) not in file or _seal(file, seal) != seal):
        raise CheckpointError(f"{path}: damaged, or cut short: its checksum does not match")
    content, arrays = _content(path, metadata), _arrays(path, file)
    if version == "1" and _digest_version_1(arrays) != seal:
        raise CheckpointError(f"{path}: its arrays are damaged (their checksum does not match)")
    return arrays | content["values"], content["extra"]


def _whole(path: Path) -> tuple[dict, bytes]:
    """The metadata of a checkpoint and all its bytes, of one and the same save.

    A file whose first bytes are not those of a checkpoint is not read any further.
    """
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: a folder, expected a checkpoint file")
        if path.exists() and not path.is_file():  # reading a pipe would be waiting for ever
            raise CheckpointError(f"{path}: a device or pipe, expected a checkpoint file")
        with open(path, "rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if 8 + length > os.fstat(file.fileno()).st_size:
                raise _no_safetensors(path, f"{length} bytes of header are more than it has")
            header = file.read(length)
            metadata = _metadata(path, header)
            return metadata, start + header + file.read()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error


def _metadata(path: Path, header: bytes) -> dict:
    """What a safetensors header holds beside the descriptions of arrays: strings by name."""
    try:
        entries = json.loads(header.decode())
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError("its header does not describe arrays")
    except (AttributeError, ValueError, RecursionError) as error:
        raise _no_safetensors(path, error) from error
    metadata = entries.get("__metadata__", {})
    if metadata.get("format") != _MARKER:
        raise CheckpointError(f"{path}: a safetensors file, but not one that minigan wrote")
    return metadata


def _arrays(path: Path, file: bytes) -> dict:
    try:
        arrays = safetensors.numpy.load(file)
    except safetensors.SafetensorError as error:
        raise _no_safetensors(path, error) from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: has a dtype that NumPy lacks ({error})") from error
    return {name: np.require(array, requirements="W") for name, array in arrays.items()}


def _no_safetensors(path: Path, reason) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a whole safetensors file ({reason}); it was cut short, or is no checkpoint"
    )


def _content(path: Path, metadata: dict) -> dict:
    """The JSON values of a checkpoint: {"values": {…}, "extra": {…}}.

    In a file of version 1 the checksum does not cover them. What can be checked is that they are
    spelt as `save` spells them, which few kinds of damage leave so.
    """
    try:
        content = json.loads(metadata["json"])
        if json.dumps(content) != metadata["json"]:
            raise ValueError("they are not spelt as they were saved")
        kinds = {key: type(value) for key, value in content.items()}
        if kinds != {"values": dict, "extra": dict}:
            raise ValueError("they are not the values and the extra of a save")
        return content
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its JSON values are damaged ({error})") from error


def _part_state(entries: dict, part_name: str) -> dict:
    prefix = part_name + "/"
    return {
        name.removeprefix(prefix): value
        for name, value in entries.items()
        if name.startswith(prefix)
    }


def _check_fit(path: Path, saved: dict, expected: dict, growing: set):
    """CheckpointError with the first entry of `saved` that is not as `expected`, if any."""
    problems = [
        f"has no entry {name}, expected {_describe(value)}"
        for name, value in expected.items()
        if name not in saved
    ]
    for name, value in saved.items():
        if name not in expected:
            problems.append(f"has an entry {name}, {_describe(value)}, which no part expects")
        elif problem := _misfit(value, expected[name], name.partition("/")[0] in growing):
            problems.append(f"{name} {problem}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CheckpointError(f"{path}: {problems[0]}{more}")


def _misfit(saved, expected, growing: bool) -> str | None:
    """What is wrong with a saved value where one like `expected` should be, or None.

    None in a state says "not yet", so it may stand where any other JSON value does.
    """
    if not (isinstance(saved, np.ndarray) and isinstance(expected, np.ndarray)):
        kinds = _describe(saved), _describe(expected)
        either_is_array = isinstance(saved, np.ndarray) or isinstance(expected, np.ndarray)
        if kinds[0] == kinds[1] or ("null" in kinds and not either_is_array):
            return None
        return f"is {kinds[0]}, expected {kinds[1]}"
    if saved.dtype != expected.dtype:
        return f"has dtype {saved.dtype}, expected {expected.dtype}"
    grown = growing and saved.ndim == expected.ndim and saved.shape[1:] == expected.shape[1:]
    if saved.shape != expected.shape and not grown:
        return f"has shape {saved.shape}, expected {expected.shape}"
    return None


def _describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return _JSON_KINDS[type(value)]
