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


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize(
    ("options", "low", "high"), [((), 0.7, 1), (("--shuffle-labels",), 0, 0.2)]
)
def test_it_draws_what_it_is_asked_for_and_not_with_labels_that_mean_nothing(
    options, low, high, tmp_path
):
    """By the nearest of ten mean digits, which is right on 85% of the drawn digits themselves."""
    run("cgan", "--quick", *options, "--out", tmp_path)
    real = data.drawn_digits(2000, 0)
    means = np.stack([real.images[real.labels == c].mean(0) for c in range(10)])
    images, asked = generated(tmp_path / checkpoint.NAME, 500, cpu.generator(1))
    distances = ((images[:, None] - means) ** 2).sum((2, 3, 4))
    assert low <= (distances.argmin(1) == asked).mean() <= high
