"""Layers against their definitions: plain loops, differences, PyTorch, and what they may keep.

A layer is a function and the parameters it owns, so three things can go wrong: the function (its
values, its gradients in the input and in every parameter, its dtype), the bookkeeping of the
parameters (order, names, state, copies, the one flat array), and what is remembered between
calls (running statistics: yes; activations: never).
"""

import copy
import functools
import gc
import itertools
import math
import os
import pickle
import subprocess
import sys
import weakref
from collections import deque
from dataclasses import dataclass

import numpy as np
import pytest
from checks import check_float32, check_gradients, fill, first_word, leaves
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import LAYERS, linear, maxout
from tables import INITIALISERS

from minigan import functional as F
from minigan import nn, optim
from minigan.backend import cpu
from minigan.engine import ShapeError, StaleGraphError, Tensor, grad, no_grad, tensor
from minigan.nn import FlatParameters, Parameter


def rng(seed=0):
    return cpu.generator(seed)


def substitutable(net):
    """(f, shapes): f(x, *weights) is the net with given tensors in its parameters' places."""
    return lambda x, *weights: net.at(weights)(x), [p.shape for p in net.parameters()]


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def bits(net):
    return {key: array.tobytes() for key, array in net.state().items()}


# --- Every layer ---------------------------------------------------------------------------------


def each_layer(*, where=lambda layer: True):
    return pytest.mark.parametrize("name", [name for name, row in LAYERS.items() if where(row)])


each_defined = each_layer(where=lambda layer: layer.reference)


def drawn(name, seed, dtype="float64"):
    """A layer of a dtype as a function of its input and weights, and values for all of them.

    If its input is labels, as a function of the weights.
    """
    layer = LAYERS[name]
    net = layer.default().astype(dtype)
    f, shapes = substitutable(net)
    weights = [fill(s, "real", seed + k) for k, s in enumerate(shapes, 1)]
    x = layer.input(seed)
    if layer.labels:
        return lambda *ws: f(x, *ws), lambda *ws: layer.reference(x, *ws), weights
    return f, layer.reference, [x, *weights]


@each_defined
@given(seed=st.integers(0, 10**6))
@settings(max_examples=3)
def test_values_are_the_definition(name, seed):
    f, reference, arrays = drawn(name, seed)
    expected = reference(*arrays)
    y = f(*map(tensor, arrays))
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-12)


@each_defined
@given(seed=st.integers(0, 10**6))
@settings(max_examples=3)
def test_gradients_of_both_orders(name, seed):
    f, _, arrays = drawn(name, seed)
    check_gradients(f, *arrays)


@each_layer()
def test_float32_stays_float32(name):
    layer = LAYERS[name]
    # Buffers of float64 would show in the values, of those that take some.
    f, _, arrays = drawn(name, 0, "float64" if layer.reference else "float32")
    check_float32(f, *arrays)
    net, x = layer.default(), tensor(layer.input(dtype="float32"))
    assert all(array.dtype == np.float32 for array in net.state().values())
    net(x)
    assert all(array.dtype == np.float32 for array in net.state().values())
    assert net.eval()(x).dtype == np.float32


def called(name, seed=0):
    """A layer, its input, and what its output depends on: the parameters, and numbers as input."""
    layer = LAYERS[name]
    net = layer.default()
    x = tensor(layer.input(seed, "float32"), requires_grad=not layer.labels)
    return net, x, [*[x] * (not layer.labels), *net.parameters()]


@each_layer()
def test_no_activation_is_kept(name):
    net, x, inputs = called(name)
    gc.disable()
    try:
        y = net(x)
        g, *_ = grad(y, inputs, cotangent=Tensor(np.ones_like(y.data)), create_graph=True)
        held = [weakref.ref(held) for held in (y, y.data, g)]
        assert all(ref() is not None for ref in held)
        del y, g, _
        assert [ref() for ref in held] == [None] * 3
    finally:
        gc.enable()


@each_defined
def test_two_calls_build_independent_graphs(name):
    net, a, inputs_a = called(name, 1)
    _, b, (*own_b,) = called(name, 2)
    inputs_b = [*own_b[: len(own_b) - len(net.parameters())], *net.parameters()]

    def gradients(y, inputs):
        return [g.data.tobytes() for g in grad(y.mean(), inputs)]

    alone = gradients(net(a), inputs_a), gradients(net(b), inputs_b)
    together = net(a), net(b)
    assert gradients(together[1], inputs_b) == alone[1]
    assert gradients(together[0], inputs_a) == alone[0]


@each_layer()
@pytest.mark.parametrize("copied", [nn.Module.copy, copy.deepcopy, pickled])
def test_a_copy_of_a_layer_goes_on_as_it_does(name, copied):
    """Of a layer in the middle of its life: after a call, and in training as well as not."""
    net, x, _ = called(name)
    net(x)
    twin = copied(net)
    assert bits(twin) == bits(net) and repr(twin) == repr(net)
    assert twin(x).numpy().tobytes() == net(x).numpy().tobytes()
    assert bits(twin) == bits(net)
    assert twin.eval()(x).numpy().tobytes() == net.eval()(x).numpy().tobytes()


@each_layer()
def test_a_layer_goes_on_from_its_state(name):
    net, x, _ = called(name)
    other = LAYERS[name].make(rng(9))
    for _ in range(2):
        net(x)
    other.load_state(net.state())
    assert bits(other) == bits(net)
    assert other.eval()(x).numpy().tobytes() == net.eval()(x).numpy().tobytes()


@each_layer()
def test_a_layer_says_what_it_is(name):
    line, *_ = repr(LAYERS[name].default()).splitlines()
    assert line.startswith(f"{first_word(name)}(") and line.endswith(")") and "0x" not in line


# --- Initialisers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_draw_float32_and_the_same_from_a_seed(name):
    for shape in ((6, 5), (3, 2, 4, 7)):
        first, again, other = (INITIALISERS[name](rng(s), shape, 6, 5) for s in (0, 0, 1))
        assert first.shape == shape and first.dtype == np.float32
        assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    "init, std",
    [
        (nn.normal(), 0.02),
        (nn.normal(0.5), 0.5),
        (nn.he(), math.sqrt(2 / 300)),
        (nn.he(0.2), math.sqrt(2 / (1.04 * 300))),
        (nn.xavier(), math.sqrt(2 / 700)),
    ],
)
def test_initialisers_have_their_moments(init, std):
    """The errors of a mean and of a standard deviation of n values are std/√n and std/√2n."""
    values = init(rng(), (300, 400), 300, 400).ravel().astype(float)
    assert abs(values.mean()) < 4 * std / math.sqrt(values.size)
    assert abs(values.std() / std - 1) < 4 / math.sqrt(2 * values.size)
    assert abs((values**4).mean() / std**4 - 3) < 4 * math.sqrt(96 / values.size)  # a normal's


