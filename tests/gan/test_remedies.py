"""The remedies by counting, in their moments, and all of them in one step; on both devices.

What is easy to get silently wrong here: a history that hands out samples of the present, noise
that a replayed step never decays.
"""

import numpy as np
import pytest

from minigan import Tensor, cpu, losses, models, nn, optim
from minigan.engine import ShapeError, grad, tensor
from minigan.gan import Unrolling, discriminator_step, remedies

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


@pytest.mark.parametrize("shape", [(8, 3), (33, 2), (64, 2), (0, 2)])
def test_a_batch_that_does_not_fit_a_history_is_refused(shape):
    history = remedies.History(numbered(0, 16), rng=cpu.generator(0))
    with pytest.raises(ShapeError, match="n at least 1 and n/2 at most the size"):
        history.mix(tensor(np.zeros(shape, "float32")))


@pytest.mark.parametrize(
    ("n", "size"), [(1, 5), (3, 16), (7, 4), (7, 10), (4, 5), (10, 16), (1, 1)]
)
def test_a_history_of_any_size_mixes_batches_of_any_size(n, size):
    """By counting: each place is as likely, each past sample too, and half of a batch is new."""
    history, turns = remedies.History(numbered(0, size), rng=cpu.generator(0)), 2000
    drawn, replaced, new = np.zeros(size), np.zeros(size), 0
    for _ in range(turns):
        history.samples[...] = numbered(0, size).numpy()
        mixed = history.mix(numbered(50, n)).numpy()
        assert mixed.shape == (n, 2) and mixed.dtype == np.float32
        np.testing.assert_array_equal(mixed[:, 1], -mixed[:, 0])
        assert mixed[: n // 2, 0].tolist() == [50 + k for k in range(n // 2)]
        past = mixed[mixed[:, 0] < 50, 0].astype(int)
        assert (mixed[(n + 1) // 2 :, 0] < 50).all()
        np.add.at(drawn, past, 1)
        new += n - len(past)
        kept = history.samples[:, 0] >= 50
        assert sorted(history.samples[kept, 0]) == [50 + k for k in range(n // 2, n)]
        replaced += kept
    assert replaced.sum() == turns * ((n + 1) // 2)
    assert abs(new / turns - n / 2) <= (0.05 if n % 2 else 0)  # the standard error is 0.011
    for counts in (drawn, replaced):
        expected = counts.sum() / size
        assert np.abs(counts - expected).max() <= 5 * expected**0.5 * (size > 1)


def test_the_middle_of_an_odd_batch_is_one_sample_with_its_condition():
    history = remedies.History(
        (tensor(np.zeros((4, 1, 1))), tensor(np.zeros(4, int))), rng=cpu.generator(0)
    )
    seen = set()
    for k in range(1, 30):
        x, y = history.mix((tensor(np.full((1, 1, 1), float(k))), tensor(np.array([k]))))
        assert x.numpy().ravel().tolist() == y.numpy().tolist()
        seen.add(int(y.numpy()[0]) == k)
    assert seen == {True, False}


def test_an_even_history_draws_what_it_always_drew():
    """Places and choices by the stream's own integers, as in a plain loop."""
    history, stream = remedies.History(numbered(0, 16), rng=cpu.generator(7)), cpu.generator(7)
    expected = numbered(0, 16).numpy().copy()
    for turn in range(1, 6):
        fake = numbered(100 * turn).numpy()
        chosen, offsets = stream.integers(0, 16, 4), stream.integers(0, 4, 4)
        mixed = np.concatenate([fake[:4], expected[chosen]])
        for k, offset in enumerate(offsets):
            expected[4 * k + offset] = fake[4 + k]
        np.testing.assert_array_equal(history.mix(tensor(fake)).numpy(), mixed)
        np.testing.assert_array_equal(history.samples, expected)


@pytest.mark.parametrize(("n", "size"), [(5, 8), (1, 3), (4, 6)])
def test_a_history_of_any_size_is_captured(cuda, n, size):
    def start():
        return Tensor(cuda.xp.zeros((size, 2), "float32"))

    z = Tensor(cuda.xp.ones((n, 2), "float32"))
    histories = [remedies.History(start(), rng=cuda.generator(0)) for _ in range(2)]
    count = [Tensor(cuda.xp.zeros((n, 2), "float32")) for _ in range(2)]

    def step(history, count):
        count.data[...] += z.data
        return history.mix(count)

    captured = cuda.capture(lambda: step(histories[1], count[1]))
    for _ in range(9):
        eager, replayed = step(histories[0], count[0]), captured()
        np.testing.assert_array_equal(replayed.numpy(), eager.numpy())
    np.testing.assert_array_equal(*(cuda.to_numpy(h.samples) for h in histories))


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


def test_remedies_change_the_game_but_both_still_move(cuda):
    game = Remedied(cuda, capture=False)
    before = game.arrays()
    game.step()
    assert all((a != b).any() for a, b in zip(game.arrays(), before, strict=True))
