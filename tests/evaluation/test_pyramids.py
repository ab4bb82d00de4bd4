"""Pyramids against SciPy's convolution, the distance against SciPy's W₁, and what it can't see."""

import numpy as np
import pytest
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance

from minigan.backend import cpu
from minigan.evaluation import laplacian_pyramid, pyramid_distances, pyramids

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, :, :, None] / 256


def noise(n, size=32, seed=0):
    """Images with something at every scale."""
    random = np.random.default_rng(seed)
    each = [random.normal(size=(n, size // k, size // k, 3)) for k in (1, 4, 16)]
    return sum(x.repeat(size // x.shape[1], 1).repeat(size // x.shape[1], 2) for x in each)


def test_the_levels_are_those_of_a_convolution_with_5_by_5():
    images = noise(3, 32)
    small = convolve(images, KERNEL, mode="mirror")[:, ::2, ::2]
    spread = np.zeros_like(images)
    spread[:, ::2, ::2] = small
    expected = images - convolve(spread, 4 * KERNEL, mode="mirror"), small
    found = laplacian_pyramid(images)
    assert [level.shape[1] for level in found] == [32, 16]
    for level, known in zip(found, expected, strict=True):
        np.testing.assert_allclose(level, known, atol=1e-5)


@pytest.mark.parametrize("size, sides", [(64, [64, 32, 16]), (28, [28]), (8, [8]), (48, [48, 24])])
def test_doubled_and_added_the_levels_are_the_image(size, sides):
    images = np.random.default_rng(1).normal(size=(2, size, size, 1))
    levels = laplacian_pyramid(images)
    assert [level.shape[1] for level in levels] == sides
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + pyramids._doubled(whole)
    np.testing.assert_allclose(whole, images, atol=1e-5)


@pytest.mark.parametrize("standardise", ["real", "own"])
def test_the_distance_is_the_mean_of_those_on_lines(standardise):
    """With one place for a patch, from the points themselves, by SciPy's W₁."""
    fake, real = (np.random.default_rng(k).normal(k, 1 + k, (9, 7, 7, 2)) for k in (1, 2))
    found = pyramid_distances(
        fake, real, cpu.generator(3), standardise=standardise, patches=1, directions=4
    )
    rng = cpu.generator(3)
    for _ in range(4):
        rng.integers(0, 1, (9,))  # the places
    thetas = rng.normal((4, 98))
    points = []
    for x in (fake, real):
        scale = real if standardise == "real" else x
        points.append(((x - scale.mean((0, 1, 2))) / scale.std((0, 1, 2))).reshape(9, -1))
    lines = [wasserstein_distance(*(p @ (t / np.linalg.norm(t)) for p in points)) for t in thetas]
    assert found == {7: pytest.approx(1e3 * np.mean(lines), rel=1e-4)}


def test_by_its_own_numbers_it_sees_no_tint_and_no_contrast_and_by_the_real_ones_it_does():
    """Karras et al. standardise each set by itself; what that hides is at least 4 times as far."""
    real, other = noise(200, seed=1), noise(200, seed=2)
    pale = 0.3 * other + np.array([2.0, 0.0, -1.0])
    how = {"patches": 16, "directions": 64}
    found = {
        (name, by): pyramid_distances(x, real, cpu.generator(0), standardise=by, **how)
        for name, x in (("right", other), ("pale", pale))
        for by in ("own", "real")
    }
    for side in (32, 16):
        assert found["pale", "own"][side] < 1.2 * found["right", "own"][side]
        assert found["right", "real"][side] < 2 * found["right", "own"][side]
        assert found["pale", "real"][side] > 4 * found["right", "real"][side]


def test_a_blurred_set_is_far_at_the_fine_level_alone():
    real, other = noise(60, seed=1), noise(60, seed=2)
    blurred = pyramids._smoothed(pyramids._smoothed(other.astype(np.float32)))
    how = {"patches": 32, "directions": 64}
    fine, coarse = (
        [pyramid_distances(x, real, cpu.generator(0), **how)[side] for x in (other, blurred)]
        for side in (32, 16)
    )
    assert fine[1] > 3 * fine[0] and coarse[1] < fine[1] / 2


IMAGES = noise(4)


@pytest.mark.parametrize(
    "images, real, options, words",
    [
        (IMAGES, IMAGES[:3], {}, "wanted equal"),
        (IMAGES[..., 0], IMAGES[..., 0], {}, r"wanted \(n, h, h, c\), h at least 7"),
        (IMAGES[:, :6, :6], IMAGES[:, :6, :6], {}, "h at least 7"),
        (IMAGES, 0 * IMAGES, {}, "a channel of the real images is constant"),
        (IMAGES, IMAGES, {"standardise": "both"}, "wanted real or own"),
    ],
)
def test_mistakes(images, real, options, words):
    with pytest.raises(ValueError, match=words):
        pyramid_distances(images, real, cpu.generator(0), **options)
