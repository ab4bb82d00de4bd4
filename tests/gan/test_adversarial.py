"""Algorithm 1 plays by its rules: who moves, who does not, and where the game goes.

The mistakes this guards against are silent ones: a generator that never moves, a discriminator
step that leaks into the generator, a generator that descends through yesterday's discriminator.
And the theorem behind it all: with G fixed, D approaches p_data / (p_data + p_model).
"""

import copy
import math

import numpy as np
import pytest

from minigan import functional as F
from minigan import nn
from minigan.backend import cpu
from minigan.engine import StaleGraphError, Tensor, frozen, grad, tensor
from minigan.gan import (
    OBJECTIVES,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Wasserstein,
    discriminator_loss,
    discriminator_step,
    feature_matching,
    generator_loss,
    generator_step,
    gradient_penalty,
    r1_penalty,
)
from minigan.models import mlp
from minigan.optim import EMA, SGD, Adam, Scheduled


def bits(net):
    return {key: array.tobytes() for key, array in net.state().items()}


def weights(net):
    return {key: p.data.tobytes() for key, p in net.named_parameters().items()}


class Game:
    """Two small networks, both with batch norm, their optimisers, and batches for them."""

    def __init__(self, seed=0, optimizer=lambda net: SGD(net, 0.1), batch_norm=True):
        g_rng, d_rng, self.rng = cpu.generator(seed).spawn(3)

        def net(sizes, rng, name):
            a, b, c = sizes
            norm = [nn.BatchNorm(b, rng=rng)] if batch_norm else []
            first, last = nn.Linear(a, b, rng=rng), nn.Linear(b, c, rng=rng)
            return nn.Sequential(first, *norm, nn.LeakyReLU(), last, name=name)

        self.G, self.D = net([3, 6, 2], g_rng, "G"), net([2, 5, 1], d_rng, "D")
        self.g_opt, self.d_opt = optimizer(self.G), optimizer(self.D)

    def real(self):
        return tensor(self.rng.normal((8, 2)) * 0.5 + 2.0)

    def fake(self):
        return self.G(tensor(self.rng.normal((8, 3))))

    def play(self, rounds, objective, penalty=None):
        for _ in range(rounds):
            fake = self.fake()
            discriminator_step(self.D, self.d_opt, objective, self.real(), fake, penalty=penalty)
            generator_step(self.D, self.g_opt, objective, fake, real=self.real())


each_objective = pytest.mark.parametrize("name", OBJECTIVES)


# --- Who moves -----------------------------------------------------------------------------------


@each_objective
def test_discriminator_step_moves_only_the_discriminator(name):
    game = Game()
    real, fake = game.real(), game.fake()
    g_before, d_before = bits(game.G), bits(game.D)
    discriminator_step(game.D, game.d_opt, OBJECTIVES[name](), real, fake)
    assert bits(game.G) == g_before  # G's running statistics too
    moved = {key for key, value in bits(game.D).items() if value != d_before[key]}
    # What is only compared does not depend on D's last bias (relativistic: but for rounding).
    still = {"3.bias"} if name in ("wasserstein", "relativistic") else set()
    assert moved | still == set(d_before)
    assert name != "wasserstein" or not moved & still
    assert (game.d_opt.t, game.g_opt.t) == (1, 0)


@each_objective
def test_generator_step_moves_only_the_generator(name):
    game = Game()
    fake = game.fake()
    g_before, d_before = bits(game.G), weights(game.D)
    generator_step(game.D, game.g_opt, OBJECTIVES[name](), fake, real=game.real())
    assert weights(game.D) == d_before
    changed = {key for key, value in bits(game.G).items() if value != g_before[key]}
    # Batch norm takes away what the bias before it adds: that gradient is a rounding error.
    assert changed | {"0.bias"} == set(weights(game.G)) | {"0.bias"}
    assert (game.d_opt.t, game.g_opt.t) == (0, 1)
    assert game.D(game.real()).requires_grad


