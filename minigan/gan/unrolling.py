"""Unrolling: G takes D's answer into account."""

from __future__ import annotations

import contextlib

from minigan.engine import Tensor, grad, tensor
from minigan.engine import functional as F
from minigan.engine.checks import whole_number
from minigan.gan.adversarial import GeneratorReport, discriminator_loss, generator_loss
from minigan.gan.losses import Objective
from minigan.nn import Module
from minigan.optim import Optimizer


class Unrolling:
    """G's step against D as it will be K steps later, were G to stay (Metz et al. 2017).

        θ⁰ = θ,      θᵏ⁺¹ = θᵏ − α u(∇ J(D; θᵏ, G))
        G descends J(G; θᴷ(G), G)

    The gradient goes through all K updates too, by differentiating them, so G is told how D would
    answer: samples piled up on one mode would be rejected K steps later. D itself does not move.
    The K steps are those that D's optimiser would make next, with its moments and learning rates,
    on the batch given. They cost K steps of D and a second differentiation of each.

    D: its optimiser must hold D's parameters and be an SGD or an Adam, which has √(v̂ + ε²) here.
    objective, penalty: what D's own steps minimise. penalty(D, real, fake) is differentiated again.
    """

    def __init__(
        self, D: Module, optimizer: Optimizer, objective: Objective, *, steps, penalty=None
    ):
        steps = whole_number("Unrolling: steps", steps, 1)
        if "ahead" not in vars(type(optimizer)):  # one that is inherited may be another rule's
            raise TypeError(
                f"Unrolling: got a {type(optimizer).__name__}, which can't be differentiated: "
                "expected SGD or Adam"
            )
        if list(map(id, optimizer.parameters)) != list(map(id, D.parameters())):
            raise ValueError("Unrolling: the optimiser holds other parameters than D's")
        self.D, self.optimizer, self.objective, self.penalty = D, optimizer, objective, penalty
        self._live = [optimizer.flat.backend.live() for _ in range(steps)]

    def weights(self, real: Tensor, fake: Tensor, *, wrong=None) -> list[Tensor]:
        """θᴷ, a tensor for each parameter of D, with graphs that lead to `fake`."""
        D, flat = self.D, self.optimizer.flat
        flat.check("Unrolling", D.parameters())
        flat.backend.host(self._advance)
        theta = tensor(flat.values(), requires_grad=True)
        moments = [Tensor(getattr(self.optimizer, name)) for name in self.optimizer.moments]
        with _buffers_kept(D):
            for live in self._live:
                ahead = D.at(flat.views(theta))
                loss, _ = discriminator_loss(
                    *(ahead, self.objective, real, fake), wrong=wrong, penalty=self.penalty
                )
                (g,) = grad(loss, [theta], create_graph=True)
                g = F.mean_over_ranks(g)
                theta, *moments = self.optimizer.ahead(live, theta, g, *moments)
        return flat.views(theta)

    def generator_step(
        self, optimizer: Optimizer, real: Tensor, fake: Tensor, *, wrong=None
    ) -> GeneratorReport:
        """One descent of G, in the place of `adversarial.generator_step`.

        optimizer: G's; fake: G(z), with its graph; wrong: as D's own steps are given it.
        """
        ahead = self.D.at(self.weights(real, fake, wrong=wrong))
        with _buffers_kept(self.D):
            loss, report = generator_loss(ahead, self.objective, fake, real=real)
        optimizer.descend(loss)
        return report

    def _advance(self):
        optimizer = self.optimizer
        for t, live in enumerate(self._live, start=optimizer.t + 1):
            live.set(*optimizer.coefficients(optimizer.schedule(t), t))


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
