"""Vectors of an attribute, in a space where the attribute is a known direction."""

import numpy as np
import pytest

from minigan import cpu
from minigan.evaluation import attribute_vectors, flipped, random_vectors


def test_a_vector_is_a_mean_of_three_minus_a_mean_of_three():
    """Each z is a power of two in a place of its own, so the sums say who is in them."""
    z, has = np.diag(2.0 ** np.arange(9)), np.arange(9) % 2 == 0
    vectors = attribute_vectors(z, has, count=200, rng=cpu.generator(0))
    assert vectors.shape == (200, 9)
    np.testing.assert_array_equal((vectors > 0).sum(axis=1), 3)
    np.testing.assert_array_equal((vectors < 0).sum(axis=1), 3)
    np.testing.assert_allclose(np.abs(vectors[vectors != 0]).reshape(200, 6).max(), 2**8 / 3)
    assert (vectors[:, has] >= 0).all() and (vectors[:, ~has] <= 0).all()
    assert (vectors != 0).any(axis=0).all()  # everybody's turn comes
    single = attribute_vectors(z, has, count=5, rng=cpu.generator(0), of=1)
    np.testing.assert_array_equal((single != 0).sum(axis=1), 2)


def test_means_of_three_are_steadier_than_single_samples():
    """E ‖v − mean v‖² = (1 / 3 + 1 / 3) d for three, 2 d for one."""
    z = cpu.generator(0).normal((3000, 10), "float64")
    has = cpu.generator(1).uniform((3000,)) < 0.5
    for of in (1, 3):
        vectors = attribute_vectors(z, has, count=600, rng=cpu.generator(2), of=of)
        spread = ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean()
        assert spread == pytest.approx(20 / of, rel=0.08)


def test_the_vector_of_a_half_space_brings_others_into_it_and_random_ones_do_not():
    z = cpu.generator(0).normal((4000, 30))
    score = z[:, 0] + 0.3 * z[:, 1]
    has, rng = np.abs(score) > 1.2, cpu.generator(1)
    known, has = z[has], score[has] > 0
    others = z[score < -1.2]
    vectors = attribute_vectors(known, has, count=len(others), rng=rng)
    random = random_vectors(vectors, rng)
    assert random.dtype == vectors.dtype == np.float32
    np.testing.assert_allclose(
        np.linalg.norm(random, axis=1), np.linalg.norm(vectors, axis=1), rtol=1e-5
    )
    before = np.zeros(len(others), bool)
    after = [(x[:, 0] + 0.3 * x[:, 1]) > 0 for x in (others + vectors, others + random)]
    assert flipped(before, after[0]) > 0.95 and flipped(before, after[1]) < 0.2


def test_flips_are_counted_among_those_who_were_without():
    before = np.array([True, False, False, True, False, False])
    after = np.array([False, True, False, True, True, True])
    assert flipped(before, after) == 0.75


def test_what_cannot_be_counted_is_said():
    z, has = np.zeros((5, 2)), np.array([True, True, False, False, False])
    with pytest.raises(ValueError, match="2 of 5 samples have the attribute, wanted at least 3"):
        attribute_vectors(z, has, count=1, rng=cpu.generator(0))
    with pytest.raises(ValueError, match=r"has \(4,\): wanted"):
        attribute_vectors(z, has[:4], count=1, rng=cpu.generator(0))
    for before, after in (([True], [True]), ([False], [True, False])):
        with pytest.raises(ValueError, match="flipped: "):
            flipped(before, after)
