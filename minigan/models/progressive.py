"""Two networks that grow: from small images to large ones, level by level (Karras et al. 2018).

    G, D = (kind(rng=rng, size=64) for kind in (ProgressiveGenerator, ProgressiveDiscriminator))
    G.sizes                                    (4, 8, 16, 32, 64): the image's side at each level
    G(z, 2), D(x, 2)                           16 × 16
    G(z, 3, fade), D(x, 3, fade)               32 × 32, and that part of it new; the rest enlarged
    Adam(G.in_play(3, fading=True))            what these two depend on

All levels are built at once, and the level and `fade` come with each call: a number, or one that
changes from step to step (`optim.Scheduled`), so that a captured step goes on through a fade. As
conditions they travel beside the images in a tuple: discriminator_step(D, …, (x, 3, fade), …).
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import functional as F
from minigan.models.dcgan import halvings
from minigan.nn import (
    AvgPool2d,
    Conv2d,
    Equalised,
    Flatten,
    LeakyReLU,
    Linear,
    MinibatchStd,
    Module,
    Parameter,
    PixelNorm,
    Reshape,
    Sequential,
    Upsample,
)


def faded(old, new, fade):
    """old + fade · (new − old): fade goes from 0 to 1."""
    return old + (new - old) * fade


def shrunk(images, size, fade=None):
    """Real images as a level sees them: means over squares, (n, h, h, c) -> (n, size, size, c).

    With a `fade` they are sharp in part only, as those are that G makes by then: what is not yet
    faded in is the half-size image, enlarged.
    """
    small = F.avg_pool2d(images, images.shape[1] // size)
    if fade is None:
        return small
    return faded(F.upsample_nearest(F.avg_pool2d(small, 2), 2), small, fade)


class _Growing(Module):
    """What both share: `blocks` and `colours`, one for each level, the smallest first.

    Channels are `width` at the largest level and double from one to the next smaller, up to `most`.
    """

    def __init__(self, size, width, most):
        start, stages = halvings(size)
        self.sizes = tuple(start * 2**k for k in range(stages + 1))
        self.channels = [min(most, width * 2**k) for k in reversed(range(stages + 1))]

    def in_play(self, level, *, fading=False) -> list[Parameter]:
        """The parameters on which the images or verdicts of a level depend, for its optimiser."""
        parts = [*self.blocks[: level + 1], *self.colours[level - fading : level + 1]]
        return [p for part in parts for p in part.parameters()]

    def _level(self, level, fade) -> int:
        """The level, by default the last. ValueError if there is none, or none before to fade."""
        level = len(self.sizes) - 1 if level is None else level
        if not (fade is not None) <= level < len(self.sizes):
            what = "level" if fade is None else "level to fade in"
            sizes = ", ".join(map(str, self.sizes))
            raise ValueError(f"{type(self).__name__}: {what} {level}: there are {sizes}, from 0 on")
        return level


class ProgressiveGenerator(_Growing):
    """G(z, level, fade): z (n, latent) -> images (n, s, s, channels), s = sizes[level].

    Each level doubles the image and has `depth` convolutions of 3 × 3, two in the paper, with
    LeakyReLU and pixel norm; z is pixel-normed as well. Colours are linear, so they may lie beyond
    [−1, 1]. Without a level it is the last one. Weights: see `nn.Equalised`.
    """

    def __init__(
        self, *, rng: Generator, size=64, channels=3, latent=64, width=16, most=64, depth=2
    ):
        super().__init__(size, width, most)
        start, first = self.sizes[0], self.channels[0]

        def convolutions(inputs, outputs, count):
            each = [inputs] + [outputs] * (count - 1)
            made = (Equalised(Conv2d, n, outputs, 3, padding=1, rng=rng) for n in each[:count])
            return [layer for conv in made for layer in (conv, LeakyReLU(0.2), PixelNorm())]

        self.blocks = [
            Sequential(
                *(PixelNorm(), Equalised(Linear, latent, start * start * first, rng=rng)),
                *(Reshape(start, start, first), LeakyReLU(0.2), PixelNorm()),
                *convolutions(first, first, max(1, depth - 1)),
            )
        ]
        for inputs, outputs in zip(self.channels, self.channels[1:], strict=False):
            self.blocks.append(Sequential(Upsample(2), *convolutions(inputs, outputs, depth)))
        self.colours = [Equalised(Conv2d, n, channels, 1, gain=1, rng=rng) for n in self.channels]

    def forward(self, z, level=None, fade=None):
        level, h = self._level(level, fade), z
        for block in self.blocks[:level]:
            h = block(h)
        new = self.colours[level](self.blocks[level](h))
        if fade is None:
            return new
        return faded(F.upsample_nearest(self.colours[level - 1](h), 2), new, fade)


class ProgressiveDiscriminator(_Growing):
    """D(x, level, fade): images (n, s, s, channels), s = sizes[level] -> verdicts (n, 1).

    The generator's mirror image, with means over 2 × 2 pixels in the place of doubling, and no
    norms. At the smallest level `group` samples that follow each other are compared: see
    `nn.MinibatchStd`.
    """

    def __init__(self, *, rng: Generator, size=64, channels=3, width=16, most=64, depth=2, group=4):
        super().__init__(size, width, most)
        start, first = self.sizes[0], self.channels[0]

        def convolution(inputs, outputs):
            return Equalised(Conv2d, inputs, outputs, 3, padding=1, rng=rng), LeakyReLU(0.2)

        self.blocks = [
            Sequential(
                *(MinibatchStd(group), *convolution(first + 1, first), Flatten()),
                *(Equalised(Linear, start * start * first, first, rng=rng), LeakyReLU(0.2)),
                Equalised(Linear, first, 1, gain=1, rng=rng),
            )
        ]
        for outputs, inputs in zip(self.channels, self.channels[1:], strict=False):
            same = [layer for _ in range(depth - 1) for layer in convolution(inputs, inputs)]
            self.blocks.append(Sequential(*same, *convolution(inputs, outputs), AvgPool2d(2)))
        self.colours = [
            Sequential(Equalised(Conv2d, channels, n, 1, rng=rng), LeakyReLU(0.2))
            for n in self.channels
        ]

    def forward(self, x, level=None, fade=None):
        level = self._level(level, fade)
        h = self.colours[level](x)
        if level:
            h = self.blocks[level](h)
        if fade is not None:
            h = faded(self.colours[level - 1](F.avg_pool2d(x, 2)), h, fade)
        for block in reversed(self.blocks[1:level]):
            h = block(h)
        return self.blocks[0](h)
