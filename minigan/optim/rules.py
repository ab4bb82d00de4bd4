"""Optimisers over one flat array.

Each update is written as in its paper, in place, over blocks of the flat array that are small
enough to stay in the cache: five short lines of arithmetic per block cost one pass over memory.
Beside it stands `ahead`, the same update of tensors, which can be differentiated: it returns θ and
the moments as they are one step later.
"""

from __future__ import annotations

import math
import warnings

from minigan.engine import Tensor, grad
from minigan.engine import functional as F
from minigan.engine.checks import expect
from minigan.nn import FlatParameters, Module
from minigan.nn.parameters import load_arrays
from minigan.optim.checks import counted, fraction, positive
from minigan.optim.schedules import constant
from minigan.system import world


class Optimizer:
    """What all optimisers share: the parameters as one vector, the step count, the way of a step.

    network: a Module, or a list of Parameters, which may stand in other sets too: of several
             networks, or of the levels in play of one that grows, with a new optimiser for each.
    lr:      a number, or a schedule: a function of the step t = 1, 2, …, which are this optimiser's
             own: where D takes k steps for each of G's, its schedule has k times as many.
    """

    moments: tuple[str, ...] = ()
    # The device kernel that does `update` in one pass, where there is one, and what it is given.
    kernel = ""
    constants: tuple[str, ...] = ()

    def __init__(self, network, lr):
        self.schedule = _schedule(lr)
        self.flat = network.flat() if isinstance(network, Module) else FlatParameters(network)
        self.t = 0
        self.live = self.flat.backend.live()
        for name in self.moments:
            setattr(self, name, self.flat.zeros())
        self._prepare()

    def _prepare(self):
        """The gradient as one vector, and the pieces that an update goes over."""
        self._gradient = gradient = self.flat.zeros()
        self._gradients = self.flat.views(gradient)
        vectors = gradient, *(getattr(self, name) for name in self.moments)
        self._pieces = [(memory, *(v[part] for v in vectors)) for part, memory in self.flat.pieces]

    def __getstate__(self):
        made_anew = "_gradient", "_gradients", "_pieces"
        return {key: v for key, v in vars(self).items() if key not in made_anew}

    def __setstate__(self, state):
        vars(self).update(state)
        self._prepare()

    @property
    def parameters(self) -> list:
        """What it moves, in the order in which `step` takes the gradients."""
        return self.flat.parameters

    @property
    def lr(self) -> float:
        """The rate of the next step. Set it to a number >= 0, or to a schedule.

        It is no part of `state()`: a resumed run has the rate that it is made with.
        """
        return self.schedule(self.t + 1)

    @lr.setter
    def lr(self, lr):
        self.schedule = constant(0.0) if lr == 0 else _schedule(lr)

    def descend(self, loss: Tensor):
        """One update along the gradient of `loss`, a scalar that every parameter has a part in."""
        self.step(grad(loss, self.parameters))

    def step(self, gradients):
        """One update with one gradient per parameter, as `grad(loss, self.parameters)` gives.

        Of several ranks, each with the gradients of its own rows, all move by their mean.

        ValueError or TypeError if the gradients are not as many, or not shaped, as the parameters;
        a RuntimeWarning after the last step of linear_decay or cosine, as nothing moves any more.
        """
        gradients = list(gradients)
        self._check(gradients)
        for place, g in zip(self._gradients, gradients, strict=True):
            place[...] = g.data
        world().mean(self._gradient)
        backend = self.flat.backend
        backend.host(self._advance)
        for theta, g, *moments in self._pieces:
            backend.optimize(self, theta, g, moments)
        backend.host(self.flat.updated)

    def _advance(self):
        end = getattr(self.schedule, "steps", math.inf)
        if self.t >= end:
            why = f"the learning rate fell to 0 after step {end} of its schedule, so nothing moves"
            how = "give the schedule as many steps as this optimiser takes"
            warnings.warn(f"{why}: {how}", RuntimeWarning, stacklevel=4)
        self.t += 1
        self.live.set(*self.coefficients(self.schedule(self.t), self.t))

    def coefficients(self, lr, t) -> tuple:
        """What changes from step to step; step t finds it as live[0], …"""
        return (lr,)

    def update(self, theta, g, *moments):
        """Advances θ and the moments in place by one step along g, which may be overwritten."""
        raise NotImplementedError

    def _check(self, gradients):
        self.flat.check("step")
        parameters = self.flat.parameters
        if len(gradients) != len(parameters):
            raise ValueError(f"step: {len(gradients)} gradients for {len(parameters)} parameters")
        for p, g in zip(parameters, gradients, strict=True):
            if not isinstance(g, Tensor):
                got = f"{p.node.name!r} is {type(g).__name__}, expected a Tensor"
                raise TypeError(f"step: the gradient of {got}, as grad(loss, parameters) gives")
            if g.data.shape != p.data.shape:
                got = f"{p.node.name!r} has shape {g.shape}"
                raise ValueError(f"step: the gradient of {got}, not {p.shape}")

    def state(self) -> dict:
        """The step count and the moments: all that an interrupted run needs."""
        return {"t": self.t} | {name: getattr(self, name) for name in self.moments}

    def load_state(self, state: dict):
        """Takes over `state()` of an optimiser of the same kind over the same parameters."""
        (_, mine), (t, theirs) = counted(self.state()), counted(state)
        load_arrays("the optimisers", mine, theirs)
        self.t = t


