"""Hamiltonian Monte Carlo: it leaves a Gaussian as it is, and its leapfrogs lead back."""

import numpy as np
import pytest

from minigan import cpu
from minigan.engine import Tensor
from minigan.engine.operations import sum
from minigan.evaluation import hmc

B, SCALE = 0.7, 3.0


def bowl(z):
    """U = 3/2 ‖z − 0.7‖²: p_t is N(0.7 · 3t / (1 + 3t), 1 / (1 + 3t))."""
    return 0.5 * SCALE * sum((z - B) * (z - B), -1)


def valley(z):
    """No Gaussian's."""
    return sum(z * z * z * z, -1) + sum(z[..., :1] * z[..., 1:2], -1)


def test_a_state_is_the_energy_and_its_gradient(cuda):
    for device in (cpu, cuda):
        z = device.asarray(cpu.generator(0).normal((2, 5, 3), "float64"))
        state = hmc.state_at(bowl, z)
        np.testing.assert_allclose(device.to_numpy(state.slope), SCALE * (device.to_numpy(z) - B))
        assert state.energy.shape == (2, 5)


def test_leapfrogs_lead_back(cuda):
    for device in (cpu, cuda):
        rng = device.generator(0)
        start, p = (rng.normal((20, 3), "float64") for _ in range(2))
        state = hmc.state_at(valley, start)
        step = device.asarray(np.full((20, 1), 0.05))
        there, ending = hmc.leapfrog(valley, state, p, step, 0.8, 25)
        back, beginning = hmc.leapfrog(valley, there, -ending, step, 0.8, 25)
        far = abs(device.to_numpy(there.z - start)).max()
        off = [abs(device.to_numpy(a)).max() for a in (back.z - start, beginning + p)]
        assert far > 0.5 and max(off) < 1e-10


def test_leapfrogs_keep_the_energy_to_second_order():
    rng = cpu.generator(1)
    z, p = (rng.normal((50, 2), "float64") for _ in range(2))
    state, errors = hmc.state_at(valley, z), []
    for count in (40, 80):
        ended = hmc.leapfrog(valley, state, p, 0.5 / count, 1.0, count)
        errors.append(abs(hmc.hamiltonian(*ended, 1.0) - hmc.hamiltonian(state, p, 1.0)).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_moves_leave_a_gaussian_as_it_is(step, cuda):
    """Moments of 4,000 points after 15 moves, within 4 standard errors; with t of its own."""
    t, count = 0.5, 4000
    mean, variance = B * SCALE * t / (1 + SCALE * t), 1 / (1 + SCALE * t)
    for device in (cpu, cuda):
        rng = device.generator(3)
        z = mean + variance**0.5 * rng.normal((count, 2), "float64")
        state, first = hmc.state_at(bowl, z), device.to_numpy(z)
        for _ in range(15):
            p, coin = rng.normal((count, 2), "float64"), rng.uniform(count, dtype="float64")
            state, chance = hmc.transition(bowl, state, p, coin, step, t, 3)
        again = hmc.state_at(bowl, state.z)  # of those that stayed as well as of those that moved
        for kept, fresh in zip(state[1:], again[1:], strict=True):
            np.testing.assert_allclose(device.to_numpy(kept), device.to_numpy(fresh))
        z = device.to_numpy(state.z)
        assert abs(z.mean() - mean) < 4 * (variance / z.size) ** 0.5
        assert abs(z.var() / variance - 1) < 4 * (2 / z.size) ** 0.5
        assert abs(np.corrcoef(z[:, 0], first[:, 0])[0, 1]) < 0.9
        assert 0.5 < float(chance.mean()) <= 1


def test_without_the_coin_the_gaussian_would_not_stay():
    """The control: leapfrogs alone, of a coarse step, change the variance."""
    rng, variance = cpu.generator(3), 1 / (1 + SCALE)
    state = hmc.state_at(bowl, B * SCALE * variance + variance**0.5 * rng.normal((4000, 2)))
    for _ in range(5):
        p = rng.normal((4000, 2))
        state, _ = hmc.transition(bowl, state, p, np.float32(-1) + np.zeros(4000, "f"), 0.7, 1.0, 3)
    assert abs(state.z.var() / variance - 1) > 0.2


def test_a_move_that_overflows_is_not_made():
    def cliff(z):
        inside = Tensor(np.where(abs(z.data).max(-1) < 1, 0.0, np.nan))
        return sum(z, -1) * 0.0 + inside

    state = hmc.state_at(cliff, np.array([[0.5], [0.0]]))
    p, coin = np.array([[5.0], [0.1]]), np.zeros(2)
    moved, chance = hmc.transition(cliff, state, p, coin, 0.2, 1.0, 2)
    assert moved.z[0, 0] == 0.5 and chance[0] == 0 and np.isfinite(moved.energy).all()
    assert moved.z[1, 0] > 0 and chance[1] > 0.9


def test_steps_adapt_by_hand(cuda):
    for device in (cpu, cuda):
        step, average = (device.asarray(v) for v in ([0.1, 0.1, 0.5, 1e-4], [0.65, 0.65, 0.9, 0.0]))
        step, average = hmc.adapted(step, average, device.asarray([1.0, 0.0, 1.0, 0.0]))
        np.testing.assert_allclose(device.to_numpy(average), [0.685, 0.585, 0.91, 0.0])
        np.testing.assert_allclose(device.to_numpy(step), [0.102, 0.098, 0.5, 1e-4])
