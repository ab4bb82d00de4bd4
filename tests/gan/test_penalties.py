"""Penalties against their formulas, and with critics whose slope is known."""

import math
from statistics import fmean

import numpy as np
import pytest
from checks import fill, leaves
from hypothesis import given
from hypothesis import strategies as st
from tables import PENALTIES

from minigan import functional as F
from minigan import nn
from minigan.backend import cpu
from minigan.engine import Tensor, grad, tensor
from minigan.gan import (
    Wasserstein,
    dragan_penalty,
    gradient_penalty,
    r1_penalty,
    r2_penalty,
)
from minigan.models import mlp


class Spy:
    """A critic that remembers where it was asked."""

    def __init__(self, critic):
        self.critic = critic

    def __call__(self, x):
        self.x = x.numpy().copy()
        return self.critic(x)


def samples(shape, dtype=np.float64):
    return tensor(fill(shape, seed=1).astype(dtype)), tensor(fill(shape, seed=2).astype(dtype))


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: gradient_penalty(cpu.generator(0)), lambda s: 10 * (np.sqrt(s + 1e-12) - 1) ** 2),
        (lambda: dragan_penalty(cpu.generator(0)), lambda s: 10 * (np.sqrt(s + 1e-12) - 1) ** 2),
        (lambda: r1_penalty(weight=3.0), lambda s: 1.5 * s),
        (lambda: r2_penalty(weight=3.0), lambda s: 1.5 * s),
    ],
)
def test_a_penalty_holds_conditions_fast(make, value):
    """D(x, y) = tanh(x a + y b): its gradient in x is (1 − D²) a, at whatever x it is asked."""
    a, b, asked = fill((3, 1), seed=5), fill((2, 1), seed=6), []

    def D(x, y):
        asked.append((x.numpy().copy(), y.numpy()))
        return F.tanh(x @ tensor(a) + y @ tensor(b))

    (real, fake), y = samples((4, 3)), tensor(fill((4, 2), seed=7))
    loss = make()(D, (real, y), (fake, y))
    [(x, condition)] = asked
    assert condition is y.data
    slope = (1 - np.tanh(x @ a + condition @ b) ** 2) * a.T
    expected = value((slope**2).sum(axis=1)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@given(
    w=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    weight=st.floats(0.1, 20),
    target=st.floats(0, 2),
    one_sided=st.booleans(),
)
def test_penalties_of_a_linear_critic(w, weight, target, one_sided):
    """D(x) = w·x + c has slope ‖w‖ everywhere."""
    slope = math.hypot(*w)
    real, fake = samples((3, len(w)))
    excess = max(0.0, slope - target) if one_sided else slope - target

    def critic(x):
        return x @ tensor(np.array(w)[:, None]) + 7.0

    penalty = gradient_penalty(cpu.generator(0), weight=weight, target=target, one_sided=one_sided)
    assert penalty(critic, real, fake).item() == pytest.approx(weight * excess**2, abs=1e-4)
    for penalty in (r1_penalty, r2_penalty):
        value = penalty(weight=weight)(critic, real, fake)
        assert value.item() == pytest.approx(weight / 2 * slope**2, rel=1e-10, abs=1e-200)


def test_defaults_are_the_papers():
    real, fake = samples((3, 2))
    critic = lambda x: x @ tensor(np.array([[3.0], [4.0]]))
    assert gradient_penalty(cpu.generator(0))(critic, real, fake).item() == pytest.approx(160)
    assert dragan_penalty(cpu.generator(0))(critic, real, fake).item() == pytest.approx(160)
    assert r1_penalty()(critic, real, fake).item() == pytest.approx(125)
    assert r2_penalty()(critic, real, fake).item() == pytest.approx(125)


def test_points_between_real_and_fake():
    """One t per sample, the same for all its pixels, uniform on [0, 1), new in every call."""
    real, fake = samples((500, 2, 1, 3))
    spy = Spy(lambda x: x.sum((1, 2, 3)))
    penalty = gradient_penalty(cpu.generator(0))
    drawn = []
    for _ in range(2):
        penalty(spy, real, fake)
        t = (spy.x - fake.numpy()) / (real.numpy() - fake.numpy())
        t = t.reshape(500, -1)
        np.testing.assert_allclose(t, np.repeat(t[:, :1], 6, axis=1), atol=1e-9)
        drawn.append(t[:, 0])
    t = np.concatenate(drawn)
    assert t.min() >= 0
    assert t.max() < 1
    assert abs(t.mean() - 0.5) < 4 / math.sqrt(12 * 1000)
    assert abs(t.var() - 1 / 12) < 4 / math.sqrt(180 * 1000)
    assert abs(np.corrcoef(*drawn)[0, 1]) < 4 / math.sqrt(500)


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3, 2), (4,)])
def test_one_norm_per_sample(shape, one_sided):
    """D(x) = ½ Σ a x² has gradient a x: the penalty in a loop over samples."""
    a = fill(shape[1:], "positive", 5)
    real, fake = samples(shape)
    spy = Spy(lambda x: (x * x * tensor(a)).sum(tuple(range(1, x.ndim))) * 0.5)
    target = math.sqrt(a.size)  # some slopes above, some below
    penalty = gradient_penalty(cpu.generator(0), weight=3.0, target=target, one_sided=one_sided)
    value = penalty(spy, real, fake)
    slopes = [math.sqrt(np.sum((a * x) ** 2)) for x in spy.x]
    assert min(slopes) < target < max(slopes)
    excesses = [max(s - target, 0.0) if one_sided else s - target for s in slopes]
    assert value.item() == pytest.approx(3 * fmean([e * e for e in excesses]), rel=1e-9)
    value = r1_penalty(weight=3.0)(spy, real, fake)
    np.testing.assert_array_equal(spy.x, real.numpy())
    assert value.item() == pytest.approx(1.5 * fmean([np.sum((a * x) ** 2) for x in real.numpy()]))
    value = r2_penalty(weight=3.0)(spy, real, fake)
    np.testing.assert_array_equal(spy.x, fake.numpy())
    assert value.item() == pytest.approx(1.5 * fmean([np.sum((a * x) ** 2) for x in fake.numpy()]))
    dragan = dragan_penalty(cpu.generator(0), weight=3.0, target=target)(spy, real, fake)
    slopes = [math.sqrt(np.sum((a * x) ** 2)) for x in spy.x]
    assert dragan.item() == pytest.approx(3 * fmean([(s - target) ** 2 for s in slopes]), rel=1e-9)