def _schedule(lr):
    return lr if callable(lr) else constant(positive("lr", float(lr)))


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964) or Nesterov's.

        u ← μ u + g
        θ ← θ − α u                Nesterov: θ ← θ − α (g + μ u)

    Nesterov's gradient belongs to a point ahead of θ (Sutskever et al. 2013); as usual, θ here is
    that point, which gives the form above (Bengio et al. 2013, eq. 7).
    """

    moments = ("velocity",)
    kernel = "sgd"
    constants = ("momentum", "nesterov")

    def __init__(self, network, lr, *, momentum=0.0, nesterov=False):
        self.momentum, self.nesterov = fraction("momentum", momentum), bool(nesterov)
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

    def ahead(self, live, theta, g, u):
        u = u * self.momentum + g
        step = g + u * self.momentum if self.nesterov else u
        return theta - step * live[0], u


class RMSprop(Optimizer):
    """Steps divided by the gradient's recent root mean square (Tieleman and Hinton 2012).

    v ← ρ v + (1 − ρ) g²
    θ ← θ − α g / (√v + ε)
    """

    moments = ("v",)
    kernel = "rmsprop"
    constants = ("decay", "eps")

    def __init__(self, network, lr, *, decay=0.99, eps=1e-8):
        self.decay, self.eps = fraction("decay", decay), positive("eps", eps)
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
    constants = ("beta1", "beta2", "eps")

    def __init__(self, network, lr=1e-3, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.beta1, self.beta2 = fraction("beta1", betas[0]), fraction("beta2", betas[1])
        self.eps = positive("eps", eps)
        self.weight_decay = expect(weight_decay >= 0, "weight_decay", weight_decay, "a number >= 0")
        super().__init__(network, lr)

    def coefficients(self, lr, t):
        """α / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ) and 1 − α λ."""
        correction1, correction2 = 1 - self.beta1**t, 1 - self.beta2**t
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

    def ahead(self, live, theta, g, m, v):
        """With √(v̂ + ε²) for √v̂ + ε: where a gradient has always been 0, √v̂ has infinite slope."""
        m = m * self.beta1 + g * (1 - self.beta1)
        v = v * self.beta2 + g * g * (1 - self.beta2)
        root = F.sqrt(v * live[1] ** 2 + self.eps**2)
        if self.weight_decay:
            theta = theta * live[2]
        return theta - m * live[0] / root, m, v
