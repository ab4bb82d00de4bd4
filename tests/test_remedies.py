"""The remedies against plain loops, expansions by hand, PyTorch and differences; on both devices.

What is easy to get silently wrong here: an unrolled step whose gradient does not go through D's
updates, a history that hands out samples of the present, noise that a replayed step never decays.
"""

import numpy as np
import pytest
from checks import check_gradients, check_values, fill

from minigan import Tensor, cpu, losses, models, nn, optim
from minigan.engine import ShapeError, grad, tensor
from minigan.gan import Unrolling, discriminator_step, generator_step, penalties, remedies


def close(ours, theirs, atol=2e-5):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol * (1 + np.abs(theirs).max()))


# --- D looks at several samples together ---------------------------------------------------------


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


# --- Unrolling -----------------------------------------------------------------------------------


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


# --- History -------------------------------------------------------------------------------------


def numbered(start, n=8):
    """A batch of samples that can be told apart: (n, 2), the first value counting on."""
    first = np.arange(start, start + n, dtype="float32")
    return tensor(np.stack([first, -first], axis=1))


def test_half_of_a_mixed_batch_is_new_and_half_is_past():
    history = remedies.History(numbered(0, 16), rng=cpu.generator(0))
    known = set(range(16))
    for step in range(1, 40):
        fake, before = numbered(100 * step), history.samples.copy()
        mixed = history.mix(fake).numpy()
        assert mixed.shape == (8, 2) and mixed.dtype == np.float32
        np.testing.assert_array_equal(mixed[:4], fake.numpy()[:4])
        np.testing.assert_array_equal(mixed[:, 1], -mixed[:, 0])
        assert set(mixed[4:, 0].tolist()) <= set(before[:, 0].tolist()) <= known
        changed = (history.samples != before).any(axis=1)
        assert changed.sum() == 4
        assert sorted(history.samples[changed, 0]) == [100 * step + k for k in range(4, 8)]
        known |= {100 * step + k for k in range(4, 8)}
    assert (history.samples[:, 0] >= 100).all()  # every place was taken in turn: (3/4)³⁹ = 10⁻⁵


