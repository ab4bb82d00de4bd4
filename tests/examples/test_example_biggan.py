"""biggan.py: what its switches switch, the three ways to draw z, and what is said of a curve."""

import numpy as np
import pytest
from running import module, run

from minigan import cpu, data, gan, models
from minigan.training import OptionError, Sampler, checkpoint

TINY = ["--width", 2, "--latent", 12, "--batch", 8, "--steps", 2, "--ruler", 2, "--data", "digits"]


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        small = {"COUNTED": 8, "LIMITS": (1.0, 0.5), "STANDING": 1, "AT_ONCE": 8}
        for name, value in small.items():
            patch.setattr(module("biggan"), name, value)
        yield module("biggan")


@pytest.fixture
def seen(monkeypatch, example, few_digits):
    """What a run makes and does: networks by their arguments, and how often D moves."""
    found = {"moves": 0, "penalties": set()}

    def remember(name):
        make = getattr(models, name).__init__

        def made(net, **options):
            found[name] = options
            make(net, **options)

        monkeypatch.setattr(getattr(models, name), "__init__", made)

    def penalty(network, weight, of=gan.orthogonal_penalty):
        found["penalties"].add(weight)
        return of(network, weight)

    def moved(*given, of=example.discriminator_step):
        found["moves"] += 1
        return of(*given)

    remember("BigGANGenerator"), remember("BigGANDiscriminator")
    monkeypatch.setattr(gan, "orthogonal_penalty", penalty)
    monkeypatch.setattr(example, "discriminator_step", moved)
    return found


@pytest.mark.parametrize(
    ("without", "network", "argument", "value"),
    [
        ("spectral-g", "BigGANGenerator", "spectral", False),
        ("spectral-d", "BigGANDiscriminator", "spectral", False),
        ("projection", "BigGANDiscriminator", "projection", False),
        ("conditional", "BigGANGenerator", "conditional", False),
        ("chunks", "BigGANGenerator", "chunks", False),
        ("attention", "BigGANGenerator", "attention", None),
        ("orthogonal", None, None, None),
        ("two-steps", None, None, None),
    ],
)
def test_one_ingredient_is_left_out_and_no_other(seen, tmp_path, without, network, argument, value):
    run("biggan", *TINY, "--without", without, "--out", tmp_path)
    usual = {"spectral": True, "conditional": True, "chunks": True, "projection": True}
    for name in ("BigGANGenerator", "BigGANDiscriminator"):
        for key, given in seen[name].items():
            if key in (*usual, "attention") and (key, name) != (argument, network):
                both = without == key == "attention"
                assert given == (None if both else usual.get(key, 8)), (name, key)
    assert network is None or seen[network][argument] == value
    assert seen["moves"] == (2 if without == "two-steps" else 4)
    assert seen["penalties"] == {0.0 if without == "orthogonal" else 1e-4}


@pytest.mark.usefixtures("example", "few_digits")
def test_without_noise_a_class_has_one_image(tmp_path):
    """By the generator in the checkpoint; and without an average, it is G itself."""
    varied = {}
    for without in ("noise", "average"):
        run("biggan", *TINY, "--without", without, "--out", tmp_path / without)
        path = tmp_path / without / checkpoint.NAME
        sampler, average = Sampler.kept(path, cpu.generator(0))
        z = sampler.noise(cpu.generator(0), 6) * (without != "noise")
        images = sampler.draw(average, z, np.zeros(6, int))
        varied[without] = np.ptp(images, axis=0).max() > 1e-3
        G = sampler.build(cpu.generator(0))
        checkpoint.load(path, {"G": G}, partial=True)
        same = [np.allclose(a, average.state()[key], atol=1e-6) for key, a in G.state().items()]
        assert all(same) == (without == "average")
    assert varied == {"noise": False, "average": True}


def test_the_ways_to_draw_z(example):
    """Of t = 1: within it; within 2, so as wide as that; and as if there were no t."""
    z = {name: way(cpu.generator(0), (20_000,), 1.0) for name, way in example.WAYS.items()}
    assert [round(float(x.std()), 1) for x in z.values()] == [0.5, 0.9, 1.0]
    limits = dict(zip(z, (1, 2, 3), strict=True))
    assert [name for name, x in z.items() if abs(x).max() > limits[name]] == ["z ignored"]


def test_a_frame_of_black(example):
    args = example.parse([])
    digits = data.drawn_digits(20, 0)
    images = example.framed(digits, args).images
    assert images.shape == (20, 32, 32, 1) and (images[:, 2:-2, 2:-2] == digits.images).all()
    assert images.sum(dtype=int) == digits.images.sum(dtype=int)
    faces = data.Dataset("faces", digits.images)
    with pytest.raises(OptionError, match="no labels"):
        example.framed(faces, args)


def test_a_curve_in_words(example, monkeypatch):
    monkeypatch.setattr(example, "LIMITS", (2.0, 1.0, 0.5))
    said = example.in_words([(0.5, 0.75), (0.625, 0.5), (0.75, 0.25)])
    assert said == (
        "precision 0.500 0.625 0.750 (rank correlation -1.00, range 0.250), "
        "recall 0.750 0.500 0.250 (rank correlation +1.00, range 0.500)"
    )
