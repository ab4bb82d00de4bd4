"""A classifier that is kept: when it is used again, and when it is not."""

import numpy as np
import pytest

from minigan import cpu, data
from minigan.data import warped
from minigan.training import OptionError, kept_classifier

HOW = {"seed": 0, "steps": 2, "batch": 20}


@pytest.fixture(scope="module")
def digits():
    return data.drawn_digits(40, 0)


def test_it_is_trained_once_and_then_read_again(digits, tmp_path, capsys):
    path = tmp_path / "deep" / "C.safetensors"
    first = kept_classifier(path, digits, cpu, **HOW)
    before = path.read_bytes()
    again = kept_classifier(path, digits, cpu, **HOW)
    assert capsys.readouterr().out == "" and path.read_bytes() == before
    assert not first.training and not again.training
    assert first.flat().values().tobytes() == again.flat().values().tobytes()


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 3}, {"augment": warped}, {"width": 4}])
def test_one_that_was_trained_otherwise_is_not_taken(digits, tmp_path, capsys, change):
    path = tmp_path / "C.safetensors"
    kept_classifier(path, digits, cpu, **HOW)
    before = path.read_bytes()
    kept_classifier(path, digits, cpu, **HOW | change)
    assert "was trained otherwise" in capsys.readouterr().out and path.read_bytes() != before


@pytest.mark.parametrize(
    ("size", "labelled", "error", "words"),
    [(8, False, data.DataError, "mine: no labels"), (9, True, OptionError, "image size 9")],
)
def test_images_that_no_classifier_takes_are_refused(tmp_path, size, labelled, error, words):
    labels, classes = (np.zeros(4, np.int64), ("one",)) if labelled else (None, ())
    images = data.Dataset("mine", np.zeros((4, size, size, 1), np.uint8), labels, classes)
    with pytest.raises(error, match=words):
        kept_classifier(tmp_path / "C", images, cpu, seed=0, steps=1, batch=2)
    assert not list(tmp_path.iterdir())