def test_a_history_keeps_each_sample_with_its_condition():
    """Sample i is the number i and its condition 10 i: so they are after any number of turns."""

    def shown(start, n):
        x = np.arange(start, start + n, dtype=np.float32)[:, None]
        return tensor(x), tensor((10 * x[:, 0]).astype(int))

    history = remedies.History(shown(0, 12), rng=cpu.generator(0))
    for turn in range(1, 9):
        x, y = history.mix(shown(100 * turn, 4))
        assert (10 * x.numpy()[:, 0]).tolist() == y.numpy().tolist()
        assert x.numpy()[:2, 0].tolist() == [100 * turn, 100 * turn + 1]
    assert (history.samples[:, 0] > 99).sum() > 6
    again = remedies.History(shown(0, 12), rng=cpu.generator(0))
    again.load_state(history.state())
    for mine, theirs in zip(again.parts, history.parts, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(ShapeError, match="History: got fakes"):
        history.mix(shown(0, 4)[0])


def test_every_past_sample_is_as_likely_and_so_is_every_place():
    drawn, replaced = np.zeros(16), np.zeros(16)
    history = remedies.History(numbered(0, 16), rng=cpu.generator(0))
    for _ in range(2000):
        history.samples[...] = numbered(0, 16).numpy()
        past = history.mix(numbered(50)).numpy()[4:, 0]
        np.add.at(drawn, past.astype(int), 1)
        replaced += history.samples[:, 0] >= 50
    for counts in (drawn, replaced):  # 500 each on average, and √500 = 22
        assert counts.sum() == 8000 and np.abs(counts - 500).max() < 100


def test_a_history_repeats_and_goes_on_from_its_state():
    def run(steps, history):
        return [history.mix(numbered(100 * step)).numpy() for step in steps]

    first, again = (remedies.History(numbered(0, 16), rng=cpu.generator(3)) for _ in range(2))
    np.testing.assert_array_equal(run(range(9), first), run(range(9), again))

    state = {"samples": first.state()["samples"].copy()}
    stream = first.rng.state()
    expected = run(range(9, 12), first)
    other = remedies.History(numbered(7, 16), rng=cpu.generator(99))
    other.load_state(state)
    other.rng.load_state(stream)
    np.testing.assert_array_equal(run(range(9, 12), other), expected)
    with pytest.raises(ValueError, match="expected"):
        other.load_state({"samples": state["samples"][:4]})


def test_a_history_keeps_no_graph_and_does_not_change_what_it_is_given():
    first = tensor(numbered(0, 8).numpy(), requires_grad=True) * 1.0
    history = remedies.History(first, rng=cpu.generator(0))
    fake = tensor(numbered(100).numpy(), requires_grad=True)
    assert not history.mix(fake * 1.0).requires_grad
    np.testing.assert_array_equal(first.numpy(), numbered(0, 8).numpy())
    np.testing.assert_array_equal(fake.numpy(), numbered(100).numpy())


@pytest.mark.parametrize("shape", [(7, 2), (8, 3), (10, 2), (64, 2), (0, 2)])
def test_a_batch_that_does_not_fit_a_history_is_refused(shape):
    history = remedies.History(numbered(0, 16), rng=cpu.generator(0))
    with pytest.raises(ShapeError, match="n even and n/2 dividing"):
        history.mix(tensor(np.zeros(shape, "float32")))


# --- Instance noise ------------------------------------------------------------------------------


def test_instance_noise_has_the_variance_of_its_step_and_decays():
    noise = remedies.InstanceNoise(optim.linear_decay(2.0, 4, start=0), rng=cpu.generator(0))
    x = tensor(np.full((200, 500), 3.0, "float32"), requires_grad=True)
    for sigma in (2.0, 1.5, 1.0, 0.5, 0.0):
        noise.advance()
        y, again = noise(x), noise(x)
        added = y.numpy() - 3.0
        assert y.dtype == np.float32
        assert added.std() == pytest.approx(sigma, rel=0.01)
        assert abs(added.mean()) <= 0.02 * sigma
        if sigma:  # the standard error is 1/√100,000 = 0.003
            assert abs(np.corrcoef(added.ravel(), (again.numpy() - 3).ravel())[0, 1]) < 0.02
        np.testing.assert_array_equal(grad(y.sum(), [x])[0].numpy(), 1.0)


def test_instance_noise_goes_on_from_its_state_and_wants_a_first_step():
    def make():
        return remedies.InstanceNoise(optim.linear_decay(1.0, 10, start=0), rng=cpu.generator(5))

    x = tensor(np.zeros((3, 2)))
    with pytest.raises(RuntimeError, match="call advance"):
        make()(x)
    whole, part = make(), make()
    for _ in range(3):
        whole.advance()
        whole(x)
    part.load_state(whole.state())
    part.rng.load_state(whole.rng.state())
    for noise in (whole, part):
        noise.advance()
    expected = whole(x)
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(part(x).numpy(), expected.numpy())
    assert part.t == 4


# --- All of them in captured steps ---------------------------------------------------------------


class Remedied:
    """A small GAN in one dimension with every remedy at once."""

    def __init__(self, device, capture, steps=12):
        rng, self.noise, others = device.generator(0).spawn(3)
        self.G = models.mlp([2, 8, 2], rng=rng, name="G")
        features = models.mlp([4, 8, 6], rng=rng)
        self.D = nn.Sequential(
            nn.Pack(2),
            *features,
            nn.LeakyReLU(),
            nn.MinibatchDiscrimination(6, 2, 3, rng=rng),
            nn.MinibatchStd(),
            nn.Linear(9, 1, rng=rng),
            name="D",
        )
        rate = optim.linear_decay(1e-2, steps)
        self.optimizers = [optim.Adam(net, rate, betas=(0.5, 0.99)) for net in (self.G, self.D)]
        self.objective = losses.NonSaturating(real_label=0.9)
        self.history = remedies.History(
            self.G(Tensor(self.noise.normal((16, 2)))), rng=others.spawn(1)[0]
        )
        self.instance = remedies.InstanceNoise(
            optim.linear_decay(0.5, steps, start=0), rng=others.spawn(1)[0]
        )
        self.unrolling = Unrolling(self.D, self.optimizers[1], self.objective, steps=2)
        self.step = device.capture(self._step) if capture else self._step

    def _step(self):
        self.instance.advance()
        real = self.instance(Tensor(self.noise.normal((8, 2)) + 2.0))
        fake = self.G(Tensor(self.noise.normal((8, 2))))
        past = self.instance(self.history.mix(fake))
        d = discriminator_step(self.D, self.optimizers[1], self.objective, real, past)
        seen = self.instance(fake)
        g = self.unrolling.generator_step(self.optimizers[0], real, seen)
        return d.loss, g.loss, self.instance(Tensor(self.noise.normal((8, 2)) * 0.0))

    def arrays(self):
        parts = [*self.G.state().values(), *self.D.state().values(), self.history.samples]
        return [self.G.flat().backend.to_numpy(array) for array in parts]


def test_a_captured_step_with_every_remedy_is_the_eager_one(cuda):
    steps = 12
    eager, captured = (Remedied(cuda, capture, steps) for capture in (False, True))
    spreads = []
    for step in range(steps):
        for a, b in zip(eager.step(), captured.step(), strict=True):
            np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-4)
            spread = b.numpy().std()
        spreads.append(spread / (0.5 * (1 - step / steps)))
    assert min(spreads) > 0.5 and max(spreads) < 1.7, "the noise must decay at every replay"
    for a, b in zip(captured.arrays(), eager.arrays(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert captured.instance.t == steps
    # every replay has put new samples into the buffer: those of the start are gone
    assert (captured.history.samples != Remedied(cuda, False).history.samples).any()


def test_unrolling_is_the_same_on_both_devices(cuda):
    results = []
    for device in (cpu, cuda):
        game = Game(OPTIMIZERS["adam"], "float32", device)
        mover = optim.SGD(game.G, 1.0)
        game.unrolling(2).generator_step(mover, game.real, game.G(game.z))
        results.append([p.numpy() for p in game.G.parameters()])
    for a, b in zip(*results, strict=True):
        close(b, a, atol=1e-3)


def test_remedies_change_the_game_but_both_still_move(cuda):
    game = Remedied(cuda, capture=False)
    before = game.arrays()
    game.step()
    assert all((a != b).any() for a, b in zip(game.arrays(), before, strict=True))


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
