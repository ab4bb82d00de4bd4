"""Several ranks do what one does: the same mathematics, in as many processes as mpiexec starts."""

import importlib.util

import numpy as np
import pytest
import ranks

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or ranks.MPIEXEC is None,
    reason="needs mpi4py and an MPI: pip install 'minigan[mpi]'",
)

APART = "gaussian_1d", "few_steps", "statistics_of_each"


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """All runs on two ranks."""
    return ranks.run(tmp_path_factory.mktemp("two"), 2, *ranks.RUNS)


def difference(found: dict, expected: dict) -> float:
    """The largest difference of arrays, relative to the largest number in each."""
    assert found.keys() == expected.keys()
    return max(
        np.abs(found[key] - y).max() / max(np.abs(y).max(), 1e-300) if np.size(y) else 0.0
        for key, y in expected.items()
    )


@pytest.mark.parametrize("name", [name for name in ranks.RUNS if name not in APART])
def test_two_ranks_are_one_process_of_twice_the_batch(two, name):
    """In float64: 50 steps of whole games, and by themselves the parts that look across a batch."""
    assert difference(two[name], ranks.RUNS[name]()) < 1e-9


def test_a_mean_that_is_left_out_is_noticed(two):
    expected = ranks.statistics_of_each()
    assert difference(two["statistics_of_each"], expected) > 1e-3


def test_in_float32_the_numbers_agree(two):
    assert difference(two["gaussian_1d"], ranks.gaussian_1d()) < 1e-4


def test_four_ranks_on_fewer_cores(tmp_path):
    found = ranks.run(tmp_path, 4, "few_steps", "batch_norm", "history")
    for name, arrays in found.items():
        assert difference(arrays, ranks.RUNS[name]()) < 1e-9
