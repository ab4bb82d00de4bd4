"""A classifier that is kept: when it is used again, and when it is not."""

import pytest

from minigan import cpu, data
from minigan.evaluation import warped
from minigan.training import kept_classifier

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
