"""Optimisers over one flat array, learning-rate schedules, and the average of a network.

Each update is written as in its paper, in place, over blocks of the flat array that are small
enough to stay in the cache: five short lines of arithmetic per block cost one pass over memory.
"""

from __future__ import annotations

import math

from minigan.nn import FlatParameters, Module

# --- Learning rates: functions of the step t = 1, 2, … -------------------------------------------


def constant(lr):
    """The same rate at every step."""
    return lambda t: lr


def linear_decay(lr, steps, *, start=0.5):
    """`lr` for the share `start` of the steps, then along a line that meets 0 after the last."""
    _check_steps("linear_decay", steps)
    begin = start * steps
    return _ending(
        steps, lambda t: lr * min(1.0, max(0.0, (steps - (t - 1)) / max(steps - begin, 1.0)))
    )


def cosine(lr, steps):
    """lr (1 + cos(π t / steps)) / 2, half a cosine wave down to 0 (Loshchilov and Hutter 2017)."""
    _check_steps("cosine", steps)
    return _ending(
        steps, lambda t: 0.5 * lr * (1.0 + math.cos(math.pi * min(1.0, (t - 1) / steps)))
    )


def _ending(steps, rate):
    """The schedule `rate`, which tells an optimiser that it is 0 after so many steps."""
    rate.steps = steps
    return rate


def _check_steps(schedule, steps):
    if steps < 1:
        raise ValueError(f"{schedule}: the number of steps is {steps}, expected at least 1")


# --- Optimisers ----------------------------------------------------------------------------------


class Optimizer:
    """What all optimisers share: the flat parameters, the step count and the way of a step.

    network: a Module, or a list of Parameters.
    lr:      a number, or a schedule: a function of the step t = 1, 2, …, which are this optimiser's
             own: where D takes k steps for each of G's, its schedule has k times as many.
    """

    moments: tuple[str, ...] = ()
    # The device kernel that does `update` in one pass, where there is one, and what it is given.
    kernel = ""
    constants: tuple = ()

    def __init__(self, network, lr):
        self.schedule = lr if callable(lr) else constant(_positive("lr", lr))
        self.flat = network.flat() if isinstance(network, Module) else FlatParameters.of(network)
        self.parameters = self.flat.parameters
        self.t = 0
        self.live = self.flat.backend.live()
        xp = self.flat.backend.xp
        self._gradient = xp.zeros_like(self.flat.data)
        self._gradient_views = self.flat.views(self._gradient)
        for name in self.moments:
            setattr(self, name, xp.zeros_like(self.flat.data))

    def step(self, gradients):
        """One update with one gradient per parameter, as `grad(loss, self.parameters)` gives.

        ValueError if the number or a shape of the gradients is not the parameters'. RuntimeError
        after the last step of linear_decay or cosine, as no further one would move anything.
        """
        gradients = list(gradients)
        self._check(gradients)
        for view, g in zip(self._gradient_views, gradients, strict=True):
            view[...] = g.data
        backend = self.flat.backend
        backend.host(self._advance)
        moments = [getattr(self, name) for name in self.moments]
        backend.optimize(self, self.flat.data, self._gradient, moments)
        backend.host(self.flat.updated)

    def _advance(self):
        end = getattr(self.schedule, "steps", math.inf)
        if self.t >= end:
            raise RuntimeError(
                f"step {self.t + 1}: the learning rate fell to 0 after step {end}, so nothing "
                "would move: give the schedule as many steps as this optimiser takes"
            )
        self.t += 1
        self.live.set(*self.coefficients(self.schedule(self.t)))

    def coefficients(self, lr) -> tuple:
        """What changes from step to step, by which `update` finds it as self.live[0], …"""
        return (lr,)

    def update(self, theta, g, *moments):
        """Advances θ and the moments in place by one step along g, which may be overwritten."""
        raise NotImplementedError

    def _check(self, gradients):
        if len(gradients) != len(self.parameters):
            raise ValueError(
                f"step: {len(gradients)} gradients for {len(self.parameters)} parameters"
            )
        for p, g in zip(self.parameters, gradients, strict=True):
            if p.storage is not self.flat:
                raise RuntimeError(
                    f"step: parameter {p.node.name!r} has been converted since this optimiser was "
                    "made, so it would move nothing: make the optimiser after .astype()"
                )
            if g.shape != p.shape:
                raise ValueError(
                    f"step: the gradient of {p.node.name!r} has shape {g.shape}, not {p.shape}"
                )

    def state(self) -> dict:
        """The step count and the moments: all that an interrupted run needs."""
        return {"t": self.t} | {name: getattr(self, name) for name in self.moments}

    def load_state(self, state: dict):
        """Takes over `state()` of an optimiser of the same kind over the same parameters."""
        if state.keys() != self.state().keys():
            raise ValueError(f"the optimisers differ: {sorted(state)}, not {sorted(self.state())}")
        for name in self.moments:
            if state[name].shape != self.flat.data.shape:
                raise ValueError(
                    f"{name} has shape {state[name].shape}, expected {self.flat.data.shape}"
                )
        self.t = state["t"]
        for name in self.moments:
            moment = getattr(self, name)
            moment[...] = self.flat.backend.asarray(state[name], moment.dtype)


def _positive(name, value):
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}, expected a positive number")
    return value


