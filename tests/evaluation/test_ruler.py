"""The classifier as a ruler: how it is trained, and what it says of images."""

import numpy as np
import pytest
from scipy import ndimage

from minigan import Tensor, cpu, data, models
from minigan.data import warped
from minigan.engine import grad, tensor
from minigan.evaluation import Seen, look, train_classifier


class Most:
    """A generator that draws the most there is, and no noise."""

    backend = cpu

    def uniform(self, shape, low, high):
        return np.full(shape, high, "float32")

    def normal(self, shape):
        return np.zeros(shape, "float32")


def test_a_warp_is_the_matrix_that_it_says():
    """Against SciPy's: x ↦ e^zoom R(turn) (1 slant; 0 1) x + shift about the image's middle."""
    images = np.random.default_rng(0).uniform(-1, 1, (2, 9, 7, 3)).astype("float32")
    warp = {"turn": 0.2, "zoom": 0.1, "shear": 0.3, "shift": 1.5}
    moved = warped(Tensor(images), Most(), **warp).numpy()
    cos, sin = np.cos(0.2), np.sin(0.2)
    matrix = np.exp(0.1) * np.array([[cos, -sin], [sin, cos]]) @ [[1, 0.3], [0, 1]]
    rows, columns = np.mgrid[:9, :7]
    x, y = np.einsum("ij,jhw->ihw", matrix, np.stack([columns - 3, rows - 4])) + 1.5
    for image, result in zip(images, moved, strict=True):
        for c in range(3):
            where = [y + 4, x + 3]
            expected = ndimage.map_coordinates(image[..., c], where, order=1, mode="nearest")
            np.testing.assert_allclose(result[..., c], expected, atol=3e-3)


