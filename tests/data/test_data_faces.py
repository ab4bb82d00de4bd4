"""Drawn faces: the same for the same seed, and what was drawn is what the rule reads."""

import numpy as np
import pytest

from minigan.data import ATTRIBUTES, HAS, drawn_faces, read_faces


@pytest.fixture(scope="module")
def faces():
    return drawn_faces(1200, seed=1)


def test_the_seed_decides_everything(faces):
    again, other = (drawn_faces(1200, seed) for seed in (1, 2))
    assert np.array_equal(faces.images, again.images) and faces.sha256 == again.sha256
    assert np.array_equal(faces.labels, again.labels)
    assert not np.array_equal(faces.images, other.images) and faces.sha256 != other.sha256
    assert len({image.tobytes() for image in faces.images}) == 1200


@pytest.mark.parametrize("size", [28, 32, 64])
def test_the_rule_reads_what_was_drawn(size):
    drawn = drawn_faces(600, seed=3, size=size)
    assert drawn.images.shape == (600, size, size, 3)
    right = read_faces(drawn.images) == HAS[drawn.labels]
    assert right.mean(0).min() >= 0.995


def test_the_rule_bears_the_errors_of_a_generator(faces):
    """Noise, and colours and places that are a little off."""
    rng = np.random.default_rng(0)
    noisy = faces.images + rng.normal(0, 8, faces.images.shape)
    duller = 127.5 + 0.92 * (faces.images - 127.5)
    moved = np.roll(faces.images, (1, -1), (1, 2))
    for images in (noisy, duller, moved):
        right = read_faces(images.clip(0, 255).astype("uint8")) == HAS[faces.labels]
        assert right.mean(0).min() > 0.97


def test_what_is_no_face_has_nothing(faces):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, faces.images.shape, np.uint8)
    plain = np.broadcast_to(rng.integers(0, 256, (1200, 1, 1, 3), np.uint8), noise.shape)
    shuffled = rng.permuted(faces.images.reshape(1200, -1, 3), axis=1).reshape(noise.shape)
    for images in (noise, plain, shuffled, 255 - faces.images):
        assert read_faces(images).mean() < 0.01


def test_attributes_are_independent_and_as_frequent_as_they_say(faces):
    has = HAS[drawn_faces(4000, seed=5, size=8).labels]
    assert abs(has.mean(0) - list(ATTRIBUTES.values())).max() < 0.03
    assert abs(np.corrcoef(has.T) - np.eye(4)).max() < 0.06


def test_combinations_are_called_by_their_attributes(faces):
    assert len(set(faces.classes)) == 16 and faces.classes[0] == "short hair"
    for has, name in zip(HAS, faces.classes, strict=True):
        said = set(name.split(", ")) - {"short hair"}
        assert said == {a for a, there in zip(ATTRIBUTES, has, strict=True) if there}
        assert ("short hair" in name) != has[list(ATTRIBUTES).index("long hair")]


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 5, "size": 7}])
def test_none_and_tiny_ones_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1 and 8"):
        drawn_faces(**wrong)
