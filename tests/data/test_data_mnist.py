"""Finding, fetching and checking MNIST: against small sets served by a server in this process.

The real MNIST is read too where MINIGAN_DATA or a folder beside the repository holds it.
"""

import contextlib
import gzip
import hashlib
import os
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import minigan.data as choosing
from minigan.data import DataError, DownloadError, load
from minigan.data import mnist as module
from minigan.data.mnist import COLLECTIONS, Check, File, cache_folder

REAL = Path(os.environ.get("MINIGAN_DATA", "no such folder"))
IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([7, 2, 9], np.uint8)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


# Files of the same names and shapes; the images of the second set are the negatives of the first.
ARRAYS = {"mnist": (IMAGES, LABELS), "fashion-mnist": (255 - IMAGES, LABELS[::-1])}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
CONTENT = {
    of: {name: idx(array) for name, array in zip(NAMES, arrays, strict=True)}
    for of, arrays in ARRAYS.items()
}
ZIPPED = {
    of: {name + ".gz": gzip.compress(data, mtime=0) for name, data in files.items()}
    for of, files in CONTENT.items()
}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No proxy, no MINIGAN_DATA, a cache of our own, and sets of three images, without mirrors."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MINIGAN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    small(monkeypatch, ())


def small(monkeypatch, mirrors):
    for name, algorithm, of_unpacked in [
        ("mnist", "sha256", True),
        ("fashion-mnist", "md5", False),
    ]:
        files = []
        for (file, data), array in zip(CONTENT[name].items(), ARRAYS[name], strict=True):
            checked = data if of_unpacked else ZIPPED[name][file + ".gz"]
            digest = hashlib.new(algorithm, checked).hexdigest()
            files.append(File(file, array.shape, Check(algorithm, of_unpacked, digest)))
        collection = COLLECTIONS[name]._replace(
            mirrors=tuple(f"{url}{name}/" for url in mirrors), files={"train": tuple(files)}
        )
        monkeypatch.setitem(COLLECTIONS, name, collection)


@contextlib.contextmanager
def mirror(respond):
    """A server whose answer to the file `name` is what `respond(handler, name)` writes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            respond(self, self.path.rpartition("/")[2])

        def log_message(self, *args):
            pass

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/data/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler, body, length=None):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def good(handler, name):
    send(handler, asked_for(handler, name))


def asked_for(handler, name):
    return ZIPPED[handler.path.split("/")[-2]][name]


def wrong(handler, name):
    send(handler, gzip.compress(b"something else"))


def page(handler, name):
    send(handler, b"<html>Please log in to the hotel's network</html>")


def broken_off(handler, name):
    whole = asked_for(handler, name)
    send(handler, whole[:-20], length=len(whole))


def missing(handler, name):
    handler.send_error(404)


def silent(handler, name):
    time.sleep(3)


def same(data, name="mnist"):
    images, labels = ARRAYS[name]
    assert data.name == COLLECTIONS[name].title and len(data.classes) == 10
    return np.array_equal(data.images[..., 0], images) and np.array_equal(data.labels, labels)


def place(folder, files, dotted=False):
    """Writes the files to the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / (name.replace("-idx", ".idx") if dotted else name)).write_bytes(data)


def in_cache(name="mnist"):
    folder = cache_folder() / name
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_set_is_fetched_once_and_then_found(monkeypatch, name):
    with mirror(good) as (url, asked):
        small(monkeypatch, [url])
        assert same(load(name, progress=False), name)
        assert in_cache(name) == sorted(ZIPPED[name]) and len(asked) == 2
        assert same(load(name, progress=False), name) and len(asked) == 2
    assert same(load(name, download=False), name)


@pytest.mark.parametrize("fault", [wrong, page, broken_off, missing])
def test_the_second_mirror_serves_when_the_first_does_not(monkeypatch, fault):
    with mirror(fault) as (bad, tried), mirror(good) as (url, _):
        small(monkeypatch, [bad, url])
        assert same(load("mnist", progress=False))
    assert len(tried) == 2 and in_cache() == sorted(ZIPPED["mnist"])


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (wrong, "damaged or another file: its sha256 is"),
        (page, "not a gzip file"),
        (broken_off, "damaged gzip file"),
        (missing, "HTTP Error 404"),  # the port may have a 404 in it
    ],
)
def test_what_is_refused_leaves_nothing_behind(monkeypatch, fault, complaint):
    with mirror(fault) as (one, asked), mirror(fault) as (two, _):
        small(monkeypatch, [one, two])
        with pytest.raises(DownloadError) as caught:
            load("mnist", progress=False)
    message = str(caught.value)
    assert message.count(complaint) == 2 and one in message and two in message
    assert "MINIGAN_DATA" in message and "--data digits" in message and "\n" not in message
    assert in_cache() == [] and len(asked) == 1, "the first file decides"


