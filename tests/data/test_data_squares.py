"""Squares in disguise: what is read is what was drawn; and how far a mapping is from right."""

import itertools

import numpy as np
import pytest

from minigan import Tensor
from minigan.data import SQUARES, apart, unfaithful


@pytest.fixture(scope="module")
def uv():
    return np.random.default_rng(0).random((500, 2), np.float32)


@pytest.mark.parametrize("name", SQUARES)
def test_what_is_read_is_what_was_drawn(name, uv):
    drawn = SQUARES[name].draw(uv)
    assert drawn.dtype == np.float32 and drawn.min() >= -1 and drawn.max() <= 1
    assert np.abs(SQUARES[name].read(drawn) - uv).max() < 0.02


@pytest.mark.parametrize("name", SQUARES)
def test_it_is_drawn_in_captured_steps(name, uv, cuda):
    places = cuda.asarray(uv[:20])
    captured = cuda.capture(lambda: Tensor(SQUARES[name].draw(places)))
    for _ in range(3):
        np.testing.assert_allclose(captured().numpy(), SQUARES[name].draw(uv[:20]), atol=1e-6)


def test_a_light_is_where_it_says_and_bars_are_as_high(uv):
    light, bars = (SQUARES[name].draw(uv).sum(-1) for name in ("lights", "bars"))
    row, column = np.unravel_index(light.reshape(500, -1).argmax(1), (16, 16))
    assert np.abs((column + 0.5) / 16 - (0.2 + 0.6 * uv[:, 0])).max() <= 0.5 / 16 + 1e-6
    assert np.abs((row + 0.5) / 16 - (0.2 + 0.6 * uv[:, 1])).max() <= 0.5 / 16 + 1e-6
    for k, half in enumerate(np.split(bars, 2, axis=2)):
        high = (half > 0).any(2).sum(1)
        assert np.abs(high / 16 - (0.1 + 0.8 * uv[:, k])).max() <= 0.5 / 16 + 1e-6
        assert (half[:, -1] > 0).any(1).all(), "they stand on the ground"


def test_symmetries_are_faithful_and_nothing_else_is(uv):
    centred = uv - 0.5
    for flip, signs in itertools.product((1, -1), itertools.product((1, -1), repeat=2)):
        assert unfaithful(uv, 0.5 + centred[:, ::flip] * signs) < 1e-7
    assert unfaithful(uv, np.full_like(uv, 0.5)) == pytest.approx(6**-0.5, rel=0.05)
    assert unfaithful(uv, uv[::-1]) == pytest.approx(3**-0.5, rel=0.1)
    angle = 6 * np.hypot(*centred.T)  # a whirl, which can be undone
    cos, sin = np.cos(angle), np.sin(angle)
    whirl = np.stack(
        [cos * centred[:, 0] - sin * centred[:, 1], sin * centred[:, 0] + cos * centred[:, 1]], 1
    )
    assert unfaithful(uv, 0.5 + whirl) > 0.15
    assert apart(uv, uv + np.array([0.3, 0.4])) == pytest.approx(0.5, rel=1e-6)
