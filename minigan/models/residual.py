"""CycleGAN's generator: it corrects an image rather than draw one (Johnson 2016, Zhu 2017)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.nn import (
    Conv2d,
    ConvTranspose2d,
    InstanceNorm,
    Module,
    ReflectionPad2d,
    ReLU,
    Sequential,
    Tanh,
    normal,
)


class ResidualBlock(Module):
    """x + f(x), f being two convolutions of 3 × 3, each with reflection and a norm (He 2016)."""

    def __init__(self, channels, *, rng: Generator, norm=InstanceNorm, init=None):
        layers = []
        for activation in ([ReLU()], []):
            layers += [
                ReflectionPad2d(1),
                Conv2d(channels, channels, 3, rng=rng, init=init, bias=False),
                norm(channels, rng=rng),
                *activation,
            ]
        self.change = Sequential(*layers)

    def forward(self, x):
        return x + self.change(x)


def residual_generator(
    *, rng: Generator, inputs=3, channels=3, width=16, blocks=3, norm=InstanceNorm, name="G"
) -> Sequential:
    """G(x): images (n, h, w, inputs) -> images (n, h, w, channels) in [−1, 1] (Zhu et al. 2017).

    A convolution of 7 × 7 with `width` channels; two that halve the size and double the channels;
    residual blocks; two transposed ones back up; 7 × 7 and tanh. Mirrors instead of zeros beyond
    the edges. Weights from N(0, 0.02²). The sides of images must divide by 4.

    norm: InstanceNorm makes every channel's mean and contrast the same in each image, so what is
    told by an image's overall colour is lost to it; BatchNorm keeps that.
    """
    init = normal(0.02)

    def strided(kind, inputs, outputs):
        layer = kind(inputs, outputs, 4, stride=2, padding=1, rng=rng, init=init, bias=False)
        return layer, norm(outputs, rng=rng), ReLU()

    return Sequential(
        ReflectionPad2d(3),
        Conv2d(inputs, width, 7, rng=rng, init=init, bias=False),
        norm(width, rng=rng),
        ReLU(),
        *strided(Conv2d, width, 2 * width),
        *strided(Conv2d, 2 * width, 4 * width),
        *(ResidualBlock(4 * width, rng=rng, norm=norm, init=init) for _ in range(blocks)),
        *strided(ConvTranspose2d, 4 * width, 2 * width),
        *strided(ConvTranspose2d, 2 * width, width),
        ReflectionPad2d(3),
        Conv2d(width, channels, 7, rng=rng, init=init),
        Tanh(),
        name=name,
    )