@pytest.mark.parametrize(
    "layer, shape",
    [
        (lambda **k: nn.Linear(400, 300, **k), (100, 400)),
        (lambda **k: nn.Conv2d(24, 40, (3, 5), **k), (20, 10, 12, 24)),
        (lambda **k: nn.ConvTranspose2d(60, 20, 4, stride=2, **k), (20, 12, 12, 60)),
    ],
)
def test_he_keeps_the_signal(layer, shape):
    """Fan-in is right if outputs, before their ReLU, have twice the input's mean square."""
    y = layer(rng=rng(), init=nn.he())(tensor(rng(1).normal(shape))).numpy()
    inside = y[:, 4:-4, 4:-4] if "Transpose" in repr(layer(rng=rng())) else y
    assert np.mean(inside.astype(float) ** 2) == pytest.approx(2, rel=0.05)


def test_uniform_fills_its_interval():
    """Var = b²/3 and E x⁴ = b⁴/5; the largest of n values is within 20 b/n of the end, or e⁻¹⁰."""
    bound, n = 0.05, 120_000
    values = nn.uniform(bound)(rng(), (300, 400), 300, 400)
    assert values.dtype == np.float32
    x = values.ravel().astype(float) / bound
    assert abs(x).max() <= 1 + 1e-6 and x.min() < -1 + 20 / n and x.max() > 1 - 20 / n
    assert abs(x.mean()) < 4 / math.sqrt(3 * n)
    assert abs((x**2).mean() - 1 / 3) < 4 * math.sqrt((1 / 5 - 1 / 9) / n)
    assert abs((x**4).mean() - 1 / 5) < 4 * math.sqrt((1 / 9 - 1 / 25) / n)


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (3, 3, 2, 4), (2, 2, 1, 9)])
def test_orthogonal(shape):
    matrix = nn.orthogonal(1.5)(rng(), shape, None, None)
    assert matrix.shape == shape
    assert matrix.dtype == np.float32
    singular = np.linalg.svd(matrix.reshape(-1, shape[-1]), compute_uv=False)
    np.testing.assert_allclose(singular, 1.5, rtol=1e-5)


def test_orthogonal_is_uniform():
    """Over many 1×1 and 2×2 draws each sign and each direction is as likely as any other."""
    draws = np.array([nn.orthogonal()(rng(seed), (2, 2), 2, 2) for seed in range(400)])
    assert np.all(abs(draws.mean(axis=0)) < 4 * math.sqrt(0.5 / 400))
    assert abs(np.mean(np.linalg.det(draws) > 0) - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_layers_use_the_initialiser_and_start_without_offset():
    for layer in (
        nn.Linear(30, 40, rng=rng(), init=nn.normal(7.0)),
        nn.Conv2d(9, 16, 3, rng=rng(), init=nn.normal(7.0)),
        nn.ConvTranspose2d(9, 16, 3, rng=rng(), init=nn.normal(7.0)),
    ):
        assert layer.weight.data.std() == pytest.approx(7, rel=4 / math.sqrt(2 * 1200))
        assert not layer.bias.data.any()
    embedding = nn.Embedding(30, 40, rng=rng())
    assert embedding.weight.data.std() == pytest.approx(1, rel=4 / math.sqrt(2 * 1200))


# --- Maxout --------------------------------------------------------------------------------------


def test_maxout_pieces_that_tie_share_the_gradient():
    """Two of three pieces are equal and win for x > 0; for x < 0 the third wins alone."""
    layer = nn.Maxout(1, 1, 3, rng=rng())
    layer.weight.data[...] = [[2.0, 2.0, -1.0]]
    y = layer(tensor([[3.0], [-4.0]]))
    assert y.numpy().tolist() == [[6.0], [4.0]]
    by_weight, by_bias = grad(y.sum(), layer.parameters())
    assert by_weight.numpy().tolist() == [[1.5, 1.5, -4.0]]
    assert by_bias.numpy().tolist() == [0.5, 0.5, 1.0]


def test_maxout_takes_another_weight_and_says_what_it_is():
    layer = nn.Maxout(3, 4, 5, rng=rng(), init=nn.uniform(0.1))
    assert repr(layer) == "Maxout(3 -> 4, 5 pieces)"
    assert layer.weight.shape == (3, 20) and not layer.bias.data.any()
    assert 0.05 < abs(layer.weight.data).max() <= 0.1
    x, w = tensor(fill((2, 3)).astype(np.float32)), tensor(fill((3, 20)).astype(np.float32))
    expected = maxout(5)(x.numpy(), w.numpy())
    np.testing.assert_allclose(layer.apply(x, w).numpy(), expected, rtol=1e-5)


# --- Batch norm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 2, 3)])
def test_batch_norm_is_pytorchs(shape):
    torch = pytest.importorskip("torch")
    mine = nn.BatchNorm(3, momentum=0.3, eps=1e-4, rng=rng()).astype("float64")
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = kind(3, momentum=0.3, eps=1e-4).double()
    mine.scale.data[...] = fill((3,), "positive", 1)
    mine.shift.data[...] = fill((3,), "real", 2)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(mine.scale.data))
        theirs.bias.copy_(torch.tensor(mine.shift.data))

    def both(seed):
        x = 3 + 2 * fill(shape, "real", seed)
        (a,), b = leaves([x]), torch.tensor(x, requires_grad=True)
        y = mine(a)
        z = theirs(torch.movedim(b, -1, 1))
        (g,) = grad((y**3).sum(), [a])
        (z**3).sum().backward()
        z = torch.movedim(z, 1, -1)
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(g.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(mine.running_mean, theirs.running_mean, rtol=1e-10)
        np.testing.assert_allclose(mine.running_variance, theirs.running_var, rtol=1e-10)

    for seed in range(4):
        both(seed)
    mine.eval(), theirs.eval()
    both(9)


def test_batch_norm_averages_the_unbiased_variance():
    layer = nn.BatchNorm(1, momentum=0.25, rng=rng()).astype("float64")
    mean, variance = 0.0, 1.0
    for batch in ([1.0, 3.0, 8.0], [0.0, 0.5, 1.0], [-2.0, 2.0, 6.0]):
        layer(tensor(np.array(batch)[:, None]))
        m = sum(batch) / 3
        mean = 0.75 * mean + 0.25 * m
        variance = 0.75 * variance + 0.25 * sum((v - m) ** 2 for v in batch) / 2
    assert layer.running_mean.tolist() == pytest.approx([mean])
    assert layer.running_variance.tolist() == pytest.approx([variance])


def evaluated(layer):
    layer.running_mean = fill((3,), "real", 8)
    layer.running_variance = fill((3,), "positive", 9)
    return layer.astype("float64").eval()


def test_batch_norm_in_evaluation():
    layer = evaluated(nn.BatchNorm(3, rng=rng()))
    before = bits(layer)
    f, _ = substitutable(layer)
    arrays = fill((4, 2, 3)), fill((3,), seed=1), fill((3,), seed=2)
    x, scale, shift = arrays
    expected = np.empty(x.shape)
    for n, i, c in np.ndindex(x.shape):
        r = (x[n, i, c] - layer.running_mean[c]) / math.sqrt(layer.running_variance[c] + 1e-5)
        expected[n, i, c] = scale[c] * r + shift[c]
    np.testing.assert_allclose(f(*map(tensor, arrays)).numpy(), expected, rtol=1e-12)
    check_gradients(f, *arrays)
    layer = evaluated(nn.BatchNorm(3, rng=rng()))
    layer(tensor(fill((1, 3))))  # one value is enough here
    assert bits(layer) == before


def test_conditional_batch_norm_in_evaluation_and_what_it_refuses():
    """By the running averages."""
    layer, x = evaluated(nn.ConditionalBatchNorm(3, 2, rng=rng())), fill((4, 2, 3))
    c = fill((4, 2), seed=1)
    scale, shift = (part.weight.numpy() for part in (layer.scale, layer.shift))
    r = (x - layer.running_mean) / np.sqrt(layer.running_variance + 1e-5)
    expected = (1 + c @ scale)[:, None] * r + (c @ shift)[:, None]
    np.testing.assert_allclose(layer(tensor(x), tensor(c)).numpy(), expected, rtol=1e-10)
    for wrong in (c[:3], c[0]):
        with pytest.raises(ShapeError, match=r"c for x \(4, 2, 3\): got shape .*\(4, inputs\)"):
            layer(tensor(x), tensor(wrong))


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_one_value_has_no_variance(shape):
    layer = nn.BatchNorm(3, rng=rng())
    before = bits(layer)
    with pytest.raises(ShapeError, match="BatchNorm: one value per channel"):
        layer(tensor(np.ones(shape, np.float32)))
    assert bits(layer) == before


def test_gradients_do_not_run_through_running_statistics():
    """The second batch's output depends on the first only through numbers."""
    layer = nn.BatchNorm(2, rng=rng())
    first, second = leaves(fill((4, 2), seed=s).astype(np.float32) for s in (0, 1))
    layer(first)
    y = layer.eval()(second)
    (g,) = grad(y.sum(), [first], unused="zeros")
    assert not g.data.any()


# --- Spectral norm -------------------------------------------------------------------------------

SPECTRAL = {
    "Linear": (lambda: nn.Linear(6, 4, rng=rng(3), bias=False), (6,)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3, rng=rng(3), bias=False), (3, 3, 2)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(5, 2, 3, rng=rng(3), bias=False), (1, 1, 5)),
}


