"""Maps and pictures: what the drawing promises, and what the rule reads, by construction."""

import numpy as np
import pytest

from minigan.data import drawn_regions, read_regions
from minigan.data.regions import BETWEEN, HOUSE, HOUSES, LEGEND


@pytest.fixture(scope="module")
def drawn():
    return [part.images for part in drawn_regions(300, 5)]


def test_the_seed_decides_everything():
    first, again, other = (drawn_regions(20, seed) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.images, b.images) and a.sha256 == b.sha256
        assert not np.array_equal(a.images, c.images) and a.sha256 != c.sha256
    assert first[0].sha256 != first[1].sha256
    with pytest.raises(ValueError, match="got n = 0, wanted at least 1"):
        drawn_regions(0)


def test_what_the_map_says_of_the_picture_and_what_it_does_not(drawn):
    maps, pictures = drawn
    black = (maps == 0).all(-1)
    assert np.array_equal(black, (pictures == 0).all(-1))
    assert (black.sum((1, 2)) == HOUSES * HOUSE**2).all()
    legend = (slice(None), slice(LEGEND), slice(2 * LEGEND))
    assert (pictures[legend] == 255).all() and (maps[legend].max((0, 1, 2)) < 255).all()
    white = (pictures == 255).all(-1)[:, LEGEND:]
    assert white.mean() == pytest.approx(0.25, abs=0.02)
    # Over many pictures of it each pixel is paper mostly, so the median has no stripes.
    assert not (np.median(white, 0) > 0).any()


def test_the_rule_gives_true_pictures_full_marks(drawn):
    marks = read_regions(*drawn)
    assert marks.right.all() and (marks.colour == 0).all() and (marks.houses == 1).all()
    assert marks.energy.min() > 0.05 and marks.right.shape == marks.colour.shape == (300, 2)


def test_each_mark_falls_by_itself(drawn):
    """Pictures in which one thing is wrong lose that mark and keep the others."""
    maps, pictures = (part[:60] for part in drawn)
    true = read_regions(maps, pictures).means()
    second = maps[..., :1] < BETWEEN
    papers = np.where(second, maps[:, :1, LEGEND : LEGEND + 1], maps[:, :1, :1])
    black, white = ((pictures == k).all(-1, keepdims=True) for k in (0, 255))
    wrong = {
        "energy": np.where(white, papers, pictures),
        "colour": pictures[..., [1, 2, 0]],
        "houses": np.where(black, papers, pictures),
    }
    for mark, images in wrong.items():
        read = read_regions(maps, images.astype(np.uint8)).means()
        kept = {"colour", "houses"} - {mark}
        assert all(read[k] == true[k] for k in kept), mark
        worse = {"energy": 0.02 * true["energy"], "colour": 0.1, "houses": 0.0}[mark]
        assert read[mark] >= worse if mark == "colour" else read[mark] <= worse, mark
        assert read["right"] == (mark != "energy")


def test_pictures_of_other_maps_get_what_chance_gives(drawn):
    maps, pictures = drawn
    read = read_regions(maps, pictures[::-1]).means()
    assert 0.35 < read["right"] < 0.6 and read["colour"] > 0.12 and read["houses"] < 0.05
    assert not read_regions(maps, np.full_like(pictures, 120)).right.any()
