"""Images moved and mirrored: each is one of its neighbours, made here by slices."""

import numpy as np
import pytest

from minigan import Tensor, cpu
from minigan.data import mirrored, shifted


@pytest.fixture(params=["cpu", "cuda"])
def backend(request, cuda):
    return {"cpu": cpu, "cuda": cuda}[request.param]


def changed(backend, change, images, **options):
    """What becomes of images on a device, where a wait would be refused."""
    after = change(Tensor(backend.asarray(images)), backend.generator(1), **options).numpy()
    assert after.shape == images.shape and after.dtype == np.float32
    return after


@pytest.mark.parametrize("black", [True, False])
def test_images_are_moved_by_a_pixel_at_most(backend, black):
    """Each is one of its nine neighbours, and all nine occur."""
    images = np.random.default_rng(0).uniform(-1, 1, (90, 6, 5, 2)).astype("float32")
    beside = {"mode": "constant", "constant_values": -1} if black else {"mode": "edge"}
    seen = set()
    moved = changed(backend, shifted, images, black=black)
    for image, result in zip(images, moved, strict=True):
        wide = np.pad(image, ((1, 1), (1, 1), (0, 0)), **beside)
        found = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if np.array_equal(wide[i : i + 6, j : j + 5], result)
        ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 9


def test_half_of_the_images_are_mirrored(backend):
    images = np.random.default_rng(0).uniform(-1, 1, (200, 4, 5, 2)).astype("float32")
    after = changed(backend, mirrored, images)
    swapped = (after == images[:, :, ::-1]).all((1, 2, 3))
    assert ((after == images).all((1, 2, 3)) != swapped).all()
    assert 70 < swapped.sum() < 130
