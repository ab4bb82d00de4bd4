"""The U-Net: images to images, with a way past the bottleneck (Ronneberger 2015, Isola 2017)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import ShapeError
from minigan.engine import functional as F
from minigan.nn import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    LeakyReLU,
    Module,
    ReLU,
    Sequential,
    Tanh,
    normal,
)

WIDEST = 8  # times `width`: no layer has more channels


class UNet(Module):
    """G(x): images (n, h, w, inputs) -> images (n, h, w, channels) in [−1, 1] (Isola et al. 2017).

    Convolutions halve the size and double the channels, from `width` on; as many transposed ones go
    back up. Whatever has the same size on both ways is joined: a *skip* takes details past the
    bottleneck. LeakyReLU down, ReLU up, a norm everywhere but next to the images. Weights from
    N(0, 0.02²). ShapeError for images whose sides do not halve evenly as often.

    size     of the images, which says how often: down to 2 pixels, or to what is odd. ValueError if
             that is not twice at least
    skips    False: an encoder and a decoder, and all must pass the bottleneck
    norm     BatchNorm or InstanceNorm, made by norm(channels, rng=…)
    noisy    the innermost layers on the way up of which, while training, half the values are
             dropped. It is the only noise: a pix2pix that is given z learns to ignore it
    dropout  what draws it
    """

    def __init__(
        self,
        *,
        rng: Generator,
        dropout: Generator,
        inputs=3,
        channels=3,
        size=32,
        width=16,
        skips=True,
        norm=BatchNorm,
        noisy=1,
        name="G",
    ):
        self.name, self.skips, depth = name, skips, _halvings(size)
        widths = [width * min(2**level, WIDEST) for level in range(depth)]
        how = {"stride": 2, "padding": 1, "rng": rng, "init": normal(0.02)}
        self.down, self.up = [], []
        for level, outputs in enumerate(widths):
            first = level == 0
            layers = [Conv2d(inputs, outputs, 4, bias=first, **how)]
            layers += [] if first else [norm(outputs, rng=rng)]
            self.down.append(Sequential(*layers, LeakyReLU(0.2)))
            inputs = outputs
        for level in reversed(range(1, depth)):
            outputs = widths[level - 1]
            layers = [ConvTranspose2d(inputs, outputs, 4, bias=False, **how)]
            layers += [norm(outputs, rng=rng)]
            layers += [Dropout(0.5, rng=dropout)] if level >= depth - noisy else []
            self.up.append(Sequential(*layers, ReLU()))
            inputs = (1 + skips) * outputs
        self.up.append(Sequential(ConvTranspose2d(inputs, channels, 4, **how), Tanh()))

    def forward(self, x):
        side = 2 ** len(self.down)
        if x.ndim != 4 or x.shape[1] % side or x.shape[2] % side:
            raise ShapeError(f"UNet: images {x.shape}, expected (n, h, w, c), sides by {side}s")
        past = []
        for layer in self.down:
            x = layer(x)
            past.append(x)
        past.pop()
        for layer in self.up:
            x = layer(x)
            if self.skips and past:
                x = F.concatenate([x, past.pop()], -1)
        return x

    def describe(self):
        return f"depth={len(self.down)}, skips={self.skips}"


def _halvings(size) -> int:
    """How often a size halves evenly, down to 2 pixels."""
    side, depth = size, 0
    while side > 2 and side % 2 == 0:
        side, depth = side // 2, depth + 1
    if depth < 2:
        raise ValueError(f"image size {size}: expected one that halves evenly, such as 32 or 64")
    return depth
