"""Pairs in one file each: which half is which, and what is no pair."""

import numpy as np
import pytest
from PIL import Image

from minigan.data import Batches, DataError, load_folder, load_pairs


@pytest.fixture
def folder(tmp_path):
    """Eight pairs; the left half of pair k has the grey 10 k, the right one 10 k + 5."""
    for k in range(8):
        pixels = np.full((6, 12, 3), 10 * k, np.uint8)
        pixels[:, 6:] += 5
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    return tmp_path


@pytest.mark.parametrize(("source", "first"), [("left", 0), ("right", 5)])
def test_the_half_that_is_the_source(folder, source, first):
    sources, targets = load_pairs(folder, 6, source=source, progress=False)
    for images, grey in ((sources, first), (targets, 5 - first)):
        assert images.images.shape == (8, 6, 6, 3) and images.images.dtype == np.uint8
        wanted = (10 * np.arange(8) + grey)[:, None, None, None]
        assert (images.images == wanted).all()
    other = "right" if source == "left" else "left"
    assert (str(sources), targets.name) == (
        f"{folder.name}, {source}, 8 images",
        f"{folder.name}, {other}",
    )
    assert sources.sha256 != targets.sha256


def test_a_half_does_not_see_the_other(folder):
    """Resized, no pixel at the seam has a share of its neighbour across it."""
    for images in load_pairs(folder, 3, progress=False):
        assert (images.images == images.images[:, :1, :1]).all()


def test_pairs_stay_together_in_batches(folder):
    batches = Batches(load_pairs(folder, 6, progress=False), 3, seed=0)
    for step in range(4):
        x, y = batches.at(step)
        np.testing.assert_allclose(y - x, 5 / 127.5, rtol=1e-4)


def test_what_is_no_pair(folder, tmp_path_factory):
    for size in ((12, 7), (11, 6), (6, 6), (6, 12)):
        Image.new("RGB", size).save(folder / "5.png")
        said = f"5.png: {size[0]} x {size[1]} pixels, wanted a pair side by side"
        with pytest.raises(DataError, match=said):
            load_pairs(folder, 6, progress=False)
    empty = tmp_path_factory.mktemp("empty")
    for path, said in ((empty, "no images here"), (empty / "nowhere", "no such folder of images")):
        with pytest.raises(DataError, match=said):
            load_pairs(path, 6)
    for wrong in ({"source": "top"}, {"size": 0}):
        with pytest.raises(ValueError, match="load_pairs"):
            load_pairs(empty, **{"size": 6} | wrong)


def test_unaligned_sets_are_refused_as_pairs(folder):
    """Rows of one belong to rows of the other, so there must be as many."""
    sources, targets = load_pairs(folder, 6, progress=False)
    with pytest.raises(DataError, match=r"what travels together has \[8, 7\] rows"):
        Batches((sources, targets.images[:7]), 2, seed=0)


def test_two_domains_need_not_have_as_many_images(folder, tmp_path_factory):
    """Each in batches of its own: the smaller one is simply gone through more often."""
    few = tmp_path_factory.mktemp("few")
    for k in range(3):
        Image.new("RGB", (5, 9), (k, k, k)).save(few / f"{k}.jpg", quality=100)
    many, fewer = (load_folder(path, 4, progress=False) for path in (folder, few))
    a, b = Batches(many, 2, 0), Batches(fewer, 2, 1)
    drawn = [(a.next(), b.next(), b.indices().copy()) for _ in range(12)]
    assert all(x.shape == y.shape == (2, 4, 4, 3) for x, y, _ in drawn)
    assert set(np.concatenate([i for *_, i in drawn])) == {0, 1, 2}
