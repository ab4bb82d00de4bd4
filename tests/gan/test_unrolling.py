"""Unrolling against expansions by hand, PyTorch and differences; on both devices.

What is easy to get silently wrong here: an unrolled step whose gradient does not go through D's
updates.
"""

import numpy as np
import pytest
from checks import check_gradients

from minigan import Tensor, cpu, losses, models, nn, optim
from minigan.engine import grad, tensor
from minigan.gan import Unrolling, discriminator_step, generator_step, penalties


def close(ours, theirs, atol=2e-5):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol * (1 + np.abs(theirs).max()))


class Linear1D:
    """D(x) = w x on numbers, with w = 0.7, and three real and three generated numbers."""

    def __init__(self, make):
        self.D = nn.Linear(1, 1, rng=cpu.generator(0), bias=False)
        self.D.astype("float64").weight.data[...] = 0.7
        self.optimizer = make(self.D)
        self.real = tensor(np.array([[1.0], [2.0], [-0.5]]))
        self.fake = tensor(np.array([[0.3], [-1.2], [0.8]]), requires_grad=True)

    def unrolled(self, objective, steps):
        """w after the steps, and the gradient of J(G) in the fakes."""
        unrolling = Unrolling(self.D, self.optimizer, objective, steps=steps)
        weights = unrolling.weights(self.real, self.fake)
        loss = objective.generator(self.D.at(weights)(self.fake))
        return weights[0].item(), grad(loss, [self.fake])[0].numpy()


def test_two_unrolled_steps_of_a_linear_critic_are_those_by_hand():
    """∇J(D) = f̄ − r̄ for any w, so with momentum w² = w − α (1 + (1 + μ)) (f̄ − r̄)."""
    rate, mu = 0.1, 0.5
    case = Linear1D(lambda D: optim.SGD(D, rate, momentum=mu))
    w, g = case.unrolled(losses.Wasserstein(), 2)
    reach = rate * (2 + mu)
    gap = case.fake.numpy().mean() - case.real.numpy().mean()
    assert w == pytest.approx(0.7 - reach * gap, rel=1e-12)
    # J(G) = −w² f̄, in which w² depends on f̄ as well
    slope = -w + reach * case.fake.numpy().mean()
    np.testing.assert_allclose(g, slope / 3, rtol=1e-12)


def test_two_unrolled_steps_on_a_quadratic_are_those_by_hand():
    """J(D) = ½ E (w r − 1)² + ½ E (w f)², so ∇J(D) = A w − b, A = E r² + E f², b = E r."""
    rate = 0.1
    case = Linear1D(lambda D: optim.SGD(D, rate))
    w2, g = case.unrolled(losses.LeastSquares(), 2)
    r, f = case.real.numpy(), case.fake.numpy()
    a, b = (r**2).mean() + (f**2).mean(), r.mean()
    w1 = 0.7 - rate * (a * 0.7 - b)
    assert w2 == pytest.approx(w1 - rate * (a * w1 - b), rel=1e-12)
    # along f: A' = 2 f / n, w1' = −α w A', w2' = (1 − α A) w1' − α w1 A'
    a_f = 2 * f / 3
    w2_f = (1 - rate * a) * (-rate * 0.7 * a_f) - rate * w1 * a_f
    residual = w2 * f - 1
    np.testing.assert_allclose(g, residual * w2 / 3 + (residual * f).mean() * w2_f, rtol=1e-12)


def test_two_unrolled_steps_of_adam_are_those_by_hand():
    """The linear critic again: every gradient is d = f̄ − r̄, so m̂ = d and v̂ = d² at each step, and
    each step is α sign(d), up to ε.
    """
    case = Linear1D(lambda D: optim.Adam(D, 0.1, betas=(0.5, 0.9), eps=0.3))
    w, g = case.unrolled(losses.Wasserstein(), 2)
    f, d = case.fake.numpy().mean(), case.fake.numpy().mean() - case.real.numpy().mean()
    step = d / np.sqrt(d**2 + 0.09)
    assert w == pytest.approx(0.7 - 0.2 * step, rel=1e-12)
    step_d = 0.09 / (d**2 + 0.09) ** 1.5
    np.testing.assert_allclose(g, (-w + 0.2 * step_d * f) / 3, rtol=1e-11)


