"""The likelihood of a decoder: annealed importance sampling, and how far it can be from the truth.

A GAN's G with noise around what it draws is a density, p(x) = ∫ N(x; G(z), v I) N(z; 0, I) dz. The
integral is over z, and almost all of it lies where z draws x: nobody finds that place by chance.
So z is led there, from the prior at t = 0 to the posterior at t = 1, through

    p_t(z) ∝ N(z; 0, I) p(x | z)^t,         w = Π p(x | z)^(t − t′)  along the way

The mean of w over chains is p(x) on average (Neal 2001), hence the mean of ln w, or of ln of a mean
of few, lies below ln p(x). The way back from an exact sample of the posterior, which is known for
the x that were made by G itself, has 1 / w for a weight, and ends above: bidirectional Monte Carlo
(Grosse et al. 2015). Between both is the truth, and their gap says what can be believed of the
lower one (Wu et al. 2017, On the quantitative analysis of decoder-based generative models).
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigan.backend import Generator
from minigan.engine import ShapeError, Tensor, frozen, no_grad
from minigan.engine.checks import whole_number
from minigan.evaluation import hmc
from minigan.gan import GaussianLikelihood, log_mean_exp
from minigan.nn import Module
from minigan.system import files, terminal

ROWS = 512  # chains that are driven at once, over all images
FIRST_STEP = 0.3  # ε at t = 0
# Of ε, what the moves of a chain are made with. With one length for all, a move that is a whole
# number of turns in a narrow valley leads back to where it began, again and again (Neal 2011, 3.2).
JITTER = 0.5, 1.0


def sigmoid_schedule(count, low=-4.0, high=4.0) -> np.ndarray:
    """Temperatures 0 = t₀ < t₁ < … = 1, `count` + 1 of them, close together near both ends.

        t_k = (σ(s_k) − σ(low)) / (σ(high) − σ(low)),    s_k evenly from low to high

    From −4 to 4 in Wu et al. 2017, section 4.1. From −8 to 0 they are close together near t = 0
    alone, and almost as many between t and 2 t whatever t is: for a posterior of several modes,
    which are chosen between while t is small. With count = 1 there is nothing in between.

    ValueError unless low < high.
    """
    count = whole_number("sigmoid_schedule: count", count, 1)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"sigmoid_schedule: from {low} to {high}: want low < high, finite")
    risen = 1 / (1 + np.exp(-np.linspace(low, high, count + 1)))
    return (risen - risen[0]) / (risen[-1] - risen[0])


def effective_sample_size(log_weights) -> np.ndarray:
    """(Σ w)² / Σ w² of each image: (chains, n) -> (n,), from 1, one chain says all, to chains."""
    log_weights = np.asarray(log_weights, float)
    w = np.exp(log_weights - log_weights.max(axis=0))
    return w.sum(axis=0) ** 2 / (w * w).sum(axis=0)


class Annealed(NamedTuple):
    """What AIS says of n images, from `chains` chains each: NumPy arrays, in nats."""

    log_likelihood: np.ndarray  # (n,), ln of the mean weight: below ln p(x), but for chance
    log_weights: np.ndarray  # (chains, n)
    accepted: np.ndarray  # (n,), the share of moves
    steps: np.ndarray  # (temperatures, n), the leapfrogs' ε, frozen

    @property
    def effective(self) -> np.ndarray:
        """The effective sample size of each image, (n,)."""
        return effective_sample_size(self.log_weights)


class Bracket(NamedTuple):
    """Bounds of ln p(x) of n images, on average, (n,) each; and what led to the lower one."""

    lower: np.ndarray
    upper: np.ndarray
    forward: Annealed

    @property
    def gap(self) -> float:
        """The mean of upper − lower, in nats."""
        return float((self.upper - self.lower).mean())


def simulated(decoder: Module, variance, z, *, rng: Generator):
    """x = G(z) + √v ε of each z: images of the model itself, whose posterior has the sample z."""
    p = GaussianLikelihood(variance)
    with no_grad():
        made = decoder(Tensor(z)).data
    return made + math.sqrt(p.variance) * rng.normal(made.shape, z.dtype)


def ais_log_likelihood(
    decoder: Module,
    variance,
    x,
    latent,
    *,
    rng: Generator,
    schedule=1000,
    chains=16,
    pilots=None,
    leapfrogs=10,
    kept: Path | None = None,
    progress=False,
) -> Annealed:
    """ln p(x) of images under N(x; G(z), v I), z ~ N(0, I), from below: Wu et al. 2017.

    At each temperature a chain's weight is added to, and then it is moved by Hamiltonian Monte
    Carlo, with leapfrogs of length ε u, u uniform from ½ to 1. A first run finds ε, for each image
    and temperature, such that 0.65 of the moves are accepted; a second one, with every ε frozen, is
    reported.

    decoder    z (n, latent) -> as x, in evaluation mode; it stays as it is
    variance   v > 0
    x          (n, …), floats with a density, as of `dequantised`; on rng's device. All is computed
               in its dtype, which must be the decoder's
    schedule   the temperatures, rising from 0 to 1; or how many, see `sigmoid_schedule`
    pilots     chains for each image of the first run; by default as many as are reported
    kept       a file: each group of images is written to it as soon as it is done, and a call that
               asks for the same goes on behind the last of them

    The images go in groups, each with a generator of its own, so memory is bounded. Time goes as
    n · (chains + pilots) · temperatures · leapfrogs gradients of G.

    ValueError for v <= 0, a decoder in training, and numbers that are not finite in x, or in G(z)
    of the first z; ShapeError if G(z) isn't shaped as x.
    """
    what, p = "ais_log_likelihood", GaussianLikelihood(variance)
    plan = _Plan(what, decoder, p, schedule, chains, pilots, leapfrogs)
    latent = whole_number(f"{what}: latent", latent, 1)
    return plan.run(x, latent, None, rng, kept, progress)[0]


def bdmc_bounds(
    decoder: Module,
    variance,
    x,
    z,
    *,
    rng: Generator,
    schedule=1000,
    chains=16,
    pilots=None,
    back=None,
    leapfrogs=10,
    kept: Path | None = None,
    progress=False,
) -> Bracket:
    """ln p(x) of simulated images from both sides: bidirectional Monte Carlo (Grosse et al. 2015).

    x, z: (n, …) and (n, latent), as of `simulated`: z is a sample of x's posterior, and from there
    all chains of the way back begin. Of other x nobody has such a z, and there is no upper bound.

    back: how many chains go it for each image; by default as many as forward. It may be fewer. The
    way forward can miss where x is drawn, and has to be gone often; that back begins there.

    The rest as for `ais_log_likelihood`; ValueError for a z that is not finite as well.
    """
    what, p = "bdmc_bounds", GaussianLikelihood(variance)
    plan = _Plan(what, decoder, p, schedule, chains, pilots, leapfrogs, back)
    if z.ndim != 2 or len(z) != len(x) or z.dtype != x.dtype:
        got = f"z is {z.shape}, {z.dtype}, x {x.shape}, {x.dtype}"
        raise ShapeError(f"{what}: {got}: want as many, of one dtype")
    if not bool(rng.backend.xp.isfinite(z).all()):
        raise ValueError(f"{what}: z holds numbers that are not finite: want the z that x is of")
    forward, backward = plan.run(x, z.shape[1], z, rng, kept, progress)
    return Bracket(forward.log_likelihood, -_log_mean(-backward), forward)


class _Plan:
    """What is done with each group of images."""

    def __init__(self, what, decoder, p, schedule, chains, pilots, leapfrogs, back=None):
        if decoder.training:
            raise ValueError(f"{what}: the decoder is in training: call eval() first")
        self.what, self.decoder, self.p = what, decoder, p
        self.schedule = _temperatures(what, schedule)
        self.chains = whole_number(f"{what}: chains", chains, 1)
        self.pilots = whole_number(f"{what}: pilots", chains if pilots is None else pilots, 1)
        self.back = whole_number(f"{what}: back", chains if back is None else back, 1)
        self.leapfrogs = whole_number(f"{what}: leapfrogs", leapfrogs, 1)

    def run(self, x, latent, exact, rng, kept, progress):
        """AIS of all images, and the weights of the way back, (back, n), if there is one."""
        if x.dtype.kind != "f" or not len(x) or not bool(rng.backend.xp.isfinite(x).all()):
            raise ValueError(f"{self.what}: x {x.shape}, {x.dtype}: want finite floats, and some")
        step = max(1, ROWS // max(self.chains, self.pilots, self.back))
        groups = [slice(start, start + step) for start in range(0, len(x), step)]
        rngs = rng.spawn(len(groups))
        store = _Store(kept, self._fingerprint(x, exact, rngs[0]))
        ways, count = (2 if exact is None else 3), len(self.schedule) - 1
        total, done = ways * count * len(groups), ways * count * len(store.groups)
        with terminal.bar(
            total=total, initial=done, unit="move", disable=not progress, desc="annealing"
        ) as bar:
            for rows, own in list(zip(groups, rngs, strict=True))[len(store.groups) :]:
                z = None if exact is None else exact[rows]
                store.add(self._group(x[rows], latent, z, own, bar.update))
        weights, accepted, steps, *back = (
            np.concatenate(part, axis=-1) for part in zip(*store.groups, strict=True)
        )
        return Annealed(_log_mean(weights), weights, accepted, steps), *back

    def _group(self, x, latent, exact, rng, tick):
        """Arrays of some images, the last axis theirs: weights, accepted, ε; and those back."""
        backend, count = rng.backend, len(self.schedule) - 1
        potential = functools.partial(self._energy, x)
        steps = backend.xp.full((count, len(x)), FIRST_STEP, x.dtype)
        walk = functools.partial(
            _anneal, potential, leapfrogs=self.leapfrogs, rng=rng, tick=tick, what=self.what
        )
        first, second = (
            rng.normal((k, len(x), latent), x.dtype) for k in (self.pilots, self.chains)
        )
        walk(first, self.schedule, steps, adapt=True)
        found = [*walk(second, self.schedule, steps), steps]
        if exact is not None:
            z = backend.broadcast_to(exact, (self.back, *exact.shape)).copy()
            found.append(walk(z, self.schedule[::-1], steps[::-1])[0])
        return [backend.to_numpy(part).astype(float) for part in found]

    def _energy(self, x, z):
        """U(z) = −ln p(x | z): z (chains, n, latent) -> (chains, n)."""
        chains, n, latent = z.shape
        with frozen(self.decoder):
            made = self.decoder(z.reshape(chains * n, latent))
            if made.shape[1:] != x.shape[1:] or made.dtype != x.dtype:
                raise ShapeError(
                    f"{self.what}: of z {z.shape} the decoder makes {made.shape}, {made.dtype}; x "
                    f"is {x.shape}, {x.dtype}: want (chains · n, …)"
                )
            return -self.p(Tensor(x), made.reshape(chains, *x.shape))

    def _fingerprint(self, x, exact, rng) -> str:
        """A digest of all that decides what comes out."""
        backend, digest = rng.backend, hashlib.sha256()
        weights = [p.data for p in self.decoder.parameters()]
        weights += [getattr(m, key) for m, key in self.decoder.named_buffers().values()]
        for array in (x, *weights, *([] if exact is None else [exact])):
            digest.update(np.ascontiguousarray(backend.to_numpy(array)).tobytes())
        digest.update(self.schedule.tobytes())
        rest = self.what, self.p.variance, self.chains, self.pilots, self.back, self.leapfrogs
        rest += rng.state(), repr(self.decoder)
        return digest.hexdigest() + hashlib.sha256(repr(rest).encode()).hexdigest()


def _anneal(potential, z, schedule, steps, *, leapfrogs, rng, tick, what, adapt=False):
    """Chains along the temperatures: ln w (chains, n), float64, and what was accepted, (n,).

    Up from the prior a chain gains weight and then moves; down from the posterior it moves first.

    steps: (temperatures, n), ε at each of them; with `adapt` they are found and written there.
    """
    backend, xp, up = rng.backend, rng.backend.xp, schedule[0] < schedule[-1]
    # The temperature of a move, and by how much the weight's exponent grows before or after it.
    at = schedule[1:] if up else schedule[:-1]
    path = backend.asarray(np.stack([at, np.abs(np.diff(schedule))], axis=1), z.dtype)
    state = hmc.state_at(potential, z)
    if not bool(xp.isfinite(state.energy).all()):
        raise ValueError(f"{what}: the decoder makes numbers that are not finite of z ~ N(0, 1)")
    state = hmc.State(*(array.copy() for array in state))
    log_weights, accepted = xp.zeros(z.shape[:2]), xp.zeros(z.shape[1])
    now, step_size = path[0].copy(), steps[0].copy()
    recent = xp.full(step_size.shape, hmc.TARGET, z.dtype)

    def weigh():
        log_weights[...] -= now[1:] * state.energy

    def move():
        if up:
            weigh()
        momentum = rng.normal(z.shape, z.dtype)
        coin = rng.uniform(z.shape[:2], dtype=z.dtype)
        length = step_size[:, None] * rng.uniform((*coin.shape, 1), *JITTER, dtype=z.dtype)
        moved, chance = hmc.transition(potential, state, momentum, coin, length, now[:1], leapfrogs)
        for array, values in zip(state, moved, strict=True):
            array[...] = values
        share = chance.mean(0)
        accepted[...] += share
        if adapt:
            step_size[...], recent[...] = hmc.adapted(step_size, recent, share)
        if not up:
            weigh()

    move = backend.capture(move)
    for row, sizes in zip(path, steps, strict=True):
        now[...] = row
        if adapt:
            sizes[...] = step_size  # the one that this move is made with
        else:
            step_size[...] = sizes
        move()
        tick()
    return log_weights, accepted / len(path)


class _Store:
    """Groups of images that are done, in a file, if there is one."""

    def __init__(self, path, fingerprint):
        self.path, self.fingerprint, self.groups = path, fingerprint, []
        if path is not None and path.exists():
            with np.load(path) as file:
                if str(file["fingerprint"]) == fingerprint:
                    parts, count = int(file["parts"]), int(file["groups"])
                    self.groups = [[file[f"{k}_{i}"] for i in range(parts)] for k in range(count)]

    def add(self, arrays):
        self.groups.append(arrays)
        if self.path is None:
            return
        named = {f"{k}_{i}": a for k, group in enumerate(self.groups) for i, a in enumerate(group)}
        stream = io.BytesIO()
        about = {"parts": len(arrays), "groups": len(self.groups)}
        np.savez(stream, fingerprint=self.fingerprint, **about, **named)
        files.write(self.path, stream.getvalue())


def _temperatures(what, schedule) -> np.ndarray:
    """A schedule as it is, or the sigmoid's of that many temperatures."""
    if np.ndim(schedule) == 0:
        return sigmoid_schedule(schedule)
    schedule = np.asarray(schedule, float)
    ends = schedule.ndim == 1 and len(schedule) > 1 and (schedule[0], schedule[-1]) == (0, 1)
    if not (ends and (np.diff(schedule) > 0).all()):
        raise ValueError(f"{what}: the schedule must rise from 0 to 1, strictly; got {schedule}")
    return schedule


def _log_mean(log_weights) -> np.ndarray:
    return log_mean_exp(Tensor(log_weights)).numpy()
