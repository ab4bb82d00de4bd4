"""The measures of a game's health against plain loops, closed forms and known maps."""

import math

import numpy as np
import pytest

from minigan import cpu, evaluation, grad, nn
from minigan.data import Ring
from minigan.engine import Tensor
from minigan.evaluation import intrinsic_dimension, leaning, normed_variance, rank, slope, variety
from minigan.models import mlp


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_slope_is_what_a_straight_loss_would_change():
    """And it does not change if the weights are ten times as large, and the inputs a tenth."""
    found = []
    for scale in (1.0, 10.0):
        w = nn.Parameter(scale * normal(3, 2))
        loss = (Tensor(normal(4, 3, seed=1) / scale) @ w).sum()
        gradients = grad(loss, [w])
        found.append(slope(gradients, [w]).item())
        expected = np.linalg.norm(gradients[0].numpy()) * np.linalg.norm(w.numpy())
        assert found[-1] == pytest.approx(expected)
    assert found[0] == pytest.approx(found[1])


def test_variety_against_a_loop():
    x, y = 0.3 * normal(9, 2, 2) + 100.0, normal(7, 2, 2, seed=1) + 100.0
    w = 0.3 * math.sqrt(y.var(axis=0).sum())

    def count(points):
        return 1 / np.mean([math.exp(-((a - b) ** 2).sum() / w**2) for a in points for b in points])

    found = variety(Tensor(x), Tensor(y)).item()
    assert found == pytest.approx(count(x[:7]) / count(y), rel=1e-6)


@pytest.mark.parametrize("modes", [1, 2, 4, 8])
def test_variety_counts_modes_where_diversity_does_not(modes):
    ring, rng = Ring(), cpu.generator(0)
    kept = ring.centres[:: 8 // modes]
    points = np.repeat(kept, 256 // modes, axis=0)
    real = Tensor(np.repeat(ring.centres, 32, axis=0) + 0.01 * rng.normal((256, 2)))
    assert variety(Tensor(points), real).item() == pytest.approx(modes / 8, abs=0.03)
    if modes > 1:
        assert evaluation.diversity(Tensor(points), real).item() == pytest.approx(1, abs=0.03)


def test_one_image_over_and_over_has_no_variety():
    real = Tensor(normal(50, 8, 8, 1))
    one = np.repeat(normal(1, 8, 8, 1), 50, axis=0) + 0.01 * normal(50, 8, 8, 1)
    assert variety(Tensor(one), real).item() < 0.03 < 0.98 < variety(real, real).item()


def test_normed_variance_is_what_epsilon_leaves():
    rng = cpu.generator(0)
    small, usual = nn.BatchNorm(2, eps=0.8, rng=rng), nn.BatchNorm(1, rng=rng)
    small.running_variance[...] = [0.2, 3.2]
    network = nn.Sequential(small, nn.Linear(2, 1, rng=rng), usual)
    assert normed_variance(network).item() == pytest.approx((0.2 + 0.8 + 1) / 3, abs=1e-4)
    with pytest.raises(ValueError, match="no BatchNorm"):
        normed_variance(network[1])


@pytest.mark.parametrize(("latent", "expected"), [(1, 1), (2, 2), (5, 3)])
def test_rank_is_the_smaller_of_two_dimensions(latent, expected):
    G = mlp([latent, 16, 3], rng=cpu.generator(0))
    assert rank(G, Tensor(normal(20, latent).astype("float32"))) == expected


def test_rank_of_a_map_that_hardly_heeds_a_number():
    G = nn.Linear(2, 2, rng=cpu.generator(0))
    G.weight = np.float32([[1, 0], [0, 0.01]])
    assert rank(G, Tensor(np.zeros((3, 2), "float32"))) == 1


@pytest.mark.parametrize("d", [1, 2, 3])
def test_intrinsic_dimension_of_a_bent_sheet(d):
    x = np.random.default_rng(d).uniform(size=(2000, d))
    bent = np.concatenate([np.sin(3 * x), np.cos(3 * x), x], axis=1)
    assert intrinsic_dimension(np.repeat(bent, 2, axis=0)) == pytest.approx(d, rel=0.1)
    with pytest.raises(ValueError, match="2 different points"):
        intrinsic_dimension(np.repeat(bent[:2], 9, axis=0))


def test_leaning_tells_copies_from_blur():
    known, new = normal(400, 3), normal(400, 3, seed=1)
    assert leaning(known[:10] + 1e-3, known, new) < 0.01
    assert leaning(normal(50, 3, seed=2), known, new) == pytest.approx(1, abs=0.15)
    with pytest.raises(ValueError, match="400 known and 399 new"):
        leaning(known, known, new[1:])
