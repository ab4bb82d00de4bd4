"""How to build a generator again and draw from it: what a checkpoint keeps for other scripts.

with Session(args, parts, sampler=Sampler("dcgan", {"latent": 64})) as session:     kept …
images, labels = generated(path, 10_000, rng)                                   … for this
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from minigan import models, optim
from minigan.backend import Generator
from minigan.data import to_bytes
from minigan.engine import Tensor, no_grad
from minigan.nn import Module
from minigan.training import checkpoint
from minigan.training.checkpoint import CheckpointError

CHUNK = 500  # samples that are made at once
KINDS = ("normal", "uniform")


def in_chunks(G: Module, *inputs) -> np.ndarray:
    """What a network makes of device arrays (n, …), chunk by chunk: a host array (n, …)."""
    chunks = []
    with no_grad():
        for start in range(0, len(inputs[0]), CHUNK):
            some = (Tensor(array[start : start + CHUNK]) for array in inputs)
            chunks.append(G(*some).numpy())
    return np.concatenate(chunks)


@dataclass(frozen=True)
class Sampler:
    """A generator's recipe: JSON values.

    network    a name in `models.GENERATORS`
    arguments  what that function is called with; "latent", the dimensions of z, among them
    kind       of the noise: "normal", N(0, 1), or "uniform", from −1 to 1
    low        the darkest pixel that it draws; the brightest is 1
    classes    how many there are, if G is told one with each z: G(z, labels)
    dtype      of the noise

    ValueError for a kind of noise that there is not.
    """

    network: str
    arguments: dict
    kind: str = "normal"
    low: float = -1.0
    classes: int = 0
    dtype: str = "float32"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"noise {self.kind!r}: wanted {' or '.join(KINDS)}")

    def build(self, rng: Generator) -> Module:
        """A generator after this recipe, with fresh weights. Its own errors if they don't fit."""
        return models.GENERATORS[self.network](rng=rng, **self.arguments)

    def noise(self, rng: Generator, n: int):
        """z (n, latent), an array on the generator's device."""
        shape = n, self.arguments["latent"]
        if self.kind == "normal":
            return rng.normal(shape, self.dtype)
        return rng.uniform(shape, -1, 1, self.dtype)

    def inputs(self, rng: Generator, n: int) -> tuple:
        """What G is called with to draw n samples: noise, and labels where it is told classes."""
        z = self.noise(rng, n)
        return (z, rng.integers(0, self.classes, (n,))) if self.classes else (z,)

    def draw(self, G: Module, *inputs, low=-1.0) -> np.ndarray:
        """What G makes of arrays of inputs, chunk by chunk: host arrays (n, …), from `low` to 1."""
        pixels = in_chunks(G, *inputs)
        if low == self.low:
            return pixels
        return low + (1 - low) * (pixels - self.low) / (1 - self.low)

    def recipe(self) -> dict:
        """Itself as JSON values, as a checkpoint keeps it under "generator"."""
        fields = asdict(self)
        return {"noise": fields.pop("kind")} | fields

    @classmethod
    def kept(cls, path: Path, rng: Generator) -> tuple[Sampler, Module]:
        """The sampler in a checkpoint, and its generator: with average weights, if it kept any.

        CheckpointError if the checkpoint is missing or damaged, or doesn't tell how to build it.
        """
        recipe = checkpoint.peek(path).get("generator")
        if recipe is None:
            raise CheckpointError(
                f"{path}: does not tell how its generator is built: wanted a checkpoint of an "
                "example whose G is told nothing or classes; if it is an old one, train it anew"
            )
        if recipe["network"] not in models.GENERATORS:
            known = ", ".join(models.GENERATORS)
            raise CheckpointError(
                f"{path}: its generator is {recipe['network']!r}, known are: {known}"
            )
        sampler = cls(kind=recipe.pop("noise"), **recipe)
        G = sampler.build(rng).eval()
        average = optim.EMA(G)
        try:
            checkpoint.load(path, {"average": average}, partial=True)
            return sampler, average.network
        except CheckpointError:  # it kept no average
            checkpoint.load(path, {"G": G}, partial=True)
            return sampler, G


def not_lost(path: Path, pixels: np.ndarray) -> np.ndarray:
    """What the generator in a checkpoint draws; CheckpointError if that is not finite."""
    if not np.isfinite(pixels).all():
        raise CheckpointError(f"{path}: its generator draws NaN or infinity: it is lost")
    return pixels


def generated(path: Path, count: int, rng: Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """`count` images by the generator in a checkpoint, on its device: bytes, uint8 (n, h, w, c).

    And the classes that it was asked for, int64 (n,), or None if it is told none. CheckpointError
    as for `Sampler.kept`, and if the generator is lost.
    """
    sampler, G = Sampler.kept(path, rng)
    inputs = sampler.inputs(rng, count)
    pixels = not_lost(path, sampler.draw(G, *inputs))
    return to_bytes(pixels), rng.backend.to_numpy(inputs[1]) if sampler.classes else None
