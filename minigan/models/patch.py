"""PatchGAN: a discriminator that judges every patch of an image by itself (Isola et al. 2017)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import functional as F
from minigan.nn import BatchNorm, Conv2d, LeakyReLU, Module, Sequential, normal


class PatchDiscriminator(Module):
    """D(x) or D(x, y): images (n, h, w, c) -> logits (n, h / 2ˢ, w / 2ˢ, 1), one for each patch.

    What is beyond a patch does not count for its logit; a loss, as a mean, takes all of them alike.
    So D looks at texture and edges, on images of any size, and has few weights; that the image as a
    whole is right is left to other terms. A patch has 5·2ˢ − 2 pixels a side: for s = 1, 2, 3, 4
    stages 8, 18, 38 and 78.

    Images that D is shown together, such as a photograph and the map that it was made from, are
    joined as channels, `channels` of them in all. s convolutions halve the size and double the
    channels, from `width` on, LeakyReLU behind each; then one more makes logits. Weights from
    N(0, 0.02²). ValueError for no stages.

    norm: behind each convolution but the first and the last; None with a gradient penalty.
    """

    def __init__(self, *, rng: Generator, channels=3, width=16, stages=2, norm=BatchNorm, name="D"):
        if stages < 1:
            raise ValueError(f"PatchDiscriminator: {stages} stages, expected 1 or more")
        self.name, init = name, normal(0.02)
        layers, inputs = [], channels
        for stage in range(stages):
            outputs, normed = width * 2**stage, norm if stage else None
            layers += [
                Conv2d(
                    inputs, outputs, 4, stride=2, padding=1, rng=rng, init=init, bias=not normed
                ),
                *([normed(outputs, rng=rng)] if normed else []),
                LeakyReLU(0.2),
            ]
            inputs = outputs
        self.net = Sequential(*layers, Conv2d(inputs, 1, 3, padding=1, rng=rng, init=init))

    def forward(self, *images):
        return self.net(F.concatenate(images, -1) if len(images) > 1 else images[0])
