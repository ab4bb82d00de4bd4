"""The residual GAN in PyTorch, of its own layers, as published code for BigGAN has it.

Attributes are called what minigan's are, so that parameters find each other by name. `fused` takes
PyTorch's attention in one call, which is its fastest; otherwise it is two products and a softmax.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from engines import residual
from engines.residual import CLASSES, COLOURS, EMBEDDED, START


def conv(inputs, outputs, kernel=3, bias=True):
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias))


def linear(inputs, outputs, bias=False):
    return spectral_norm(nn.Linear(inputs, outputs, bias=bias))


class SelfAttention(nn.Module):
    def __init__(self, channels, fused):
        super().__init__()
        few, half = channels // 8, channels // 2
        self.query, self.key = conv(channels, few, 1, False), conv(channels, few, 1, False)
        self.value, self.out = conv(channels, half, 1, False), conv(half, channels, 1, False)
        self.gain, self.fused = nn.Parameter(torch.ones(1)), fused

    def forward(self, x):
        queries = self.query(x).flatten(2).transpose(1, 2)
        keys, values = (F.max_pool2d(f(x), 2).flatten(2) for f in (self.key, self.value))
        keys, values = keys.transpose(1, 2), values.transpose(1, 2)
        if self.fused:
            o = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        else:
            o = torch.bmm(torch.softmax(torch.bmm(queries, keys.transpose(1, 2)), -1), values)
        return x + self.gain * self.out(o.transpose(1, 2).unflatten(2, x.shape[2:]))


class ConditionalBatchNorm(nn.Module):
    def __init__(self, channels, told):
        super().__init__()
        self.scale, self.shift = linear(told, channels), linear(told, channels)
        self.plain = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x, c):
        scale, shift = (f(c)[:, :, None, None] for f in (self.scale, self.shift))
        return self.plain(x) * (1 + scale) + shift


class UpBlock(nn.Module):
    def __init__(self, inputs, outputs, told):
        super().__init__()
        self.norm = ConditionalBatchNorm(inputs, told)
        self.next_norm = ConditionalBatchNorm(outputs, told)
        self.first, self.second = conv(inputs, outputs, 3, False), conv(outputs, outputs, 3, False)
        self.skip = conv(inputs, outputs, 1, False)

    def forward(self, x, c):
        y = self.first(F.interpolate(F.relu(self.norm(x, c)), scale_factor=2))
        y = self.second(F.relu(self.next_norm(y, c)))
        return y + F.interpolate(self.skip(x), scale_factor=2)


class DownBlock(nn.Module):
    def __init__(self, inputs, outputs, down=True, begins=False):
        super().__init__()
        self.down, self.begins = down, begins
        self.first, self.second = conv(inputs, outputs), conv(outputs, outputs)
        self.skip = conv(inputs, outputs, 1) if down else nn.Identity()

    def forward(self, x):
        y = self.second(F.relu(self.first(x if self.begins else F.relu(x))))
        if self.down:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return y + self.skip(x)


class Generator(nn.Module):
    def __init__(self, task, fused):
        super().__init__()
        w, self.chunk = residual.widths(task)[::-1], residual.chunk(task)
        self.of_class = nn.Embedding(CLASSES, EMBEDDED)
        self.begin = linear(self.chunk, START * START * w[0], bias=True)
        pairs = zip([w[0], *w], w, strict=False)
        self.blocks = nn.ModuleList(UpBlock(a, b, EMBEDDED + self.chunk) for a, b in pairs)
        self.looks = nn.ModuleDict({"1": SelfAttention(w[1], fused)})
        self.norm, self.end = nn.BatchNorm2d(w[-1]), conv(w[-1], COLOURS)

    def forward(self, z, y):
        e = self.of_class(y)
        first, *others = z.split(self.chunk, 1)
        x = self.begin(first).unflatten(1, (-1, START, START))
        for k, block in enumerate(self.blocks):
            x = block(x, torch.cat([e, others[k]], 1))
            x = self.looks["1"](x) if k == 1 else x
        return torch.tanh(self.end(F.relu(self.norm(x))))


class Discriminator(nn.Module):
    def __init__(self, task, fused):
        super().__init__()
        w = residual.widths(task)
        pairs = list(zip([COLOURS, *w], w, strict=False))
        self.blocks = nn.ModuleList(DownBlock(a, b, begins=not k) for k, (a, b) in enumerate(pairs))
        self.looks = nn.ModuleDict({"0": SelfAttention(w[0], fused)})
        self.last = DownBlock(w[-1], w[-1], down=False)
        self.verdict = linear(w[-1], 1, bias=True)
        self.of_class = spectral_norm(nn.Embedding(CLASSES, w[-1]), dim=1)

    def forward(self, x, y):
        for k, block in enumerate(self.blocks):
            x = block(x)
            x = self.looks["0"](x) if k == 0 else x
        found = F.relu(self.last(x)).sum((2, 3))
        return self.verdict(found) + (self.of_class(y) * found).sum(1, keepdim=True)


# --- From minigan's names and layout -------------------------------------------------------------


def named(network) -> dict:
    """The parameters by minigan's names; under a spectral norm there is a layer, with the bias."""
    found = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            found |= {f"{path}.scale": module.weight, f"{path}.shift": module.bias}
        elif hasattr(module, "parametrizations"):
            found[f"{path}.layer.weight"] = module.parametrizations.weight.original
            found |= {f"{path}.layer.{name}": p for name, p in module.named_parameters("", False)}
        elif isinstance(module, SelfAttention | nn.Embedding):
            found |= {f"{path}.{name}": p for name, p in module.named_parameters("", False)}
    return found


def converted(name, a) -> np.ndarray:
    """An array of that name in PyTorch's layout: outputs first, channels before pixels."""
    if name.startswith("begin"):
        return a.reshape(-1, START * START, a.shape[-1] // START**2).T.reshape(a.shape[::-1])
    if "of_class" in name or a.ndim == 1:
        return a
    if ".looks." in f".{name}":
        a = a[None, None]
    return np.ascontiguousarray(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T)


def fill(network, arrays: dict):
    """The network with these weights, its power iterations started where minigan's are."""
    parameters, modules = named(network), dict(network.named_modules())
    with torch.no_grad():
        for name, a in arrays.items():
            parameters[name].copy_(torch.tensor(converted(name, a)))
            if name.endswith(".layer.weight"):
                norm = modules[name.removesuffix(".layer.weight")].parametrizations.weight[0]
                start = residual.start_of(a)
                start = start.transpose(2, 0, 1) if start.ndim == 3 else start
                norm._v.copy_(torch.tensor(start.reshape(-1)))
    return network
