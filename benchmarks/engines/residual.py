"""What the engines start from in the residual GAN of 32 × 32 images: weights by minigan's names.

The networks are BigGAN's (`minigan.models.biggan`): three blocks up, three down and one more, with
attention at 16 × 16, spectral norms, a projection, and conditional batch norms in G.
"""

from __future__ import annotations

import itertools

import numpy as np

IMAGE, START, LOOKS_AT = 32, 4, 16  # sides: of an image, of G's first, of those with attention
COLOURS, CLASSES, EMBEDDED = 3, 10, 32
STAGES = 3


def widths(task) -> list[int]:
    """Channels, from the largest images to the smallest."""
    return [task.width * 2**stage for stage in range(STAGES)]


def chunk(task) -> int:
    """Numbers of z that the beginning and every block are told."""
    return task.latent // (STAGES + 1)


def shapes(task) -> tuple[dict, dict]:
    """G's parameters and D's by name, in minigan's order and layout."""
    w, told = widths(task), EMBEDDED + chunk(task)
    G = {"of_class.weight": (CLASSES, EMBEDDED)}
    G["begin.layer.weight"] = chunk(task), START * START * w[-1]
    G["begin.layer.bias"] = (START * START * w[-1],)
    for k, (a, b) in enumerate(itertools.pairwise([w[-1], *w[::-1]])):
        for norm, channels in (("norm", a), ("next_norm", b)):
            for part in ("scale", "shift"):
                G[f"blocks.{k}.{norm}.{part}.layer.weight"] = told, channels
        G[f"blocks.{k}.first.layer.weight"] = 3, 3, a, b
        G[f"blocks.{k}.second.layer.weight"] = 3, 3, b, b
        G[f"blocks.{k}.skip.layer.weight"] = 1, 1, a, b
    G |= attention("looks.1", w[1])
    G |= {"norm.scale": (w[0],), "norm.shift": (w[0],)}
    G |= convolution("end", 3, w[0], COLOURS)

    D = {}
    for k, (a, b) in enumerate(itertools.pairwise([COLOURS, *w])):
        D |= convolution(f"blocks.{k}.first", 3, a, b) | convolution(f"blocks.{k}.second", 3, b, b)
        D |= convolution(f"blocks.{k}.skip", 1, a, b)
    D |= attention("looks.0", w[0])
    D |= convolution("last.first", 3, w[-1], w[-1]) | convolution("last.second", 3, w[-1], w[-1])
    D |= {"verdict.layer.weight": (w[-1], 1), "verdict.layer.bias": (1,)}
    return G, D | {"of_class.layer.weight": (CLASSES, w[-1])}


def convolution(name, kernel, inputs, outputs) -> dict:
    weight = f"{name}.layer.weight", (kernel, kernel, inputs, outputs)
    return dict((weight, (f"{name}.layer.bias", (outputs,))))


def attention(name, channels) -> dict:
    few, half = channels // 8, channels // 2
    matrices = {"query": (channels, few), "key": (channels, few), "value": (channels, half)}
    matrices |= {"out": (half, channels)}
    found = {f"{name}.{part}.layer.weight": shape for part, shape in matrices.items()}
    return found | {f"{name}.gain": (1,)}


def draw(task, seed) -> tuple[dict, dict]:
    """G's weights and D's by name, float32. A gain of 0 would hide what attention does: it is 1."""
    rng = np.random.default_rng(seed)

    def drawn(name, shape):
        if name.endswith((".gain", "norm.scale")):
            return np.ones(shape, np.float32)
        scale = np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 10
        return (rng.standard_normal(shape) / scale).astype(np.float32)

    return tuple({name: drawn(name, shape) for name, shape in of.items()} for of in shapes(task))


def start_of(weight):
    """Where a layer's power iteration starts, of its weight's axes but the last: where it ends, so
    that it doesn't matter how often an engine iterates.
    """
    u = np.linalg.svd(weight.reshape(-1, weight.shape[-1]), full_matrices=False)[0][:, 0]
    return u.reshape(weight.shape[:-1])


def inputs(task, seed) -> tuple:
    """A batch of images in [−1, 1], noise (n, latent), and a label for each."""
    rng = np.random.default_rng((seed, 1))
    images = np.tanh(rng.standard_normal((task.batch, IMAGE, IMAGE, COLOURS)))
    z = rng.standard_normal((task.batch, task.latent))
    return images.astype(np.float32), z.astype(np.float32), np.arange(task.batch) % CLASSES
