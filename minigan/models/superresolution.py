"""Super-resolution: a large image for a small one, whose means are the small one's pixels."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import ShapeError
from minigan.engine import functional as F
from minigan.models.residual import ResidualBlock
from minigan.nn import BatchNorm, Conv2d, ConvTranspose2d, Module, ReLU, Sequential, Tanh, normal

FACTOR = 4  # an image has so many times the rows and the columns of what it is made from


class SuperResolution(Module):
    """G(x): small images (n, h, w, c) -> images (n, 4h, 4w, c), both in [−1, 1].

    As SRGAN's generator (Ledig et al. 2017) it looks for what to draw at the small size, in
    residual blocks with batch norm, and only then doubles the size twice, here by DCGAN's
    transposed convolutions. Weights from N(0, 0.02²). One thing is added: the result's means over
    4 × 4 pixels are x exactly, see `with_means`.

    width: channels after the first doubling; twice as many before it.
    """

    def __init__(self, *, rng: Generator, channels=1, width=16, blocks=2, name="G"):
        self.name, init, inner = name, normal(0.02), 2 * width
        self.net = Sequential(
            Conv2d(channels, inner, 3, padding=1, rng=rng, init=init),
            ReLU(),
            *(ResidualBlock(inner, rng=rng, norm=BatchNorm, init=init) for _ in range(blocks)),
            ConvTranspose2d(inner, width, 4, stride=2, padding=1, rng=rng, init=init, bias=False),
            BatchNorm(width, rng=rng),
            ReLU(),
            ConvTranspose2d(width, channels, 4, stride=2, padding=1, rng=rng, init=init),
            Tanh(),
        )

    def forward(self, x):
        return with_means(self.net(x), x)


def with_means(y, x, *, eps=1e-6):
    """Images y (n, fh, fw, c), changed so that the means of their f × f blocks are x (n, h, w, c).

    Both are in [−1, 1], and so is the result. Where a block of y is too bright its light is scaled,
    v → v m / μ with v = (1 + y) / 2, μ its mean and m = (1 + x) / 2, which is the multiplicative
    layer of Harder et al. 2023; where it is too dark, the lack of light, 1 − v. ShapeError unless y
    is some whole number of times as large as x.
    """
    factor = y.shape[1] // x.shape[1]
    if y.shape != (x.shape[0], factor * x.shape[1], factor * x.shape[2], x.shape[3]):
        raise ShapeError(f"with_means: images {y.shape} with means {x.shape}")
    v, wanted = (y + 1.0) * 0.5, (x + 1.0) * 0.5
    mean = F.avg_pool2d(v, factor)
    dimmed = F.minimum(1.0, wanted / (mean + eps))  # one of the two is 1 everywhere
    lit = F.minimum(1.0, (1.0 - wanted) / ((1.0 - mean) + eps))
    dimmed, lit = (F.upsample_nearest(scale, factor) for scale in (dimmed, lit))
    return 1.0 - 2.0 * lit * (1.0 - dimmed * v)