OPTIMIZERS = {
    "sgd": lambda net: optim.SGD(net, 0.3),
    "momentum": lambda net: optim.SGD(net, optim.linear_decay(0.3, 8), momentum=0.8),
    "nesterov": lambda net: optim.SGD(net, 0.3, momentum=0.8, nesterov=True),
    "adam": lambda net: optim.Adam(net, optim.linear_decay(0.02, 8), betas=(0.5, 0.9)),
    "adamw": lambda net: optim.Adam(net, 0.02, weight_decay=0.1),
}


class Game:
    """A smooth D that has made three steps, so that its optimiser has moments, and a batch."""

    def __init__(self, make, dtype="float64", device=cpu):
        rng = device.generator(0)
        self.D = models.mlp([2, 4, 1], rng=rng, activation=nn.Tanh, name="D").astype(dtype)
        self.G = models.mlp([3, 4, 2], rng=rng, activation=nn.Tanh, name="G").astype(dtype)
        host = cpu.generator(1)
        for p in (*self.D.parameters(), *self.G.parameters()):
            p.data[...] = device.asarray(host.normal(p.shape), dtype) * 0.7
        self.optimizer = make(self.D)
        self.objective = losses.NonSaturating()
        shapes = (6, 2), (6, 2), (6, 3)
        self.real, self.fake, self.z = (
            tensor(host.normal(shape), device=device, dtype=dtype) for shape in shapes
        )
        for _ in range(3):
            discriminator_step(self.D, self.optimizer, self.objective, self.real, self.fake)

    def unrolling(self, steps, **kwargs):
        return Unrolling(self.D, self.optimizer, self.objective, steps=steps, **kwargs)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_unrolled_weights_are_where_the_optimiser_then_goes(name):
    game = Game(OPTIMIZERS[name])
    ahead = game.unrolling(4).weights(game.real, game.fake)
    for _ in range(4):
        discriminator_step(game.D, game.optimizer, game.objective, game.real, game.fake)
    for mine, p in zip(ahead, game.D.parameters(), strict=True):
        np.testing.assert_allclose(mine.numpy(), p.numpy(), rtol=1e-6, atol=1e-7)


def test_a_matching_discriminator_is_unrolled_as_it_steps():
    game = Game(OPTIMIZERS["adam"])
    wrong = tensor(game.real.numpy()[::-1] + 0.5)
    ahead = game.unrolling(3).weights(game.real, game.fake, wrong=wrong)
    other = game.unrolling(3).weights(game.real, game.fake)
    fake = tensor(game.fake.numpy(), requires_grad=True)
    report = game.unrolling(3).generator_step(optim.SGD(game.G, 0.1), game.real, game.G(game.z))
    said = game.unrolling(3).generator_step(
        *(optim.SGD(game.G, 0.1), game.real, game.G(game.z)), wrong=wrong
    )
    assert report.loss.item() != said.loss.item()
    for _ in range(3):
        discriminator_step(game.D, game.optimizer, game.objective, game.real, fake, wrong=wrong)
    for mine, p in zip(ahead, game.D.parameters(), strict=True):
        np.testing.assert_allclose(mine.numpy(), p.numpy(), rtol=1e-6, atol=1e-7)
    assert any(
        np.abs(a.numpy() - b.numpy()).max() > 1e-3 for a, b in zip(ahead, other, strict=True)
    )


