"""What the option --data means, and that importing the package stays light."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import minigan.data as data
from minigan.data import DataError, Dataset, DownloadError, choose


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    monkeypatch.setattr(data, "DRAWN", {"train": (30, 0), "test": (20, 1)})
    monkeypatch.setattr(data, "FACES", {"train": (6, 0), "test": (4, 1)})


@pytest.fixture
def loads(monkeypatch):
    """Replaces `load` by one that notes its arguments and returns one black image."""
    calls = []

    def load(name, folder=None, split="train", download=True, progress=True):
        calls.append((name, folder, split))
        return Dataset(name, np.zeros((1, 28, 28, 1), np.uint8))

    monkeypatch.setattr(data, "load", load)
    return calls


def unreachable(*args, **options):
    raise DownloadError("a long story", reason="no route to host")


def test_names(loads):
    for name in ("mnist", "fashion-mnist"):
        chosen, notice = choose(name, split="test")
        assert chosen.name == name and notice is None
    assert loads == [("mnist", None, "test"), ("fashion-mnist", None, "test")]
    digits, notice = choose("digits")
    assert len(digits) == 30 and notice is None
    faces, notice = choose("faces", split="test", size=12)
    assert faces.images.shape == (4, 12, 12, 3) and notice is None


def test_nothing_named_means_mnist(loads):
    chosen, notice = choose()
    assert chosen.name == "mnist" and notice is None and loads == [("mnist", None, "train")]


def test_nothing_named_and_no_network_means_digits_and_a_notice(monkeypatch):
    monkeypatch.setattr(data, "load", unreachable)
    digits, notice = choose()
    assert digits.name == "drawn digits" and "no route to host" in notice
    assert "--data FOLDER" in notice and "\n" not in notice
    other, _ = choose(split="test")
    assert len(other) == 20


def test_a_set_asked_for_by_name_is_never_replaced(monkeypatch):
    monkeypatch.setattr(data, "load", unreachable)
    for name in ("mnist", "fashion-mnist"):
        with pytest.raises(DataError):
            choose(name)


def test_minigan_data_without_mnist_is_a_mistake_not_a_fallback(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGAN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="has no train-images"):
        choose()


def test_folders_that_hold_a_set(loads, tmp_path):
    (tmp_path / "fashion-mnist").mkdir()
    choose(str(tmp_path))
    (tmp_path / "mnist").mkdir()
    choose(str(tmp_path))
    assert loads == [("fashion-mnist", tmp_path, "train"), ("mnist", tmp_path, "train")]


def test_folders_of_images(tmp_path):
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "a.png")
    chosen, notice = choose(str(tmp_path), size=5, progress=False)
    assert chosen.images.shape == (1, 5, 5, 3) and notice is None
    with pytest.raises(DataError, match="no test split"):
        choose(str(tmp_path), split="test")


def test_mistakes(tmp_path):
    with pytest.raises(
        DataError, match=r"no such folder, and none of the names mnist, fash.*digits"
    ):
        choose(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no images"):
        choose(str(tmp_path))
    with pytest.raises(ValueError, match="split 'dev'"):
        choose("digits", split="dev")


def test_the_import_is_light_and_silent():
    script = (
        "import sys, minigan.data\n"
        "heavy = {'matplotlib', 'PIL', 'tqdm', 'cupy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
