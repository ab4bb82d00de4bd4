"""BigGAN's two networks, of residual blocks, for images of any size (Brock et al. 2019).

Each of its ingredients can be left out, to see what it is for. The channels double while the sides
halve, from `width` at full size to at most 16 times that, as the paper's do at 128 × 128; at one of
the sizes between there is attention.
"""

from __future__ import annotations

import functools

from minigan.backend import Generator
from minigan.engine import conv2d, conv_transpose2d
from minigan.engine import functional as F
from minigan.engine.operations import sum, transpose
from minigan.models.dcgan import halvings
from minigan.nn import (
    BatchNorm,
    ConditionalBatchNorm,
    Conv2d,
    Embedding,
    Linear,
    Module,
    Reshape,
    SelfAttention,
    SpectralNorm,
    orthogonal,
)

MOST = 16  # times `width`, the channels of the smallest images


# --- Blocks --------------------------------------------------------------------------------------


def _wider(w):
    """Filters of 4 × 4 that do to pixels what those of 3 × 3 do to all of 2 × 2 equal ones."""
    w = F.pad(w, [(1, 0), *[(0, 0)] * 3]) + F.pad(w, [(0, 1), *[(0, 0)] * 3])
    return F.pad(w, [(0, 0), (1, 0), *[(0, 0)] * 2]) + F.pad(w, [(0, 0), (0, 1), *[(0, 0)] * 2])


class _UpThenConv(Conv2d):
    """Enlargement by two, then a convolution of 3 × 3, in one: 16 products instead of 36."""

    def apply(self, x, weight):
        turned = transpose(_wider(weight[::-1, ::-1]), (0, 1, 3, 2))
        return conv_transpose2d(x, turned, self.bias, stride=2, padding=1)


class _ConvThenPool(Conv2d):
    """A convolution of 3 × 3, then the mean over 2 × 2, in one: 16 products instead of 36."""

    def apply(self, x, weight):
        return conv2d(x, _wider(weight) * 0.25, self.bias, stride=2, padding=1)


class _Made:
    """How a network's layers are made: with which weights, and whether under a spectral norm."""

    def __init__(self, rng: Generator, init, spectral):
        self.rng, self.init = rng, init
        self.wrap = functools.partial(SpectralNorm, rng=rng) if spectral else lambda layer: layer

    def __call__(self, kind, *sizes, **options):
        return self.wrap(kind(*sizes, rng=self.rng, init=self.init, **options))

    def attention(self, channels):
        return SelfAttention(channels, rng=self.rng, init=self.init, wrap=self.wrap)

    def norm(self, channels, told):
        """A batch norm, conditional if there are numbers to be told."""
        if not told:
            return BatchNorm(channels, rng=self.rng)
        how = {"rng": self.rng, "init": self.init, "wrap": self.wrap}
        return ConditionalBatchNorm(channels, told, **how)


def _normed(norm, x, c):
    return norm(x, c) if isinstance(norm, ConditionalBatchNorm) else norm(x)


class UpBlock(Module):
    """G's: (n, h, w, inputs) -> (n, 2h, 2w, outputs), as it is told by c (n, told).

    skip(up(x)) + conv(ReLU(norm(conv(up(ReLU(norm(x)))))), convolutions of 3 × 3, the skip's of
    1 × 1, which is done before the enlargement, as that changes nothing but the time. No biases:
    the norm of what comes next takes them away. told: 0 for plain batch norms, and no c.
    """

    def __init__(self, inputs, outputs, told=0, *, rng: Generator, init=None, spectral=True):
        make = _Made(rng, init, spectral)
        self.norm, self.next_norm = make.norm(inputs, told), make.norm(outputs, told)
        self.first = make(_UpThenConv, inputs, outputs, 3, bias=False)
        self.second = make(Conv2d, outputs, outputs, 3, padding=1, bias=False)
        self.skip = make(Conv2d, inputs, outputs, 1, bias=False)

    def forward(self, x, c=None):
        y = self.first(F.relu(_normed(self.norm, x, c)))
        y = self.second(F.relu(_normed(self.next_norm, y, c)))
        return y + F.upsample_nearest(self.skip(x), 2)


class DownBlock(Module):
    """D's: (n, h, w, inputs) -> (n, h/2, w/2, outputs), or of the same size unless it is `down`.

    skip(pool(x)) + pool(conv(ReLU(conv(ReLU(x))))), with means over 2 × 2 pixels. first: images
    come in, which are not to lose what is below 0: no ReLU before. Without `down` and with as many
    outputs as inputs the skip is x itself.
    """

    def __init__(
        self, inputs, outputs, *, rng: Generator, init=None, spectral=True, down=True, first=False
    ):
        make = _Made(rng, init, spectral)
        self.down, self.begins = down, first
        self.first = make(Conv2d, inputs, outputs, 3, padding=1)
        self.second = make(_ConvThenPool if down else Conv2d, outputs, outputs, 3, padding=1)
        learnt = down or inputs != outputs
        self.skip = make(Conv2d, inputs, outputs, 1) if learnt else None

    def forward(self, x):
        y = self.second(F.relu(self.first(x if self.begins else F.relu(x))))
        x = F.avg_pool2d(x, 2) if self.down else x
        return y + (x if self.skip is None else self.skip(x))


# --- Networks ------------------------------------------------------------------------------------


def _channels(width, stages) -> list[int]:
    """From the full size to the smallest: width, 2 · width, 4 · width …"""
    return [width * min(2**stage, MOST) for stage in range(stages)]