@pytest.mark.parametrize("penalised", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_gradient_through_unrolled_steps_is_that_of_differences(name, penalised):
    game = Game(OPTIMIZERS[name])
    unrolling = game.unrolling(2, penalty=penalties.r1_penalty(weight=0.1) if penalised else None)

    def loss(fake):
        ahead = game.D.at(unrolling.weights(game.real, fake))
        return game.objective.generator(ahead(fake))

    check_gradients(loss, game.fake.numpy(), order=1, rtol=1e-5)


def torch_steps(torch, theta, loss, optimizer, steps):
    """`steps` updates of a list of torch tensors, with graphs, written out for one optimiser."""
    views = optimizer.flat.views
    moments = [
        [torch.tensor(np.array(part)) for part in views(getattr(optimizer, name))]
        for name in optimizer.moments
    ]
    for t in range(optimizer.t + 1, optimizer.t + 1 + steps):
        lr = optimizer.schedule(t)
        gradients = torch.autograd.grad(loss(theta), theta, create_graph=True)
        if isinstance(optimizer, optim.SGD):
            mu = optimizer.momentum
            moments[0] = [mu * u + g for u, g in zip(moments[0], gradients, strict=True)]
            ahead = [g + mu * u for u, g in zip(moments[0], gradients, strict=True)]
            step = ahead if optimizer.nesterov else moments[0]
            theta = [p - lr * s for p, s in zip(theta, step, strict=True)]
        else:
            b1, b2, eps = optimizer.beta1, optimizer.beta2, optimizer.eps
            m = [b1 * a + (1 - b1) * g for a, g in zip(moments[0], gradients, strict=True)]
            v = [b2 * a + (1 - b2) * g**2 for a, g in zip(moments[1], gradients, strict=True)]
            moments = [m, v]
            kept = 1 - lr * optimizer.weight_decay
            theta = [
                p * kept - lr * (a / (1 - b1**t)) / torch.sqrt(c / (1 - b2**t) + eps**2)
                for p, a, c in zip(theta, m, v, strict=True)
            ]
    return theta


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pytorch_unrolls_to_the_same_gradient_of_g(name):
    torch = pytest.importorskip("torch")
    game = Game(OPTIMIZERS[name])

    def through(weights, x):
        a, b, c, d = weights
        return torch.tanh(x @ a + b) @ c + d

    softplus = torch.nn.functional.softplus
    D, G = (
        [torch.tensor(p.numpy().copy(), requires_grad=True) for p in net.parameters()]
        for net in (game.D, game.G)
    )
    real, z = torch.tensor(game.real.numpy()), torch.tensor(game.z.numpy())
    fake = through(G, z)

    def d_loss(theta):
        return softplus(-through(theta, real)).mean() + softplus(through(theta, fake)).mean()

    ahead = torch_steps(torch, D, d_loss, game.optimizer, 3)
    expected = torch.autograd.grad(softplus(-through(ahead, fake)).mean(), G)

    mover = optim.SGD(game.G, 1.0)
    before = [p.numpy().copy() for p in game.G.parameters()]
    game.unrolling(3).generator_step(mover, game.real, game.G(game.z))
    for p, old, theirs in zip(game.G.parameters(), before, expected, strict=True):
        np.testing.assert_allclose(old - p.numpy(), theirs.numpy(), rtol=1e-8, atol=1e-10)


def test_unrolling_leaves_d_as_it_was():
    rng = cpu.generator(0)
    first = nn.SpectralNorm(nn.Linear(2, 4, rng=rng), rng=rng)
    D = nn.Sequential(first, nn.BatchNorm(4, rng=rng), nn.Tanh(), nn.Linear(4, 1, rng=rng))
    G = nn.Linear(3, 2, rng=rng)
    # Not Adam: before batch norm a bias has a gradient of rounding errors, which Adam would scale.
    d_optimizer, g_optimizer = optim.SGD(D, 0.1, momentum=0.5), optim.SGD(G, 0.1)
    real, z = Tensor(rng.normal((6, 2))), Tensor(rng.normal((6, 3)))
    objective = losses.NonSaturating()
    discriminator_step(D, d_optimizer, objective, real, G(z))

    def everything():
        arrays = [*D.state().values(), *d_optimizer.state().values()]
        return [np.array(value).tobytes() for value in arrays]

    parameters, before, g_before = D.parameters(), everything(), G.weight.numpy().copy()
    unrolling = Unrolling(D, d_optimizer, objective, steps=3)
    report = unrolling.generator_step(g_optimizer, real, G(z))
    assert everything() == before and list(map(id, D.parameters())) == list(map(id, parameters))
    assert (G.weight.numpy() != g_before).all()
    assert 0 < report.fake.item() < 1 and report.loss.item() > 0
    assert not report.loss.requires_grad and not report.fake_output.requires_grad

    fake = G(z)
    ahead = unrolling.weights(real, fake)
    assert everything() == before
    for _ in range(3):
        discriminator_step(D, d_optimizer, objective, real, fake)
    for mine, p in zip(ahead, parameters, strict=True):
        close(mine.numpy(), p.numpy())


def test_an_unrolled_graph_outlives_a_step_of_d():
    game, gradients = Game(OPTIMIZERS["momentum"]), []
    for moves in (False, True):
        fake = tensor(game.fake.numpy().copy(), requires_grad=True)
        ahead = game.D.at(game.unrolling(2).weights(game.real, fake))
        loss = game.objective.generator(ahead(fake))
        if moves:
            discriminator_step(game.D, game.optimizer, game.objective, game.real, game.fake)
        gradients.append(grad(loss, [fake])[0].numpy())
    np.testing.assert_array_equal(*gradients)


def test_unrolling_passes_real_samples_to_a_relative_objective():
    game = Game(OPTIMIZERS["sgd"])
    game.objective = losses.RelativisticAverage()
    mover = optim.SGD(game.G, 1.0)
    fake = game.G(game.z)
    ahead = game.D.at(game.unrolling(1).weights(game.real, fake))
    loss = game.objective.generator(ahead(fake), ahead(game.real))
    report = game.unrolling(1).generator_step(mover, game.real, game.G(game.z))
    assert report.loss.item() == pytest.approx(loss.item(), rel=1e-12)


def test_unrolling_stays_finite_where_a_gradient_is_0():
    """D's second input is always 0, so Adam's moments for its weights are, and √v̂ with them."""
    D, G = nn.Linear(2, 1, rng=cpu.generator(0)), nn.Linear(2, 2, rng=cpu.generator(1))
    G.weight.data[:, 1] = 0
    real, z = tensor([[1.0, 0.0], [0.5, 0.0]]), tensor([[1.0, 2.0], [0.3, 0.4]])
    unrolling = Unrolling(D, optim.Adam(D, 0.01), losses.NonSaturating(), steps=2)
    g_optimizer = optim.SGD(G, 0.1)
    assert np.isfinite(unrolling.generator_step(g_optimizer, real, G(z)).loss.item())
    assert all(np.isfinite(p.numpy()).all() for p in G.parameters())
    assert all(p.dtype == np.float32 for p in G.parameters())


def test_what_cannot_be_unrolled_is_refused():
    D, objective = nn.Linear(2, 1, rng=cpu.generator(0)), losses.NonSaturating()
    with pytest.raises(ValueError, match="steps is 0, expected at least 1"):
        Unrolling(D, optim.SGD(D, 0.1), objective, steps=0)
    with pytest.raises(ValueError, match="other parameters than D's"):
        other = nn.Linear(2, 1, rng=cpu.generator(0))
        Unrolling(D, optim.SGD(other, 0.1), objective, steps=1)
    with pytest.raises(TypeError, match="got a RMSprop"):
        Unrolling(D, optim.RMSprop(D, 0.1), objective, steps=1)


def test_unrolling_is_the_same_on_both_devices(cuda):
    results = []
    for device in (cpu, cuda):
        game = Game(OPTIMIZERS["adam"], "float32", device)
        mover = optim.SGD(game.G, 1.0)
        game.unrolling(2).generator_step(mover, game.real, game.G(game.z))
        results.append([p.numpy() for p in game.G.parameters()])
    for a, b in zip(*results, strict=True):
        close(b, a, atol=1e-3)


def test_a_generator_step_without_unrolling_is_another():
    """K steps of D ahead change G's gradient: a K that did nothing would pass unseen elsewhere."""
    moves = []
    for unroll in (False, True):
        game = Game(OPTIMIZERS["momentum"])
        mover, fake = optim.SGD(game.G, 1.0), game.G(game.z)
        if unroll:
            game.unrolling(3).generator_step(mover, game.real, fake)
        else:
            generator_step(game.D, mover, game.objective, fake)
        moves.append(game.G.parameters()[0].numpy().copy())
    assert np.abs(moves[0] - moves[1]).max() > 1e-3
