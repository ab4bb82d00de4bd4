"""Layers that look across a batch against plain loops, and on both devices."""

import numpy as np
import pytest
from checks import check_gradients, check_values, close, fill

from minigan import nn
from minigan.backend import cpu
from minigan.engine import ShapeError, grad, tensor


def closeness_by_loops(x, weight):
    """o_ib, the mean over j ≠ i of exp(−‖M_ib − M_jb‖₁), one pair at a time."""
    n, (_, kernels, _) = len(x), weight.shape
    out = np.zeros((n, kernels))
    for i in range(n):
        for j in range(n):
            for b in range(kernels):
                difference = x[i] @ weight[:, b] - x[j] @ weight[:, b]
                out[i, b] += np.exp(-np.abs(difference).sum()) / (n - 1) if i != j else 0.0
    return np.concatenate([x, out], axis=1)


def std_by_loops(x, group):
    out = np.zeros((*x.shape[:-1], x.shape[-1] + 1))
    out[..., :-1] = x
    for start in range(0, len(x), group):
        values = x[start : start + group].reshape(group, -1)
        spread = [np.sqrt(column.var() + 1e-8) for column in values.T]
        out[start : start + group, ..., -1] = np.mean(spread)
    return out


def test_minibatch_discrimination_is_its_definition():
    layer = nn.MinibatchDiscrimination(3, 2, 4, rng=cpu.generator(0)).astype("float64")

    def f(x, weight):
        return layer.at([weight])(x)

    x, weight = fill((5, 3)), 0.5 * fill((3, 2, 4), seed=1)
    check_values(f, closeness_by_loops, x, weight)
    check_gradients(f, x, weight)


def test_minibatch_discrimination_sees_a_collapse():
    layer = nn.MinibatchDiscrimination(3, 7, rng=cpu.generator(0))
    same = layer(tensor(np.ones((6, 3), "float32"))).numpy()
    np.testing.assert_allclose(same[:, 3:], 1.0, rtol=1e-6)  # all others are at distance 0
    far = layer(tensor(np.arange(18, dtype="float32").reshape(6, 3) * 1e4)).numpy()
    assert (far[:, 3:] < 1e-3).all()
    assert repr(layer) == "MinibatchDiscrimination(3 -> 10, dimensions=4)"


@pytest.mark.parametrize(
    ("shape", "group"), [((6, 3), None), ((6, 3), 2), ((4, 2, 3, 2), 2), ((4, 2, 3, 2), 4)]
)
def test_minibatch_std_is_its_definition(shape, group):
    layer = nn.MinibatchStd(group)
    x = fill(shape)
    check_values(layer, lambda x: std_by_loops(x, group or len(x)), x)
    check_gradients(layer, x)


def test_minibatch_std_of_a_batch_without_spread_has_a_finite_gradient():
    x = tensor(np.ones((4, 3), "float32"), requires_grad=True)
    y = nn.MinibatchStd()(x)
    np.testing.assert_allclose(y.numpy()[:, 3], 1e-4, rtol=1e-5)  # √ε
    (g,) = grad(y.sum(), [x])
    np.testing.assert_allclose(g.numpy(), 1.0)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_packing_joins_neighbours_and_loses_nothing(m):
    x = fill((6, 2, 4, 3))

    def joined(x):
        out = np.zeros((6 // m, 2, 4, 3 * m))
        for k in range(6):
            out[k // m, :, :, 3 * (k % m) : 3 * (k % m) + 3] = x[k]
        return out

    check_values(nn.Pack(m), joined, x)
    check_values(nn.Pack(m), lambda x: x.reshape(6 // m, 3 * m), fill((6, 3)))
    check_gradients(nn.Pack(m), x)
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


LAYERS = {
    "discrimination": lambda rng: nn.MinibatchDiscrimination(3, 2, 4, rng=rng),
    "std": lambda rng: nn.MinibatchStd(2),
    "pack": lambda rng: nn.Pack(2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_same_on_both_devices(cuda, name):
    here, there = LAYERS[name](cpu.generator(0)), LAYERS[name](cuda.generator(0))
    there.load_state(here.state())
    shape, results = ((6, 3) if name == "discrimination" else (6, 2, 2, 3)), []
    for layer, device in ((here, cpu), (there, cuda)):
        x = tensor(cpu.generator(1).normal(shape), device=device, requires_grad=True)
        y = layer(x)
        gradients = grad((y * y * y).sum(), [x, *layer.parameters()], create_graph=True)
        total = sum(((g * g).sum() for g in gradients), start=(y * y).sum())
        second = grad(total, [x, *layer.parameters()])
        results.append([t.numpy() for t in (y, *gradients, *second)])
    for a, b in zip(*results, strict=True):
        close(b, a)
