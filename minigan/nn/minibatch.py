"""Layers that look across a batch, for a D that is to see several samples together.

A batch must be all real or all generated, and with these layers D's verdict on a sample depends on
the others, so the norm in `gradient_penalty` is no longer that of D's slope.
"""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import functional as F
from minigan.engine.checks import check_sizes, whole_number, wrong_shape
from minigan.engine.operations import broadcast_to, matmul, mean, reshape, sum, transpose, var
from minigan.nn.initialisers import normal
from minigan.nn.module import Module
from minigan.nn.parameters import Parameter
from minigan.system import world


class MinibatchDiscrimination(Module):
    """How close each sample is to the others, as extra features (Salimans et al. 2016, sec. 3.2).

        M_i = x_i T  ∈ ℝ^(B × C)
        o_ib = 1 / (n − 1) Σ_{j ≠ i} exp(−‖M_ib − M_jb‖₁)  ∈ [0, 1]

    (n, features) -> (n, features + kernels): o is joined to x. `kernels` is B and `dimensions` C.
    The paper has the sum; its mean has the size of other features, whatever n is. T starts as
    N(0, 0.05²) unless `init` says otherwise. It costs about 3 n² B C numbers of memory, and as much
    arithmetic. The others are those of all ranks. ShapeError unless x is (n, features), n ≥ 2.
    """

    def __init__(self, features, kernels=16, dimensions=4, *, rng: Generator, init=None):
        check_sizes("MinibatchDiscrimination", features, kernels, dimensions)
        init = init or normal(0.05)
        shape = (features, kernels, dimensions)
        self.weight = Parameter(init(rng, shape, features, kernels * dimensions))

    def forward(self, x):
        features, kernels, dimensions = self.weight.shape
        n = len(x)
        if x.ndim != 2 or x.shape[1] != features or n < 2:
            raise wrong_shape("MinibatchDiscrimination", x, f"(n, {features}), n >= 2")
        m = matmul(x, reshape(self.weight, (features, kernels * dimensions)))
        everyone = F.rows_of_all_ranks(m)
        # What is summed over comes first, as such sums are the fastest.
        here, there = (
            transpose(reshape(rows, (len(rows), kernels, dimensions)), (2, 0, 1))
            for rows in (m, everyone)
        )
        there = reshape(there, (dimensions, -1, 1, kernels))
        here = reshape(here, (dimensions, 1, n, kernels))
        distance = sum(F.abs(here - there), 0)
        total = sum(F.exp(-distance), 0) - 1.0  # less the sample itself, at distance 0
        return F.concatenate([x, total / (len(everyone) - 1)], 1)

    def describe(self):
        features, kernels, dimensions = self.weight.shape
        return f"{features} -> {features + kernels}, dimensions={dimensions}"


class MinibatchStd(Module):
    """How much the samples of a batch differ, as one extra channel (Karras et al. 2018, section 3).

        s = mean over positions and channels of √(Var over the samples + ε)

    (n, …, c) -> (n, …, c + 1): the same number everywhere, of the samples of all ranks; with
    `group`, one for each `group` samples that follow each other on a rank. ε = 1e-8 because where
    all samples agree, √ has an infinite slope. It costs next to nothing and has no parameters; it
    sees a collapse to a point, less well the loss of one mode among many. ShapeError if group does
    not divide n.
    """

    def __init__(self, group=None):
        self.group = None if group is None else whole_number("MinibatchStd: group", group, 2)

    def forward(self, x):
        n, group = len(x), self.group or len(x) or 1
        if x.ndim < 2 or n % group:
            raise wrong_shape("MinibatchStd", x, f"(n, …, c), n a multiple of {group}")
        seen, of = (x, group) if self.group else (F.rows_of_all_ranks(x), group * world().size)
        std = F.sqrt(var(reshape(seen, (n // group, of, *x.shape[1:])), 1) + 1e-8)
        each = mean(std, tuple(range(1, std.ndim)))
        shape = (n // group, group, *x.shape[1:-1], 1)
        channel = broadcast_to(reshape(each, (n // group,) + (1,) * x.ndim), shape)
        return F.concatenate([x, reshape(channel, (*x.shape[:-1], 1))], -1)

    def describe(self):
        return "" if self.group is None else f"group={self.group}"


class Pack(Module):
    """Joins m samples that follow each other, for D to judge as one (Lin et al. 2018, PacGAN).

    (n, …, c) -> (n/m, …, m·c): D's first layer, and D has n/m outputs. Conditions are packed as the
    samples are, or joined to them first; of labels, (n,) -> (n/m, m). D then compares the
    distributions of m samples, pᵐ and qᵐ, whose distance grows faster with m if q lacks a mode of p
    than if q is a little wrong everywhere (their section 3). It costs m times as many inputs of
    D's first layer, and leaves fewer verdicts to learn from. ShapeError unless m divides n.
    """

    def __init__(self, m):
        self.m = whole_number("Pack: m", m, 1)

    def forward(self, x):
        n, *positions, channels = x.shape if x.ndim > 1 else (*x.shape, 1)
        if n % self.m:
            raise wrong_shape("Pack", x, f"(n, …, c), n a multiple of {self.m}")
        packs = reshape(x, (n // self.m, self.m, *positions, channels))
        packs = transpose(packs, (0, *range(2, packs.ndim - 1), 1, packs.ndim - 1))
        return reshape(packs, (n // self.m, *positions, self.m * channels))

    def describe(self):
        return str(self.m)
