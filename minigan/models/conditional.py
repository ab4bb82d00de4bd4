"""Networks that are told a class: a DCGAN's, with the label joined in (Mirza and Osindero 2014).

A label is an integer; G also takes a mixture of classes, and so goes from one to another. Of the
ways in which D may learn of the label there are three, all with the same convolutions:

    ProjectionDiscriminator   D(x, y)   compares its features with the class's own (the best here)
    JoinedDiscriminator       D(x, y)   sees the label as further channels of the image
    NamingDiscriminator       D(x)      is not told, and names the class: `gan.AuxiliaryClassifier`
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import Tensor
from minigan.engine import functional as F
from minigan.models.dcgan import dcgan_discriminator, dcgan_generator
from minigan.nn import Embedding, Linear, Module, normal


class ConditionalGenerator(Module):
    """DCGAN's generator on z with the class: z (n, latent), y -> images (n, size, size, channels).

    y: labels, integers (n,), or mixtures of the classes, floats (n, classes) that sum to 1.
    The other arguments are those of `dcgan_generator`.
    """

    def __init__(self, *, rng: Generator, classes=10, latent=64, name="G", **shape):
        self.classes, self.name = classes, name
        self.net = dcgan_generator(rng=rng, latent=latent + classes, **shape)

    def forward(self, z, y):
        told = y if y.ndim == 2 else F.one_hot(y, self.classes)
        return self.net(F.concatenate([z, told], 1))


def projection(told, features):
    """⟨told, features⟩ / √d, both (n, d), a number for each image (n, 1): do they fit each other?

    Divided by √d: `told` would else be learnt so much faster than the rest of D that D wins before
    G draws a stroke.
    """
    return (told * features).sum(1, keepdims=True) / features.shape[1] ** 0.5


class ProjectionDiscriminator(Module):
    """D(x, y) = w·φ(x) + ⟨e_y, φ(x)⟩ / √d, a logit (n, 1) (Miyato and Koyama 2018, eq. 3).

    φ are the d features of DCGAN's discriminator, of which the first term asks whether x is real,
    and the second, by a vector e_y of each class, whether it is a y.
    The other arguments are those of `dcgan_discriminator`.
    """

    def __init__(self, *, rng: Generator, classes=10, name="D", **shape):
        net = dcgan_discriminator(rng=rng, **shape)
        self.name, self.features, self.verdict = name, net[:-1], net[-1]
        self.of_class = Embedding(classes, len(self.verdict.weight), rng=rng, init=normal(0.02))

    def forward(self, x, y):
        found = self.features(x)
        named = projection(self.of_class(y), found)
        return self.verdict(found) + named


class JoinedDiscriminator(Module):
    """D(x, y) that sees the label with the image, one channel of ones and the rest of zeros.

    A logit (n, 1). The other arguments are those of `dcgan_discriminator`.
    """

    def __init__(self, *, rng: Generator, classes=10, channels=1, name="D", **shape):
        self.classes, self.name = classes, name
        self.net = dcgan_discriminator(rng=rng, channels=channels + classes, **shape)

    def forward(self, x, y):
        return self.net(F.concatenate([x, F.tile_over(F.one_hot(y, self.classes), x)], -1))


class NamingDiscriminator(Module):
    """D(x) -> logits of being real (n, 1), and of each class (n, classes) (Odena et al. 2017).

    The other arguments are those of `dcgan_discriminator`.
    """

    def __init__(self, *, rng: Generator, classes=10, name="D", **shape):
        net = dcgan_discriminator(rng=rng, **shape)
        self.name, self.features, self.verdict = name, net[:-1], net[-1]
        self.names = Linear(len(self.verdict.weight), classes, rng=rng, init=normal(0.02))

    def forward(self, x) -> tuple[Tensor, Tensor]:
        found = self.features(x)
        return self.verdict(found), self.names(found)
