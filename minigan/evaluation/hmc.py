"""Hamiltonian Monte Carlo: moves that leave a density as it is, far from where they began.

A point z gets a random momentum and rolls down the energy −ln p(z) for a while. Exact rolling keeps
energy + ½‖momentum‖², so any place it comes to would be as good as the last; leapfrogs keep it all
but exactly, and Metropolis' coin makes up for the rest (Neal 2011, MCMC using Hamiltonian
dynamics). The densities here are those that annealing goes through,

    p_t(z) ∝ N(z; 0, I) e^(−t U(z)),        −ln p_t = ½ ‖z‖² + t U(z) + …

from the prior at t = 0 to the posterior at t = 1. Nothing here waits for the device.
"""

from __future__ import annotations

from typing import NamedTuple

from minigan.backend import backend_of
from minigan.engine import Tensor, grad, tensor

TARGET = 0.65  # the share of moves that are accepted: the best for many dimensions (Neal 2011, 4.4)
FASTER, SLOWER = 1.02, 0.98
SMALLEST, LARGEST = 1e-4, 0.5
MEMORY = 0.9  # of the running average of what was accepted


class State(NamedTuple):
    """Points and what U says of them: arrays of one device."""

    z: object  # (…, d)
    energy: object  # (…), U(z)
    slope: object  # (…, d), ∇U(z)


def state_at(potential, z) -> State:
    """The points z (…, d), an array, with U and its gradient.

    potential: U, a Tensor (…, d) -> Tensor (…), each number of its own z alone.
    """
    leaf = tensor(z, device=backend_of(z).name, requires_grad=True)
    energy = potential(leaf)
    (slope,) = grad(energy, [leaf], cotangent=Tensor(energy.backend.xp.ones_like(energy.data)))
    return State(z, energy.data, slope.data)


def hamiltonian(state: State, momentum, t):
    """½ ‖z‖² + t U(z) + ½ ‖p‖²: (…), what exact dynamics would keep."""
    squares = (state.z * state.z + momentum * momentum).sum(-1)
    return 0.5 * squares + t * state.energy


def leapfrog(potential, state: State, momentum, step, t, count):
    """`count` leapfrogs of length ε: the state and the momentum they end in (Neal 2011, eq. 2.28).

        p ← p − ε/2 (z + t ∇U);    z ← z + ε p;    p ← p − ε/2 (z + t ∇U)

    With −p for p they lead back to where they began. One gradient each.

    step: ε, a number or an array that broadcasts against (…, d); t: a number or an array (1,).
    """

    def kick(share):
        return momentum - share * step * (state.z + t * state.slope)

    momentum = kick(0.5)
    for k in range(count):
        state = state_at(potential, state.z + step * momentum)
        momentum = kick(1.0 if k < count - 1 else 0.5)
    return state, momentum


def transition(potential, state: State, momentum, uniform, step, t, leapfrogs=10):
    """One move of each point: its next state, and how likely it was to be accepted, (…).

    Where the leapfrogs lead to numbers that are not finite the point stays where it is.

    momentum: (…, d) from N(0, 1); uniform: (…) from [0, 1); the rest as for `leapfrog`.
    """
    xp = backend_of(state.z).xp
    proposed, ending = leapfrog(potential, state, momentum, step, t, leapfrogs)
    lost = hamiltonian(state, momentum, t) - hamiltonian(proposed, ending, t)
    chance = xp.where(xp.isfinite(lost), xp.exp(xp.minimum(lost, 0)), 0).astype(lost.dtype)
    taken = uniform < chance
    moved = (
        xp.where(taken[..., None], proposed.z, state.z),
        xp.where(taken, proposed.energy, state.energy),
        xp.where(taken[..., None], proposed.slope, state.slope),
    )
    return State(*moved), chance


def adapted(step, average, accepted):
    """The next ε, and the running average of what is accepted, from what was; arrays of one shape.

    2% longer if more than 0.65 of the moves are accepted, of late, and 2% shorter if fewer; between
    1e-4 and 0.5. What it learns it learns of the points themselves, so with steps that still adapt
    the moves don't leave the density quite as it is: freeze them for what is reported.
    """
    xp = backend_of(step).xp
    average = MEMORY * average + (1 - MEMORY) * accepted
    factor = xp.where(average > TARGET, FASTER, SLOWER).astype(step.dtype)
    return xp.clip(step * factor, SMALLEST, LARGEST), average