def effective_matrix(net, shape):
    """The weight in use, (everything else, outputs), read off the answers to unit impulses."""
    impulses = np.eye(math.prod(shape)).reshape(-1, *shape)
    with no_grad():
        answers = net(tensor(impulses)).numpy()
    return answers.reshape(-1, answers.shape[-1])


@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_norm_brings_the_largest_singular_value_to_one(name):
    make, shape = SPECTRAL[name]
    net = nn.SpectralNorm(make(), rng=rng(4)).astype("float64")
    net.layer.weight.data *= 5
    unscaled = effective_matrix(net.layer, shape)
    errors = []
    for _ in range(60):
        matrix = effective_matrix(net, shape)
        errors.append(abs(np.linalg.svd(matrix, compute_uv=False)[0] - 1))
        net(tensor(np.ones((1, *shape))))
    assert errors[0] > 1e-3  # the start was no accident
    assert errors[-1] < 1e-6
    top = np.linalg.svd(unscaled, compute_uv=False)[0]
    np.testing.assert_allclose(effective_matrix(net, shape), unscaled / top, rtol=1e-5, atol=1e-8)


def test_spectral_norm_follows_algorithm_1():
    """Miyato et al. 2018: ṽ ← Wᵀũ / ‖Wᵀũ‖, ũ ← Wṽ / ‖Wṽ‖, σ = ũᵀWṽ, one step per call."""
    net = nn.SpectralNorm(nn.Linear(3, 2, rng=rng()), rng=rng(1)).astype("float64")
    assert np.linalg.norm(net.u) == pytest.approx(1)
    w, x, u = net.layer.weight.data, fill((4, 3)), net.u
    for _ in range(3):
        v = w.T @ u / np.linalg.norm(w.T @ u)
        u = w @ v / np.linalg.norm(w @ v)
        np.testing.assert_allclose(net(tensor(x)).numpy(), linear(x, w / (u @ w @ v)), rtol=1e-9)
        np.testing.assert_allclose(net.u, u, rtol=1e-9)


def test_spectral_norm_moves_u_only_while_training():
    net = nn.SpectralNorm(nn.Linear(3, 2, rng=rng()), rng=rng(1))
    x, start = tensor(np.ones((1, 3), np.float32)), net.u.tobytes()
    with no_grad():
        net(x)
    net.eval()(x)
    assert net.u.tobytes() == start
    net.train()(x)
    assert net.u.tobytes() != start
    assert net.u.dtype == net(x).dtype == np.float32


def test_spectral_norm_gradient():
    """Once u and v have settled, first differences of the layer in evaluation are its gradient."""
    net = nn.SpectralNorm(nn.Linear(4, 3, rng=rng()), rng=rng(1)).astype("float64")
    x, w, b = fill((5, 4)), net.layer.weight.data.copy(), net.layer.bias.data.copy()
    for _ in range(300):
        net(tensor(x))
    net.eval()
    check_gradients(net, x)
    f, _ = substitutable(net)
    check_gradients(f, x, w, b, order=1)


def test_spectral_norm_gradient_holds_u_and_v_constant():
    """Miyato et al. 2018, eq. 12, far from convergence: (Γ − ⟨Γ, W/σ⟩ u vᵀ) / σ."""
    net = nn.SpectralNorm(nn.Linear(4, 3, rng=rng(), bias=False), rng=rng(1)).astype("float64")
    w, x, c = net.layer.weight.data, fill((5, 4)), fill((5, 3), seed=1)
    v = w.T @ net.u / np.linalg.norm(w.T @ net.u)
    y = net(tensor(x))
    (g,) = grad(y, [net.layer.weight], cotangent=Tensor(c))
    sigma, gamma = net.u @ w @ v, x.T @ c
    expected = (gamma - np.sum(gamma * w / sigma) * np.outer(net.u, v)) / sigma
    np.testing.assert_allclose(g.numpy(), expected, rtol=1e-9)


# --- Equalised layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("inputs, outputs", [(8, 200), (200, 8)])
def test_equalised_weights_are_of_one_size_and_outputs_as_he_s(inputs, outputs):
    """And a step of Adam changes the output by as much whatever the layer's width."""
    net = nn.Equalised(nn.Linear, inputs, outputs, rng=rng(2))
    assert net.layer.weight.data.std() == pytest.approx(1, rel=0.05)
    x = fill((500, inputs), seed=3).astype(np.float32)
    x /= np.sqrt((x**2).mean())
    before = net(tensor(x)).numpy()
    assert before.std() == pytest.approx(math.sqrt(2), rel=0.1)
    target = tensor(np.float32(100) * x[:, :1])  # far away: each weight moves by the rate
    optim.Adam(net, 1e-3).descend(((net(tensor(x)) - target) ** 2).mean())
    moved = (
        net.layer.weight.data
        - nn.Equalised(nn.Linear, inputs, outputs, rng=rng(2)).layer.weight.data
    )
    np.testing.assert_allclose(abs(moved), 1e-3, rtol=1e-2)