def test_dragan_looks_around_real_samples():
    """x + δ, δ ~ N(0, (spread · s)²), s the deviation of all values; new in every call."""
    real, fake = samples((400, 3))
    spy = Spy(lambda x: x.sum(1))
    penalty = dragan_penalty(cpu.generator(0), spread=0.25)
    drawn = []
    for _ in range(2):
        penalty(spy, real, fake)
        drawn.append((spy.x - real.numpy()) / (0.25 * real.numpy().std()))
    noise = np.concatenate(drawn).ravel()
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert abs(noise.std() - 1) < 4 / math.sqrt(2 * noise.size)
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 4 / math.sqrt(1200)


def conv_net():
    rng = cpu.generator(3)
    init = nn.he()
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1, rng=rng, init=init),
        nn.LeakyReLU(),
        nn.Conv2d(3, 2, 2, rng=rng, init=init),
        nn.LayerNorm(2, rng=rng),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(8, 1, rng=rng),
    )


CRITICS = {
    "mlp": (lambda: mlp([3, 6, 5, 1], rng=cpu.generator(2), activation=nn.Tanh), (5, 3)),
    "leaky mlp": (lambda: mlp([3, 6, 5, 1], rng=cpu.generator(2)), (5, 3)),
    "conv": (conv_net, (3, 6, 6, 1)),
    "spectral": (
        lambda: nn.Sequential(
            nn.SpectralNorm(nn.Linear(3, 4, rng=cpu.generator(2)), rng=cpu.generator(4)),
            nn.Tanh(),
            nn.Linear(4, 1, rng=cpu.generator(2)),
        ),
        (5, 3),
    ),
}


