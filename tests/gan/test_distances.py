"""Distances within a batch against plain loops, and what a mapping must do to keep them."""

import numpy as np
import pytest
from checks import check_gradients, fill

from minigan.backend import cpu
from minigan.engine import ShapeError, tensor
from minigan.gan import KeptDistances, pairwise_distances, self_distances


def test_pairwise_distances_are_those_of_a_loop():
    x = fill((5, 3, 2))
    expected = [np.abs(a - b).mean() for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    found = pairwise_distances(tensor(x)).numpy()
    assert found.shape == (4, 5)
    np.testing.assert_allclose(np.sort(found.ravel()), np.sort(expected), rtol=1e-12)


@pytest.mark.parametrize("width", [4, 5])
def test_self_distances_leave_an_odd_middle_out(width):
    x = fill((3, 2, width, 2))
    expected = [np.abs(image[:, :2] - image[:, width - 2 :]).mean() for image in x]
    np.testing.assert_allclose(self_distances(tensor(x)).numpy(), expected, rtol=1e-12)


def sets(n=400):
    rng = np.random.default_rng(0)
    x, others = (rng.random((n, 2)) for _ in range(2))
    return rng, x, KeptDistances(tensor(x), tensor(others))


def test_symmetries_and_scales_keep_distances():
    _, x, _ = sets()
    for y in (x[:, ::-1] * [1, -1], 7 * x + 3):
        keep = KeptDistances(tensor(x), tensor(y))
        assert keep(tensor(x), tensor(y)).item() == pytest.approx(0, abs=1e-9)


def test_equal_means_of_distances_are_not_kept_distances():
    """|mean A − mean B| is 0 of points that changed places, and of no use."""
    rng, x, keep = sets()
    y = rng.permutation(x)
    means = [pairwise_distances(tensor(part)).numpy().mean() for part in (x, y)]
    assert means[0] == pytest.approx(means[1], rel=1e-12)
    # Of two independent standardised distances the mean difference is about 2 / √π = 1.13.
    assert keep(tensor(x), tensor(y)).item() > 1
    assert keep(tensor(x), tensor(x)).item() < 0.1


def test_the_gradient_draws_a_point_to_where_it_keeps_its_distances():
    x, others, y = fill((4, 3, 2)), fill((6, 3, 2), seed=1), fill((4, 3, 2), seed=2)
    keep = KeptDistances(tensor(x), tensor(others))
    check_gradients(lambda y: keep(tensor(x), y), y)
    single = KeptDistances(tensor(x), tensor(others), self_distances)
    check_gradients(lambda y: single(tensor(x[:1]), y), y[:1])


def test_what_has_no_distances_is_refused():
    for distances, shape in [(pairwise_distances, (1, 2)), (self_distances, (2, 3, 1, 1))]:
        with pytest.raises(ShapeError, match="expected"):
            distances(tensor(np.zeros(shape)))
    with pytest.raises(ShapeError, match="want pairs"):
        sets()[2](tensor(np.zeros((3, 2))), tensor(np.zeros((4, 2))))
    with pytest.raises(ValueError, match="none to keep"):
        KeptDistances(tensor(np.zeros((3, 2))), tensor(np.zeros((3, 2))))


def test_distances_are_captured(cuda):
    rng = cuda.generator(0)
    x, y = (tensor(rng.normal((6, 2))) for _ in range(2))
    keep = KeptDistances(x, y)
    captured = cuda.capture(lambda: keep(x, y))
    on_host = KeptDistances(tensor(x.numpy()), tensor(y.numpy()))
    expected = on_host(tensor(x.numpy()), tensor(y.numpy())).item()
    assert [captured().item() for _ in range(3)] == pytest.approx([expected] * 3, rel=1e-4)
    assert cpu is not cuda