def test_what_has_no_weights_is_not_equalised():
    with pytest.raises(TypeError, match="Equalised: got ReLU, expected Linear, Conv2d"):
        nn.Equalised(nn.ReLU, rng=rng())


# --- Embedding, dropout, sequences ---------------------------------------------------------------


def test_embedding_is_a_row_per_label():
    layer = nn.Embedding(5, 3, rng=rng()).astype("float64")
    w, labels = layer.weight.data, np.array([4, 0, 4, 2])
    y = layer(tensor(labels))
    np.testing.assert_array_equal(y.numpy(), [list(w[k]) for k in labels])
    for dtype in ("int64", "uint8", "int16", "uint64"):
        np.testing.assert_array_equal(layer(labels.astype(dtype)).numpy(), y.numpy())
    f = substitutable(layer)[0]
    check_gradients(lambda weight: f(labels, weight) ** 2, fill((5, 3)))
    words = np.array([[4, 0, 4], [2, 2, 2]])
    np.testing.assert_array_equal(
        layer(words).numpy(), [[list(w[k]) for k in row] for row in words]
    )
    check_gradients(lambda weight: f(words, weight) ** 2, fill((5, 3)))
    with pytest.raises(TypeError, match="Embedding: labels must be integers, got float32"):
        layer(tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="Embedding: labels must be integers, got list"):
        layer([1, 2])


def test_embedding_gradient_adds_up_over_repeated_labels():
    layer = nn.Embedding(3, 1, rng=rng())
    (g,) = grad(layer(np.array([2, 0, 2, 2])).sum(), [layer.weight])
    assert g.numpy().ravel().tolist() == [1, 0, 3]
    assert g.dtype == np.float32
    (g,) = grad(layer(np.array([[2, 0, 2], [2, 2, 1]])).sum(), [layer.weight])
    assert g.numpy().ravel().tolist() == [1, 1, 4]


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9])
def test_dropout(p):
    layer, n = nn.Dropout(p, rng=rng()), 20_000
    (x,) = leaves([fill((n,), "nonzero").astype(np.float32)])
    y = layer(x)
    (g,) = grad(y.sum(), [x])
    factor = y.numpy() / x.numpy()
    np.testing.assert_allclose(factor[factor != 0], 1 / (1 - p), rtol=1e-6)
    assert abs(np.mean(factor == 0) - p) <= 4 * math.sqrt(p * (1 - p) / n)
    np.testing.assert_allclose(g.numpy(), factor, rtol=1e-6)
    assert y.dtype == g.dtype == np.float32
    if p:
        assert np.any((layer(x).numpy() == 0) != (factor == 0))  # another mask each time
    again = nn.Dropout(p, rng=rng())(x)
    np.testing.assert_array_equal(again.numpy(), y.numpy())  # but the same ones from a seed
    assert layer.eval()(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_dropout_with_an_impossible_probability(p):
    with pytest.raises(ValueError, match="dropout: probability"):
        nn.Dropout(p, rng=rng())(tensor([1.0]))


def test_sequential_is_a_sequence():
    layers = [nn.Flatten(), nn.Tanh(), nn.ReLU()]
    net = nn.Sequential(*layers)
    assert list(net) == layers
    assert len(net) == 3
    assert net[-1] is layers[-1]
    many = nn.Sequential(*(nn.Dropout(k / 20, rng=rng()) for k in range(12)))
    assert [layer.p for layer in many] == [k / 20 for k in range(12)]  # "10" stands after "9"


# --- Parameters, buffers, state ------------------------------------------------------------------


def test_a_slice_shares_its_layers():
    net = nn.Sequential(nn.Linear(3, 4, rng=cpu.generator(0)), nn.Tanh(), nn.Flatten())
    features = net[:-1]
    assert [type(layer) for layer in features] == [nn.Linear, nn.Tanh]
    assert features[0] is net[0] and features.parameters() == net.parameters()
    x = tensor(fill((2, 3)).astype("f4"))
    np.testing.assert_array_equal(features(x).numpy(), net[1](net[0](x)).numpy())


def test_at_computes_with_other_weights():
    """D.at(w) is the network that has w, while D stays what it is."""
    rng = cpu.generator(0)
    D = nn.Sequential(
        nn.SpectralNorm(nn.Linear(3, 4, rng=rng), rng=rng), nn.Tanh(), nn.Linear(4, 1, rng=rng)
    )
    other, x = D.copy(), tensor(fill((5, 3)).astype("f4"))
    for p in other.parameters():
        p.data[...] += 0.5
    parameters = D.parameters()
    weights = [tensor(p.data, requires_grad=True) for p in other.parameters()]
    D.eval(), other.eval()
    before = D(x).numpy()
    y = D.at(weights)(x)
    np.testing.assert_array_equal(y.numpy(), other(x).numpy())
    np.testing.assert_array_equal(D(x).numpy(), before)
    assert all(a is b for a, b in zip(D.parameters(), parameters, strict=True))
    expected = grad(other(x).sum(), other.parameters())
    for mine, theirs in zip(grad(y.sum(), weights), expected, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_at_refuses_weights_that_do_not_fit():
    D = nn.Linear(3, 1, rng=cpu.generator(0))
    weights = D.parameters()
    for wrong in (weights[:1], weights[::-1]):
        with pytest.raises(ValueError, match="at: got weights of shapes"):
            D.at(wrong)


class Block(nn.Module):
    """Parts in an order that is neither the alphabet's nor the types'."""

    def __init__(self, name=""):
        self.name = name
        self.zeta = nn.Linear(2, 3, rng=rng(1))
        self.gain = Parameter(np.full(3, 2.0, np.float32))
        self.alpha = nn.Sequential(nn.BatchNorm(3, rng=rng()), nn.Linear(3, 1, rng=rng(2)))

    def forward(self, x):
        return self.alpha(self.zeta(x) * self.gain)


NAMES = ["zeta.weight", "zeta.bias", "gain"]
NAMES += ["alpha.0.scale", "alpha.0.shift", "alpha.1.weight", "alpha.1.bias"]
BUFFERS = ["alpha.0.running_mean", "alpha.0.running_variance"]


def test_names_and_order():
    net = Block()
    assert list(net.named_parameters()) == NAMES
    assert [id(p) for p in net.parameters()] == [id(p) for p in net.named_parameters().values()]
    assert list(net.named_buffers()) == BUFFERS
    assert list(net.state()) == NAMES + BUFFERS
    assert [path for path, _ in net.modules()] == ["", "zeta", "alpha", "alpha.0", "alpha.1"]
    assert net.modules()[3][1] is net.alpha[0]


def test_order_does_not_depend_on_the_hash_seed():
    script = (
        "from minigan import cpu, models, nn\n"
        "net = nn.Sequential(models.dcgan_generator(rng=cpu.generator(0), width=2), nn.Flatten(),"
        "nn.SpectralNorm(nn.Linear(784, 1, rng=cpu.generator(1)), rng=cpu.generator(2)))\n"
        "print(list(net.state()), [p.shape for p in net.parameters()], net)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert "'2.layer.weight'" in printed.pop()


def trained(seed):
    """A block whose every array differs from a fresh one's."""
    net = Block()
    for k, p in enumerate(net.parameters()):
        p.data[...] = fill(p.shape, "real", seed + k)
    net(tensor(fill((4, 2), seed=seed).astype(np.float32)))
    return net


def test_state_round_trip():
    source, target = trained(1), trained(50)
    x = tensor(fill((3, 2)).astype(np.float32))
    before = bits(target)
    assert all(before[key] != value for key, value in bits(source).items())
    target.load_state({key: array.copy() for key, array in source.state().items()})
    assert bits(target) == bits(source)
    assert target.eval()(x).numpy().tobytes() == source.eval()(x).numpy().tobytes()


def test_load_state_takes_copies():
    source, target = trained(1), trained(50)
    state = source.state()
    target.load_state(state)
    before = bits(target)
    for array in state.values():
        array += 1
    assert bits(target) == before


def test_load_state_converts_to_the_networks_dtype():
    source, target = trained(1), trained(50)
    target.load_state({key: array.astype(np.float64) for key, array in source.state().items()})
    assert bits(target) == bits(source)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda s: s.pop("gain"), "differ in gain"),
        (lambda s: s.update(extra=s["gain"]), "differ in extra"),
        (lambda s: s.pop(BUFFERS[1]), f"differ in {BUFFERS[1]}"),
        (lambda s: s.update(gain=np.ones(1)), r"gain has shape \(1,\), expected \(3,\)"),
        (
            lambda s: s.update({BUFFERS[0]: np.ones((3, 1))}),
            r"running_mean has shape \(3, 1\), expected \(3,\)",
        ),
    ],
)
def test_load_state_all_or_nothing(damage, message):
    source, target = trained(1), trained(50)
    before, versions = bits(target), [p.node.version for p in target.parameters()]
    state = dict(source.state())
    damage(state)
    with pytest.raises(ValueError, match=message):
        target.load_state(state)
    assert bits(target) == before
    assert [p.node.version for p in target.parameters()] == versions


