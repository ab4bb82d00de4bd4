"""Arithmetic on z: the vector of an attribute, and whether it brings the attribute to others.

Radford et al. 2016, section 6.3.2: the mean z of three samples that have it minus the mean of three
that have it not. Single z's proved unstable. Who has it, a classifier says (`ruler.look`):

    vectors = attribute_vectors(z, has, count=100, rng=rng)
    flipped(before, after)                      what a classifier sees in G(z') and G(z' + vector)
    random_vectors(vectors, rng)                the control: as long, and of any direction
    find_vector(lots, has, judge, rng=rng)      all of it, with the best of some vectors
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan.backend import Generator


def attribute_members(has, *, count, rng: Generator, of=3) -> tuple[np.ndarray, np.ndarray]:
    """Whom `count` vectors are made of: `of` with the attribute and `of` without, anew for each.

    has: (n,) bool; rng: of the CPU. Returns indices (count, of) twice.
    ValueError if fewer than `of` have it, or fewer have it not.
    """
    has = np.asarray(has, bool)
    with_it, without = np.flatnonzero(has), np.flatnonzero(~has)
    if min(len(with_it), len(without)) < of:
        raise ValueError(
            f"attribute_members: {len(with_it)} of {len(has)} samples have the attribute, wanted "
            f"at least {of} with it and {of} without"
        )

    def drawn(some):
        return np.stack([some[rng.permutation(len(some))[:of]] for _ in range(count)])

    return drawn(with_it), drawn(without)


def attribute_vectors(z, has, *, count, rng: Generator, of=3) -> np.ndarray:
    """`count` vectors of an attribute, (count, latent): mean of `of` z with it − of `of` without.

    z: (n, latent); the rest, and its errors, as for `attribute_members`.
    """
    z, has = np.asarray(z), np.asarray(has, bool)
    if z.ndim != 2 or has.shape != z.shape[:1]:
        raise ValueError(f"attribute_vectors: z {z.shape}, has {has.shape}: wanted (n, d) and (n,)")
    return _difference(z, *attribute_members(has, count=count, rng=rng, of=of))


def _difference(z, with_it, without) -> np.ndarray:
    """The mean z of some, indices (count, of), less that of others: (count, latent)."""
    return z[with_it].mean(axis=1) - z[without].mean(axis=1)


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


# --- A vector that is chosen ---------------------------------------------------------------------


class Found(NamedTuple):
    """The vector of an attribute, whom it is made of, and what share of others it flips."""

    vector: np.ndarray  # (latent,)
    with_it: np.ndarray  # (of,), indices into the first lot
    without: np.ndarray  # (of,)
    flips: float  # by this vector
    by_any: float  # by the vectors that it was chosen among, on average
    by_random: float  # by a random vector as long, another one for each
    by_lucky: float  # by the best of as many random vectors, chosen alike


def find_vector(lots, has, judge, *, rng: Generator, choice=32, length=1.0, of=3) -> Found:
    """The vector of an attribute that flips the most, of `choice` means of three minus three.

    A mean of three is still unsteady. So there are several, made of the first lot of z; the best on
    the second lot is chosen, and counted on the third, which had no part in it.

    lots    three arrays of z, (n, latent), (m, latent), (k, latent)
    has     who of them has the attribute, three arrays of bool
    judge   from z to whether a classifier sees the attribute in G(z), (n,) bool
    length  what the vectors are multiplied with

    ValueError if in one of the lots there are too few with it, or without it.
    """
    first, second, third = map(np.asarray, lots)
    with_it, without = attribute_members(has[0], count=choice, rng=rng, of=of)
    vectors = length * _difference(first, with_it, without)
    random = random_vectors(vectors, rng)
    tried, luck = (_shares(second, has[1], some, judge) for some in (vectors, random))
    vector, lucky = vectors[tried.argmax()], random[luck.argmax()]
    each = random_vectors(np.repeat(vector[None], len(third), axis=0), rng)
    flips, by_random, by_lucky = (
        flipped(has[2], judge(third + some)) for some in (vector, each, lucky)
    )
    members = with_it[tried.argmax()], without[tried.argmax()]
    return Found(vector, *members, flips, float(tried.mean()), by_random, by_lucky)


def class_vectors(lots, see, classes, *, rng: Generator, length=1.0) -> dict[int, Found]:
    """`find_vector` for each of the classes that a classifier sees often enough: {class: Found}.

    lots    as for `find_vector`
    see     from z (n, latent) to the classes of G(z), (n,), from 0 to `classes` − 1
    """
    seen, found = [see(z) for z in lots], {}
    for k in range(classes):
        has = [some == k for some in seen]
        if 3 <= has[0].sum() <= len(has[0]) - 3 and not has[1].all() and not has[2].all():
            judge = lambda z, k=k: see(z) == k
            found[k] = find_vector(lots, has, judge, rng=rng, length=length)
    return found


def _shares(z, has, vectors, judge) -> np.ndarray:
    """What share of the z (n, latent) each of the vectors (k, latent) flips: (k,)."""
    moved = z[None] + vectors[:, None]
    after = judge(moved.reshape(-1, z.shape[1])).reshape(len(vectors), len(z))
    return np.array([flipped(has, row) for row in after])