def _fraction(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}, expected 0 <= {name} < 1")
    return value


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964) or Nesterov's.

        u ← μ u + g
        θ ← θ − α u                Nesterov: θ ← θ − α (g + μ u)

    Nesterov's gradient belongs to a point ahead of θ (Sutskever et al. 2013); as usual, θ here is
    that point, which gives the form above (Bengio et al. 2013, eq. 7).
    """

    moments = ("velocity",)
    kernel = "sgd"

    def __init__(self, network, lr, *, momentum=0.0, nesterov=False):
        self.momentum, self.nesterov = _fraction("momentum", momentum), nesterov
        self.constants = self.momentum, bool(nesterov)
        super().__init__(network, lr)

    def update(self, theta, g, u):
        u *= self.momentum
        u += g
        if self.nesterov:
            g += self.momentum * u
        else:
            g[...] = u
        g *= self.live[0]
        theta -= g


class RMSprop(Optimizer):
    """Steps divided by the gradient's recent root mean square (Tieleman and Hinton 2012).

    v ← ρ v + (1 − ρ) g²
    θ ← θ − α g / (√v + ε)
    """

    moments = ("v",)
    kernel = "rmsprop"

    def __init__(self, network, lr, *, decay=0.99, eps=1e-8):
        self.decay, self.eps = _fraction("decay", decay), _positive("eps", eps)
        self.constants = self.decay, self.eps
        super().__init__(network, lr)

    def update(self, theta, g, v):
        v *= self.decay
        v += (1 - self.decay) * (g * g)
        g /= v**0.5 + self.eps
        g *= self.live[0]
        theta -= g


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, Algorithm 1); with `weight_decay`, AdamW (Loshchilov, Hutter 2019).

        m ← β₁ m + (1 − β₁) g                    m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²                   v̂ = v / (1 − β₂ᵗ)
        θ ← θ − α (m̂ / (√v̂ + ε) + λ θ)

    β₁ = 0.5 is what GANs are usually trained with.
    """

    moments = ("m", "v")
    kernel = "adam"

    def __init__(self, network, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.beta1, self.beta2 = _fraction("beta1", betas[0]), _fraction("beta2", betas[1])
        self.eps = _positive("eps", eps)
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay is {weight_decay}, expected a number >= 0")
        self.weight_decay = weight_decay
        self.constants = self.beta1, self.beta2, self.eps
        super().__init__(network, lr)

    def coefficients(self, lr):
        """α / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ) and 1 − α λ."""
        correction1, correction2 = 1 - self.beta1**self.t, 1 - self.beta2**self.t
        return lr / correction1, 1 / math.sqrt(correction2), 1 - lr * self.weight_decay

    def update(self, theta, g, m, v):
        rate, correction, kept = self.live[0], self.live[1], self.live[2]
        m *= self.beta1
        m += (1 - self.beta1) * g
        v *= self.beta2
        g *= g
        g *= 1 - self.beta2
        v += g

        root = v**0.5
        root *= correction
        root += self.eps
        if self.weight_decay:
            theta *= kept
        theta -= (m * rate) / root


# --- Constraints ---------------------------------------------------------------------------------


def clip_weights(network: Module, bound):
    """θ ← min(max(θ, −c), c) for every parameter, in place, to be called after an optimiser's step.

    How the first Wasserstein GAN keeps its critic's slope bounded (Arjovsky et al. 2017,
    Algorithm 1, line 7, with c = 0.01). ValueError unless bound > 0.
    """
    bound, flat = _positive("bound", bound), network.flat()
    flat.backend.xp.clip(flat.data, -bound, bound, out=flat.data)
    flat.backend.host(flat.updated)


# --- Averaging -----------------------------------------------------------------------------------


class EMA:
    """A copy of a network whose weights are the exponential moving average of the original's.

        a ← b a + (1 − b) θ,    b = min(decay, (1 + t) / (w + t))

    The warm-up of b lets the average forget the initial weights: until b has come to `decay`, the
    weights of step t count in proportion to some t^(w − 2). w = `warm_up` is 10 as a rule, which
    makes the average reach back over a ninth of the run; 3 is half of the run, and about 2 the
    plain mean (polynomial-decay averaging, Shamir and Zhang 2013). Running statistics are averaged
    alike. `network` is the copy, in evaluation mode: sample from it.
    """

    def __init__(self, network: Module, decay=0.999, *, warm_up=10):
        if not warm_up > 1:
            raise ValueError(f"warm_up is {warm_up}, expected a number > 1")
        self.decay, self.warm_up = _fraction("decay", decay), warm_up
        self.network = network.copy().eval()
        self.t = 0
        self._flat = self.network.flat(), network.flat()
        self.live = self._flat[0].backend.live()
        self._buffers = list(
            zip(
                self.network.named_buffers().values(),
                network.named_buffers().values(),
                strict=True,
            )
        )

    def update(self):
        """To be called after each of the optimiser's steps."""
        average, source = self._flat
        backend = source.backend
        backend.host(self._advance)
        backend.average(average.data, source.data, self.live)
        for (mine, key), (theirs, _) in self._buffers:
            backend.average(getattr(mine, key), getattr(theirs, key), self.live)
        backend.host(average.updated)

    def _advance(self):
        self.t += 1
        self.live.set(1 - min(self.decay, (1 + self.t) / (self.warm_up + self.t)))

    def state(self) -> dict:
        """The step count and the averages."""
        return {"t": self.t} | self.network.state()

    def load_state(self, state: dict):
        """Takes over `state()` of the average of an equal network."""
        self.network.load_state({key: value for key, value in state.items() if key != "t"})
        self.t = state["t"]
