"""Attention: each place of an image looks at all others, however far away they are."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import functional as F
from minigan.engine.checks import check_sizes, wrong_shape
from minigan.engine.operations import matmul, reshape, swap_last
from minigan.nn.layers import Linear
from minigan.nn.module import Module
from minigan.nn.parameters import Parameter


class SelfAttention(Module):
    """x + γ o(x): each pixel, and what it fetches from the others (Zhang et al. 2019, SAGAN).

        a_ij = softmax over j of q(x_i)·k(x_j)
        o_i = W Σ_j a_ij v(x_j)

    (n, h, w, c) -> (n, h, w, c). Pixel i asks by its query q, of c/8 numbers (at least one), each
    place j offers a key k of as many and a value v of c/2, and W makes c channels of what was
    fetched: convolutions of 1 × 1 without a bias, so each is a matrix. Keys and values are the
    maxima over 2 × 2 pixels, as in BigGAN (Brock et al. 2019), which makes a a quarter as large: it
    still has (h w)² / 4 numbers per image. γ is learnt and starts at 0: a network begins without.

    wrap: what is made of each of the four matrices' layers, such as a `SpectralNorm` of it.
    ShapeError unless x is (n, h, w, c) with at least 2 × 2 pixels.
    """

    def __init__(self, channels, *, rng: Generator, init=None, wrap=None):
        (channels,) = check_sizes("SelfAttention", channels)
        wrap = wrap or (lambda layer: layer)
        self.channels, self.few, self.half = channels, max(1, channels // 8), max(1, channels // 2)

        def matrix(inputs, outputs):
            return wrap(Linear(inputs, outputs, rng=rng, init=init, bias=False))

        self.query, self.key = (matrix(channels, self.few) for _ in range(2))
        self.value, self.out = matrix(channels, self.half), matrix(self.half, channels)
        self.gain = Parameter(rng.backend.xp.zeros(1, "float32"))

    def forward(self, x):
        if x.ndim != 4 or x.shape[3] != self.channels or min(x.shape[1:3]) < 2:
            wanted = f"(n, h, w, {self.channels}), h and w >= 2"
            raise wrong_shape(f"SelfAttention({self.channels})", x, wanted)
        n, h, w, _ = x.shape
        pixels = reshape(x, (n * h * w, self.channels))

        def offered(layer, features):
            pooled = F.max_pool2d(reshape(layer(pixels), (n, h, w, features)), 2)
            return reshape(pooled, (n, (h // 2) * (w // 2), features))

        queries = reshape(self.query(pixels), (n, h * w, self.few))
        shares = F.softmax(matmul(queries, swap_last(offered(self.key, self.few))))
        fetched = matmul(shares, offered(self.value, self.half))
        o = self.out(reshape(fetched, (n * h * w, self.half)))
        return x + self.gain * reshape(o, x.shape)

    def describe(self):
        return str(self.channels)
