"""Domain transfer: f is given and stays as it is, and it is what makes G(s) one of s."""

import numpy as np
import pytest
from running import arrays, complaint, module, run
from safetensors.numpy import load_file

from minigan import data
from minigan.data import COLLECTIONS

SMALL = ["--data=digits", "--images=200", "--width=4", "--batch=8"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    example, draw = module("domain_transfer"), data.drawn_digits
    for name, value in {"COUNTED": 40, "KNOWN": 100}.items():
        monkeypatch.setattr(example, name, value)
    monkeypatch.setattr(data, "drawn_digits", lambda n, seed: draw(min(n, 300), seed))


def test_f_stays_as_it_was_given(tmp_path):
    """The popular port trains it together with G, and f comes to see what G likes."""
    run("domain_transfer", *SMALL, "--classifier-steps=2", "--steps=3", "--out", tmp_path)
    given = load_file(tmp_path / "f.safetensors")
    here = {key: value for key, value in arrays(tmp_path).items() if key.startswith("f/")}
    assert len(here) > 10
    for key, value in here.items():
        assert np.array_equal(value, given[key.replace("f/", "classifier/")]), key


def test_what_f_sees_comes_back_with_alpha_and_does_not_without(tmp_path):
    left = {}
    for alpha in (0, 60):
        argv = [*SMALL, "--classifier-steps=80", "--steps=80", "--every=80", "--gan=0", "--beta=1"]
        run("domain_transfer", *argv, f"--alpha={alpha}", "--out", tmp_path / str(alpha))
        constancy = arrays(tmp_path / str(alpha))["record/rows"][:, -2]
        left[alpha] = constancy[-20:].mean() / constancy[:5].mean()
    assert left[60] < 0.8 < left[0], left


def test_targets_that_are_no_digits_are_refused(tmp_path, monkeypatch):
    classes = COLLECTIONS["fashion-mnist"].classes
    clothes = data.Dataset("Clothes", np.zeros((20, 28, 28, 1), np.uint8), None, classes)
    monkeypatch.setattr(data, "choose", lambda *_, **__: (clothes, None))
    _, err = run("domain_transfer", "--data=fashion-mnist", "--out", tmp_path, status=2)
    assert "Clothes has no digits, as the sources have" in complaint(err)
