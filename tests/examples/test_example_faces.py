"""Arithmetic on faces: what it counts, of a generator whose directions are known."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from running import module, run

from minigan import data


@pytest.fixture
def example():
    return module("faces")


def portraits():
    """A drawn face of each combination, in the order of HAS: floats (16, 32, 32, 3)."""
    faces = data.drawn_faces(400)
    first = [np.flatnonzero(faces.labels == label)[0] for label in range(len(data.HAS))]
    return data.to_unit(faces.images[first])


def test_a_generator_with_a_direction_for_each_attribute(example, tmp_path, capsys):
    """An attribute is there where its coordinate of z is above 0.

    Of three z each, the sum has then a mean of 0.8 standard deviations and a variance of 0.36:
    glasses in 91%. A vector as long has a coordinate of variance 2/3: 19%.
    """
    faces, bits = portraits(), 1 << np.arange(4)[::-1]
    z = np.random.default_rng(0).normal(size=(2000, 16)).astype("float32")
    drawn = lambda z: faces[(z[:, :4] > 0) @ bits]
    has = example.seen(drawn(z))
    assert np.array_equal(has, z[:, :4] > 0)
    example.arithmetic(z, has, drawn, SimpleNamespace(seed=0, out=tmp_path))
    c, total, control = capsys.readouterr().out.splitlines()
    share = [float(re.search(r"glasses ([\d.]+)%", line)[1]) for line in (c, total, control)]
    assert share[0] == 0 and share[1] == pytest.approx(91, abs=3)
    assert share[2] == pytest.approx(19, abs=4)
    assert total.startswith("a - b + c") and float(re.search(r"hair ([\d.]+)%", total)[1]) > 85
    with Image.open(tmp_path / "faces.png") as picture:
        assert min(picture.size) > 300


def test_there_must_be_some_of_each_kind(example, tmp_path, capsys):
    nobody = np.zeros((50, 4), bool)
    args = SimpleNamespace(seed=0, out=tmp_path)
    example.arithmetic(np.zeros((50, 3), "float32"), nobody, None, args)
    assert "too few samples of a kind" in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_folder_of_that_name_is_not_the_drawn_faces(tmp_path):
    folder = tmp_path / "drawn faces"
    folder.mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(folder / f"{i}.png")
    small = ["--size=8", "--width=2", "--latent=2", "--batch=2", "--steps=1", "--samples=1"]
    out, _ = run("faces", "--data", folder, *small, "--out", tmp_path / "run")
    assert "attributes are known of drawn faces alone" in out