def test_loading_makes_older_graphs_stale():
    net = Block(name="D")
    net.flat()
    y = net(tensor(fill((4, 2)).astype(np.float32))).sum()
    net.load_state(trained(1).state())
    with pytest.raises(StaleGraphError, match=r"D\.alpha\.1\.weight"):
        grad(y, net.parameters())


def test_a_copy_is_independent():
    net = trained(1)
    net.flat()
    net.zeta.eval()
    twin = net.copy()
    before = bits(net)
    assert bits(twin) == before
    assert (twin.training, twin.zeta.training) == (True, False)
    assert [p.node.name for p in twin.parameters()] == NAMES
    for p in twin.parameters():
        p.data += 1
    twin(tensor(fill((4, 2)).astype(np.float32)))
    assert bits(net) == before
    assert all(value != before[key] for key, value in bits(twin).items())
    assert not {id(p.node) for p in net.parameters()} & {id(p.node) for p in twin.parameters()}


def test_a_copy_keeps_shared_parameters_shared():
    net = nn.Sequential(nn.Linear(2, 2, rng=rng()), nn.Linear(2, 2, rng=rng()))
    net[1].weight = net[0].weight
    twin = net.copy()
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight is not net[0].weight


def test_a_copy_stays_on_its_device():
    net = nn.Dropout(0.5, rng=rng())
    twin = net.copy()
    assert twin.rng.backend is cpu
    x = tensor(np.ones(64, np.float32))
    assert twin(x).numpy().tobytes() == net(x).numpy().tobytes()  # the stream is copied, not shared


def test_train_and_eval_reach_every_layer():
    net = Block()
    assert all(not module.training for _, module in net.eval().modules())
    assert all(module.training for _, module in net.train().modules())


def test_a_module_without_forward_says_so():
    class Half(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Half defines no forward"):
        Half()(tensor(1.0))


# --- Lists, tuples and dicts of layers -----------------------------------------------------------


class Tower(nn.Module):
    """Layers wherever people put them, most of them after the attribute was made."""

    def __init__(self):
        self.floors, self.pairs, self.heads = [], [[], []], {}
        self.fixed = (nn.Linear(2, 2, rng=rng(8)), None, 3.0)
        for k in range(2):
            self.floors.append(nn.Linear(2, 2, rng=rng(k)))
            self.pairs[k].append(nn.Linear(2, 2, rng=rng(2 + k), bias=False))
        self.heads["real"] = nn.Sequential(nn.BatchNorm(2, rng=rng()), nn.Linear(2, 1, rng=rng(5)))
        self.heads["scales"] = [Parameter(np.ones(2, np.float32))]
        self.above = self  # a circle, as of a layer that knows its network

    def forward(self, x):
        for floor in (*self.floors, *self.pairs[0], *self.pairs[1], self.fixed[0]):
            x = floor(x)
        return self.heads["real"](x * self.heads["scales"][0])


TOWER = [
    *("floors.0.weight", "floors.0.bias", "floors.1.weight", "floors.1.bias"),
    *("pairs.0.0.weight", "pairs.1.0.weight"),
    *("heads.real.0.scale", "heads.real.0.shift", "heads.real.1.weight", "heads.real.1.bias"),
    *("heads.scales.0", "fixed.0.weight", "fixed.0.bias"),
]


def test_layers_in_lists_and_dicts_are_trained_saved_copied_and_switched():
    net, x = Tower(), tensor(fill((6, 2)).astype(np.float32))
    assert list(net.named_parameters()) == TOWER
    assert {id(p) for p in net.parameters()} == {id(p) for p in net.named_parameters().values()}
    assert set(net.state()) - set(TOWER) == {
        "heads.real.0.running_mean",
        "heads.real.0.running_variance",
    }
    optimizer = optim.SGD(net, 0.1)
    before, twin = bits(net), net.copy()
    optimizer.step(grad((net(x) ** 2).sum(), optimizer.parameters))
    moved = {key for key, value in bits(net).items() if value != before[key]}
    assert moved >= set(TOWER) - {"heads.real.0.shift"}
    assert bits(twin) == before and not net.eval().heads["real"][0].training
    twin.load_state(net.state())
    np.testing.assert_array_equal(twin.eval()(x).numpy(), net(x).numpy())
    ahead = twin.at(net.parameters())
    assert ahead.floors[0].weight is net.floors[0].weight and ahead.above is ahead
    assert "(floors.1) Linear(2 -> 2)" in repr(net) and "(above) itself" in repr(net)


def test_a_layer_in_two_places_is_trained_once_and_has_both_names():
    net = Tower()
    net.again = net.floors[1]
    assert len(net.parameters()) == len(TOWER)
    assert list(net.named_parameters())[-2:] == ["again.weight", "again.bias"]


def test_modules_that_compare_equal_are_two():
    @dataclass
    class Wide(nn.Module):
        width: int
        buffers = ("mean",)

        def __post_init__(self):
            self.layer, self.mean = nn.Linear(self.width, 1, rng=rng()), np.zeros(1, np.float32)

    net = Wide(2)
    net.inner = Wide(2)
    assert len(net.parameters()) == len(net.named_parameters()) == 4
    assert len(optim.EMA(net).network.named_buffers()) == 2


def test_what_knows_its_module_computes_with_other_weights_too():
    class Net(nn.Module):
        def __init__(self):
            self.layer, self.calls = nn.Linear(2, 2, rng=rng(), bias=False), []
            self.first, self.second = self.apply, functools.partial(self.apply, scale=2.0)

        def apply(self, x, scale=1.0):
            self.calls.append(scale)
            return self.layer(x) * scale

        def forward(self, x):
            return self.first(x) + self.second(x)

    net, x = Net(), tensor(np.ones((1, 2), np.float32))
    assert net.at([tensor(np.zeros((2, 2), np.float32))])(x).numpy().tolist() == [[0, 0]]
    assert net.calls == [1, 2], "what holds no modules is shared"
    assert (net(x).numpy() != 0).all()


def test_two_parts_of_one_name_are_refused():
    net = Tower()
    net.heads = {1: nn.Linear(1, 1, rng=rng()), "1": nn.Linear(1, 1, rng=rng())}
    for ask in (net.state, net.flat):
        with pytest.raises(ValueError, match=r"called 'heads\.1\.weight'"):
            ask()


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (lambda: {nn.Linear(1, 1, rng=rng())}, "a set"),
        (lambda: [deque([Parameter(np.ones(1, np.float32))])], "a deque"),
        (lambda: [tensor([1.0], requires_grad=True)], "a Variable"),
    ],
)
def test_what_would_be_neither_trained_nor_saved_is_named(part, what):
    net = Tower()
    net.late = part()
    for ask in (net.state, net.flat):
        with pytest.raises(TypeError, match=rf"late.*{what} would be neither trained nor saved"):
            ask()


