"""The latent space of any example's generator: points, images, and the way back."""

import numpy as np
import pytest

from minigan import cpu, data
from minigan.gan import lerp, slerp
from minigan.training import CheckpointError, LatentSpace, OptionError, Sampler, checkpoint

SAMPLERS = {
    "dcgan": Sampler("dcgan", {"latent": 3, "width": 4, "size": 8}),
    "goodfellow": Sampler(
        "goodfellow_2014", {"latent": 3, "hidden": 64, "size": 8}, kind="uniform", low=0.0
    ),
    "began": Sampler("began", {"latent": 3, "hidden": 32, "size": 8}, kind="uniform"),
    "conditional": Sampler(
        "conditional", {"latent": 3, "width": 4, "size": 8, "classes": 4}, classes=4
    ),
}


def images(size=8, channels=1, classes=4):
    pixels = cpu.generator(3).integers(0, 256, (20, size, size, channels)).astype("uint8")
    names = tuple(map(str, range(classes)))
    return data.Dataset("images", pixels, np.arange(20) % max(1, classes), names)


@pytest.fixture
def path(tmp_path, request):
    """A checkpoint of a generator whose images vary with z."""
    sampler = SAMPLERS[request.param]
    G = sampler.build(cpu.generator(0))
    for p in G.parameters():
        if p.ndim > 1:
            p.data[...] = cpu.generator(1).normal(p.shape) / p.shape[0] ** 0.5
    checkpoint.save(tmp_path / checkpoint.NAME, {"G": G}, generator=sampler.recipe())
    return tmp_path / checkpoint.NAME


@pytest.mark.parametrize("path", SAMPLERS, indirect=True)
def test_an_image_leads_back_to_its_z(path):
    space = LatentSpace(path, cpu.generator(2), images())
    z, *told = space.points(6)
    found = space.find(space.draw(z, *told), *told, starts=6, steps=250, progress=False)
    off = np.linalg.norm(found.z - z, axis=1) / np.linalg.norm(z, axis=1)
    assert (off < 0.05).mean() > 0.6, off
    assert space.normal or np.abs(found.every_z).max() <= 1
    assert found.every_z.shape == (6, 6, 3) and isinstance(found.z, np.ndarray)


@pytest.mark.parametrize("path", SAMPLERS, indirect=True)
def test_a_way_begins_and_ends_at_its_points(path):
    space = LatentSpace(path, cpu.generator(2), images())
    a, b = space.points(1), space.points(1)
    for between in (lerp, slerp, space.along):
        way = space.way(a, b, np.linspace(0, 1, 5), between)
        assert way.shape == (5, 8, 8, 1)
        np.testing.assert_allclose(way[[0]], space.draw(*a), atol=1e-5)
        np.testing.assert_allclose(way[[-1]], space.draw(*b), atol=1e-5)
    assert space.along is (slerp if space.normal else lerp)


@pytest.mark.parametrize("path", ["conditional"], indirect=True)
def test_a_generator_that_does_not_fit_the_images_is_refused(path):
    rng = cpu.generator(0)
    with pytest.raises(OptionError, match=r"draws \(8, 8, 1\), images has \(8, 8, 3\)"):
        LatentSpace(path, rng, images(channels=3))
    with pytest.raises(OptionError, match="is told 4 classes, images has 3"):
        LatentSpace(path, rng, images(classes=3))


@pytest.mark.parametrize("path", ["dcgan"], indirect=True)
def test_a_generator_that_is_lost_is_refused(path):
    G = SAMPLERS["dcgan"].build(cpu.generator(0))
    for p in G.parameters():
        p.data[...] = np.nan
    checkpoint.save(path, {"G": G}, generator=SAMPLERS["dcgan"].recipe())
    with pytest.raises(CheckpointError, match="draws NaN or infinity: it is lost"):
        LatentSpace(path, cpu.generator(2), images())


@pytest.mark.parametrize("path", ["began"], indirect=True)
def test_uniform_z_stay_in_their_cube(path):
    space = LatentSpace(path, cpu.generator(2), images())
    z = 3 * space.points(4)[0]
    np.testing.assert_array_equal(space.draw(z), space.draw(z.clip(-1, 1)))