class BigGANGenerator(Module):
    """G(z, y): noise (n, latent), labels (n,) -> images (n, size, size, channels) in [−1, 1].

    z is cut into as many chunks as there are blocks, and one more. The first makes a small image
    with many channels; each block is told its own with the class: y's embedding, which all share,
    and the chunk are what its conditional norms' scales and shifts are linear in. So both speak at
    every size. Then batch norm, ReLU, a convolution and tanh. Weights start orthogonal unless
    `init` says otherwise.

    The first layer's bias is the small image that a truncated z comes near to. Without it, batch
    norms that are told of a small z would make it large again, and t would trade little.

    attention     the side of the images at which there is some; None: nowhere
    spectral      whether every weight but the embedding's is under a spectral norm
    conditional   without, plain batch norms, and all of z comes in with the class at the beginning
    chunks        without, all of z comes in at the beginning, and the norms are told the class

    ValueError if z can't be cut, or if no block's images have the side `attention`.
    """

    def __init__(
        self,
        *,
        rng: Generator,
        size=28,
        channels=1,
        latent=60,
        width=16,
        classes=10,
        embedded=32,
        attention=None,
        spectral=True,
        conditional=True,
        chunks=True,
        init=None,
        name="G",
    ):
        start, stages = halvings(size)
        init = init or orthogonal()
        make = _Made(rng, init, spectral)
        self.name, self.classes, self.conditional = name, classes, conditional
        self.parts = _parts(latent, stages + 1 if conditional and chunks else 1)
        outputs = _channels(width, stages)[::-1]
        inputs = [outputs[0], *outputs[:-1]]
        each = latent // len(self.parts)
        told = embedded + (each if len(self.parts) > 1 else 0) if conditional else 0
        self.of_class = Embedding(classes, embedded, rng=rng, init=init)
        entering = each if conditional else each + embedded
        self.begin = make(Linear, entering, start * start * inputs[0])
        self.small = Reshape(start, start, inputs[0])
        how = {"rng": rng, "init": init, "spectral": spectral}
        self.blocks = [UpBlock(a, b, told, **how) for a, b in zip(inputs, outputs, strict=True)]
        sizes = [start * 2 ** (k + 1) for k in range(stages)]
        self.looks = _looks(make, attention, sizes, outputs)
        self.norm = BatchNorm(width, rng=rng)
        self.end = make(Conv2d, width, channels, 3, padding=1)

    def forward(self, z, y):
        e = self.of_class(y)
        first, *others = (z[:, part] for part in self.parts)
        x = self.small(self.begin(first if self.conditional else F.concatenate([first, e], 1)))
        for k, block in enumerate(self.blocks):
            c = F.concatenate([e, others[k]], 1) if others else e
            x = block(x, c if self.conditional else None)
            x = self.looks[str(k)](x) if str(k) in self.looks else x
        return F.tanh(self.end(F.relu(self.norm(x))))


class BigGANDiscriminator(Module):
    """D(x, y) = w·φ(x) + b + ⟨e_y, φ(x)⟩, a logit (n, 1): blocks, ReLU, and the sum over pixels, φ.

    A block for each halving and one more. Projection (Miyato and Koyama 2018) is not divided by √d
    here, as a spectral norm bounds e as it does w. Other arguments as of `BigGANGenerator`.

    projection    without, the class lies under the image as further channels, one of them of ones
    """

    def __init__(
        self,
        *,
        rng: Generator,
        size=28,
        channels=1,
        width=16,
        classes=10,
        attention=None,
        spectral=True,
        projection=True,
        init=None,
        name="D",
    ):
        start, stages = halvings(size)
        init = init or orthogonal()
        make = _Made(rng, init, spectral)
        self.name, self.classes = name, classes
        outputs = _channels(width, stages)
        inputs = [channels + (0 if projection else classes), *outputs[:-1]]
        how = {"rng": rng, "init": init, "spectral": spectral}
        self.blocks = [
            DownBlock(a, b, first=not k, **how)
            for k, (a, b) in enumerate(zip(inputs, outputs, strict=True))
        ]
        sizes = [start * 2**k for k in reversed(range(stages))]
        self.looks = _looks(make, attention, sizes, outputs)
        self.last = DownBlock(outputs[-1], outputs[-1], down=False, **how)
        self.verdict = make(Linear, outputs[-1], 1)
        self.of_class = make(Embedding, classes, outputs[-1]) if projection else None

    def features(self, x):
        """φ(x): (n, features)."""
        for k, block in enumerate(self.blocks):
            x = block(x)
            x = self.looks[str(k)](x) if str(k) in self.looks else x
        return sum(F.relu(self.last(x)), (1, 2))

    def forward(self, x, y):
        if self.of_class is None:
            told = F.tile_over(F.one_hot(y, self.classes), x)
            return self.verdict(self.features(F.concatenate([x, told], -1)))
        found = self.features(x)
        return self.verdict(found) + sum(self.of_class(y) * found, 1, keepdims=True)


def _parts(latent, count) -> list[slice]:
    if latent % count:
        raise ValueError(f"latent {latent}: expected a multiple of {count}, a chunk for each block")
    each = latent // count
    return [slice(k * each, (k + 1) * each) for k in range(count)]


def _looks(make, attention, sizes, channels) -> dict:
    """The attention behind the block whose images have that side: {its number: layer}."""
    if attention is None:
        return {}
    if attention not in sizes:
        raise ValueError(f"attention at {attention} pixels: the blocks' images have {sizes}")
    k = sizes.index(attention)
    return {str(k): make.attention(channels[k])}
