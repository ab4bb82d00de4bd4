"""Layers that look across a batch at the edges; that they are their definitions: test_nn.py."""

import numpy as np
import pytest

from minigan import nn
from minigan.backend import cpu
from minigan.engine import ShapeError, grad, tensor


def test_minibatch_discrimination_sees_a_collapse():
    layer = nn.MinibatchDiscrimination(3, 7, rng=cpu.generator(0))
    same = layer(tensor(np.ones((6, 3), "float32"))).numpy()
    np.testing.assert_allclose(same[:, 3:], 1.0, rtol=1e-6)  # all others are at distance 0
    far = layer(tensor(np.arange(18, dtype="float32").reshape(6, 3) * 1e4)).numpy()
    assert (far[:, 3:] < 1e-3).all()
    assert repr(layer) == "MinibatchDiscrimination(3 -> 10, dimensions=4)"


def test_minibatch_std_of_a_batch_without_spread_has_a_finite_gradient():
    x = tensor(np.ones((4, 3), "float32"), requires_grad=True)
    y = nn.MinibatchStd()(x)
    np.testing.assert_allclose(y.numpy()[:, 3], 1e-4, rtol=1e-5)  # √ε
    (g,) = grad(y.sum(), [x])
    np.testing.assert_allclose(g.numpy(), 1.0)


def test_labels_are_packed_as_samples_are():
    for m in (1, 2, 3):
        labels = nn.Pack(m)(tensor(np.arange(6)))
        assert labels.numpy().tolist() == np.arange(6).reshape(6 // m, m).tolist()
        assert labels.dtype == np.int64


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        (nn.Pack(4), (6, 2), r"Pack: got shape \(6, 2\).* multiple of 4"),
        (nn.MinibatchStd(4), (6, 2), "a multiple of 4"),
        (nn.MinibatchStd(), (6,), r"expected \(n, …, c\)"),
        (
            nn.MinibatchDiscrimination(3, rng=cpu.generator(0)),
            (6, 2),
            r"got shape \(6, 2\), expected \(n, 3\)",
        ),
        (nn.MinibatchDiscrimination(3, rng=cpu.generator(0)), (1, 3), "n >= 2"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(layer, shape, said):
    with pytest.raises(ShapeError, match=said):
        layer(tensor(np.zeros(shape, "float32")))


@pytest.mark.parametrize("make", [lambda: nn.Pack(0), lambda: nn.MinibatchStd(1)])
def test_too_few_samples_are_refused(make):
    with pytest.raises(ValueError, match="expected at least"):
        make()