def test_the_gradient_of_a_warp_is_its_transpose():
    """A warp A is linear: A x · y = x · Aᵀ y, and the gradient of A z · y is Aᵀ y for every z."""
    x, y, z = np.random.default_rng(0).uniform(-1, 1, (3, 2, 9, 7, 3)).astype("f4")
    z = tensor(z, requires_grad=True)
    (gradient,) = grad((warped(z, Most()) * Tensor(y)).sum(), [z])
    seen = warped(Tensor(x), Most()).numpy()
    assert (gradient.numpy() * x).sum() == pytest.approx((seen * y).sum(), rel=1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_noise_has_a_strength_of_its_own_in_every_image(cuda, device):
    backend = {"cpu": cpu, "cuda": cuda}[device]
    flat = Tensor(backend.asarray(np.full((300, 8, 8, 1), 0.25, "float32")))
    seen = warped(flat, backend.generator(0), noise=0.3).numpy()
    sigmas = np.sort((seen - 0.25).std((1, 2, 3)))
    np.testing.assert_allclose(sigmas, np.linspace(0, 0.3, 300), atol=0.05)


def coloured(n, size=16):
    """Images (n, size, size, 3) of three classes: red, green and blue squares on noise."""
    random = np.random.default_rng(n)
    labels = np.arange(n) % 3
    images = random.integers(0, 120, (n, size, size, 3), np.uint8)
    images[np.arange(n), 4:12, 4:12, labels] = 255
    return data.Dataset("squares", images, labels, ("red", "green", "blue"))


SETS = {"grey": data.drawn_digits(40, 0), "coloured": coloured(40)}


def train(device, dataset, seed=0, steps=40, augment=None):
    weights, dropout, shifts = device.generator(seed).spawn(3)
    _, size, _, channels = dataset.images.shape
    shape = {"size": size, "channels": channels, "classes": len(dataset.classes)}
    C = models.image_classifier(rng=weights, dropout=dropout, width=2, hidden=16, **shape)
    how = {"seed": seed, "steps": steps, "batch": 20, "augment": augment}
    return train_classifier(C, dataset, shifts, progress=False, **how)


@pytest.mark.parametrize(("name", "augment"), [("grey", None), ("coloured", warped)])
def test_the_classifier_trains_in_a_captured_step(cuda, name, augment):
    """On the device, where a wait within the step would be refused."""
    images = SETS[name]
    seen = look(train(cuda, images, augment=augment), images.images, images.labels)
    assert seen.features.shape == (40, 16) and (seen.features >= 0).all()
    assert seen.probabilities.shape == (40, len(images.classes))
    assert np.allclose(seen.probabilities.sum(axis=1), 1, atol=1e-5)
    assert seen.accuracy() > 0.5  # by chance: 0.1


def test_one_seed_gives_one_classifier():
    first, again, other = (train(cpu, SETS["grey"], seed).flat().values() for seed in (0, 0, 1))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_the_bar_shows_the_mean_loss_and_is_left_out_on_request(capsys):
    weights, dropout, shifts = cpu.generator(0).spawn(3)
    C = models.image_classifier(rng=weights, dropout=dropout, width=2, hidden=16)
    train_classifier(C, SETS["grey"], shifts, seed=0, steps=100, batch=20)
    assert "100/100" in (shown := capsys.readouterr().err) and "classifier, cross-entropy " in shown
    train(cpu, SETS["grey"], steps=2)
    assert capsys.readouterr() == ("", "")


def test_images_without_labels_teach_nothing():
    with pytest.raises(data.DataError, match="bare: these images have no labels"):
        train(cpu, data.Dataset("bare", SETS["grey"].images, None, ("a", "b")))


# --- What it sees --------------------------------------------------------------------------------


def test_what_is_seen_does_not_depend_on_how_many_are_shown(monkeypatch):
    images = SETS["coloured"]
    C = train(cpu, images)
    alone = [look(C, images.images[i : i + 1]) for i in range(7)]
    monkeypatch.setattr("minigan.evaluation.ruler.CHUNK", 3)
    seen = look(C, images.images[:7])
    for name in ("features", "probabilities"):
        one_by_one = np.concatenate([getattr(one, name) for one in alone])
        np.testing.assert_allclose(getattr(seen, name), one_by_one, rtol=1e-5, atol=1e-6)


def test_a_generator_that_is_told_colours_and_one_that_does_not_listen():
    known, made = coloured(120), coloured(90)
    C = train(cpu, known, steps=100)
    faithful = look(C, made.images, made.labels)
    assert faithful.accuracy() == 1 and faithful.accuracies().tolist() == [1, 1, 1]
    only_red = made.images[made.labels == 0][:30].repeat(3, axis=0)
    deaf = look(C, only_red, made.labels)
    assert deaf.accuracies().tolist() == [1, 0, 0] and deaf.accuracy() == pytest.approx(1 / 3)
    assert deaf.shares().tolist() == [1, 0, 0]
    far, near = (seen.scores(look(C, known.images)) for seen in (deaf, faithful))
    assert far["frechet"] > 5 * near["frechet"] and far["accuracies"] == [1, 0, 0]


def seen(classes, labels=None, count=4):
    """What a classifier saw that was 70% sure of each of these classes."""
    n = len(classes)
    probabilities = np.full((n, count), 0.3 / (count - 1), "float32")
    probabilities[np.arange(n), classes] = 0.7
    labels = None if labels is None else np.array(labels)
    images, features = np.zeros((n, 8, 8, 1), "uint8"), np.eye(n, 5, dtype="float32")
    return Seen(images, features, probabilities, labels)


def test_shares_confidence_and_accuracy_are_counts():
    some = seen([0, 0, 2, 2, 2], labels=[0, 1, 2, 2, 1])
    assert some.classes.tolist() == [0, 0, 2, 2, 2]
    assert some.shares().tolist() == [0.4, 0, 0.6, 0]
    assert some.confidence() == pytest.approx(0.7)
    assert some.accuracy() == 0.6
    np.testing.assert_array_equal(some.accuracies(), [1, 0, 1, np.nan])  # nobody asked for a 3
    assert some.first(2).labels.tolist() == [0, 1] and len(some.first(2).features) == 2
    assert seen([1, 2]).first(1).labels is None


def test_scores_are_json_and_ask_for_labels_only_where_there_are_some():
    known = seen([0, 1, 2, 3] * 3)
    plain = seen([0, 0, 2, 2, 2]).scores(known)
    assert list(plain) == [
        *("count", "shares", "confidence", "frechet", "precision_recall", "neighbour")
    ]
    assert plain["count"] == 5 and plain["neighbour"] == 0
    told = seen([0, 0, 2, 2, 2], labels=[0, 1, 2, 2, 1]).scores(known)
    assert told["accuracy"] == 0.6 and told["accuracies"] == [1, 0, 1, None]
    assert plain.items() <= told.items()


def test_the_nearest_known_image_is_measured_in_pixels_from_0_to_1():
    some, known = seen([0, 1, 2]), seen([0, 1, 2])
    known = known._replace(images=known.images + np.uint8(51))
    assert some.neighbour(known) == pytest.approx(0.2 * 8)


@pytest.mark.parametrize(
    ("show", "said"),
    [
        (lambda C, x: look(C.train(), x), "in training: call eval"),
        (lambda C, x: look(C, x[:0]), "no images"),
        (lambda C, x: look(C, x, np.zeros(3, int)), "3 labels of 40 images"),
    ],
)
def test_what_cannot_be_looked_at_is_said(show, said):
    weights, dropout = cpu.generator(0).spawn(2)
    C = models.image_classifier(rng=weights, dropout=dropout, width=2, hidden=16).eval()
    with pytest.raises(ValueError, match=said):
        show(C, SETS["grey"].images)
