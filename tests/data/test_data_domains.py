"""Two sets of drawn images: what the rules read, against what mirrors and filters must do to it."""

import numpy as np
import pytest

from minigan.data import DOMAINS

HUE, DAY = DOMAINS["hue"], DOMAINS["day"]


@pytest.fixture(scope="module")
def drawn():
    return {key: pair.draw(600, 3) for key, pair in DOMAINS.items()}


def read(key, side, images):
    return next(iter(DOMAINS[key].read[side].values()))(images)


@pytest.mark.parametrize("key", DOMAINS)
def test_one_seed_is_one_pair_of_sets(key, drawn):
    again, other = DOMAINS[key].draw(600, 3), DOMAINS[key].draw(600, 4)
    for side, part in enumerate(drawn[key]):
        assert part.images.shape == (600, *DOMAINS[key].shapes[side]) and part.labels is None
        assert np.array_equal(part.images, again[side].images)
        assert part.sha256 == again[side].sha256 != other[side].sha256
    with pytest.raises(ValueError, match="n = 0"):
        DOMAINS[key].draw(0)


def test_changing_the_channels_turns_the_hue(drawn):
    """Red, green and blue moved on by one are a third of the circle, two of six hues."""
    images = drawn["hue"][0].images
    hues = read("hue", 0, images)
    assert np.bincount(hues.ravel()).min() > 70
    assert (read("hue", 0, np.roll(images, 1, -1)) == (hues + 2) % 6).all()


def test_turning_and_mirroring_a_bar_does_so_to_its_orientation(drawn):
    images = drawn["hue"][1].images
    turns = read("hue", 1, images)
    assert np.bincount(turns.ravel()).min() > 70
    assert (read("hue", 1, np.rot90(images, axes=(1, 2))) == (turns + 3) % 6).all()
    assert (read("hue", 1, images[:, :, ::-1]) == -turns % 6).all()


@pytest.mark.parametrize("side", [0, 1])
def test_a_street_in_a_mirror(side, drawn):
    images = drawn["day"][side].images
    facts, mirrored = (read("day", side, part) for part in (images, images[:, :, ::-1]))
    assert [len(np.unique(column)) for column in facts.T] == [3, 4, 4, 4]
    assert (mirrored[:, 0] == 2 - facts[:, 0]).all()
    assert (mirrored[:, 1:] == facts[:, :0:-1]).all()


def test_walls_have_colours_by_day_alone(drawn):
    day, night = drawn["day"]
    walls = DAY.read[0]["colours of walls"]
    assert DAY.read[1].keys() == {"what is there"}
    colours, kinds = walls(day.images), read("day", 0, day.images)[:, 1:]
    assert ((colours >= 0) == ((kinds == 1) | (kinds == 2))).all()
    red, yellow, pink = (day.images[(colours == k).any(1)].mean((0, 1, 2)) for k in range(3))
    assert red[1:].max() < min(yellow[1], pink[1]) and pink[2] > yellow[2]
    assert night.images.mean() < 50 < 120 < day.images.mean()


@pytest.mark.parametrize("key", DOMAINS)
def test_rules_read_through_noise(key, drawn):
    random = np.random.default_rng(0)
    for side, part in enumerate(drawn[key]):
        noisy = part.images + random.normal(0, 12, part.images.shape)
        noisy = np.clip(noisy, 0, 255).astype(np.uint8)
        kept = DOMAINS[key].same(part.images, noisy, (side, side))
        assert kept.keys() == DOMAINS[key].read[side].keys()
        assert min(kept.values()) > 0.97, kept


def test_what_is_the_same_has_one_name_on_both_sides(drawn):
    day, night = drawn["day"]
    shared = DAY.same(day.images, night.images, (0, 1))
    assert shared.keys() == {"what is there"} and shared["what is there"] < 0.03  # 1 in 192
    assert DAY.same(day.images, day.images, (0, 0)) == dict.fromkeys(DAY.read[0], 1)
    assert HUE.same(drawn["hue"][0].images, drawn["hue"][1].images, (0, 1)) == {}