def test_no_network_is_told_without_touching_the_disk(monkeypatch):
    with mirror(good) as (url, _):
        pass  # from here on nobody listens there
    small(monkeypatch, [url, url])
    with pytest.raises(DownloadError, match="could not be downloaded"):
        load("mnist")
    assert not cache_folder().exists()


def test_a_mirror_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    with mirror(silent) as (url, _):
        small(monkeypatch, [url])
        start = time.perf_counter()
        with pytest.raises(DownloadError, match=r"no answer in 0\.2 seconds"):
            load("mnist", progress=False)
        assert time.perf_counter() - start < 2.5


def test_an_unwritable_cache_is_told_and_no_mirror_blamed(monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with mirror(good) as (url, asked):
        small(monkeypatch, [url])
        with pytest.raises(DownloadError, match="could not be downloaded") as caught:
            load("mnist", progress=False)
        assert caught.value.reason == f"{tmp_path / 'cache'} is not a folder"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
        with pytest.raises(DownloadError, match="MINIGAN_DATA") as caught:
            load("mnist", progress=False)
        assert caught.value.reason == f"{tmp_path} cannot be written to"
    assert asked == []


def test_a_link_in_the_cache_stays_and_its_target_is_fetched(monkeypatch, tmp_path):
    (tmp_path / "disk").mkdir()
    link = cache_folder() / "mnist" / (NAMES[0] + ".gz")
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "disk" / "images.gz")
    with mirror(good) as (url, _):
        small(monkeypatch, [url])
        assert same(load("mnist", progress=False))
    assert link.is_symlink()
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["images.gz"]


def nobody_s_home(monkeypatch):
    """As for a user in a container: no HOME, and none in the list of users."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no list of users that is asked")
def test_without_a_home_folder_the_error_says_what_to_do(monkeypatch, tmp_path):
    nobody_s_home(monkeypatch)
    for download in (True, False):
        with pytest.raises(
            DownloadError, match=r"no home folder .*--data or MINIGAN_DATA"
        ) as caught:
            load("mnist", download=download)
        assert caught.value.reason == "there is no home folder to keep data in"
    monkeypatch.setattr(choosing, "DRAWN", {"train": (20, 0)})
    digits, notice = choosing.choose()
    assert digits.name == "drawn digits" and "no home folder to keep data in" in notice
    with pytest.raises(DataError, match="--data ~/data: no such folder"):
        choosing.choose("~/data")


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    place(tmp_path / "data" / "mnist", CONTENT["mnist"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert same(choosing.choose("~/data")[0])
    monkeypatch.setenv("MINIGAN_DATA", "~/data")
    assert same(load("mnist"))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dotted", [True, False])
def test_files_are_found_under_all_their_names(tmp_path, name, zipped, dotted):
    place(tmp_path / name, (ZIPPED if zipped else CONTENT)[name], dotted)
    data = load(name, tmp_path)
    assert same(data, name) and data.images.shape == (3, 28, 28, 1)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("where", "named"),
    [
        ("{torchvision}/raw", "."),
        ("{torchvision}/raw", "{torchvision}"),
        ("{torchvision}/raw", "{torchvision}/raw"),
        ("{name}", "{name}"),
        ("plain", "plain"),
    ],
)
def test_files_are_found_where_others_keep_them(monkeypatch, tmp_path, name, zipped, where, named):
    """Whichever set it is: nothing but a digest, or else the folder's name, tells them apart."""
    words = {"name": name, "torchvision": COLLECTIONS[name].torchvision}
    place(tmp_path / where.format(**words), (ZIPPED if zipped else CONTENT)[name])
    folder = tmp_path / named.format(**words)
    assert same(load(name, folder), name)
    monkeypatch.setenv("MINIGAN_DATA", str(folder))
    assert same(load(name), name)
    if where == "plain" and name == "fashion-mnist" and not zipped:
        with pytest.raises(DataError, match=rf"plain: .*digest.* move them to .*{name}"):
            choosing.choose(str(folder))
    else:
        assert same(choosing.choose(str(folder))[0], name)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["plain", "fashion-mnist", "FashionMNIST/raw"])
