"""Coloured digits on clutter: what the drawing promises."""

import numpy as np
import pytest

from minigan.data import cluttered_digits, drawn_digits


def test_the_seed_decides_everything():
    first, again, other = (cluttered_digits(60, seed) for seed in (1, 1, [1, 1]))
    assert np.array_equal(first.images, again.images) and first.sha256 == again.sha256
    assert not np.array_equal(first.images, other.images) and first.sha256 != other.sha256
    with pytest.raises(ValueError, match="got n = 0, wanted at least 1"):
        cluttered_digits(0)


def test_the_digits_are_the_drawn_ones_in_colours_that_say_nothing_of_them():
    """In one channel at least an image is, but for clutter and noise, the digit or its negative."""
    drawn, coloured = drawn_digits(400, 3), cluttered_digits(400, 3)
    assert np.array_equal(drawn.labels, coloured.labels) and coloured.images.shape[1:] == (
        28,
        28,
        3,
    )
    digit = drawn.images[..., 0].reshape(400, -1)
    channels = coloured.images.reshape(400, -1, 3)
    alike = np.array([np.corrcoef(digit[k], channels[k].T)[0, 1:] for k in range(400)])
    best = np.take_along_axis(alike, np.abs(alike).argmax(1)[:, None], 1)
    assert np.median(np.abs(best)) > 0.8 and (np.abs(best) > 0.4).mean() > 0.95
    assert 0.35 < (best > 0).mean() < 0.65  # bright on dark as often as dark on bright
    means = coloured.images.mean((1, 2))
    by_class = np.array([means[coloured.labels == k].mean(0) for k in range(10)])
    assert by_class.std(0).max() < 3 * means.std(0).max() / np.sqrt(40)