# --- Attributes ----------------------------------------------------------------------------------


SEVENS = np.full((2, 2), 7, np.float32)


def multiply(net):
    with no_grad():
        net.weight *= 7.0


@pytest.mark.parametrize(
    "write",
    [
        lambda net: setattr(net, "weight", tensor(SEVENS)),
        lambda net: setattr(net, "weight", SEVENS),
        lambda net: setattr(net, "weight", net.weight.detach() * 7.0),
        lambda net: setattr(net.weight, "data", SEVENS),
        lambda net: setattr(net.weight, "data", net.weight.data * np.float32(7)),
        multiply,
    ],
)
def test_values_assigned_to_a_parameter_are_written_into_it(write):
    """After an optimiser was made, which then goes on from these values; here by 0.1 · 1."""
    net, x = nn.Linear(2, 2, rng=rng()), tensor(np.ones((1, 2), np.float32))
    p = net.weight
    p.data[...] = 1
    optimizer, old = optim.SGD(net, 0.1), net(x).sum()
    write(net)
    assert net.weight is p and net.parameters()[0] is p
    np.testing.assert_array_equal(p.data, SEVENS)
    with pytest.raises(StaleGraphError):
        grad(old, [p])
    optimizer.step(grad(net(x).sum(), optimizer.parameters))
    np.testing.assert_allclose(p.data, SEVENS - 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("write", "error", "said"),
    [
        (lambda net: setattr(net, "weight", np.ones(2, np.float32)), ShapeError, r"\(2,\), exp"),
        (lambda net: setattr(net, "weight", np.ones((2, 2))), TypeError, "float32 and float64"),
        (lambda net: setattr(net, "weight", 0.5), TypeError, r"Linear\.weight .*: got a float"),
        (lambda net: setattr(net, "weight", nn.ReLU()), TypeError, r"weight .*: got a ReLU"),
        (lambda net: setattr(net.weight, "data", [[1, 2], [3, 4]]), TypeError, "takes an array"),
        (lambda net: setattr(net, "weight", net.weight * 0.5), TypeError, r"recorded: detach\(\)"),
        (lambda net: net.weight.__imul__(0.5), RuntimeError, r"under no_grad\(\)"),
    ],
)
def test_values_that_do_not_fit_a_parameter_change_nothing(write, error, said):
    net = nn.Linear(2, 2, rng=rng())
    before = bits(net)
    with pytest.raises(error, match=said):
        write(net)
    assert bits(net) == before


METHODS = [name for name, value in vars(nn.Module).items() if callable(value) and name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_an_attribute_that_would_hide_a_method_is_refused(name):
    net = Tower()
    with pytest.raises(AttributeError, match=rf"Tower\.{name} would hide the method"):
        setattr(net, name, nn.Flatten())


def test_functions_and_properties_may_be_attributes():
    """A method may be replaced by a function, and a property may take what is assigned to it."""

    class Net(nn.Module):
        act = staticmethod(F.relu)
        _width = 1

        @property
        def width(self):
            return self._width

        @width.setter
        def width(self, value):
            self._width = value

    net, x = Net(), tensor([-1.0])
    net.act, net.width, net.forward = F.tanh, 5, lambda x: net.act(x)
    assert net(x).item() == pytest.approx(math.tanh(-1)) and net.width == 5


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("name", nn.Flatten(), AttributeError),
        ("training", tensor([1.0]), AttributeError),
        ("requires_grad", False, AttributeError),
        ("late", tensor([1.0], requires_grad=True), TypeError),
    ],
)
def test_an_attribute_that_would_have_no_effect_is_refused(name, value, error):
    with pytest.raises(error, match=rf"Tower\.{name}"):
        setattr(Tower(), name, value)


# --- The flat array ------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5),
)
def test_parameters_become_views_of_one_array(shapes):
    arrays = [fill(shape, "real", k).astype(np.float32) for k, shape in enumerate(shapes)]
    parameters = [Parameter(array.copy()) for array in arrays]
    flat = FlatParameters(parameters)
    [(whole, memory)] = flat.pieces
    assert (whole.start, whole.stop) == (0, flat.size) == (0, len(memory))
    assert memory.tolist() == list(itertools.chain(*(a.ravel().tolist() for a in arrays)))
    assert all(p.shape == a.shape for p, a in zip(parameters, arrays, strict=True))
    memory[...] = np.arange(flat.size)
    written = [value for p in parameters for value in p.data.ravel().tolist()]
    assert written == list(range(flat.size))
    parameters[-1].data[...] = -1
    assert memory[-1] == flat.values()[-1] == -1


def test_flat_moves_nothing_twice_and_names_the_parameters():
    net = Block(name="G")
    values = bits(net)
    places = [id(p.data) for p in net.flat().parameters]
    assert [id(p.data) for p in net.flat().parameters] == places
    assert bits(net) == values
    assert [p.node.name for p in net.parameters()] == [f"G.{name}" for name in NAMES]
    assert net.flat().dtype == np.float32


