"""What is done against the failures: each remedy a few lines, with its price.

A GAN fails in two ways above all. D becomes sure of itself and stops telling G anything, and G
puts all its samples where D happens to be wrong, modes of the data being lost: mode collapse. D
judges one sample at a time, so nothing that it says depends on whether the samples differ; and G
answers the D of the moment, although D will answer back.

    D looks at several samples together     MinibatchDiscrimination, MinibatchStd, Pack
    G takes D's answer into account         Unrolling
    D remembers what G made before          History
    D can't be sure of itself               InstanceNoise

Others are somewhere else, as they are a line or an argument:

    one-sided label smoothing               losses.NonSaturating(real_label=0.9)
    dropout in G (Isola et al. 2017)        nn.Dropout in G; they sample with it, too
    spectral normalisation                  nn.SpectralNorm(nn.Linear(…), …) in D
    penalties on D's slope                  losses.gradient_penalty, r1_penalty, dragan_penalty …
    two time scales, TTUR                   two learning rates, D's the larger (Heusel et al. 2017)
    an average of G's weights               optim.EMA
    feature matching                        losses.feature_matching
"""

from __future__ import annotations

import contextlib

import minigan.functional as F
from minigan import optim
from minigan.adversarial import GeneratorReport, detached
from minigan.backend import Generator
from minigan.engine import (
    ShapeError,
    Tensor,
    broadcast_to,
    grad,
    matmul,
    mean,
    reshape,
    sum,
    tensor,
    transpose,
    var,
    whole_number,
)
from minigan.losses import Objective, together
from minigan.nn import Module, Parameter, check_sizes, normal
from minigan.optim import Optimizer

# --- D looks at several samples together ---------------------------------------------------------
#
# Layers for D. A batch must be all real or all generated, and with them D's verdict on a sample
# depends on the others, so the norm in `gradient_penalty` is no longer that of D's slope.


class MinibatchDiscrimination(Module):
    """How close each sample is to the others, as extra features (Salimans et al. 2016, sec. 3.2).

        M_i = x_i T  ∈ ℝ^(B × C)
        o_ib = 1 / (n − 1) Σ_{j ≠ i} exp(−‖M_ib − M_jb‖₁)  ∈ [0, 1]

    (n, features) -> (n, features + kernels): o is joined to x. `kernels` is B and `dimensions` C.
    The paper has the sum; its mean has the size of other features, whatever n is. T starts as
    N(0, 0.05²) unless `init` says otherwise. It costs about 3 n² B C numbers of memory, and as much
    arithmetic. ShapeError unless x is (n, features), n ≥ 2.
    """

    def __init__(self, features, kernels=16, dimensions=4, *, rng: Generator, init=None):
        check_sizes("MinibatchDiscrimination", features, kernels, dimensions)
        init = init or normal(0.05)
        shape = (features, kernels, dimensions)
        self.weight = Parameter(init(rng, shape, features, kernels * dimensions))

    def forward(self, x):
        features, kernels, dimensions = self.weight.shape
        n = len(x)
        if x.ndim != 2 or x.shape[1] != features or n < 2:
            raise ShapeError(
                f"MinibatchDiscrimination: got shape {x.shape}, expected (n, {features}), n >= 2"
            )
        m = matmul(x, reshape(self.weight, (features, kernels * dimensions)))
        # What is summed over comes first, as such sums are the fastest.
        m = transpose(reshape(m, (n, kernels, dimensions)), (2, 0, 1))
        there = reshape(m, (dimensions, n, 1, kernels))
        here = reshape(m, (dimensions, 1, n, kernels))
        distance = sum(F.abs(here - there), 0)
        total = sum(F.exp(-distance), 0) - 1.0  # less the sample itself, at distance 0
        return F.concatenate([x, total / (n - 1)], 1)

    def describe(self):
        features, kernels, dimensions = self.weight.shape
        return f"{features} -> {features + kernels}, dimensions={dimensions}"


