"""The examples of theory, and of how games move, against what theory says."""

import re

import numpy as np
from PIL import Image
from running import module, run


def test_information_theory_prints_the_lectures_numbers(tmp_path):
    """The die by hand: log₂ 6 = 2.585, (2·2 + 4·3) / 6 = 2.667; W₁ of disjoint boxes grows."""
    out, _ = run("information_theory", "--out", tmp_path)
    assert "H(p) = 2.585, H(p, q) = 2.667, KL(p || q) = 0.082 bits" in out
    assert "JS = 0.693, 0.693 (ln 2 = 0.693), W1 = 2.000, 4.000" in out
    with Image.open(tmp_path / "information_theory.png") as picture:
        assert picture.size == (1300, 420)


def test_oscillation_is_as_theory_says(tmp_path, monkeypatch):
    """By theory: simultaneous steps of the bilinear game grow by √(1 + α²) each; others by name."""
    out, _ = run("oscillation", "--out", tmp_path)
    assert "\nas theory says" in out and out.count("spirals out (theory") == 2
    with Image.open(tmp_path / "oscillation.png") as picture:
        assert picture.size == (1100, 600)

    example = module("oscillation")
    simultaneous = example.path(example.bilinear, example.WAYS[0])
    growth = np.hypot(*simultaneous[1:].T) / np.hypot(*simultaneous[:-1].T)
    np.testing.assert_allclose(growth, np.sqrt(1 + example.RATE**2), rtol=1e-5)
    wrong = example.WAYS[0]._replace(expected="converges")
    monkeypatch.setattr(example, "WAYS", [wrong])
    assert example.main(["--out", str(tmp_path)]) == 1, "a result against theory is a failure"


def test_a_discriminator_trained_alone_finds_the_optimal_one(tmp_path):
    out, _ = run("optimal_discriminator", "--steps", 1000, "--batch", 512, "--out", tmp_path)
    off, value, exact = map(float, re.findall(r"(?:\*\||from D|2 JS) (-?[\d.]+)", out))
    assert off < 0.02 and abs(value - exact) < 0.01
    assert (tmp_path / "D.png").exists()
