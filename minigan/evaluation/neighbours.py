"""Who is near whom: the nearest points, the class that they vote for, centres of many points."""

from __future__ import annotations

import numpy as np

from minigan.evaluation.pairs import count_up_to, slices, squared_distances, two_sets


def nearest(queries, points, *, k=1) -> tuple[np.ndarray, np.ndarray]:
    """The k points nearest to each query: Euclidean distances and indices, both (n, k), ascending.

    To see whether a generator has learned its training set by heart, hold the distances of its
    samples against those of test data: much smaller ones mean copies. Pixelwise distance doesn't
    notice a copy that was shifted.

    queries: (n, d); points: (m, d); 1 ≤ k ≤ m, or ValueError. The distances are exact to the
    last digits: 0 for a copy. Which of equally far points come is not defined.
    """
    queries, points = two_sets("nearest", queries=queries, points=points)
    count_up_to("nearest: k", k, len(points))
    squared = np.full((len(queries), k), np.inf)
    indices = np.zeros((len(queries), k), int)
    for rows, columns, block in squared_distances(queries, points):
        few = min(k, block.shape[1])
        found = np.argpartition(block, few - 1, axis=1)[:, :few]
        both = np.hstack([squared[rows], np.take_along_axis(block, found, axis=1)])
        both_indices = np.hstack([indices[rows], found + columns.start])
        best = np.argsort(both, axis=1)[:, :k]
        squared[rows] = np.take_along_axis(both, best, axis=1)
        indices[rows] = np.take_along_axis(both_indices, best, axis=1)
    # So far the distances have the error of |a|² + |b|² − 2ab.
    distances = np.empty(squared.shape)
    for rows in slices(queries):
        for j in range(k):
            offsets = np.subtract(queries[rows], points[indices[rows, j]], dtype=float)
            distances[rows, j] = np.sqrt(np.einsum("ij,ij->i", offsets, offsets))
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def looks_real(samples, new, known, *, share=0.99) -> float:
    """How many samples are as near to known images as a `share` of new real ones are: in [0, 1].

    `share` is what real images get. Nearness is by pixels, so it judges images of few kinds that
    hardly vary, and says nothing of how varied the samples are. Arrays (n, …), of one scale.
    """
    samples, new, known = (np.reshape(x, (len(x), -1)) for x in (samples, new, known))
    limit = np.quantile(nearest(new, known)[0], share)
    return float((nearest(samples, known)[0] <= limit).mean())


def nearness(samples, new, known) -> float:
    """How far samples are from the nearest known images, as a share of how far new real ones are.

    The quotient of two mean distances: 1 as for new images, 0 of copies. Blurred images are near to
    many, so it is below 1 for a G that makes a few mean images, too: hold it against the samples'
    `diversity`. Arrays (n, …), of one scale.
    """
    samples, new, known = (np.reshape(x, (len(x), -1)) for x in (samples, new, known))
    return float(nearest(samples, known)[0].mean() / nearest(new, known)[0].mean())


def leaning(samples, known, new) -> float:
    """How far samples are from the nearest known images, as a share of how far from new ones.

    The quotient of two mean distances, to the nearest of as many images: 1 if G has learnt what
    is alike in known and new images, 0 of copies of known ones. Blur is as near to the ones as to
    the others, so unlike `nearness` this doesn't take it for a copy. Arrays (n, …), of one scale.
    ValueError unless there are as many known images as new ones.
    """
    if len(known) != len(new):
        raise ValueError(f"leaning: {len(known)} known and {len(new)} new images: want as many")
    samples, known, new = (np.reshape(x, (len(x), -1)) for x in (samples, known, new))
    return float(nearest(samples, known)[0].mean() / nearest(samples, new)[0].mean())


def vote(queries, points, labels, *, k=5) -> np.ndarray:
    """The class of each query, int64 (n,): the one that most of its k nearest points have.

    Of classes with equally many votes, the first. labels: (m,), the class of each point.
    """
    votes = np.asarray(labels)[nearest(queries, points, k=k)[1]]
    return np.array([np.bincount(row).argmax() for row in votes])


def k_means(x, k, *, rounds=3) -> np.ndarray:
    """k centres (k, d) of many points x (n, d), in their dtype: Lloyd's algorithm from the first k.

    In each round every centre moves to the mean of the points that are nearest to it.
    """
    centres = x[:k].copy()
    for _ in range(rounds):
        owner = nearest(x, centres)[1][:, 0]
        order = np.argsort(owner, kind="stable")
        owners, first, counts = np.unique(owner[order], return_index=True, return_counts=True)
        centres[owners] = np.add.reduceat(x[order], first) / counts[:, None]
    return centres
