"""A generator that is built again from a checkpoint draws what it drew before."""

import numpy as np
import pytest

from minigan import cpu, models, optim
from minigan.data import to_bytes
from minigan.engine import Tensor, no_grad
from minigan.nn import Linear, Module
from minigan.training import CheckpointError, Sampler, checkpoint, generated
from minigan.training.sampler import CHUNK

DCGAN = Sampler("dcgan", {"latent": 3, "width": 2, "size": 8, "hidden": 0})
FIRST = Sampler("goodfellow_2014", {"latent": 3, "hidden": 4}, kind="uniform", low=0.0)


def constant(G, value):
    """Makes every pixel the squashed `value`, whatever the input."""
    for p in G.parameters():
        p.data[...] = 0
    p.data[...] = value  # the last is the output's bias
    assert p.ndim == 1
    return G


def keep(path, sampler, *, G=0.0, average=None, **changes):
    """A checkpoint of a G that draws one value and, if told, of an average that draws another."""
    network = sampler.build(cpu.generator(0))
    parts = {"G": network}
    if average is not None:
        parts["average"] = optim.EMA(network)
        constant(parts["average"].network, average)
    constant(network, G)
    checkpoint.save(path, parts, generator=sampler.recipe() | changes)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / checkpoint.NAME


@pytest.mark.parametrize("sampler", [DCGAN, FIRST], ids=["dcgan", "first"])
@pytest.mark.parametrize(("value", "byte"), [(100, 255), (-100, 0), (0, 128)])
def test_pixels_go_from_low_to_one(sampler, value, byte, path):
    images, labels = generated(keep(path, sampler, G=value), 130, cpu.generator(0))
    assert labels is None
    assert images.dtype == np.uint8 and images.ndim == 4 and len(images) == 130
    assert (images == byte).all()


def test_pixels_as_they_are_and_on_the_other_scale():
    G = FIRST.build(cpu.generator(0)).eval()
    (z,) = FIRST.inputs(cpu.generator(1), 7)
    raw, unit = FIRST.draw(G, z, low=0.0), FIRST.draw(G, z)
    with no_grad():
        np.testing.assert_array_equal(raw, G(Tensor(z)).numpy())
    np.testing.assert_array_equal(unit, 2 * raw - 1)


def test_the_average_is_what_is_drawn_from(path):
    images, _ = generated(keep(path, DCGAN, G=-100, average=100), 9, cpu.generator(0))
    assert (images == 255).all()


def test_what_is_kept_comes_back(path):
    sampler, G = Sampler.kept(keep(path, FIRST, G=1.0), cpu.generator(5))
    assert sampler == FIRST and not G.training
    assert G.parameters()[-1].data.max() == 1


def test_a_recipe_of_an_earlier_minigan_is_read(path):
    recipe = {"network": "dcgan", "arguments": DCGAN.arguments, "noise": "normal", "low": -1.0}
    checkpoint.save(path, {"G": DCGAN.build(cpu.generator(0))}, generator=recipe)
    assert Sampler.kept(path, cpu.generator(0))[0] == DCGAN
    assert recipe.items() <= DCGAN.recipe().items()


@pytest.mark.parametrize(("kind", "std"), [("normal", 1), ("uniform", 1 / np.sqrt(3))])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_of_its_kind(kind, std, dtype):
    z = Sampler("dcgan", {"latent": 3}, kind=kind, dtype=dtype).noise(cpu.generator(0), 4000)
    assert z.shape == (4000, 3) and z.dtype == dtype
    assert abs(z.mean()) < 0.05 and z.std() == pytest.approx(std, rel=0.05)
    assert (abs(z) > 1.02).any() == (kind == "normal")


def test_noise_of_no_kind_is_refused():
    with pytest.raises(ValueError, match="noise 'pink': wanted normal or uniform"):
        Sampler("dcgan", {}, kind="pink")


def test_noise_is_the_generators_own_stream_on_its_device(cuda):
    expected = cuda.generator(3).normal((5, 3))
    drawn = DCGAN.noise(cuda.generator(3), 5)
    assert isinstance(drawn, cuda.xp.ndarray)
    np.testing.assert_array_equal(cuda.to_numpy(drawn), cuda.to_numpy(expected))


class Conditional(Module):
    """Draws z plus its label."""

    def __init__(self, rng, latent):
        super().__init__()
        self.linear = Linear(latent, latent, rng=rng)
        self.linear.weight.data[...] = np.eye(latent)

    def forward(self, z, labels):
        return self.linear(z) + Tensor(labels.data.astype("float32")).reshape(-1, 1)


def test_a_generator_that_is_told_classes_gets_a_label_with_each_z(monkeypatch):
    monkeypatch.setitem(models.GENERATORS, "told", lambda rng, latent: Conditional(rng, latent))
    sampler = Sampler("told", {"latent": 2}, classes=4)
    n = 2 * CHUNK + 7
    z, labels = sampler.inputs(cpu.generator(0), n)
    assert labels.dtype == np.int64 and set(labels.tolist()) == {0, 1, 2, 3}
    drawn = sampler.draw(sampler.build(cpu.generator(1)), z, labels)
    np.testing.assert_allclose(drawn, z + labels[:, None], rtol=1e-6)


def test_the_classes_that_were_asked_for_come_with_the_images(monkeypatch, path):
    monkeypatch.setitem(models.GENERATORS, "told", lambda rng, latent: Conditional(rng, latent))
    sampler = Sampler("told", {"latent": 2}, classes=4)
    G, rng = sampler.build(cpu.generator(0)), cpu.generator(5)
    checkpoint.save(path, {"G": G}, generator=sampler.recipe())
    images, asked = generated(path, 50, cpu.generator(5))
    sampler.build(rng)  # as it is built again, before anything is drawn
    z, labels = sampler.inputs(rng, 50)
    assert asked.dtype == np.int64 and asked.tolist() == labels.tolist()
    np.testing.assert_array_equal(images, to_bytes(z + labels[:, None]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: checkpoint.save(path, {}, step=1), "train it anew"),
        (
            lambda path: keep(path, DCGAN, network="stylegan"),
            "'stylegan', known are: began, biggan, conditional, dcgan",
        ),
        (lambda path: keep(path, DCGAN, G=np.nan), "draws NaN or infinity: it is lost"),
        (
            lambda path: keep(path, DCGAN, arguments=DCGAN.arguments | {"width": 3}),
            r"G/.* has shape .* expected",
        ),
    ],
)
def test_what_cannot_be_drawn_from_is_said(make, said, path):
    make(path)
    with pytest.raises(CheckpointError, match=said) as error:
        generated(path, 9, cpu.generator(0))
    assert str(path) in str(error.value)
