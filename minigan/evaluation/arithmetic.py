"""Arithmetic on z: the vector of an attribute, and whether it brings the attribute to others.

Radford et al. 2016, section 6.3.2: the mean z of three samples that have it minus the mean of three
that have it not. Single z's proved unstable. Who has it, a classifier says (`ruler.look`):

    vectors = attribute_vectors(z, has, count=100, rng=rng)
    flipped(before, after)                      what a classifier sees in G(z') and G(z' + vector)
    random_vectors(vectors, rng)                the control: as long, and of any direction
"""

from __future__ import annotations

import numpy as np

from minigan.backend import Generator


def attribute_vectors(z, has, *, count, rng: Generator, of=3) -> np.ndarray:
    """`count` vectors of an attribute, (count, latent): mean of `of` z with it − of `of` without.

    z: (n, latent); has: (n,) bool; rng: of the CPU; each vector draws anew whom it is made of.
    ValueError if fewer than `of` have it, or fewer have it not.
    """
    z, has = np.asarray(z), np.asarray(has, bool)
    if z.ndim != 2 or has.shape != z.shape[:1]:
        raise ValueError(f"attribute_vectors: z {z.shape}, has {has.shape}: wanted (n, d) and (n,)")
    with_it, without = z[has], z[~has]
    if min(len(with_it), len(without)) < of:
        raise ValueError(
            f"attribute_vectors: {len(with_it)} of {len(z)} samples have the attribute, wanted at "
            f"least {of} with it and {of} without"
        )

    def means(some):
        return np.stack([some[rng.permutation(len(some))[:of]].mean(axis=0) for _ in range(count)])

    return means(with_it) - means(without)


def random_vectors(like, rng: Generator) -> np.ndarray:
    """Vectors of any direction, each as long as that of `like` (n, latent) in its place."""
    like = np.asarray(like)
    directions = rng.normal(like.shape, "float64")
    lengths = np.linalg.norm(like, axis=1, keepdims=True)
    return (directions * (lengths / np.linalg.norm(directions, axis=1, keepdims=True))).astype(
        like.dtype
    )


def flipped(before, after) -> float:
    """The share of those without an attribute before, (n,) bool, that have it after, (n,) bool.

    ValueError if all had it before.
    """
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    if before.shape != after.shape or before.all():
        raise ValueError(
            f"flipped: {(~before).sum()} of {before.shape} are without the attribute, and there "
            f"are {after.shape} after: wanted at least one, and as many after"
        )
    return float(after[~before].mean())