def test_sets_of_parameters_may_overlap():
    """Whatever sets there are, a vector's pieces are the parameters' own memory, in order."""
    net, other = Block(name="G"), nn.Linear(2, 2, rng=rng())
    head, *rest = net.parameters()
    sets = [[head], rest, net.parameters(), [*other.parameters(), *rest[::-1]], [rest[1], head]]
    flats = [FlatParameters(parameters) for parameters in sets]

    def read(parameters):
        return [value for p in parameters for value in p.data.ravel().tolist()]

    for parameters, flat in zip(sets, flats, strict=True):
        assert flat.values().tolist() == read(parameters)
        vector = fill((flat.size,)).astype(np.float32)
        for piece, memory in flat.pieces:
            memory[...] = vector[piece]
        assert read(parameters) == vector.tolist()
    assert [len(flat.pieces) for flat in flats[:3]] == [1, 1, 2]


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda p: [], ValueError, "no parameters"),
        (lambda p: nn.ReLU().parameters(), ValueError, "no parameters"),
        (lambda p: [p, tensor([1.0], requires_grad=True)], TypeError, "expected a Parameter"),
        (lambda p: [p, Parameter(np.ones(2))], TypeError, "float32 and float64 differ"),
    ],
)
def test_what_is_no_set_of_parameters(make, error, said):
    p = Parameter(np.ones(3, np.float32), "w")
    with pytest.raises(error, match=said):
        FlatParameters(make(p))
    assert p.home is None and p.dtype == np.float32


def test_astype_lets_go_of_the_flat_array():
    net = trained(1)
    net.flat()
    old, values = net.parameters()[0].home, {k: array.copy() for k, array in net.state().items()}
    y = net(tensor(fill((4, 2)).astype(np.float32)))
    values |= {key: net.state()[key] for key in BUFFERS}
    assert net.astype("float64") is net
    with pytest.raises(StaleGraphError, match=r"alpha\.1\.weight"):
        grad(y.sum(), [net.alpha[1].bias])
    assert net.flat().dtype == np.float64
    assert net.parameters()[0].home is not old
    for key, array in net.state().items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, values[key])
    assert net(tensor(fill((4, 2)))).dtype == np.float64


def test_an_update_makes_older_graphs_stale():
    net = nn.Linear(2, 1, rng=rng())
    net.flat()
    x = tensor(np.ones((1, 2), np.float32))
    old = net(x).sum()
    net.bias.data += 1
    net.bias.updated()
    with pytest.raises(StaleGraphError, match=r"parameter \(bias\) of shape \(1,\)"):
        grad(old, [net.weight])
    grad(net(x).sum(), [net.weight])


# --- What the reader sees ------------------------------------------------------------------------


def test_repr():
    net = nn.Sequential(
        nn.Conv2d(1, 4, (3, 2), stride=2, rng=rng()),
        nn.Sequential(nn.BatchNorm(4, rng=rng()), nn.LeakyReLU(0.1)),
        nn.SpectralNorm(nn.Linear(8, 2, rng=rng()), rng=rng()),
        nn.ConvTranspose2d(2, 1, 3, padding=1, rng=rng()),
        nn.Reshape(7, 1),
        nn.Dropout(0.3, rng=rng()),
        nn.Embedding(10, 3, rng=rng()),
        nn.Tanh(),
        nn.AvgPool2d((3, 2), stride=1),
    )
    assert repr(net).splitlines() == [
        "Sequential()",
        "  (0) Conv2d(1 -> 4, 3x2, stride (2, 2), padding (0, 0))",
        "  (1) Sequential()",
        "    (0) BatchNorm(4, eps=1e-05)",
        "    (1) LeakyReLU(0.1)",
        "  (2) SpectralNorm()",
        "    (layer) Linear(8 -> 2)",
        "  (3) ConvTranspose2d(2 -> 1, 3x3, stride (1, 1), padding (1, 1))",
        "  (4) Reshape(7, 1)",
        "  (5) Dropout(p=0.3)",
        "  (6) Embedding(10 -> 3)",
        "  (7) Tanh()",
        "  (8) AvgPool2d((3, 2), (1, 1))",
    ]


# layer, shape of the input, what the message must name
WRONG_SHAPES = {
    "Linear": (lambda: nn.Linear(3, 4, rng=rng()), (5, 2), ["linear", "(5, 2)", "(3, 4)"]),
    "Linear, no bias": (
        lambda: nn.Linear(3, 4, rng=rng(), bias=False),
        (5, 2),
        ["matmul", "(5, 2)", "(3, 4)"],
    ),
    "Linear, no batch": (lambda: nn.Linear(3, 4, rng=rng()), (3,), ["linear", "(3,)"]),
    "Maxout": (lambda: nn.Maxout(3, 4, 5, rng=rng()), (5, 2), ["linear", "(5, 2)", "(3, 20)"]),
    "Conv2d": (
        lambda: nn.Conv2d(2, 3, 3, rng=rng()),
        (1, 5, 5, 4),
        ["conv2d", "(1, 5, 5, 4)", "(3, 3, 2, 3)"],
    ),
    "Conv2d, too small": (lambda: nn.Conv2d(2, 3, 3, rng=rng()), (1, 2, 5, 2), ["3x3", "2x5"]),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(2, 3, 3, rng=rng()),
        (1, 5, 5, 3),
        ["conv_transpose2d", "(1, 5, 5, 3)", "(3, 3, 3, 2)"],
    ),
    "BatchNorm": (lambda: nn.BatchNorm(4, rng=rng()), (5, 3), ["BatchNorm(4)", "(5, 3)", "4)"]),
    "LayerNorm": (lambda: nn.LayerNorm(4, rng=rng()), (5, 3), ["LayerNorm(4)", "(5, 3)"]),
    "LayerNorm, no batch": (lambda: nn.LayerNorm(4, rng=rng()), (4,), ["LayerNorm(4)", "(4,)"]),
    "InstanceNorm": (lambda: nn.InstanceNorm(4, rng=rng()), (5, 4), ["InstanceNorm", "(5, 4)"]),
    "InstanceNorm, too small": (
        lambda: nn.InstanceNorm(4, rng=rng()),
        (5, 1, 1, 4),
        ["InstanceNorm: one value per channel", "(5, 1, 1, 4)"],
    ),
    "SelfAttention": (
        lambda: nn.SelfAttention(4, rng=rng()),
        (2, 4, 4, 3),
        ["SelfAttention(4)", "(2, 4, 4, 3)", "(n, h, w, 4)"],
    ),
    "SelfAttention, too small": (
        lambda: nn.SelfAttention(4, rng=rng()),
        (2, 1, 4, 4),
        ["(2, 1, 4, 4)", "h and w >= 2"],
    ),
    "Reshape": (lambda: nn.Reshape(2, 2), (3, 5), ["reshape", "(3, 5)", "(3, 2, 2)"]),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (3, 5), ["avg_pool2d", "(3, 5)"]),
    "MaxPool2d, too small": (lambda: nn.MaxPool2d(3), (1, 2, 5, 1), ["3x3", "2x5"]),
    "Upsample": (lambda: nn.Upsample(2), (3, 5), ["upsample", "(3, 5)"]),
    "SpectralNorm": (
        lambda: nn.SpectralNorm(nn.Linear(3, 4, rng=rng()), rng=rng()),
        (5, 2),
        ["linear", "(5, 2)", "(3, 4)"],
    ),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shapes_are_named(name):
    make, shape, words = WRONG_SHAPES[name]
    with pytest.raises(ShapeError) as error:
        make()(tensor(np.ones(shape, np.float32)))
    assert [word for word in words if word not in str(error.value)] == []


