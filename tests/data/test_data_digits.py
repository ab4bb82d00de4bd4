"""Drawn digits: the same for the same seed, and recognisable by a rule that knows no strokes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data.digits import GLYPHS, _segments, _squared_distance, drawn_digits


@pytest.fixture(scope="module")
def train():
    return drawn_digits(4000, seed=0)


@pytest.fixture(scope="module")
def test():
    return drawn_digits(1000, seed=1)


def test_the_seed_decides_everything(test):
    again, other = drawn_digits(1000, seed=1), drawn_digits(1000, seed=2)
    assert np.array_equal(test.images, again.images)
    assert np.array_equal(test.labels, again.labels)
    assert not np.array_equal(test.images, other.images)


@settings(max_examples=15)
@given(st.integers(1, 150))
def test_any_number_is_balanced(n):
    digits = drawn_digits(n)
    counts = np.bincount(digits.labels, minlength=10)
    assert digits.images.shape == (n, 28, 28, 1) and counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_none_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        drawn_digits(0)


def test_pixels_are_white_on_black_inside_the_frame(train):
    images = train.images[..., 0]
    assert images.dtype == np.uint8 and images.min() == 0
    assert (images.max(axis=(1, 2)) == 255).all()
    ink = images.mean(axis=(1, 2)) / 255
    assert ink.min() > 0.01 and ink.max() < 0.45
    border = np.concatenate([images[:, [0, -1]].ravel(), images[:, :, [0, -1]].ravel()])
    assert (border > 0).mean() < 0.002
    # Antialiased: besides black and white, every grey occurs.
    assert len(np.unique(images)) == 256


def test_nearest_neighbours_recognise_the_digits(train, test):
    a = test.images.reshape(len(test), -1) / np.float32(255)
    b = train.images.reshape(len(train), -1) / np.float32(255)
    squared = (b * b).sum(axis=1) - 2 * a @ b.T
    guesses = train.labels[squared.argmin(axis=1)]
    accuracy = [(guesses == test.labels)[test.labels == digit].mean() for digit in range(10)]
    assert np.mean(accuracy) > 0.95 and min(accuracy) > 0.9


def test_no_two_samples_are_alike(train):
    assert len({image.tobytes() for image in train.images}) == len(train)


def test_distances_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    ends = rng.uniform(4, 24, (3, 5, 2, 2)).astype(np.float32)
    got = _squared_distance(ends)
    for sample, y, x in [(0, 0, 0), (1, 13, 7), (2, 27, 20), (0, 14, 14)]:
        pixel = np.array([x + 0.5, y + 0.5])
        steps = np.linspace(0, 1, 2001)[:, None]
        a, b = ends[sample, :, None, 0].astype(float), ends[sample, :, None, 1].astype(float)
        nearest = ((a + steps * (b - a) - pixel) ** 2).sum(axis=-1).min()
        assert got[sample, y, x] == pytest.approx(nearest, rel=1e-2, abs=1e-3)


def test_every_form_fits_its_box_and_has_no_empty_segment():
    assert len(GLYPHS) == 10
    for strokes in (strokes for forms in GLYPHS for strokes in forms):
        segments = _segments(strokes)
        assert segments.dtype == np.float32 and np.isfinite(segments).all()
        assert segments.min() > -0.02 and segments.max() < 1.02
        assert np.hypot(*(segments[:, 1] - segments[:, 0]).T).min() > 1e-3
