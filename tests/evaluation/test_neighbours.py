"""What neighbours vote for, and centres of many points; the distances are in test_metrics.py."""

import numpy as np
import pytest
from scipy.cluster.vq import kmeans2

from minigan.evaluation import k_means, looks_real, nearness, vote


def test_k_means_is_scipys():
    x = np.random.default_rng(0).normal(size=(300, 5)).astype("float32")
    expected, _ = kmeans2(x, x[:7].copy(), iter=3, minit="matrix")
    np.testing.assert_allclose(k_means(x, 7), expected, rtol=1e-5, atol=1e-6)


def test_centres_keep_their_dtype_and_leave_the_points_alone():
    x = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    before = x.copy()
    centres = k_means(x, 3, rounds=50)
    assert centres.dtype == np.float32 and np.array_equal(x, before)
    owner = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    for i, centre in enumerate(centres):  # settled: each is the mean of its own
        np.testing.assert_allclose(centre, x[owner == i].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("k", "winners"),
    [(1, [0, 2, 1]), (3, [0, 2, 1]), (5, [0, 2, 2]), (6, [0, 0, 2]), (7, [0, 0, 2])],
)
def test_the_class_of_most_neighbours_wins(k, winners):
    """With six neighbours the point between has three votes for either side: the first class."""
    points = [0.1, 0.2, 0.3, 0.4, 10.1, 10.2, 10.3, 20.1, 20.2]
    labels = [0, 0, 0, 0, 2, 2, 2, 1, 1]
    found = vote([0.0, 10.0, 20.0], points, labels, k=k)
    assert found.tolist() == winners and found.dtype == np.int64


def test_as_many_look_real_as_really_are():
    random = np.random.default_rng(0)
    known, new, fresh = (random.normal(size=(n, 2, 2)) for n in (2000, 1000, 1000))
    assert looks_real(known[:50], new, known) == 1
    assert looks_real(fresh, new, known) == pytest.approx(0.99, abs=0.01)
    assert looks_real(fresh, new, known, share=0.5) == pytest.approx(0.5, abs=0.05)
    assert looks_real(fresh + 9, new, known) == 0


def test_copies_are_at_distance_zero_new_images_at_one_and_means_nearer():
    """On the line by hand; and means of two, whose deviations are √2 times as small."""
    assert nearness([0.0, 4.0], [1.0, 7.0], [0.0, 3.0, 6.0]) == pytest.approx(0.5)
    random = np.random.default_rng(0)
    known, new, fresh, more = (random.normal(size=(500, 4, 5)) for _ in range(4))
    assert nearness(known[:50], new, known) == 0
    assert nearness(fresh, new, known) == pytest.approx(1, abs=0.03)
    assert nearness((fresh + more) / 2, new, known) < 0.9
