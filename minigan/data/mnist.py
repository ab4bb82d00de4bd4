"""MNIST and Fashion-MNIST: found on disk or fetched once, checked, parsed.

Either set is four files: images and labels, to train on and to test with. They are looked for in

1. the folder that is given, else the one that the environment variable MINIGAN_DATA names: it
   holds a folder `mnist` or `fashion-mnist`, or `MNIST/raw` or `FashionMNIST/raw` as torchvision
   makes them, or the files themselves. Whoever names a folder means it, so if the set is not there
   that is an error and nothing is fetched in its stead;
2. the user's cache, and what is not there is downloaded into it.

Every file is checked against a published digest before it is believed: the two sets name their
files alike, and only by its digest is one told from the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import queue
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.idx import DataError, parse_idx, read_bytes, unpack
from minigan.system import bar

CONNECT_SECONDS = 5  # to reach a mirror, name look-up included
STALL_SECONDS = 30  # without a byte, once the transfer runs
BLOCK_BYTES = 1 << 16


class DownloadError(DataError):
    """No mirror had a file that is not on this machine. `reason` says in short what went wrong."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Check(NamedTuple):
    """A published digest of a file: hashlib's name for it, and which bytes it was taken of."""

    algorithm: str
    of_unpacked: bool
    digest: str


class File(NamedTuple):
    """One of a set's files: its name when unpacked, the shape of the array in it, its digest."""

    name: str
    shape: tuple[int, ...]
    check: Check


class Collection(NamedTuple):
    """A data set: where it is published, what its classes are called, its files by split."""

    title: str
    torchvision: str  # what torchvision calls its folder
    mirrors: tuple[str, ...]
    classes: tuple[str, ...]
    files: dict[str, tuple[File, File]]


def _files(check, train_images, train_labels, test_images, test_labels):
    """The four files, which both sets name alike; `check` makes a `Check` of a digest."""
    return {
        "train": (
            File("train-images-idx3-ubyte", (60_000, 28, 28), check(train_images)),
            File("train-labels-idx1-ubyte", (60_000,), check(train_labels)),
        ),
        "test": (
            File("t10k-images-idx3-ubyte", (10_000, 28, 28), check(test_images)),
            File("t10k-labels-idx1-ubyte", (10_000,), check(test_labels)),
        ),
    }