def test_a_generator_step_with_the_discriminators_optimiser():
    game = Game()
    fake, before = game.fake(), weights(game.D)
    with pytest.raises(ValueError, match=r"does not depend on xs\[0\] \(D\.0\.weight\)"):
        generator_step(game.D, game.d_opt, NonSaturating(), fake)
    assert weights(game.D) == before


def test_a_discriminator_step_with_the_generators_optimiser():
    game = Game()
    real, fake, before = game.real(), game.fake(), weights(game.G)
    with pytest.raises(ValueError, match=r"does not depend on xs\[0\] \(G\.0\.weight\)"):
        discriminator_step(game.D, game.g_opt, NonSaturating(), real, fake)
    assert weights(game.G) == before


def test_the_discriminator_descends_its_loss():
    """θ ← θ − α ∇(J(D) + penalty), from gradients taken on a copy."""
    game = Game(batch_norm=False)
    real, fake = game.real(), game.fake()
    twin, objective = game.D.copy(), Hinge()

    def penalty():
        return gradient_penalty(cpu.generator(5))

    total = objective.discriminator(twin(real), twin(fake.detach()))
    total = total + penalty()(twin, real, fake)
    gradients = grad(total, twin.parameters())
    discriminator_step(game.D, game.d_opt, objective, real, fake, penalty=penalty())
    for p, q, g in zip(game.D.parameters(), twin.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * g.data, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["zero-sum", "relativistic", "hinge"])
def test_the_generator_descends_its_loss(name):
    """θ ← θ − α ∇(J(G) + penalty), from gradients taken on a copy, with real samples in sight."""
    game, twin = Game(batch_norm=False), Game(batch_norm=False)
    objective, real, z = OBJECTIVES[name](), game.real(), tensor(game.rng.normal((8, 3)))

    def penalty(D, real, fake):
        return 0.5 * feature_matching(D[:-1](real), D[:-1](fake))

    fake = twin.G(z)
    total = objective.generator(twin.D(fake), twin.D(real)) + penalty(twin.D, real, fake)
    gradients = grad(total, twin.G.parameters())
    generator_step(game.D, game.g_opt, objective, game.G(z), real=real, penalty=penalty)
    for p, q, g in zip(game.G.parameters(), twin.G.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * g.data, rtol=1e-5, atol=1e-6)


def test_a_relative_objective_without_real_samples_is_an_error():
    game = Game()
    with pytest.raises(ValueError, match="the zero-sum objective compares with real samples"):
        generator_step(game.D, game.g_opt, OBJECTIVES["zero-sum"](), game.fake())


def test_one_forward_pass_serves_both_steps():
    """The shared samples give the very update that a second G(z) would give, through the new D."""
    game, again = Game(batch_norm=False), Game(batch_norm=False)
    objective, real = NonSaturating(), game.real()
    z = tensor(game.rng.normal((8, 3)))

    fake = game.G(z)
    discriminator_step(game.D, game.d_opt, objective, real, fake)
    generator_step(game.D, game.g_opt, objective, fake)

    discriminator_step(again.D, again.d_opt, objective, real, again.G(z))
    gradients = grad(objective.generator(again.D(again.G(z))), again.G.parameters())
    again.g_opt.step(gradients)
    assert weights(game.G) == weights(again.G)
    assert weights(game.D) == weights(again.D)


@pytest.mark.parametrize("hold", [True, False], ids=["frozen", "not frozen"])
def test_asking_the_old_discriminator_is_an_error(hold):
    game = Game()
    real, fake = game.real(), game.fake()
    with frozen(*([game.D] if hold else [])):
        loss = NonSaturating().generator(game.D(fake))
    discriminator_step(game.D, game.d_opt, NonSaturating(), real, fake)
    with pytest.raises(StaleGraphError, match=r"parameter \(D\.3\.weight\).*updated 1 time"):
        grad(loss, game.G.parameters())