def made(penalty):
    return PENALTIES[penalty](cpu.generator(0))


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("critic", [name for name in CRITICS if name != "spectral"])
def test_parameter_gradient_of_a_penalty(critic, penalty):
    """The derivative of a derivative, against differences of the penalty along drawn directions."""
    make, shape = CRITICS[critic]
    D = make().astype("float64")
    real, fake = samples(shape)

    def value():
        return made(penalty)(D, real, fake)

    gradients = grad(value(), D.parameters(), unused="zeros")
    for k, (p, g) in enumerate(zip(D.parameters(), gradients, strict=True)):
        u, start, ends = fill(p.shape, seed=k), p.data.copy(), []
        for sign in (1, -1):
            p.data[...] = start + sign * 1e-6 * u
            ends.append(value().item())
        p.data[...] = start
        assert np.sum(u * g.numpy()) == pytest.approx(
            (ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-6
        ), f"parameter {k}"
    assert any(g.numpy().any() for g in gradients)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("critic", CRITICS)
def test_penalties_stay_float32(critic, penalty):
    make, shape = CRITICS[critic]
    D = make()
    value = made(penalty)(D, *samples(shape, np.float32))
    gradients = grad(value, D.parameters(), unused="zeros")
    assert {value.dtype, *(g.dtype for g in gradients)} == {np.dtype("float32")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_critic_of_zeros(penalty, dtype):
    """Where the slope is 0 the norm has no gradient: finite, and 0, all the same."""
    D = mlp([3, 4, 1], rng=cpu.generator(0)).astype(dtype)
    for p in D.parameters():
        p.data[...] = 0
    value = made(penalty)(D, *samples((5, 3), dtype))
    expected = {"gradient_penalty": 10, "dragan_penalty": 10}.get(penalty, 0)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    for g in grad(value, D.parameters(), unused="zeros"):
        assert not g.numpy().any()  # NaN would count as true


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_say_nothing_to_the_generator(penalty):
    D = mlp([3, 4, 1], rng=cpu.generator(0)).astype("float64")
    real, fake = leaves([fill((5, 3), seed=1), fill((5, 3), seed=2)])
    for g in grad(made(penalty)(D, real, fake), [real, fake], unused="zeros"):
        assert not g.numpy().any()


def test_gradient_penalty_is_pytorchs():
    """The usual code of WGAN-GP, in its own framework, at the same points."""
    torch = pytest.importorskip("torch")
    D = mlp([4, 8, 6, 1], rng=cpu.generator(1)).astype("float64")
    for p in D.parameters():
        p.data[...] += 0.1
    spy, (real, fake) = Spy(D), samples((7, 4))
    value = gradient_penalty(cpu.generator(0))(spy, real, fake)
    gradients = grad(value, D.parameters(), unused="zeros")

    weights = [torch.tensor(p.data, requires_grad=True) for p in D.parameters()]
    x = torch.tensor(spy.x, requires_grad=True)
    y = x
    for k in (0, 2, 4):
        y = y @ weights[k] + weights[k + 1]
        y = torch.nn.functional.leaky_relu(y, 0.2) if k < 4 else y
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    expected = 10 * ((slope.norm(2, dim=1) - 1) ** 2).mean()
    assert value.item() == pytest.approx(expected.item(), rel=1e-9)
    theirs = torch.autograd.grad(expected, weights, allow_unused=True)
    for g, t in zip(gradients, theirs, strict=True):
        t = np.zeros(g.shape) if t is None else t.numpy()
        np.testing.assert_allclose(g.numpy(), t, rtol=1e-8, atol=1e-10)


def test_a_penalty_adds_to_a_loss():
    """J(D) + penalty has the sum of both gradients, in one walk through the graph."""
    D = mlp([2, 5, 1], rng=cpu.generator(0), activation=nn.Tanh).astype("float64")
    real, fake = samples((4, 2))

    def losses():
        loss = Wasserstein().discriminator(D(real), D(fake))
        return loss, gradient_penalty(cpu.generator(0))(D, real, fake)

    loss, penalty = losses()
    together = grad(loss + penalty, D.parameters())
    for a, b, c in zip(
        together,
        grad(loss, D.parameters()),
        grad(penalty, D.parameters(), unused="zeros"),
        strict=True,
    ):
        np.testing.assert_allclose(a.numpy(), b.numpy() + c.numpy(), rtol=1e-10, atol=1e-14)


def test_a_critic_that_ignores_its_input_is_an_error():
    constant = Tensor(np.ones((3, 1)))
    with pytest.raises(ValueError, match="grad: y"):
        r1_penalty()(lambda x: F.relu(constant), *samples((3, 2)))