COLLECTIONS = {
    "mnist": Collection(
        title="MNIST",
        torchvision="MNIST",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        classes=tuple("0123456789"),
        # Mirrors have compressed the files anew, so the digests are those of what is inside.
        files=_files(
            lambda digest: Check("sha256", True, digest),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion-mnist": Collection(
        title="Fashion-MNIST",
        torchvision="FashionMNIST",
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        # The digests that the data set's README gives, of the files as they are downloaded.
        files=_files(
            lambda digest: Check("md5", False, digest),
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
}


def load(
    name: str, folder=None, split: str = "train", download: bool = True, progress: bool = True
) -> Dataset:
    """The "train" or "test" split of "mnist" or "fashion-mnist"; 28 × 28 pixels, one channel.

    folder     the folder that holds the set; else MINIGAN_DATA; else the cache
    download   whether to fetch into the cache what is not there
    progress   whether to show a progress bar while fetching

    ValueError for an unknown name or split. DataError if the set is not in the folder that was
    given or is not what was published; DownloadError, which is one, if it cannot be fetched.
    """
    if name not in COLLECTIONS or split not in COLLECTIONS[name].files:
        raise ValueError(
            f"data set {name!r}, split {split!r}: wanted one of {', '.join(COLLECTIONS)},"
            " split train or test"
        )
    collection = COLLECTIONS[name]
    given = folder or os.environ.get("MINIGAN_DATA")
    home = _home(name, expand(given)) if given else cache_folder() / name
    may_fetch = download and not given
    images, labels = (
        _array(name, file, _find(file, home) or _obtain(name, file, home, may_fetch, progress))
        for file in collection.files[split]
    )
    return Dataset(collection.title, images[..., None], labels.astype(np.int64), collection.classes)


def cache_folder() -> Path:
    """Where this system keeps what a user's programs can fetch again; not necessarily there yet.

    DownloadError if there is no such place, since the user has no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # others are to be ignored, says the XDG specification
        return named / "minigan"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "minigan"
    try:
        home = Path.home()
    except RuntimeError:
        reason = "there is no home folder to keep data in"
        raise DownloadError(
            f"{reason}: name the folder that holds mnist/ or fashion-mnist/ by --data or "
            "MINIGAN_DATA, or one to download to by XDG_CACHE_HOME, or use --data digits",
            reason,
        ) from None
    caches = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    return caches / "minigan"


def expand(path) -> Path:
    """`path` with ~ for the home folder, as a shell writes it: not in a file of settings, say."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no home folder, so that this is not there either
        return Path(path)


def set_in(folder: Path) -> str | None:
    """The name of the set that the folder holds, or None. DataError if it can't be told which."""
    for name in COLLECTIONS:
        if (folder / name).is_dir() or _has_files(folder / COLLECTIONS[name].torchvision / "raw"):
            return name
    place = next(filter(_has_files, (folder, folder / "raw")), None)
    return place and _identified(place)


def _home(name: str, folder: Path) -> Path:
    """Where in `folder` the files of the set are, or else should be."""
    torchvision = folder / COLLECTIONS[name].torchvision / "raw"
    places = (folder / name, torchvision, folder, folder / "raw")
    return next(filter(_has_files, places), folder / name)


def _has_files(place: Path) -> bool:
    """Whether files that are named as the sets' are lie right in this folder."""
    return any(_find(file, place) for file in _all_files(COLLECTIONS["mnist"]))


def _all_files(collection: Collection) -> list[File]:
    return [file for files in collection.files.values() for file in files]


def _identified(place: Path) -> str:
    """The set that the files right in `place` belong to, by their digests, else by its name."""
    for file in _all_files(COLLECTIONS["mnist"]):
        path = _find(file, place)
        raw = read_bytes(path) if path else b""
        if name := _owner(file.name, raw, unpack(raw, path)):
            return name
    parts = place.resolve().parts[-2 if place.name == "raw" else -1 :]
    for name, collection in COLLECTIONS.items():
        if name in parts or collection.torchvision in parts:
            return name
    raise DataError(
        f"{place}: has files of the names that MNIST's and Fashion-MNIST's have, but none with a "
        "digest that was published; if they are Fashion-MNIST's, unpacked, of which there are no "
        f"digests, move them to {place / 'fashion-mnist'}"
    )


def _owner(file_name: str, raw: bytes, unpacked: bytes) -> str | None:
    """The set in which a file of this name was published with these bytes, if there is one."""
    for name, collection in COLLECTIONS.items():
        for file in _all_files(collection):
            if file.name == file_name and file.check.digest == _digest(file.check, raw, unpacked):
                return name
    return None


def _digest(check: Check, raw: bytes, unpacked: bytes) -> str:
    """The digest of a file, as it lies there and unpacked, to be held against the published one."""
    checked = unpacked if check.of_unpacked else raw
    return hashlib.new(check.algorithm, checked, usedforsecurity=False).hexdigest()


def _names(file: File) -> list[str]:
    """What `file` is called: as it is published, and as some programs unpack it."""
    dotted = file.name.replace("-idx", ".idx")
    return [file.name + ".gz", file.name, dotted + ".gz", dotted]


def _find(file: File, home: Path) -> Path | None:
    paths = [home / name for name in _names(file)]
    return next((path for path in paths if os.path.isfile(path)), None)


def _array(name: str, file: File, path: Path) -> np.ndarray:
    raw = read_bytes(path)
    try:
        unpacked = unpack(raw, path)
        owner = _owner(file.name, raw, unpacked)
        if owner == name:  # which its digest has told
            return _parsed(file, unpacked, path)
        if owner is None:
            return _verified(file, raw, unpacked, path)
    except DataError as error:
        raise DataError(f"{error}; delete or replace this file") from error
    raise DataError(
        f"{path}: a file of {COLLECTIONS[owner].title}, not of {COLLECTIONS[name].title}; name "
        f"another folder, or {owner} by --data"
    )


def _verified(file: File, raw: bytes, unpacked: bytes, source) -> np.ndarray:
    """The array in the bytes of `file`; DataError unless they are what was published.

    A digest of compressed bytes says nothing about an unpacked file, which then has to have the
    right shape and labels and no more.
    """
    check = file.check
    if check.of_unpacked or unpacked is not raw:
        digest = _digest(check, raw, unpacked)
        if digest != check.digest:
            raise DataError(
                f"{source}: damaged or another file:"
                f" its {check.algorithm} is {digest}, not {check.digest} as published"
            )
    return _parsed(file, unpacked, source)


def _parsed(file: File, unpacked: bytes, source) -> np.ndarray:
    """The array in the unpacked bytes of `file`; DataError unless it has the published shape."""
    array = parse_idx(unpacked, source)
    if array.dtype != np.uint8 or array.shape != file.shape:
        raise DataError(f"{source}: holds {array.dtype} {array.shape}, wanted uint8 {file.shape}")
    return array


def _obtain(name: str, file: File, home: Path, may_fetch: bool, progress: bool) -> Path:
    """Downloads `file` from the first mirror that has it into `home`; its path there."""
    collection = COLLECTIONS[name]
    remedy = (
        f"place the four files of {collection.title} under FOLDER/{name}/ and name FOLDER by"
        " --data or MINIGAN_DATA, or use --data digits"
    )
    if not may_fetch:
        raise DataError(f"{home}: has no {' or '.join(_names(file))} that can be read; {remedy}")
    failed = f"{file.name}.gz could not be downloaded into {home}"
    if reason := _why_not_writable(home):
        raise DownloadError(f"{failed}: {reason}; {remedy}", reason)
    answers = []
    for mirror in collection.mirrors:
        try:
            return _download(file, mirror + file.name + ".gz", home, progress)
        except (OSError, http.client.HTTPException, DataError) as error:
            answers.append(f"{mirror} said: {' '.join(str(error).split())}")
    raise DownloadError(f"{failed}: {'; '.join(answers)}; {remedy}", reason=answers[-1])


def _why_not_writable(folder: Path) -> str | None:
    """Why no file can be made in `folder`, which need not be there yet; nothing is touched."""
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not os.path.isdir(there):
        return f"{there} is not a folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"


def _download(file: File, url: str, home: Path, progress: bool) -> Path:
    """Fetches `url` into `home`; the name appears there only when the file is whole and checked."""
    title = file.name + ".gz"
    target = Path(os.path.realpath(home / title))  # if the name is a link, it stays one
    with contextlib.closing(_connect(url)) as response:
        home.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{title}.", suffix=".part", dir=target.parent)
        try:
            with open(handle, "wb") as out:
                _copy(response, out, title, progress)
            raw = read_bytes(part)
            _verified(file, raw, unpack(raw, title), title)
            os.replace(part, target)
        finally:
            Path(part).unlink(missing_ok=True)
    return target


def _copy(response, out, title: str, progress: bool):
    look = {"desc": title, "unit": "B", "unit_scale": True, "disable": not progress}
    with bar(total=response.length, **look) as shown:
        while block := response.read(BLOCK_BYTES):
            shown.update(out.write(block))


def _connect(url: str):
    """The opened response to `url`; OSError, after CONNECT_SECONDS at the latest, if there is none.

    A socket's own timeout covers neither the name look-up nor the many addresses that a name may
    have, and behind a silent firewall these can take minutes. So a thread waits, and is left to
    itself when it waits too long.
    """
    answer: queue.Queue = queue.Queue()

    def ask():
        try:
            answer.put(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection, for the sake of the page that came with it
            answer.put(error)
        except Exception as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        result = answer.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer in {CONNECT_SECONDS} seconds") from None
    if isinstance(result, Exception):
        raise result
    return result