def test_old_samples_are_an_error():
    """After G's step its earlier samples belong to another G."""
    game = Game()
    fake = game.fake()
    generator_step(game.D, game.g_opt, NonSaturating(), fake)
    with pytest.raises(StaleGraphError, match=r"G\.3\.weight"):
        generator_step(game.D, game.g_opt, NonSaturating(), fake)


# --- Three terms, four networks, and networks that grow ------------------------------------------


class Judging(nn.Module):
    """D(x, y): a value of the sample and the condition together."""

    def __init__(self, rng):
        self.net = mlp([4, 5, 1], rng=rng, activation=nn.Tanh)

    def forward(self, x, y):
        return self.net(F.concatenate([x, y], 1))


@each_objective
def test_a_matching_discriminator_descends_three_terms(name):
    """θ ← θ − α ∇ ½ (J(real, fake) + J(real, wrong)), and the report tells of all three."""
    rng, objective = cpu.generator(0), OBJECTIVES[name]()
    D = Judging(rng)
    twin, optimizer = D.copy(), SGD(D, 0.1)
    x, y, other, z = (tensor(rng.normal((6, 2))) for _ in range(4))
    real, fake, wrong = (x, y), (z, y), (x, other)
    losses = [objective.discriminator(twin(*real), twin(*shown)) for shown in (fake, wrong)]
    gradients = grad(0.5 * losses[0] + 0.5 * losses[1], twin.parameters(), unused="zeros")
    scores = [objective.score(twin(*shown)).mean().item() for shown in (real, fake, wrong)]
    report = discriminator_step(D, optimizer, objective, real, fake, wrong=wrong)
    for p, q, g in zip(D.parameters(), twin.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.data, q.data - 0.1 * g.data, rtol=1e-5, atol=1e-6)
    seen = [report.real.item(), report.fake.item(), report.wrong.item()]
    assert seen == pytest.approx(scores, rel=1e-5, abs=1e-6)
    assert report.loss.item() == pytest.approx(sum(0.5 * x.item() for x in losses), rel=1e-5)
    assert not report.wrong_output.requires_grad
    assert discriminator_step(D, optimizer, objective, real, fake).wrong is None


class Cycle:
    """CycleGAN on a plane (Zhu et al. 2017): G: X → Y, F: Y → X, D_x, D_y, and two optimisers."""

    def __init__(self, device=cpu, capture=False, dtype="float32"):
        host = cpu.generator(0)
        names = "G", "F", "D_x", "D_y"
        sizes = [2, 4, 2], [2, 4, 2], [2, 4, 1], [2, 4, 1]
        rng = device.generator(0)
        self.nets = [
            mlp(s, rng=rng, activation=nn.Tanh, name=name).astype(dtype)
            for s, name in zip(sizes, names, strict=True)
        ]
        for p in self.parameters():
            p.data = device.asarray(host.normal(p.shape), dtype)
        both = [[p for net in pair for p in net.parameters()] for pair in self.pairs()]
        self.G_optimizer, self.D_optimizer = (SGD(p, 0.1, momentum=0.5) for p in both)
        self.x, self.y = (tensor(host.normal((6, 2)), device=device, dtype=dtype) for _ in "xy")
        self.step = device.capture(self._step) if capture else self._step

    def pairs(self):
        return self.nets[:2], self.nets[2:]

    def parameters(self):
        return [p for net in self.nets for p in net.parameters()]

    def _step(self):
        (G, back, D_x, D_y), objective, x, y = self.nets, LeastSquares(), self.x, self.y
        fake_x, fake_y = back(y), G(x)
        loss_x, seen_x = discriminator_loss(D_x, objective, x, fake_x.detach())
        loss_y, _ = discriminator_loss(D_y, objective, y, fake_y.detach())
        self.D_optimizer.descend(0.5 * (loss_x + loss_y))
        loss_x, _ = generator_loss(D_x, objective, fake_x)
        loss_y, _ = generator_loss(D_y, objective, fake_y)
        there_and_back = F.abs(back(fake_y) - x).mean() + F.abs(G(fake_x) - y).mean()
        self.G_optimizer.descend(loss_x + loss_y + 10.0 * there_and_back)
        return seen_x.loss


