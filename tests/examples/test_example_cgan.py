"""cgan.py: what G is told, in training, in the pictures and by whoever scores it."""

import numpy as np
import pytest
from running import module, run

from minigan import cpu, data, models
from minigan.training import checkpoint, generated

SMALL = ["--data", "digits", "--width", 4, "--hidden", 8, "--latent", 3, "--batch", 20]


@pytest.fixture
def told(monkeypatch):
    """The labels of each call of a generator in training."""
    labels, forward = [], models.ConditionalGenerator.forward

    def seen(G, z, y):
        if G.training:
            labels.append(y.numpy().copy())
        return forward(G, z, y)

    monkeypatch.setattr(models.ConditionalGenerator, "forward", seen)
    return labels


@pytest.mark.usefixtures("few_digits")
def test_every_class_is_asked_for_as_often_as_the_data_have_it(told, tmp_path):
    """The last one, too, which randint(0, 9) of so many codes leaves out."""
    run("cgan", *SMALL, "--epochs", 1, "--out", tmp_path)
    counts = np.bincount(np.concatenate(told), minlength=10)
    shares = counts / counts.sum()
    assert len(counts) == 10 and abs(shares - 0.1).max() < 0.02
    images, asked = generated(tmp_path / checkpoint.NAME, 1000, cpu.generator(0))
    assert images.shape == (1000, 28, 28, 1)
    assert set(asked.tolist()) == set(range(10))


@pytest.mark.usefixtures("few_digits")
def test_shuffled_labels_are_those_of_other_images():
    """As many of each class, in the same order at a resumed run; and they agree by chance alone."""
    digits, args = data.drawn_digits(500, 0), module("cgan").parse(["--shuffle-labels"])
    dealt, again = (module("cgan").lesson(digits, args).labels for _ in range(2))
    assert (dealt == again).all() and (np.bincount(dealt) == np.bincount(digits.labels)).all()
    assert 0.03 < (dealt == digits.labels).mean() < 0.2
    few = module("cgan").lesson(digits, module("cgan").parse(["--first", "7"]))
    assert (few.images == digits.images[:7]).all() and (few.labels == digits.labels[:7]).all()


def test_a_row_of_mixtures_goes_from_a_class_to_the_next():
    mixtures = module("cgan").to_the_next(3).reshape(3, -1, 3)
    np.testing.assert_allclose(mixtures.sum(2), 1, rtol=1e-6)
    assert mixtures[:, 0].tolist() == np.eye(3).tolist()
    assert mixtures[:, -1].tolist() == np.eye(3)[[1, 2, 0]].tolist()
    assert (np.diff(mixtures[0, :, 0]) < 0).all() and (np.diff(mixtures[0, :, 1]) > 0).all()


@pytest.mark.parametrize("discriminator", ["projection", "joined", "auxiliary"])
@pytest.mark.usefixtures("few_digits")
def test_every_discriminator_is_told_or_asked_the_class(discriminator, tmp_path):
    """After some steps G draws different classes from the same noise."""
    run("cgan", *SMALL, "--discriminator", discriminator, "--steps", 30, "--out", tmp_path)
    about = checkpoint.peek(tmp_path / checkpoint.NAME)["generator"]
    assert about["network"] == "conditional" and about["classes"] == 10
