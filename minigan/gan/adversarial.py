"""Algorithm 1 of Goodfellow et al. 2014: the two moves of the game.

    for each training iteration:
        k times:
            draw noise z⁽¹⁾ … z⁽ᵐ⁾ and real samples x⁽¹⁾ … x⁽ᵐ⁾
            ascend D's gradient of   1/m Σ ln D(x⁽ⁱ⁾) + ln(1 − D(G(z⁽ⁱ⁾)))    discriminator_step
        draw noise z⁽¹⁾ … z⁽ᵐ⁾
        descend G's gradient of      1/m Σ ln(1 − D(G(z⁽ⁱ⁾)))                 generator_step

The loop itself stands in each example. Both steps take generated samples, not noise, so that one
forward pass of G may serve both, as in the well-known DCGAN script: the discriminator step cuts
the samples off from G (`detach`), and the generator step asks the D that has just moved. Asking
the old D, by keeping its outputs from before its update, raises StaleGraphError.

`real` and `fake` are what D is shown: samples, or a tuple of samples and their conditions, so that
a conditional game is `fake = G(z, y), y` and D(x, y).
"""

from __future__ import annotations

from typing import NamedTuple

from minigan.engine import Tensor, frozen, grad
from minigan.engine.operations import mean
from minigan.gan.losses import Objective, together
from minigan.nn import Module
from minigan.optim import Optimizer


class DiscriminatorReport(NamedTuple):
    """D as it was before the update: on the device (no synchronisation), cut off from the graph.

    The mean scores are computed when they are looked at.
    """

    loss: Tensor
    objective: Objective
    real_output: Tensor
    fake_output: Tensor

    @property
    def real(self) -> Tensor:
        """The mean score D(x)."""
        return mean(self.objective.score(self.real_output))

    @property
    def fake(self) -> Tensor:
        """The mean score D(G(z))."""
        return mean(self.objective.score(self.fake_output))


class GeneratorReport(NamedTuple):
    """G as it was before the update, judged by D as it was after its own."""

    loss: Tensor
    objective: Objective
    fake_output: Tensor

    @property
    def fake(self) -> Tensor:
        """The mean score D(G(z))."""
        return mean(self.objective.score(self.fake_output))


def detached(shown):
    """What D is shown, or what it said of it, cut off from the graph: a tensor or a tuple."""
    if isinstance(shown, Tensor):
        return shown.detach()
    return tuple(part.detach() for part in together(shown))


def discriminator_step(
    D: Module,
    optimizer: Optimizer,
    objective: Objective,
    real: Tensor | tuple[Tensor, ...],
    fake: Tensor | tuple[Tensor, ...],
    *,
    penalty=None,
) -> DiscriminatorReport:
    """One descent of J(D) on a batch of real and a batch of generated samples; G stays as it is.

    penalty: a function of (D, real, fake) added to the loss, such as `gradient_penalty(…)`.
    """
    fake = detached(fake)
    real_output, fake_output = objective.judge(D, real), objective.judge(D, fake)
    loss = objective.discriminator(real_output, fake_output)
    total = loss if penalty is None else loss + penalty(objective.critic(D), real, fake)
    optimizer.step(grad(total, optimizer.parameters))
    outputs = detached(real_output), detached(fake_output)
    return DiscriminatorReport(loss.detach(), objective, *outputs)


def generator_step(
    D: Module,
    optimizer: Optimizer,
    objective: Objective,
    fake: Tensor | tuple[Tensor, ...],
    *,
    real: Tensor | tuple[Tensor, ...] | None = None,
    penalty=None,
) -> GeneratorReport:
    """One descent of J(G) through D(G(z)); D is frozen, so that its own gradients cost nothing.

    fake: G(z), with its graph, or a tuple that begins with it; `optimizer` holds G's parameters.
    real: real samples, which only a `relative` objective looks at: ValueError if it has none.
    penalty: a function of (D, real, fake) added to the loss, such as one of D's features.
    """
    if objective.relative and real is None:
        raise ValueError(
            f"generator_step: the {objective.name} objective compares with real samples: "
            "pass real=…"
        )
    with frozen(D):
        output = objective.judge(D, fake)
        loss = objective.generator(output, objective.judge(D, real) if objective.relative else None)
        total = loss if penalty is None else loss + penalty(objective.critic(D), real, fake)
    optimizer.step(grad(total, optimizer.parameters))
    return GeneratorReport(loss.detach(), objective, detached(output))


LOST = (
    "NaN or infinity: the weights are lost. Resume the last checkpoint, or start again, with lower "
    "learning rates."
)


def diagnose(spread, scores=None) -> str | None:
    """What is going wrong, what it means and what to try, in one line; None if all seems well.

    spread: the standard deviation of G's samples over a batch, averaged over their pixels.
    scores: recent means of D(x) and D(G(z)), if they are probabilities.
    """
    if spread < 0.02:
        return (
            "G's samples hardly differ from each other (mode collapse): G has found one sample "
            "that D accepts. Try another seed, a lower rate for G, or another loss."
        )
    if scores is not None and scores[0] > 0.98 and scores[1] < 0.02:
        return (
            f"D has won: real samples get {scores[0]:.3f} from it and generated ones "
            f"{scores[1]:.3f}, so it tells G little about how to improve. Try a lower rate for D, "
            "a higher one for G, or another loss."
        )
    return None