def test_one_set_is_never_taken_for_the_other(tmp_path, zipped, where):
    place(tmp_path / where, (ZIPPED if zipped else CONTENT)["mnist"])
    folder = tmp_path / "plain" if where == "plain" else tmp_path
    with pytest.raises(DataError, match=r"a file of MNIST, not of Fashion-MNIST; name") as caught:
        load("fashion-mnist", folder)
    assert "delete" not in str(caught.value)
    if where == "plain":
        assert same(choosing.choose(str(folder))[0])
    place(tmp_path / where, (ZIPPED if zipped else CONTENT)["fashion-mnist"])
    with pytest.raises(
        DataError, match="a file of Fashion-MNIST, not" if zipped else "another file"
    ):
        load("mnist", tmp_path / where)


def test_the_folder_given_comes_before_the_environment_and_that_before_the_cache(
    monkeypatch, tmp_path
):
    places = {name: tmp_path / name for name in ("given", "environment")}
    places["cache"] = cache_folder()
    for place in places.values():
        (place / "mnist").mkdir(parents=True)
    monkeypatch.setenv("MINIGAN_DATA", str(places["environment"]))
    for name, folder in [("given", places["given"]), ("environment", None)]:
        with pytest.raises(DataError, match=name):
            load("mnist", folder)
    monkeypatch.delenv("MINIGAN_DATA")
    with pytest.raises(DataError, match="cache"):
        load("mnist", download=False)


def test_a_named_folder_without_the_set_is_an_error_and_fetches_nothing(monkeypatch, tmp_path):
    with mirror(good) as (url, asked):
        small(monkeypatch, [url])
        with pytest.raises(DataError, match=r"has no train-images-idx3-ubyte\.gz or") as caught:
            load("mnist", tmp_path)
    assert asked == [] and not isinstance(caught.value, DownloadError)


def test_a_damaged_file_on_disk_is_named(tmp_path):
    home = tmp_path / "mnist"
    home.mkdir()
    for name, data in CONTENT["mnist"].items():
        (home / name).write_bytes(data)
    changed = bytearray(CONTENT["mnist"]["train-images-idx3-ubyte"])
    changed[500] ^= 1
    (home / "train-images-idx3-ubyte").write_bytes(changed)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: damaged .* delete or replace"):
        load("mnist", tmp_path)


def test_an_unpacked_fashion_file_must_have_the_right_structure(tmp_path):
    home = tmp_path / "fashion-mnist"
    home.mkdir()
    (home / "train-images-idx3-ubyte").write_bytes(idx(IMAGES[:2]))
    (home / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(DataError, match=r"holds uint8 \(2, 28, 28\), wanted uint8 \(3, 28, 28\)"):
        load("fashion-mnist", tmp_path)
    (home / "train-images-idx3-ubyte").write_bytes(idx(255 - IMAGES))
    (home / "train-labels-idx1-ubyte").write_bytes(idx(LABELS + np.uint8(1)))
    with pytest.raises(DataError, match="labels run from 3 to 10"):
        load("fashion-mnist", tmp_path)


def test_unknown_names_and_splits():
    with pytest.raises(ValueError, match="'cifar'"):
        load("cifar")
    with pytest.raises(ValueError, match="'validation'"):
        load("mnist", split="validation")


@pytest.mark.parametrize(
    ("platform", "variable", "wanted"),
    [
        ("linux", "XDG_CACHE_HOME", "/x/minigan"),
        ("win32", "LOCALAPPDATA", "/x/minigan"),
        ("linux", None, "home/.cache/minigan"),
        ("darwin", None, "home/Library/Caches/minigan"),
    ],
)
def test_the_cache_is_where_the_system_wants_it(monkeypatch, platform, variable, wanted):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(module.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    if variable:
        monkeypatch.setenv(variable, "/x")
    assert cache_folder() == Path(wanted)


def test_a_relative_xdg_cache_home_is_ignored_as_its_specification_says(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for value in ("x", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert "x" not in cache_folder().parts and cache_folder().is_relative_to("/home/me")


@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="no MNIST on this machine")
@pytest.mark.parametrize(("split", "n"), [("train", 60_000), ("test", 10_000)])
def test_the_real_mnist(monkeypatch, split, n):
    monkeypatch.undo()
    data = load("mnist", REAL, split)
    assert data.images.shape == (n, 28, 28, 1) and len(data.classes) == 10
    # Known of MNIST: the mean and standard deviation of its pixels, and its first labels.
    pixels = data.images[:10_000] / np.float32(255)
    assert pixels.mean() == pytest.approx(0.1307, abs=0.003)
    assert pixels.std() == pytest.approx(0.3081, abs=0.003)
    first = [5, 0, 4, 1, 9] if split == "train" else [7, 2, 1, 0, 4]
    assert data.labels[:5].tolist() == first
