"""A classifier that is kept: what it cannot be trained on."""

import numpy as np
import pytest

from minigan import cpu, data
from minigan.training import OptionError, kept_classifier


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
