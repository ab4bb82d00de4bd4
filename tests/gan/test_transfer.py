"""Domain transfer's game by its formulas, a D of two classes, and total variation by a loop."""

import math

import numpy as np
import pytest

from minigan import Tensor, cpu, nn
from minigan.engine import ShapeError
from minigan.gan import DomainTransfer, discriminator_loss, generator_loss, image_variation


def minus_ln(logits, k):
    """−E ln of a softmax's probability of class k, in plain Python."""
    sums = [math.log(sum(map(math.exp, row))) - row[k] for row in logits.tolist()]
    return sum(sums) / len(sums)


def three_sets(classes=3):
    random = np.random.default_rng(0)
    D = nn.Linear(5, classes, rng=cpu.generator(0))
    return D, *(Tensor(random.normal(size=(n, 5)).astype("float32")) for n in (4, 3, 2))


def test_both_sides_are_equations_3_and_4():
    """With other numbers of sources, targets and real images, so that each mean is its own."""
    D, of_source, of_target, target = three_sets()
    logits = [D(x).numpy().astype(float) for x in (of_source, of_target, target)]
    fakes = of_source, of_target
    loss, d = discriminator_loss(D, DomainTransfer(), target, fakes)
    expected = sum(minus_ln(said, k) for k, said in enumerate(logits))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss, g = generator_loss(D, DomainTransfer(), fakes)
    assert loss.item() == pytest.approx(sum(minus_ln(s, 2) for s in logits[:2]), rel=1e-5)
    shares = [np.exp(s[:, 2]) / np.exp(s).sum(1) for s in logits]
    assert d.real.item() == pytest.approx(shares[2].mean(), rel=1e-5)
    assert d.fake.item() == pytest.approx(np.concatenate(shares[:2]).mean(), rel=1e-5)
    assert g.fake.item() == d.fake.item()


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_a_d_that_has_not_three_classes_is_refused(classes):
    """The popular port's D says real or fake (yunjey/domain-transfer-network, issue 7)."""
    D, of_source, of_target, target = three_sets(classes)
    with pytest.raises(ShapeError, match=rf"returned \(., {classes}\), expected \(n, 3\)"):
        discriminator_loss(D, DomainTransfer(), target, (of_source, of_target))
    with pytest.raises(ShapeError, match="three classes"):
        generator_loss(D, DomainTransfer(), (of_source, of_target))


def test_total_variation_is_that_of_a_plain_loop():
    images = np.random.default_rng(1).normal(size=(2, 4, 3, 2))
    terms = [
        math.hypot(x[i, j + 1, c] - x[i, j, c], x[i + 1, j, c] - x[i, j, c])
        for x in images
        for i in range(3)
        for j in range(2)
        for c in range(2)
    ]
    assert image_variation(Tensor(images)).item() == pytest.approx(np.mean(terms), rel=1e-9)
    flat = Tensor(np.full((1, 4, 4, 1), 0.3))
    assert image_variation(flat).item() == pytest.approx(0, abs=1e-5)
