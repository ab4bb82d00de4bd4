"""A folder mapped by a generator: which files there are in the end, and what is in them."""

import numpy as np
import pytest
from PIL import Image

from minigan import nn
from minigan.backend import cpu
from minigan.data import DataError
from minigan.training import apply_to_folder


class Negative(nn.Module):
    """Black to white; it notes the shapes it was shown."""

    def __init__(self):
        self.seen = []

    def forward(self, x):
        self.seen.append(x.shape)
        return -x


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mine"
    for k, name in enumerate(("a.png", "deep/b.JPG", "deep/er/c.bmp")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10 + k), (40 * k, 255, 0)).save(folder / name, quality=100)
    return folder


def files(out):
    found = (path.relative_to(out) for path in out.rglob("*") if path.is_file())
    return sorted(map(str, found))


def test_every_image_is_mapped_under_its_name(folder, tmp_path):
    G, out = Negative(), tmp_path / "run"
    assert apply_to_folder(G, folder, out, size=8, backend=cpu) == 3
    names = ["applied/a.png", "applied/deep/b.png", "applied/deep/er/c.png"]
    assert files(out) == names and G.seen == [(1, 8, 8, 3)] * 3
    for k, name in enumerate(names):
        with Image.open(out / name) as image:
            assert (image.size, image.format) == ((8, 8), "PNG")
            wanted = np.full((8, 8, 3), (255 - 40 * k, 0, 255))
            assert np.abs(np.asarray(image).astype(int) - wanted).max() <= 2


def test_a_generator_of_grey_images_is_shown_grey(folder, tmp_path):
    G = Negative()
    apply_to_folder(G, folder, tmp_path, size=8, backend=cpu, channels=1)
    assert G.seen == [(1, 8, 8, 1)] * 3
    with Image.open(tmp_path / "applied" / "a.png") as image:
        assert set(np.asarray(image).flat) == {255 - round(0.587 * 255)}  # of (0, 255, 0), by eye


def test_two_images_for_one_name_are_an_error_before_the_first(folder, tmp_path):
    Image.new("RGB", (8, 8)).save(folder / "a.bmp")
    with pytest.raises(DataError, match=r"mine: several images would become a.png: rename one"):
        apply_to_folder(Negative(), folder, tmp_path, size=8, backend=cpu)
    assert not (tmp_path / "applied").exists()


def test_a_file_that_is_broken_is_named_and_those_before_it_are_whole(folder, tmp_path):
    (folder / "deep" / "b.JPG").write_text("no image")
    with pytest.raises(DataError, match=r"b.JPG: cannot be read as an image"):
        apply_to_folder(Negative(), folder, tmp_path, size=8, backend=cpu)
    assert files(tmp_path / "applied") == ["a.png"]
    with pytest.raises(DataError, match="no such folder of images"):
        apply_to_folder(Negative(), folder / "nowhere", tmp_path, size=8, backend=cpu)
