"""AIS against integrals that are known: of linear decoders, and of one on a line."""

import functools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from minigan import Tensor, cpu, nn, no_grad
from minigan.engine import ShapeError
from minigan.evaluation import (
    ais_log_likelihood,
    bdmc_bounds,
    effective_sample_size,
    sigmoid_schedule,
    simulated,
)
from minigan.evaluation.ais import _Plan
from minigan.evaluation.hmc import transition
from minigan.models import mlp, vae_decoder

V = 0.2


def linear(device=cpu, dtype="float64", v=V):
    """A linear decoder 3 → (2, 2, 1) with weights N(0, 1), and its exact ln p."""
    G = vae_decoder(rng=device.generator(0), latent=3, hidden=(), size=2, squash=False)
    values = [cpu.generator(5).normal(p.shape) for p in G.parameters()]
    for p, value in zip(G.parameters(), values, strict=True):
        p.data[...] = device.asarray(value)
    W, b = (value.astype(float) for value in values)
    truth = multivariate_normal(b, W.T @ W + v * np.eye(4))
    return G.astype(dtype).eval(), lambda x: truth.logpdf(device.to_numpy(x).reshape(len(x), -1))


def test_the_schedule_by_hand():
    s = 1 / (1 + np.exp([4.0, 2.0, 0.0, -2.0, -4.0]))
    wanted = [0, (s[1] - s[0]) / (s[4] - s[0]), 0.5, (s[3] - s[0]) / (s[4] - s[0]), 1]
    np.testing.assert_allclose(sigmoid_schedule(4), wanted)
    np.testing.assert_array_equal(sigmoid_schedule(1), [0, 1])
    s = 1 / (1 + np.exp([8.0, 4.0, 0.0]))
    np.testing.assert_allclose(sigmoid_schedule(2, -8, 0), [0, (s[1] - s[0]) / (s[2] - s[0]), 1])
    for mistake in ((0,), (2, 1, 1), (2, 4, -4), (2, -np.inf, 0), (2, 0, np.nan)):
        with pytest.raises(ValueError, match="count" if len(mistake) == 1 else "low < high"):
            sigmoid_schedule(*mistake)


def test_effective_sample_size_by_hand():
    weights = np.log([[1.0, 3.0], [1.0, 1.0]]) - 1e4
    np.testing.assert_allclose(effective_sample_size(weights), [2.0, 16 / 10])


def test_bounds_close_around_the_exact_likelihood(cuda):
    """On the fake device there is time for few temperatures: with a wide p(x | z) they will do."""
    for device, dtype, v, count, chains, near in (
        (cpu, "float64", V, 200, 32, 0.4),
        (cpu, "float32", V, 200, 32, 0.4),
        (cuda, "float64", 5.0, 8, 64, 0.4),
    ):
        G, exact = linear(device, dtype, v)
        rng = device.generator(1)
        z = rng.normal((8, 3), dtype)
        x = simulated(G, v, z, rng=rng)
        truth = exact(x)
        found = bdmc_bounds(G, v, x, z, rng=rng, schedule=count, chains=chains, leapfrogs=5)
        assert found.lower.mean() - near / 10 < truth.mean() < found.upper.mean() + near / 10
        assert abs(found.lower - truth).max() < near and abs(found.gap) < near
        way = found.forward
        assert way.log_weights.shape == (chains, 8) and way.steps.shape == (count, 8)
        assert (way.effective >= 1).all() and (way.effective <= chains).all()
        assert 0.5 < way.accepted.mean() <= 1


def test_a_first_step_that_is_far_too_short_is_mended(monkeypatch):
    """2% a move: from there to lengths of which no more than some two moves in three are taken."""
    monkeypatch.setattr("minigan.evaluation.ais.FIRST_STEP", 0.002)
    G, _ = linear(v=0.02)
    x = simulated(G, 0.02, cpu.generator(0).normal((4, 3), "float64"), rng=cpu.generator(1))
    found = ais_log_likelihood(G, 0.02, x, 3, rng=cpu.generator(2), schedule=400, chains=4)
    assert (found.steps[0] == 0.002).all() and found.steps.max() > 0.06
    assert (found.accepted < 0.98).all()


def test_the_way_back_makes_the_moves_of_the_way_forward(monkeypatch):
    """At each temperature the same ε, though they come in reverse; and as many chains as said."""
    monkeypatch.setattr("minigan.evaluation.ais.JITTER", (1.0, 1.0))
    moves = []

    def spy(potential, state, momentum, coin, length, t, leapfrogs):
        moves.append((t.item(), length[..., 0].copy()))
        return transition(potential, state, momentum, coin, length, t, leapfrogs)

    monkeypatch.setattr("minigan.evaluation.hmc.transition", spy)
    G, _ = linear(v=0.02)
    z = cpu.generator(0).normal((2, 3), "float64")
    x = simulated(G, 0.02, z, rng=cpu.generator(1))
    bdmc_bounds(G, 0.02, x, z, rng=cpu.generator(2), schedule=40, chains=3, pilots=1, back=2)
    _, forward, back = (moves[start : start + 40] for start in (0, 40, 80))
    assert len(moves) == 120 and forward[0][1].max() > 1.2 * forward[-1][1].max()
    for (t, there), (s, here) in zip(forward, back[::-1], strict=True):
        assert t == s and there.shape == (3, 2) and here.shape == (2, 2)
        np.testing.assert_array_equal(there[:2], here)


