"""Objectives that use what D returns beside its verdict: its features, or the class it names."""

from __future__ import annotations

from minigan.engine import Tensor
from minigan.gan.losses import Objective, softmax_cross_entropy, together


class WithFeatures(Objective):
    """A source's game on D's verdict, for a D that returns more: (verdict, …), in one pass.

    By itself it plays the source's game. An objective that uses the rest, without asking D again,
    is a sub-class. So D's features can be matched (see `feature_matching`) in the very pass that
    judges:

        class Matching(WithFeatures):
            relative = True                                    G's side looks at real samples

            def generator(self, fake, real=None):
                return super().generator(fake, real) + feature_matching(real[1], fake[1])
    """

    def __init__(self, source: Objective):
        self.source = source
        self.name = f"{source.name} with features"
        self.probabilistic = source.probabilistic
        self.relative = source.relative or self.relative

    def judge(self, D, shown):
        """What D returns. TypeError for a verdict alone, whose rows would pass for features."""
        output = super().judge(D, shown)
        if isinstance(output, Tensor):
            raise TypeError(
                f"the {self.name} objective: D returned one tensor, expected a tuple that begins "
                f"with its verdict; for the verdict alone take {self.source.name}"
            )
        return output

    def discriminator(self, real, fake):
        return self.source.discriminator(real[0], fake[0])

    def generator(self, fake, real=None):
        return self.source.generator(fake[0], None if real is None else real[0])

    def score(self, output):
        return self.source.score(output[0])


class AuxiliaryClassifier(WithFeatures):
    """AC-GAN (Odena et al. 2017, eqs. 2 and 3): D also names the class, and G helps it to.

        J(D) = source's J(D) + CE(x) + CE(G(z, c)),      J(G) = source's J(G) + CE(G(z, c))

    CE is D's `softmax_cross_entropy` in naming the class that a sample has, or was made for. What
    is shown is a pair (samples, labels (n,)), of which D sees the samples alone; its output is a
    pair too, (source (n, 1), classes (n, k)). At the optimum G does not make p_d: it prefers
    samples whose class is beyond doubt, the less varied the larger `weight` (Gong et al. 2019).
    """

    def __init__(self, source: Objective, *, weight=1.0):
        super().__init__(source)
        self.name, self.weight = f"{source.name} with classes", weight

    def judge(self, D, shown):
        """D's output for the source, and its cross-entropy in naming the classes."""
        samples, labels = shown
        source, classes = super().judge(D, samples)
        return source, softmax_cross_entropy(classes, labels)

    def seen(self, shown):
        return together(shown)[0]

    def discriminator(self, real, fake):
        return super().discriminator(real, fake) + self.weight * (real[1] + fake[1])

    def matching(self, real, fake, wrong):
        raise ValueError(
            f"matching: the {self.name} objective can't take wrong=…: its D does not see the "
            "label, and would learn to name the wrong class: show labels to a D(x, y) of the "
            f"{self.source.name} objective instead"
        )

    def generator(self, fake, real=None):
        return super().generator(fake, real) + self.weight * fake[1]
