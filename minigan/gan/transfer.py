"""Domain transfer: one generator, two domains, and a D of three classes (Taigman et al. 2017)."""

from __future__ import annotations

from minigan.engine import ShapeError, Tensor
from minigan.engine import functional as F
from minigan.engine.operations import mean
from minigan.gan.losses import Objective, softmax_cross_entropy, together

FROM_SOURCE, FROM_TARGET, TARGET = range(3)  # D's classes


class DomainTransfer(Objective):
    """The game of DTN (Taigman et al. 2017, eqs. 3 and 4): what is it, and what was it made from?

        J(D) = −E ln D₁(G(s)) − E ln D₂(G(t)) − E ln D₃(t)
        J(G) = −E ln D₃(G(s)) − E ln D₃(G(t))

    D tells G's images of the source domain, its images of the target domain, and target images
    themselves apart. What is shown as fake is the pair (G(s), G(t)), as real it is t; D returns
    logits (n, 3), and ShapeError is raised for any other number of classes: a D that says real or
    fake plays another game. What D tells of an image is its D₃.

    Nothing here asks G(s) to be of s: that is for terms of its own, with which J(G) is added up.
    """

    name = "domain transfer"
    probabilistic = True

    def judge(self, D, shown):
        """D's logits (n, 3) of each tensor that is shown: one, or a pair."""
        outputs = tuple(D(images) for images in together(shown))
        for output in outputs:
            if output.ndim != 2 or output.shape[1] != 3:
                raise ShapeError(
                    f"the domain transfer objective: D returned {output.shape}, expected (n, 3): "
                    "it has three classes, G(s), G(t) and t"
                )
        return outputs[0] if isinstance(shown, Tensor) else outputs

    def discriminator(self, real, fake):
        from_source, from_target = fake
        fakes = _said(from_source, FROM_SOURCE) + _said(from_target, FROM_TARGET)
        return fakes + _said(real, TARGET)

    def matching(self, real, fake, wrong):
        raise ValueError(
            "matching: the domain transfer objective can't take wrong=…: no conditions"
        )

    def generator(self, fake, real=None):
        from_source, from_target = fake
        return _said(from_source, TARGET) + _said(from_target, TARGET)

    def score(self, output):
        """D₃, the probability of being a target image: (n,), of a pair (2n,)."""
        return F.softmax(F.concatenate(together(output)))[:, TARGET]


def _said(logits, domain):
    """−E ln of D's probability of one class for all."""
    labels = logits.backend.xp.full(len(logits), domain)
    return softmax_cross_entropy(logits, labels)


def image_variation(images: Tensor) -> Tensor:
    """The total variation of images (n, h, w, c), a scalar (Taigman et al. 2017, eq. 8 with B = 1).

        E √((x[i, j+1] − x[i, j])² + (x[i+1, j] − x[i, j])²)

    The mean over images, channels and pixels that have both neighbours, where the paper has sums;
    10⁻¹² stands under the root. To be added to J(G): it takes speckle away, and edges as well.
    """
    here = images[:, :-1, :-1]
    right, below = images[:, :-1, 1:] - here, images[:, 1:, :-1] - here
    return mean(F.sqrt(right * right + below * below + 1e-12))