@each_layer(where=lambda layer: layer.default().parameters() and not layer.labels)
@pytest.mark.parametrize("training", [True, False])
def test_mixed_dtypes_are_named(name, training):
    layer = LAYERS[name]
    with pytest.raises(TypeError, match=r"^\w+: dtypes float(64|32) and float(32|64) differ"):
        layer.default().train(training)(tensor(layer.input()))


# --- Layers that would silently not train --------------------------------------------------------


@pytest.mark.parametrize("wrong", [F.relu, nn.ReLU, [nn.ReLU()], None])
def test_sequential_takes_nothing_but_modules(wrong):
    with pytest.raises(TypeError, match=r"layer 1 is .*expected a Module"):
        nn.Sequential(nn.ReLU(), wrong)


class Conditional(nn.Module):
    """Of z and y, of which a module may be given either by name; and of what is no tensor."""

    def forward(self, z, y=None, *, scale=1.0, extras=()):
        total = z * scale if y is None else z * scale + y
        for extra in extras:
            total = total + extra
        return total


def test_a_network_takes_several_inputs_by_position_and_by_name():
    z, y = tensor([1.0, 2.0]), tensor([10.0, 20.0])
    net = Conditional()
    assert net(z).numpy().tolist() == [1, 2]
    for result in (net(z, y), net(z, y=y), net(y=y, z=z)):
        assert result.numpy().tolist() == [11, 22]
    assert net(z, None, scale=np.float32(2), extras=[y, y]).numpy().tolist() == [22, 44]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda net, x, a: net(a), "got a ndarray, expected a Tensor"),
        (lambda net, x, a: net([[1.0, 2.0]]), "got a list, expected a Tensor"),
        (lambda net, x, a: net(3.0), "got a float, expected a Tensor"),
        (lambda net, x, a: net(x, a), "got a ndarray for input 2, expected a Tensor"),
        (lambda net, x, a: net(x, y=a), "got a ndarray for input y, expected a Tensor"),
        (lambda net, x, a: net(x, extras=[x, a]), "got a list for input extras, expected a Ten"),
        (lambda net, x, a: net((a, x)), "got a tuple, expected a Tensor"),
    ],
)
def test_a_network_wants_tensors(call, said):
    x = tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=f"Conditional: {said}"):
        call(Conditional(), x, x.data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(0, 3, rng=rng()),
        lambda: nn.Maxout(2, 3, 0, rng=rng()),
        lambda: nn.Conv2d(1, 0, 3, rng=rng()),
        lambda: nn.Conv2d(1, 2, 3, stride=0, rng=rng()),
        lambda: nn.ConvTranspose2d(1, 2, 0, rng=rng()),
        lambda: nn.AvgPool2d(0),
        lambda: nn.MaxPool2d(2, stride=(1, 0)),
    ],
)
def test_impossible_sizes(make):
    with pytest.raises(ValueError, match="is 0, expected at least 1"):
        make()


def test_spectral_norm_of_an_embedding():
    table = nn.Embedding(4, 3, rng=rng())
    layer, labels = nn.SpectralNorm(table, rng=rng(1)), tensor(np.array([2, 0, 2]))
    for _ in range(60):
        y = layer(labels)
    sigma = np.linalg.svd(table.weight.numpy(), compute_uv=False)[0]
    np.testing.assert_allclose(y.numpy(), table.weight.numpy()[[2, 0, 2]] / sigma, rtol=1e-5)


def test_spectral_norm_of_what_has_no_weight():
    with pytest.raises(TypeError, match="SpectralNorm: got ReLU"):
        nn.SpectralNorm(nn.ReLU(), rng=rng())


SIZES = {
    "Linear": lambda n: nn.Linear(n, n, rng=rng())(ones(2, n)),
    "Maxout": lambda n: nn.Maxout(n, n, n, rng=rng())(ones(2, n)),
    "Conv2d": lambda n: nn.Conv2d(n, n, n, stride=n, padding=n, rng=rng())(ones(2, n, n, n)),
    "ConvTranspose2d": lambda n: nn.ConvTranspose2d(n, n, (n, n), stride=(n, 1), rng=rng())(
        ones(2, n, n, n)
    ),
    "BatchNorm": lambda n: nn.BatchNorm(n, rng=rng())(ones(2, n)),
    "ConditionalBatchNorm": lambda n: nn.ConditionalBatchNorm(n, n, rng=rng())(
        ones(2, n), ones(2, n)
    ),
    "SelfAttention": lambda n: nn.SelfAttention(n, rng=rng())(ones(1, 2, 2, n)),
    "Embedding": lambda n: nn.Embedding(n, n, rng=rng())(np.array([0])),
    "Reshape": lambda n: nn.Reshape(n, -1)(ones(2, n, n)),
    "AvgPool2d": lambda n: nn.AvgPool2d(n, stride=n)(ones(1, n, n, n)),
    "MaxPool2d": lambda n: nn.MaxPool2d((n, 1), stride=(1, n))(ones(1, n, n, n)),
    "Upsample": lambda n: nn.Upsample(n)(ones(1, n, n, n)),
    "MinibatchDiscrimination": lambda n: nn.MinibatchDiscrimination(n, n, n, rng=rng())(ones(2, n)),
    "MinibatchStd": lambda n: nn.MinibatchStd(n)(ones(n, n)),
    "Pack": lambda n: nn.Pack(n)(ones(n, n)),
}


def ones(*shape):
    return tensor(np.ones([int(n) for n in shape], np.float32))


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_integers_numpys_too(name):
    expected = SIZES[name](3)
    assert SIZES[name](np.int64(3)).shape == SIZES[name](np.uint8(3)).shape == expected.shape
    for wrong in (3.0, np.float32(3), True, "3", None):
        if (name, wrong) != ("MinibatchStd", None):
            with pytest.raises(TypeError, match="expected an integer"):
                SIZES[name](wrong)


@pytest.mark.parametrize("shape", [(0,), (-2,), (-1, -1), (3, 0)])
def test_a_shape_that_can_not_be_is_refused(shape):
    with pytest.raises(ValueError, match="expected sizes of at least 1, or one -1"):
        nn.Reshape(*shape)


@pytest.mark.parametrize("layer", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus])
def test_a_layer_without_settings_takes_none(layer):
    with pytest.raises(TypeError, match="takes no arguments"):
        layer(0.2)


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        (nn.LeakyReLU(0.2), "slope", 0.5),
        (nn.ELU(1.0), "alpha", 2.0),
        (nn.Upsample(2), "factor", 3),
        (nn.AvgPool2d(2), "kernel", (1, 2)),
        (nn.MaxPool2d(2), "stride", (1, 1)),
    ],
)
def test_a_setting_is_an_attribute_that_may_be_changed(layer, name, value):
    x = tensor(rng().normal((1, 4, 4, 2)))
    before = layer(x).numpy()
    assert getattr(layer, name) != value
    setattr(layer, name, value)
    after = layer(x).numpy()
    assert after.shape != before.shape or (after != before).any()
    assert str(value) in repr(layer)
