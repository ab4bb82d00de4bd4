"""In-painting: the weights of the context, and other holes for the same generator."""

import numpy as np
import pytest
from PIL import Image
from running import arrays, module, run


@pytest.fixture(scope="module")
def example():
    return module("inpainting")


@pytest.mark.parametrize("window", [1, 3, 4, 7])
def test_a_pixel_counts_by_the_share_of_hole_around_it(example, window):
    """Equation 3 of Yeh et al. 2017 by a plain loop, 1 on average; beyond the edge is no hole."""
    hole = example.hole_in(9, 3)
    assert hole.sum() == 9 and hole[3:6, 3:6].all()
    wanted = np.zeros((9, 9))
    for i, j in np.argwhere(~hole):
        rows, columns = (range(k - window // 2, k - window // 2 + window) for k in (i, j))
        near = [hole[r, c] for r in rows for c in columns if 0 <= r < 9 and 0 <= c < 9]
        wanted[i, j] = sum(near) / window**2 if window > 1 else 1
    found = example.context(hole, window)
    np.testing.assert_allclose(found, wanted / wanted[~hole].mean(), rtol=1e-5)
    assert found.dtype == np.float32 and not found[hole].any()


def test_a_generator_fills_other_holes_and_stays_as_it_was(tmp_path):
    folder, out = tmp_path / "images", tmp_path / "run"
    folder.mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), "uint8")):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    small = "--size=8", "--steps=2", "--batch=8", "--width=4", "--hidden=8", "--hole=3"
    run("inpainting", "--data", folder, *small, "--out", out)
    before = {key: value.tobytes() for key, value in arrays(out).items()}
    said, _ = run("inpainting", "--resume", "--out", out, "--hole=5", "--descent=3")
    assert "2 steps were done already" in said and "error" in said
    assert {key: value.tobytes() for key, value in arrays(out).items()} == before