class MinibatchStd(Module):
    """How much the samples of a batch differ, as one extra channel (Karras et al. 2018, section 3).

        s = mean over positions and channels of √(Var over the samples + ε)

    (n, …, c) -> (n, …, c + 1): the same number everywhere; with `group`, one for each `group`
    samples that follow each other. ε = 1e-8 because where all samples agree, √ has an infinite
    slope. It costs next to nothing and has no parameters; it sees a collapse to a point, less well
    the loss of one mode among many. ShapeError if group does not divide n.
    """

    def __init__(self, group=None):
        if group is not None and whole_number("MinibatchStd: group", group) < 2:
            raise ValueError(f"MinibatchStd: group is {group}, expected at least 2 samples")
        self.group = group

    def forward(self, x):
        n, group = len(x), self.group or len(x) or 1
        if x.ndim < 2 or n % group:
            raise ShapeError(
                f"MinibatchStd: got shape {x.shape}, expected (n, …, c), n a multiple of {group}"
            )
        groups = reshape(x, (n // group, group, *x.shape[1:]))
        std = F.sqrt(var(groups, 1) + 1e-8)
        each = mean(std, tuple(range(1, std.ndim)))
        shape = (n // group, group, *x.shape[1:-1], 1)
        channel = broadcast_to(reshape(each, (n // group,) + (1,) * x.ndim), shape)
        return F.concatenate([x, reshape(channel, (*x.shape[:-1], 1))], -1)

    def describe(self):
        return "" if self.group is None else f"group={self.group}"


class Pack(Module):
    """Joins m samples that follow each other, for D to judge as one (Lin et al. 2018, PacGAN).

    (n, …, c) -> (n/m, …, m·c): D's first layer, and D has n/m outputs. D then compares the
    distributions of m samples, pᵐ and qᵐ, whose distance grows faster with m if q lacks a mode of p
    than if q is a little wrong everywhere (their section 3). It costs m times as many inputs of
    D's first layer, and leaves fewer verdicts to learn from. ShapeError unless m divides n.
    """

    def __init__(self, m):
        if whole_number("Pack: m", m) < 1:
            raise ValueError(f"Pack: m is {m}, expected at least 1 sample")
        self.m = m

    def forward(self, x):
        n, *positions, channels = x.shape
        if n % self.m:
            raise ShapeError(f"Pack: {n} samples can't be joined by {self.m}: shape {x.shape}")
        packs = reshape(x, (n // self.m, self.m, *positions, channels))
        packs = transpose(packs, (0, *range(2, x.ndim), 1, x.ndim))
        return reshape(packs, (n // self.m, *positions, self.m * channels))

    def describe(self):
        return str(self.m)


# --- G takes D's answer into account -------------------------------------------------------------


class Unrolling:
    """G's step against D as it will be K steps later, were G to stay (Metz et al. 2017).

        θ⁰ = θ,      θᵏ⁺¹ = θᵏ − α u(∇ J(D; θᵏ, G))
        G descends J(G; θᴷ(G), G)

    The gradient goes through all K updates too, by differentiating them, so G is told how D would
    answer: samples piled up on one mode would be rejected K steps later. D itself does not move.
    The K steps are those that D's optimiser would make next, with its moments and learning rates,
    on the batch given. They cost K steps of D and a second differentiation of each.

    D: its optimiser must hold D's parameters and be an SGD or an Adam. Adam's √v̂ + ε is here
    √(v̂ + ε²): where a gradient has always been 0, the root has an infinite slope.
    objective, penalty: what D's own steps minimise. penalty(D, real, fake) is differentiated again.
    """

    def __init__(
        self, D: Module, optimizer: Optimizer, objective: Objective, *, steps, penalty=None
    ):
        if whole_number("Unrolling: steps", steps) < 1:
            raise ValueError(f"Unrolling: {steps} steps, expected at least 1")
        if type(optimizer) not in _RULES:
            raise TypeError(
                f"Unrolling: got a {type(optimizer).__name__}, which can't be differentiated: "
                "expected SGD or Adam"
            )
        if list(map(id, optimizer.parameters)) != list(map(id, D.parameters())):
            raise ValueError("Unrolling: the optimiser holds other parameters than D's")
        self.D, self.optimizer, self.objective, self.penalty = D, optimizer, objective, penalty
        self._coefficients, self._update = _RULES[type(optimizer)]
        self._live = [optimizer.flat.backend.live() for _ in range(steps)]

    def weights(self, real: Tensor, fake: Tensor) -> list[Tensor]:
        """θᴷ, a tensor for each parameter of D, with graphs that lead to `fake`."""
        D, flat = self.D, self.optimizer.flat
        flat.check("Unrolling", D.parameters())
        flat.backend.host(self._advance)
        theta = tensor(flat.values(), requires_grad=True)
        moments = [Tensor(getattr(self.optimizer, name)) for name in self.optimizer.moments]
        with _buffers_kept(D):
            for live in self._live:
                ahead = D.at(flat.views(theta))
                outputs = (self.objective.judge(ahead, shown) for shown in (real, fake))
                loss = self.objective.discriminator(*outputs)
                if self.penalty is not None:
                    loss = loss + self.penalty(self.objective.critic(ahead), real, fake)
                (g,) = grad(loss, [theta], create_graph=True)
                theta, *moments = self._update(self.optimizer, live, theta, g, *moments)
        return flat.views(theta)

    def generator_step(self, optimizer: Optimizer, real: Tensor, fake: Tensor) -> GeneratorReport:
        """One descent of G, in the place of `adversarial.generator_step`.

        optimizer: G's; fake: G(z), with its graph.
        """
        D, objective = self.D, self.objective
        ahead = D.at(self.weights(real, fake))
        with _buffers_kept(D):
            output = objective.judge(ahead, fake)
            known = objective.judge(ahead, real) if objective.relative else None
            loss = objective.generator(output, known)
        optimizer.step(grad(loss, optimizer.parameters))
        return GeneratorReport(loss.detach(), objective, detached(output))

    def _advance(self):
        for t, live in enumerate(self._live, start=self.optimizer.t + 1):
            live.set(*self._coefficients(self.optimizer, self.optimizer.schedule(t), t))


# The updates of optim.py once more, as functions of tensors.


def _sgd_coefficients(sgd, lr, t):
    return (lr,)


def _sgd(sgd, live, theta, g, u):
    u = u * sgd.momentum + g
    step = g + u * sgd.momentum if sgd.nesterov else u
    return theta - step * live[0], u


def _adam_coefficients(adam, lr, t):
    """α / (1 − β₁ᵗ), 1 / (1 − β₂ᵗ) and 1 − α λ."""
    return lr / (1 - adam.beta1**t), 1 / (1 - adam.beta2**t), 1 - lr * adam.weight_decay


def _adam(adam, live, theta, g, m, v):
    m = m * adam.beta1 + g * (1 - adam.beta1)
    v = v * adam.beta2 + g * g * (1 - adam.beta2)
    root = F.sqrt(v * live[1] + adam.eps**2)
    if adam.weight_decay:
        theta = theta * live[2]
    return theta - m * live[0] / root, m, v


_RULES = {optim.SGD: (_sgd_coefficients, _sgd), optim.Adam: (_adam_coefficients, _adam)}


@contextlib.contextmanager
def _buffers_kept(D: Module):
    """D's running statistics are afterwards what they were."""
    buffers = [getattr(module, key) for module, key in D.named_buffers().values()]
    before = [buffer.copy() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, values in zip(buffers, before, strict=True):
            buffer[...] = values


# --- D remembers what G made before --------------------------------------------------------------


class History:
    """Past samples of G, half of every batch that D sees (Shrivastava et al. 2017, section 2.3).

        history = History(G(Tensor(noise.normal((1024, latent)))), rng=rng)
        …
        discriminator_step(D, optimizer, objective, real, history.mix(fake))

    A D that only ever sees the G of the moment forgets, and G may run in a circle: to a mode, away
    when D comes after it, and back. The buffer costs its memory, and D learns from fewer new
    samples. A checkpoint part; `rng` is another.

    samples: the first that G made, (size, …), or a tuple of them and their conditions, which are
    then kept with each; their number and dtypes stay.
    """

    def __init__(self, samples: Tensor | tuple[Tensor, ...], *, rng: Generator):
        self.parts, self.rng = [part.data.copy() for part in together(samples)], rng

    @property
    def samples(self):
        """The buffer, without conditions."""
        return self.parts[0]

    def mix(self, fake):
        """n/2 of the n samples `fake` (n, …), then n/2 past ones; detached. Of a tuple, a tuple.

        The other half of `fake` take random places in the buffer, after that. The places are one
        in each of n/2 equal parts, so that no two samples get the same. ShapeError unless n is even
        and n/2 divides the size of the buffer.
        """
        shown = [part.detach() for part in together(fake)]
        size, n, half = len(self.samples), len(shown[0]), len(shown[0]) // 2
        fits = [x.shape == (n, *kept.shape[1:]) for x, kept in zip(shown, self.parts, strict=False)]
        if len(shown) != len(self.parts) or not all(fits) or n % 2 or half < 1 or size % half:
            raise ShapeError(
                f"History: got fakes {[x.shape for x in shown]} for a buffer "
                f"{[kept.shape for kept in self.parts]}: expected (n, …) of the same kinds, n even "
                "and n/2 dividing the size of the buffer"
            )
        each, chosen = size // half, self.rng.integers(0, size, half)
        places = self.rng.backend.xp.arange(0, size, each) + self.rng.integers(0, each, half)
        mixed = []
        for x, kept in zip(shown, self.parts, strict=True):
            mixed.append(F.concatenate([x[:half], Tensor(kept[chosen])]))
            kept[places] = x.data[half:]
        return mixed[0] if isinstance(fake, Tensor) else tuple(mixed)

    def state(self) -> dict:
        """The buffer, part by part."""
        names = ["samples", *(f"condition {k}" for k in range(1, len(self.parts)))]
        return dict(zip(names, self.parts, strict=True))

    def load_state(self, state: dict):
        """Takes over `state()` of a history of the same size and shapes."""
        mine = self.state()
        for name, kept in mine.items():
            if state[name].shape != kept.shape:
                raise ValueError(f"{name} has shape {state[name].shape}, expected {kept.shape}")
        for name, kept in mine.items():
            kept[...] = self.rng.backend.asarray(state[name], kept.dtype)


# --- D can't be sure of itself -------------------------------------------------------------------


class InstanceNoise:
    """Noise on what D sees, real and generated (Sønderby et al. 2017; Arjovsky and Bottou 2017).

        x + σ_t ε,      ε ~ N(0, 1) in every value

    Data and samples on thin sets hardly meet, and then a perfect D exists whose gradient is 0
    almost everywhere. Blurred by the same noise they overlap. What G learns is the blurred data's
    distribution made sharp again, as far as σ_t goes to 0; until then fine detail is invisible.

        noise = InstanceNoise(optim.linear_decay(0.1, steps, start=0), rng=rng)
        …
        noise.advance()                                        at the start of each training step
        discriminator_step(D, optimizer, objective, noise(real), noise(fake))
        generator_step(D, optimizer, objective, noise(fake))

    schedule: σ as a function of the step t = 1, 2, …, or a number. A checkpoint part; `rng` is
    another. RuntimeError if there is no first `advance()`.
    """

    def __init__(self, schedule, *, rng: Generator):
        self.schedule = schedule if callable(schedule) else optim.constant(schedule)
        self.rng, self.t = rng, 0
        self.live = rng.backend.live()

    def advance(self):
        """On to the next step's σ."""
        self.rng.backend.host(self._advance)

    def _advance(self):
        self.t += 1
        self.live.set(self.schedule(self.t))

    def __call__(self, x: Tensor) -> Tensor:
        if self.t == 0:
            raise RuntimeError("InstanceNoise: call advance() at the start of each training step")
        return x + Tensor(self.rng.normal(x.shape, dtype=x.dtype) * self.live[0])

    def state(self) -> dict:
        """The step count."""
        return {"t": self.t}

    def load_state(self, state: dict):
        self.t = state["t"]