def test_two_generators_and_two_discriminators_move_as_pytorch_s():
    torch = pytest.importorskip("torch")
    game = Cycle(dtype="float64")
    weights = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in game.parameters()]
    x, y = (torch.tensor(side.numpy()) for side in (game.x, game.y))
    G, back, D_x, D_y = (
        lambda v, w=weights[k : k + 4]: torch.tanh(v @ w[0] + w[1]) @ w[2] + w[3]
        for k in (0, 4, 8, 12)
    )
    g_optimizer, d_optimizer = (
        torch.optim.SGD(part, 0.1, momentum=0.5) for part in (weights[:8], weights[8:])
    )
    for _ in range(3):
        fake_x, fake_y = back(y), G(x)
        d_optimizer.zero_grad()
        pairs = (D_x, x, fake_x), (D_y, y, fake_y)
        d_loss = sum(((D(r) - 1) ** 2).mean() + (D(f.detach()) ** 2).mean() for D, r, f in pairs)
        (0.25 * d_loss).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        loss = 0.5 * sum(((D(f) - 1) ** 2).mean() for D, _, f in pairs)
        loss = loss + 10 * ((back(fake_y) - x).abs().mean() + (G(fake_x) - y).abs().mean())
        loss.backward()
        g_optimizer.step()
        game.step()
    for mine, theirs in zip(game.parameters(), weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_two_generators_and_two_discriminators_are_the_same_everywhere(cuda):
    here, there, captured = Cycle(), Cycle(cuda), Cycle(cuda, capture=True)
    for _ in range(6):
        values = [game.step().item() for game in (here, there, captured)]
        assert values[1:] == pytest.approx([values[0]] * 2, rel=1e-3, abs=1e-4)
    for a, b, c in zip(*(game.parameters() for game in (here, there, captured)), strict=True):
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(c.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)


class Grown(nn.Module):
    """Two levels of a network that grows: those `in_play` at each, and the fade to the second."""

    def in_play(self, level):
        return [p for part in self.levels[: level + 1] for p in part.parameters()]


class GrownG(Grown):
    """z (n, 2) -> images, 2×2 of one channel, and 4×4 at level 1."""

    def __init__(self, rng):
        body, small = nn.Linear(2, 8, rng=rng), nn.Conv2d(2, 1, 1, rng=rng)
        finer, large = nn.Conv2d(2, 2, 3, padding=1, rng=rng), nn.Conv2d(2, 1, 1, rng=rng)
        self.levels = [nn.Sequential(body, small), nn.Sequential(finer, large)]

    def forward(self, z, level, fade):
        (body, small), (finer, large) = self.levels
        h = F.tanh(body(z).reshape(len(z), 2, 2, 2))
        if level == 0:
            return small(h)
        old = F.upsample_nearest(small(h), 2)
        return old + (large(F.tanh(finer(F.upsample_nearest(h, 2)))) - old) * fade


class GrownD(Grown):
    """The same backwards."""

    def __init__(self, rng):
        small, last = nn.Conv2d(1, 2, 1, rng=rng), nn.Linear(8, 1, rng=rng)
        large, coarser = nn.Conv2d(1, 2, 1, rng=rng), nn.Conv2d(2, 2, 3, padding=1, rng=rng)
        self.levels = [nn.Sequential(small, last), nn.Sequential(large, coarser)]

    def forward(self, x, level, fade):
        (small, last), (large, coarser) = self.levels
        if level == 0:
            h = small(x)
        else:
            old = small(F.avg_pool2d(x, 2))
            new = F.avg_pool2d(coarser(F.tanh(large(x))), 2)
            h = old + (new - old) * fade
        return last(F.tanh(h).reshape(len(x), 8))


class Growing:
    """Progressive growing (Karras et al. 2018) on images of 4 × 4: level 0, then 1, faded in."""

    FADE = 6

    def __init__(self, device=cpu, capture=False, optimizer=lambda p: SGD(p, 0.1)):
        rng, host = device.generator(0), cpu.generator(0)
        self.G, self.D = GrownG(rng), GrownD(rng)
        for p in (*self.G.parameters(), *self.D.parameters()):
            p.data = device.asarray(host.normal(p.shape) * 0.5)
        self.average = EMA(self.G, 0.9)
        self.z = tensor(host.normal((6, 2)), device=device)
        self.images = tensor(host.normal((6, 4, 4, 1)), device=device)
        self.device, self.capture, self.make = device, capture, optimizer
        self.penalty = r1_penalty(weight=0.1)
        self.reach(0)

    def reach(self, level):
        """A new level has new optimisers, of what is in play, and its step is captured anew."""
        self.level, self.fade = level, Scheduled(lambda t: min(1.0, t / self.FADE), self.device)
        parts = self.G.in_play(level), self.D.in_play(level)
        self.optimizers = [self.make(part) for part in parts]
        self.step = self.device.capture(self._step) if self.capture else self._step

    def parts(self):
        return self.G, self.D, self.average, self.fade, *self.optimizers

    def shown(self, images):
        return images, self.level, self.fade.value

    def _step(self):
        self.fade.advance()
        real = self.images if self.level else F.avg_pool2d(self.images, 2)
        fake = self.shown(self.G(self.z, self.level, self.fade.value))
        g_optimizer, d_optimizer = self.optimizers
        discriminator_step(
            *(self.D, d_optimizer, NonSaturating(), self.shown(real), fake), penalty=self.penalty
        )
        report = generator_step(self.D, g_optimizer, NonSaturating(), fake)
        self.average.update()
        return report.loss

    def arrays(self):
        nets = self.G, self.D, self.average.network
        return [self.device.to_numpy(a) for net in nets for a in net.state().values()]


def test_what_is_not_yet_in_play_rests_and_the_average_follows():
    game = Growing(optimizer=lambda p: Adam(p, 0.01, betas=(0.5, 0.99)))
    start, path = bits(game.G), []
    for _ in range(4):
        game.step()
        path.append({key: array.copy() for key, array in game.G.state().items()})
    resting = {key for key in start if key.startswith("levels.1")}
    assert {key for key, value in bits(game.G).items() if value == start[key]} == resting
    averaged = bits(game.average.network)
    assert all(averaged[key] == start[key] for key in resting), "an average of what rests is it"

    small = game.G(game.z, 0, 0.0).numpy()
    twice = small.repeat(2, axis=1).repeat(2, axis=2)
    game.reach(1)
    np.testing.assert_allclose(game.G(game.z, 1, 0.0).numpy(), twice, rtol=1e-6)
    for _ in range(8):
        game.step()
        path.append({key: array.copy() for key, array in game.G.state().items()})
    assert not {key for key, value in bits(game.G).items() if value == start[key]}
    assert game.fade.value == 1.0 and game.average.t == 12
    for key, array in game.average.network.state().items():
        expected = np.frombuffer(start[key], np.float32).reshape(array.shape)
        for t, known in enumerate(path, 1):
            b = min(0.9, (1 + t) / (10 + t))
            expected = b * expected + (1 - b) * known[key]
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-6)
    images = game.average.network(game.z, game.level, game.fade.value)
    assert images.shape == (6, 4, 4, 1)


