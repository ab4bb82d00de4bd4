"""The geography of spaces that are known: four patterns, an idle z, any example's."""

import re

import numpy as np
import pytest
from PIL import Image
from running import complaint, module, run

from minigan import cpu, models
from minigan.engine import functional as F
from minigan.nn import Module, Parameter
from minigan.training import Sampler, checkpoint

SCRIPT = "latent_space"
SMALL = ["--ruler=40", "--known=4", "--starts=4", "--descent=100"]
PATTERNS = np.sign(cpu.generator(0).normal((4, 8, 8, 1)))  # far from each other


class Patterns(Module):
    """G(z) = Σ pᵢ patternᵢ, p the softmax of 3 z; with `idle` the same image for every z."""

    def __init__(self, rng, latent, size, idle=False):
        self.patterns = Parameter(0.9 * np.repeat(PATTERNS, 3, axis=3).reshape(4, -1))
        self.slope = 0.0 if idle else 3.0

    def forward(self, z):
        return (F.softmax(z * self.slope) @ self.patterns).reshape(-1, 8, 8, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of the patterns with some noise, a folder for each."""
    folder, random = tmp_path_factory.mktemp("patterns"), np.random.default_rng(0)
    for i in range(160):
        pixels = 127 + 100 * PATTERNS[i % 4].repeat(3, axis=2) + random.normal(0, 9, (8, 8, 3))
        (folder / str(i % 4)).mkdir(exist_ok=True)
        Image.fromarray(pixels.astype("uint8")).save(folder / str(i % 4) / f"{i:03}.png")
    return folder


@pytest.fixture
def told(folder, tmp_path, monkeypatch):
    """A function from the arguments of a G of patterns to the numbers that are printed of it."""

    def numbers(**arguments):
        monkeypatch.setitem(models.GENERATORS, "patterns", Patterns)
        monkeypatch.setattr(module(SCRIPT), "LOTS", (300, 40, 100))
        sampler = Sampler("patterns", {"latent": 4, "size": 8} | arguments)
        path = tmp_path / checkpoint.NAME
        checkpoint.save(path, {"G": sampler.build(cpu.generator(0))}, generator=sampler.recipe())
        out, _ = run(SCRIPT, path, "--data", folder, "--size", 8, *SMALL, "--out", tmp_path)
        return {
            line.split(":")[0]: [float(x) for x in re.findall(r"[\d.]*\d", line.split(":")[1])]
            for line in out.splitlines()
        }

    return numbers


def test_a_space_of_four_patterns_is_known_again(told, tmp_path):
    """Softmax leaves one direction of z open, so no z of four is found again, but its image is."""
    found = told()
    flips, least, by_any, by_random, _ = found["arithmetic"]
    assert flips >= 90 and flips >= least and flips > by_any
    assert by_random <= 100 / 3  # a random direction favours none of the other three
    assert found["held-out images as G draws them"][1] < 0.1  # after the 1 of L1
    assert max(found["morph"][:2]) < 0.1
    with Image.open(tmp_path / "morph.gif") as film:
        assert film.n_frames > 4 and film.size == (48, 48)


def test_a_generator_that_ignores_z_has_no_geography(told):
    found = told(idle=True)
    assert found["arithmetic"] == []
    assert found["inversion"][0] == 0 and min(found["morph"][:2]) > 0.1


# --- Checkpoints of other examples, and mistakes --------------------------------------------------

TINY = ["--steps=2", "--batch=8", "--hidden=8", "--latent=3"]
OPTIONS = ["--ruler=2", "--known=2", "--starts=2", "--descent=2"]


@pytest.mark.parametrize("example", ["cgan", "began"])
def test_other_examples_spaces_are_looked_at_with_their_own_data(example, folder, tmp_path):
    run(example, *TINY, "--data", folder, "--size=8", "--out", tmp_path / "run")
    out, _ = run(SCRIPT, tmp_path / "run", *OPTIONS, "--out", tmp_path)
    assert "of 2 known z" in out and "held-out images" in out
    if example == "cgan":
        assert "arithmetic: none; it takes labels that G isn't told" in out
    assert (tmp_path / "latent_space.png").exists()


@pytest.mark.usefixtures("few_digits")
def test_what_cannot_be_looked_at_is_said_in_one_line(folder, tmp_path):
    run("cgan", *TINY, "--data", folder, "--size=8", "--out", tmp_path / "run")
    _, err = run(SCRIPT, tmp_path / "run", "--data=digits", status=2)
    assert "its generator draws (8, 8, 3), drawn digits has (28, 28, 1)" in complaint(err)
    checkpoint.save(tmp_path / "bare.safetensors", {})
    _, err = run(SCRIPT, tmp_path / "bare.safetensors", "--data", folder, status=2)
    assert "does not tell how its generator is built" in complaint(err)
