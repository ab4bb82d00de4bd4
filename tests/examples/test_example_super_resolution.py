"""Super-resolution: the marks, against numbers that are known, and what it is compared with."""

import numpy as np
import pytest
from running import module


@pytest.fixture(scope="module")
def example():
    return module("super_resolution")


def test_marks_of_images_whose_errors_are_known(example):
    """A fifth too bright is 14 dB; what cancels within 4 × 4 pixels is gone when small again."""
    truth = np.full((3, 8, 8, 1), 100, np.uint8)
    brighter, chequered = (
        truth + 51,
        truth + 51 * (-1) ** np.add.outer(*[np.arange(8)] * 2)[..., None],
    )
    for pixels, again in ((brighter, 0.2), (chequered, 0.0)):
        found = example.nearness(pixels / 127.5 - 1, truth)
        assert found["PSNR, dB"] == pytest.approx(-20 * np.log10(0.2), rel=1e-5)
        assert found["small again"] == pytest.approx(again, abs=1e-6)


def test_bicubic_enlarges_each_channel_by_itself(example):
    small = np.random.default_rng(0).uniform(-1, 1, (2, 3, 3, 2)).astype(np.float32)
    small[1, ..., 0] = 0.25
    large = example.bicubic(small, 12)
    assert large.shape == (2, 12, 12, 2)
    np.testing.assert_allclose(large[1, ..., 0], 0.25, rtol=1e-5)
    for c in range(2):
        alone = example.bicubic(small[..., c : c + 1], 12)
        np.testing.assert_array_equal(large[..., c], alone[..., 0])
    again = large.reshape(2, 3, 4, 3, 4, 2).mean((2, 4))
    assert 0 < np.abs(again - small).max() < 0.5  # near, and not exact