def test_a_growing_game_is_the_same_everywhere(cuda):
    here, there, captured = Growing(), Growing(cuda), Growing(cuda, capture=True)
    games = here, there, captured
    for level in (0, 1):
        for game in games:
            game.reach(level)
        for _ in range(9):
            values = [game.step().item() for game in games]
            assert values[1:] == pytest.approx([values[0]] * 2, rel=1e-3, abs=1e-4)
        assert float(captured.fade.value) == here.fade.value == 1.0
    for a, b, c in zip(*(game.arrays() for game in games), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(c, b, rtol=1e-3, atol=1e-4)


def test_a_growing_game_goes_on_within_a_level():
    whole, resumed = (Growing(optimizer=lambda p: Adam(p, 0.01)) for _ in range(2))
    for level in (0, 1):
        whole.reach(level)
        for _ in range(3):
            whole.step()
    resumed.reach(1)
    with pytest.raises(RuntimeError, match="Scheduled: call advance"):
        resumed.fade.value  # noqa: B018
    for mine, part in zip(resumed.parts(), whole.parts(), strict=True):
        mine.load_state(copy.deepcopy(part.state()))
    assert resumed.fade.value == whole.fade.value == 0.5
    for game in (whole, resumed):
        for _ in range(2):
            game.step()
    for mine, theirs in zip(resumed.arrays(), whole.arrays(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loss_that_a_parameter_has_no_part_in_is_not_descended():
    game = Game()
    before = weights(game.D)
    with pytest.raises(ValueError, match=r"does not depend on xs\[0\] \(D\.0\.weight\)"):
        game.d_opt.descend((game.fake() ** 2).mean())
    assert weights(game.D) == before


# --- What is reported ----------------------------------------------------------------------------


def mean(values):
    return math.fsum(values) / len(values)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


REPORTS = {  # loss of D, loss of G, score, from D's outputs
    "wasserstein": (lambda r, f: mean(f) - mean(r), lambda f: -mean(f), float),
    "minimax": (
        lambda r, f: (
            -mean([math.log(sigmoid(x)) for x in r]) - mean([math.log(1 - sigmoid(x)) for x in f])
        ),
        lambda f: mean([math.log(1 - sigmoid(x)) for x in f]),
        sigmoid,
    ),
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("penalty", [None, r1_penalty()])
def test_reports_are_of_the_discriminator_before_its_update(name, penalty):
    d_loss, g_loss, score = REPORTS[name]
    game = Game(batch_norm=False)
    objective, real, fake = OBJECTIVES[name](), game.real(), game.fake()
    r, f = (game.D.copy()(x).numpy().ravel().tolist() for x in (real, fake))
    report = discriminator_step(game.D, game.d_opt, objective, real, fake, penalty=penalty)
    expected = [d_loss(r, f), mean(list(map(score, r))), mean(list(map(score, f)))]
    reported = [report.loss, report.real, report.fake]
    assert [x.item() for x in reported] == pytest.approx(expected, rel=1e-5, abs=1e-6)

    f = game.D.copy()(fake).numpy().ravel().tolist()  # of the D that has moved
    report_g = generator_step(game.D, game.g_opt, objective, fake)
    expected = [g_loss(f), mean(list(map(score, f)))]
    reported_g = [report_g.loss, report_g.fake]
    assert [x.item() for x in reported_g] == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for x in (*reported, *reported_g):
        assert (x.shape, x.dtype, x.requires_grad) == ((), np.float32, False)


# --- Where it goes -------------------------------------------------------------------------------

P, Q = (1, 2, 5, 4), (4, 6, 1, 1)  # two distributions on four points, in twelfths


def points(counts):
    return tensor(np.repeat(np.eye(4), counts, axis=0))


@pytest.mark.parametrize(
    "objective, optimum",
    [
        (Minimax(), lambda p, q: math.log(p / q)),
        (NonSaturating(), lambda p, q: math.log(p / q)),
        (Minimax(real_label=0.9), lambda p, q: math.log(0.9 * p / (0.1 * p + q))),
        (LeastSquares(), lambda p, q: p / (p + q)),
    ],
)
def test_with_g_fixed_d_approaches_the_optimum(objective, optimum):
    """Goodfellow et al. 2014, proposition 1, where D can be any function: one value per point."""
    D = nn.Sequential(nn.Linear(4, 1, rng=cpu.generator(0), bias=False)).astype("float64")
    optimizer = SGD(D, 0.5, momentum=0.9)
    best = [optimum(p, q) for p, q in zip(P, Q, strict=True)]
    distances = []
    for k in (1, 30, 400):
        while optimizer.t < k:
            discriminator_step(D, optimizer, objective, points(P), points(Q))
        distances.append(abs(D[0].weight.data.ravel() - best).max())
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 1e-6


def test_a_continuous_discriminator_finds_the_density_ratio():
    """N(1, 1) against N(−1, 1): ln p/q = 2x, which a linear D can say exactly."""
    D = nn.Sequential(nn.Linear(1, 1, rng=cpu.generator(0)))
    optimizer, rng = SGD(D, 0.2), cpu.generator(1)
    noise = rng.normal((4000, 1))
    for _ in range(300):
        discriminator_step(D, optimizer, Minimax(), tensor(noise + 1), tensor(-noise - 1))
    assert D[0].weight.item() == pytest.approx(2, abs=0.15)
    assert D[0].bias.item() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("objective", [NonSaturating(), LeastSquares(), Hinge()])
def test_the_generator_reaches_the_data(objective):
    """G(z) = z + b from N(−3, 1) to N(2, 1): a generator that never moves cannot pass."""
    rng = cpu.generator(0)
    G = nn.Sequential(nn.Linear(1, 1, rng=rng), name="G")
    G[0].weight.data[...], G[0].bias.data[...] = 1, -3
    D = mlp([1, 16, 1], rng=rng, name="D")
    g_opt, d_opt = Adam([G[0].bias], 0.05, betas=(0.5, 0.999)), Adam(D, 0.01, betas=(0.5, 0.999))
    path = []
    for _ in range(500):
        real, fake = tensor(rng.normal((64, 1)) + 2), G(tensor(rng.normal((64, 1))))
        discriminator_step(D, d_opt, objective, real, fake, penalty=r1_penalty(weight=0.1))
        generator_step(D, g_opt, objective, fake)
        path.append(G[0].bias.item())
    assert abs(mean(path[-100:]) - 2) < 0.5


@pytest.mark.parametrize("penalty", [False, True])
def test_one_seed_one_run(penalty):
    def run(seed):
        game = Game(seed, lambda net: Adam(net, 0.01, betas=(0.5, 0.999)), not penalty)
        slope = gradient_penalty(cpu.generator([seed, 1])) if penalty else None
        game.play(20, Wasserstein() if penalty else NonSaturating(), slope)
        return bits(game.G) | {f"D {key}": value for key, value in bits(game.D).items()}

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert all(first[key] != other[key] for key in first if "weight" in key)


@each_objective
def test_a_float32_game_stays_float32(name):
    game = Game(optimizer=lambda net: Adam(net, 0.01))
    game.play(3, OBJECTIVES[name](), gradient_penalty(cpu.generator(0)))
    arrays = [*game.G.state().values(), *game.D.state().values()]
    arrays += [getattr(opt, m) for opt in (game.g_opt, game.d_opt) for m in ("m", "v")]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    assert all(np.isfinite(array).all() for array in arrays)


def test_steps_leave_no_graph_behind():
    """Reports are constants: keeping a curve of losses keeps no graph alive."""
    game = Game()
    fake = game.fake()
    d = discriminator_step(game.D, game.d_opt, Minimax(), game.real(), fake)
    g = generator_step(game.D, game.g_opt, Minimax(), fake)
    tensors = [x for x in (*d, d.real, d.fake, *g, g.fake) if isinstance(x, Tensor)]
    assert len(tensors) == 8
    assert all(x.node is None for x in tensors)