def test_the_mean_weight_is_unbiased():
    """Of 4,000 chains with few temperatures each, whose ln w is far too low on average."""
    G, exact = linear()
    rng = cpu.generator(2)
    x = simulated(G, V, rng.normal((2, 3), "float64"), rng=rng)
    found = ais_log_likelihood(G, V, x, 3, rng=rng, schedule=12, chains=4000, pilots=50)
    shares = np.exp(found.log_weights - exact(x))
    error = shares.std(axis=0, ddof=1) / len(shares) ** 0.5
    assert (abs(shares.mean(axis=0) - 1) < 4 * error).all() and (error < 0.1).all()
    assert (found.log_weights.mean(axis=0) < exact(x) - 0.2).all()


def test_a_decoder_that_is_not_linear_against_an_integral():
    G = mlp([1, 8, 2], rng=cpu.generator(0), activation=nn.Tanh).astype("float64").eval()
    rng, ticks = cpu.generator(4), np.linspace(-8, 8, 4001)
    x = simulated(G, V, rng.normal((6, 1), "float64"), rng=rng)
    with no_grad():
        made = G(Tensor(ticks[:, None])).numpy()
    squares = ((x[:, None] - made) ** 2).sum(-1)
    joint = np.exp(-squares / (2 * V) - ticks**2 / 2) / (2 * np.pi * V) / (2 * np.pi) ** 0.5
    truth = np.log(joint.sum(axis=1) * (ticks[1] - ticks[0]))
    found = ais_log_likelihood(G, V, x, 1, rng=rng, schedule=100, chains=32)
    np.testing.assert_allclose(found.log_likelihood, truth, atol=0.15)


def test_plain_importance_sampling_is_one_temperature():
    G, _ = linear()
    x = simulated(G, V, cpu.generator(0).normal((2, 3), "float64"), rng=cpu.generator(1))
    found = ais_log_likelihood(G, V, x, 3, rng=cpu.generator(7), schedule=1, chains=5, pilots=1)
    own = cpu.generator(7).spawn(1)[0]
    own.normal((1, 2, 3), "float64")
    z = own.normal((5, 2, 3), "float64")
    W, b = (p.numpy() for p in G.parameters())
    squares = ((x.reshape(2, 4) - z @ W - b) ** 2).sum(-1)
    np.testing.assert_allclose(found.log_weights, -squares / (2 * V) - 2 * np.log(2 * np.pi * V))


def test_groups_are_kept_and_a_second_call_goes_on(tmp_path, monkeypatch):
    """One seed gives one result, whether in one go or interrupted; and other options are others."""
    monkeypatch.setattr("minigan.evaluation.ais.ROWS", 8)
    G, _ = linear()
    z = cpu.generator(0).normal((5, 3), "float64")
    x = simulated(G, V, z, rng=cpu.generator(1))
    call = functools.partial(bdmc_bounds, G, V, x, z, schedule=6, chains=4)
    whole = call(rng=cpu.generator(2))
    seen = []

    def stop(self, *arguments, group=_Plan._group):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(arguments[0]))
        return group(self, *arguments)

    kept = tmp_path / "ais.npz"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("minigan.evaluation.ais._Plan._group", stop)
        call(rng=cpu.generator(2), kept=kept)
    assert seen == [2, 2]
    with monkeypatch.context() as patch:
        seen.pop()
        patch.setattr("minigan.evaluation.ais._Plan._group", stop)
        again = call(rng=cpu.generator(2), kept=kept)
    assert seen == [2, 1]
    np.testing.assert_array_equal(again.lower, whole.lower)
    np.testing.assert_array_equal(again.upper, whole.upper)
    other = call(rng=cpu.generator(3), kept=kept)
    assert (other.lower != whole.lower).all()


class Lost(nn.Module):
    def forward(self, z):
        return z * np.inf


MISTAKES = {
    "variance is 0": lambda G, x: (G, 0.0, x, {}),
    "call eval": lambda G, x: (G.train(), V, x, {}),
    "want finite floats": lambda G, x: (G, V, x * np.nan, {}),
    "not finite of z": lambda G, x: (Lost().eval(), V, np.zeros((2, 3)), {}),
    "the decoder makes": lambda G, x: (G, V, x[:, :1], {}),
    "rise from 0 to 1": lambda G, x: (G, V, x, {"schedule": [0, 0.5, 0.5, 1]}),
    "chains is 0": lambda G, x: (G, V, x, {"chains": 0}),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes(words):
    G, v, x, how = MISTAKES[words](linear()[0], np.zeros((2, 2, 2, 1)))
    with pytest.raises((ValueError, ShapeError), match=words):
        ais_log_likelihood(G, v, x, 3, rng=cpu.generator(0), **{"schedule": 2, "chains": 1} | how)


@pytest.mark.parametrize(
    "words, z, how",
    [
        ("z holds numbers that are not finite", np.full((2, 3), np.nan), {}),
        ("want as many", np.zeros((1, 3)), {}),
        ("of one dtype", np.zeros((2, 3), "float32"), {}),
        ("back is 0", np.zeros((2, 3)), {"back": 0}),
    ],
)
def test_mistakes_on_the_way_back(words, z, how):
    x = np.zeros((2, 2, 2, 1))
    with pytest.raises((ValueError, ShapeError), match=words):
        bdmc_bounds(linear()[0], V, x, z, rng=cpu.generator(0), schedule=2, chains=1, **how)
