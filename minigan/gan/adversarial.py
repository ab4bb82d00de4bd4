"""Algorithm 1 of Goodfellow et al. 2014: the two moves of the game.

    for each training iteration:
        k times:
            draw noise z⁽¹⁾ … z⁽ᵐ⁾ and real samples x⁽¹⁾ … x⁽ᵐ⁾
            ascend D's gradient of   1/m Σ ln D(x⁽ⁱ⁾) + ln(1 − D(G(z⁽ⁱ⁾)))    discriminator_step
        draw noise z⁽¹⁾ … z⁽ᵐ⁾
        descend G's gradient of      1/m Σ ln(1 − D(G(z⁽ⁱ⁾)))                 generator_step

G is an implicit model: it draws samples, x = G(z), and nobody has a formula for their density p_g.
So nothing here asks how likely x is under G, as maximum likelihood would; G learns from the slope
of D at its samples. What both look for is a Nash equilibrium, a pair of which neither gains by
moving alone: p_g = p_data, where the best D answers ½ everywhere. It is a saddle of the game's
value and no minimum, and two players who each descend need not come to it: examples/stability has
what happens then.

The loop itself stands in each example. Both steps take generated samples, not noise, so that one
forward pass of G may serve both, as in the well-known DCGAN script: the discriminator step cuts
the samples off from G (`detach`), and the generator step asks the D that has just moved. Asking
the old D, by keeping its outputs from before its update, raises StaleGraphError.

`real` and `fake` are what D is shown: samples, or a tuple of samples and their conditions, so that
a conditional game is `fake = G(z, y), y` and D(x, y).

A game of several networks is a sum of losses: each step is its loss, then a descent of it. So two
discriminators under one optimiser, as CycleGAN has them, and two generators under another, are

    loss_x, seen_x = discriminator_loss(D_x, objective, x, fake_x.detach())
    loss_y, seen_y = discriminator_loss(D_y, objective, y, fake_y.detach())
    D_optimizer.descend(loss_x + loss_y)
    loss_x, _ = generator_loss(D_x, objective, fake_x)
    loss_y, _ = generator_loss(D_y, objective, fake_y)
    G_optimizer.descend(loss_x + loss_y + 10.0 * there_and_back)
"""

from __future__ import annotations

from typing import NamedTuple

from minigan.engine import Tensor, frozen
from minigan.engine.operations import mean
from minigan.gan.losses import Objective
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
    wrong_output: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """The mean score D(x)."""
        return mean(self.objective.score(self.real_output))

    @property
    def fake(self) -> Tensor:
        """The mean score D(G(z))."""
        return mean(self.objective.score(self.fake_output))

    @property
    def wrong(self) -> Tensor | None:
        """The mean score of real samples with foreign conditions, if there were any."""
        return None if self.wrong_output is None else mean(self.objective.score(self.wrong_output))


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
    if isinstance(shown, (tuple, list)):
        return tuple(map(detached, shown))
    return shown.detach() if isinstance(shown, Tensor) else shown


def discriminator_loss(
    D: Module,
    objective: Objective,
    real: Tensor | tuple[Tensor, ...],
    fake: Tensor | tuple[Tensor, ...],
    *,
    wrong: Tensor | tuple[Tensor, ...] | None = None,
    penalty=None,
) -> tuple[Tensor, DiscriminatorReport]:
    """J(D) with its penalty, to be descended, and the report of it: see `discriminator_step`.

    For games that a step can't play: of several D under one optimiser, or with further terms.
    """
    real_output, fake_output = objective.judge(D, real), objective.judge(D, fake)
    wrong_output = None if wrong is None else objective.judge(D, wrong)
    if wrong is None:
        loss = objective.discriminator(real_output, fake_output)
    else:
        loss = objective.matching(real_output, fake_output, wrong_output)
    total = loss if penalty is None else loss + penalty(D, *map(objective.seen, (real, fake)))
    outputs = (detached(output) for output in (real_output, fake_output, wrong_output))
    return total, DiscriminatorReport(loss.detach(), objective, *outputs)


def discriminator_step(
    D: Module,
    optimizer: Optimizer,
    objective: Objective,
    real: Tensor | tuple[Tensor, ...],
    fake: Tensor | tuple[Tensor, ...],
    *,
    wrong: Tensor | tuple[Tensor, ...] | None = None,
    penalty=None,
) -> DiscriminatorReport:
    """One descent of J(D) on a batch of real and a batch of generated samples; G stays as it is.

    wrong: real samples with foreign conditions, such as another picture's caption, for D to tell
    from those that match: half of what counts as fake (`Objective.matching`).
    penalty: a function of (D, real, fake) added to the loss, such as `gradient_penalty(…)`.
    """
    fake = detached(fake)
    loss, report = discriminator_loss(D, objective, real, fake, wrong=wrong, penalty=penalty)
    optimizer.descend(loss)
    return report


def generator_loss(
    D: Module,
    objective: Objective,
    fake: Tensor | tuple[Tensor, ...],
    *,
    real: Tensor | tuple[Tensor, ...] | None = None,
    penalty=None,
) -> tuple[Tensor, GeneratorReport]:
    """J(G) with its penalty, to be descended, and the report of it: see `generator_step`."""
    if objective.relative and real is None:
        raise ValueError(
            f"generator_step: the {objective.name} objective compares with real samples: "
            "pass real=…"
        )
    with frozen(D):
        output = objective.judge(D, fake)
        loss = objective.generator(output, objective.judge(D, real) if objective.relative else None)
        total = loss if penalty is None else loss + penalty(D, *map(objective.seen, (real, fake)))
    return total, GeneratorReport(loss.detach(), objective, detached(output))


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
    loss, report = generator_loss(D, objective, fake, real=real, penalty=penalty)
    optimizer.descend(loss)
    return report
