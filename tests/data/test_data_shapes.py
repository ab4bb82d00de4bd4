"""Captioned shapes: the same for the same seed, and what a caption says is what the rule reads."""

import re

import numpy as np
import pytest

from minigan.data import DataError
from minigan.data.shapes import COLOURS, JITTER, PLACES, SCENES, SHAPES, centroids, wander

kinds = pytest.mark.parametrize("scenes", SCENES.values(), ids=SCENES)


@kinds
def test_the_seed_decides_everything(scenes):
    images, again, other = (scenes.draw(700, seed) for seed in (1, 1, 2))
    assert np.array_equal(images.images, again.images) and images.sha256 == again.sha256
    assert np.array_equal(images.labels, again.labels)
    assert not np.array_equal(images.images, other.images) and images.sha256 != other.sha256
    assert images.sha256 != scenes.draw(700, 1, held=True).sha256
    assert len({image.tobytes() for image in images.images}) == 700


@kinds
@pytest.mark.parametrize("held", [False, True])
def test_each_scene_of_its_side_is_drawn_as_often(scenes, held):
    images = scenes.draw(1000, held=held)
    counts = np.bincount(images.labels, minlength=len(scenes))
    assert images.images.shape == (1000, 28, 28, 3) and images.images.dtype == np.uint8
    assert not counts[scenes.held != held].any()
    assert np.ptp(counts[scenes.held == held]) <= 1
    assert images.classes[images.labels[0]] == scenes.sentences[images.labels[0]][0]


@kinds
def test_none_are_refused(scenes):
    with pytest.raises(ValueError, match="got n = 0, wanted at least 1"):
        scenes.draw(0)


@kinds
@pytest.mark.parametrize("held", [False, True])
def test_the_rule_reads_what_was_drawn(scenes, held):
    images = scenes.draw(6000, 3, held=held)
    assert np.array_equal(scenes.read(images.images), scenes.facts[images.labels])


@kinds
def test_the_rule_reads_through_noise_and_survives_darkness(scenes):
    images = scenes.draw(1000, 4)
    noise = np.random.default_rng(0).normal(0, 6, images.images.shape)
    noisy = np.clip(images.images + noise, 0, 255).astype(np.uint8)
    noisy[images.images.max(-1) == 0] = 0
    assert (scenes.read(noisy) == scenes.facts[images.labels]).mean(0).min() > 0.98
    assert scenes.read(np.zeros((2, 28, 28, 3), np.uint8)).shape == (2, len(scenes.attributes))


def test_a_place_is_where_the_light_is():
    images = SCENES["one"].draw(3000, 5)
    places = np.array(list(PLACES.values()))[SCENES["one"].facts[images.labels][:, 2]]
    away = centroids(images.images) - places
    assert abs(away).max() < JITTER + 0.1
    assert away.std(0) == pytest.approx(2 * JITTER / np.sqrt(12), rel=0.05)
    spread = wander(images.images, images.labels)
    assert spread == pytest.approx(2 * JITTER / np.sqrt(12), rel=0.05)
    alike = images.images[np.unique(images.labels, return_index=True)[1]].repeat(2, 0)
    assert wander(alike, np.unique(images.labels).repeat(2)) == 0


@kinds
def test_captions_are_the_sentences_in_numbers(scenes):
    assert scenes.captions.shape[:2] == (len(scenes), len(scenes.sentences[0]))
    for scene in (0, 7, len(scenes) - 1):
        for text, row in zip(scenes.sentences[scene], scenes.captions[scene], strict=True):
            assert " ".join(scenes.vocabulary[i] for i in row).strip() == text
            assert np.array_equal(scenes.words(text), row)
    texts = [text for texts in scenes.sentences for text in texts]
    assert len(set(texts)) == len(texts), "two scenes have one caption"


def test_a_sentence_names_its_facts():
    one, two = SCENES.values()
    for facts, texts in zip(one.facts, one.sentences, strict=True):
        said = [values[i] for values, i in zip(one.attributes.values(), facts, strict=True)]
        assert len(texts) == 9
        assert all(said[i] in text for text in texts for i in (0, 2, 3))
        assert sum(said[1] in text for text in texts) == 3  # the others by synonyms
    shape = f"a ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
    for (a, b, c, d, axis), texts in zip(two.facts, two.sentences, strict=True):
        colours, shapes = two.attributes["colour"], two.attributes["shape"]
        first, second = (colours[a], shapes[b]), (colours[c], shapes[d])
        for text in texts:
            found = re.fullmatch(f"{shape} (.*) {shape}", text).groups()
            turned = found[2] in ("right of", "below")
            assert (found[2] in ("above", "below")) == axis
            assert (found[:2], found[3:]) == ((second, first) if turned else (first, second))


@kinds
def test_every_value_and_word_is_seen_though_combinations_are_held_out(scenes):
    assert 0.15 < scenes.held.mean() < 0.4
    for column, values in zip(scenes.facts.T, scenes.attributes.values(), strict=True):
        assert set(column[~scenes.held]) == set(range(len(values))) == set(column)
    seen = set(scenes.captions[~scenes.held].ravel())
    assert seen | {0} == set(range(len(scenes.vocabulary)))


def test_some_pairs_of_colour_and_shape_are_never_seen():
    scenes = SCENES["one"]
    seen = {(row[0], row[3]) for row in scenes.facts[~scenes.held]}
    assert len(seen) == len(COLOURS) * len(SHAPES) - 3 and (2, 0) not in seen  # no blue circle


@kinds
def test_a_near_scene_was_seen_and_differs_in_one_attribute(scenes):
    near = scenes.near()
    assert not scenes.held[near].any()
    assert ((scenes.facts[near] != scenes.facts[:, None]).sum(-1) == 1).all()


@kinds
def test_a_caption_is_typed_as_people_type(scenes):
    text = scenes.sentences[5][-1]
    assert np.array_equal(scenes.words(f"  {text.upper()}. "), scenes.words(text))
    assert scenes.called(scenes.facts[5]) == scenes.sentences[5][0]


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("a small purple circle on the moon", "unknown words: purple, on, moon; known are: a, at,"),
        ("", "0 words, wanted 1 to 10"),
        ("a small red circle at the top left at the top", "11 words, wanted 1 to 10"),
    ],
)
def test_a_caption_that_is_none_is_refused(caption, said):
    with pytest.raises(DataError, match=re.escape(said)):
        SCENES["one"].words(caption)


def test_what_is_no_scene_has_no_name():
    assert SCENES["two"].called([0, 0, 0, 0, 0]) == "no scene"  # two of one colour
