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


def test_maximum_likelihood_is_least_kl_and_other_divergences_choose_otherwise(tmp_path):
    """By hand: the frequencies, H = 1.5 ln 2, the data's moments, and −ln of a hump's weight."""
    out, _ = run("maximum_likelihood", "--out", tmp_path)
    assert "P(x, y) [[0.5, 0.0], [0.25, 0.25]], P(y | x) [[0.999, 0.001], [0.5, 0.5]]" in out
    assert "H(p) = 1.0397" in out
    offs = re.findall(r"(?:off by|within) ([\de.-]+)", out)
    assert len(offs) == 3 and all(float(off) < 1e-6 for off in offs)
    forward = "rests at mean 0.80, std 1.88: "  # √(0.4² + 2² − 0.8²)
    ends = re.findall(r"(\S+|KL\(.*\)) (rests .*: )KL .* reverse (.*), JS", out)
    assert [rest for name, rest, _ in ends if "data ||" in name] == [forward]
    modes = [(rest, value) for name, rest, value in ends if "g ||" in name]
    assert modes == [
        ("rests at mean -2.00, std 0.40: ", "1.204"),
        ("rests at mean 2.00, std 0.40: ", "0.357"),
    ]
    at_humps = ("rests at mean -2.00, std 0.40: ", "rests at mean 2.00, std 0.40: ")
    spread = "rests at mean 0.87, std 1.83: "
    assert [rest for name, rest, _ in ends if name == "JS"] == [at_humps[0], spread, at_humps[1]]
    assert "W1 pulls by 1e+00, ends 0.00 away" in out
    assert float(re.search(r"JS pulls by (\S+), ends 4.00 away", out)[1]) < 1e-12


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
