"""Two networks that read captions, with which they learn the words (Reed et al. 2016).

A caption is a row of words in numbers, as `data.SCENES[…].captions` has them; where two are given,
what is meant lies half way between them, which is how GAN-INT makes captions that nobody wrote.
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import Tensor
from minigan.engine import functional as F
from minigan.engine.operations import reshape, sum
from minigan.models.conditional import projection
from minigan.models.dcgan import dcgan_discriminator, dcgan_generator
from minigan.nn import (
    BatchNorm,
    Embedding,
    Flatten,
    LeakyReLU,
    Linear,
    MinibatchStd,
    Module,
    Sequential,
    normal,
)

WORD, HIDDEN = 64, 256  # numbers for a word; units between all words and what they say


class CaptionEncoder(Module):
    """What captions say, (n, outputs), from their words in numbers, (n, length).

    words: how many there are. With `order` each is read in its place; otherwise their vectors are
    added up, so that "a red circle left of a blue square" is the same as a blue circle and a red
    square, but what was learnt of a word counts wherever it stands.
    """

    def __init__(self, outputs, *, words, length, order=False, rng: Generator):
        self.order = order
        self.words = Embedding(words, WORD, rng=rng, init=normal(0.3))
        inner = [Linear(length * WORD, HIDDEN, rng=rng), LeakyReLU(0.2)] if order else []
        self.read = Sequential(*inner, Linear(HIDDEN if order else WORD, outputs, rng=rng))

    def forward(self, words: Tensor, others: Tensor | None = None):
        if others is not None:
            return 0.5 * (self.forward(words) + self.forward(others))
        vectors = self.words(words)
        return self.read(reshape(vectors, (len(words), -1)) if self.order else sum(vectors, 1))


class CaptionGenerator(Module):
    """G(z, words): a DCGAN whose noise (n, latent) is joined by `text` numbers for the caption.

    reader: the options of a `CaptionEncoder`; shape: those of `dcgan_generator`.
    """

    def __init__(self, reader: dict, *, rng: Generator, latent=32, text=64, **shape):
        self.text = CaptionEncoder(text, rng=rng, **reader)
        self.draw = dcgan_generator(rng=rng, latent=latent + text, **shape)

    def forward(self, z, *words):
        return self.draw(F.concatenate([z, self.text(*words)], 1))


class CaptionDiscriminator(Module):
    """D(x, words) = w·f + ⟨t, f⟩ / √n, logits (k, 1): f are an image's n features, t is what its
    caption says, in as many numbers. The second term is a projection (Miyato and Koyama 2018).

    reader: the options of a `CaptionEncoder`. Images are 28 × 28. `group` that follow each other
    have one caption, and a feature says how much they differ: without it, as with a group of 1, D
    can't tell a G that makes one image of each caption, whatever z is. `look` gives f and `judge`
    the verdict on it, so that an image that was looked at once is held against several captions.
    """

    def __init__(self, reader: dict, *, rng: Generator, channels=3, width=24, hidden=256, group=4):
        init = normal(0.02)
        look = list(dcgan_discriminator(rng=rng, channels=channels, width=width))[:-2]
        compare = [MinibatchStd(group)] if group > 1 else []
        self.look = Sequential(
            *look,
            *compare,
            Flatten(),
            Linear(7 * 7 * (2 * width + len(compare)), hidden, rng=rng, init=init, bias=False),
            BatchNorm(hidden, rng=rng),
            LeakyReLU(0.2),
        )
        self.real = Linear(hidden, 1, rng=rng, init=init)
        self.text = CaptionEncoder(hidden, rng=rng, **reader)

    def forward(self, x, *words):
        return self.judge(self.look(x), *words)

    def judge(self, features, *words):
        """The verdict on images of which features (n, hidden) are known."""
        fits = projection(self.text(*words), features)
        return self.real(features) + fits
