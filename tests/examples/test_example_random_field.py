"""random_field.py: what it calls exact is held against SciPy and a solver, and G against that."""

import re

import numpy as np
import pytest
from running import module, run
from scipy.stats import lognorm

from minigan import cpu


@pytest.fixture
def example():
    return module("random_field")


def test_the_exact_moments_are_those_of_scipy_and_of_samples(example):
    field = example.Field(0.5, 0.2)
    mean, variance, skewness = lognorm.stats(s=0.5, moments="mvs")
    assert (field.mean, field.std**2, field.skewness) == pytest.approx((mean, variance, skewness))
    a = field.sample(cpu.generator(0), 50_000).numpy()
    assert a.shape == (50_000, 64) and a.dtype == "float32"
    np.testing.assert_allclose(a.mean(axis=0), mean, rtol=0.02)
    np.testing.assert_allclose(np.cov(a.T), field.covariance, atol=0.05 * variance)


def test_the_flux_is_that_of_darcys_equation(example):
    """−(a p′)′ = 0 as a linear system for the pressures at the middles of the cells."""
    a = example.Field(0.5, 0.2).sample(cpu.generator(1), 3).numpy().astype(float)
    n = a.shape[1]
    for field, found in zip(a, example.flux(a), strict=True):
        # Between two middles half a cell of each resists; at the ends half a cell.
        resists = np.pad(0.5 / n / field, 1)
        conducts = 1 / (resists[:-1] + resists[1:])
        system = np.diag(conducts[:-1] + conducts[1:])
        system -= np.diag(conducts[1:-1], 1) + np.diag(conducts[1:-1], -1)
        pressures = np.linalg.solve(system, conducts[0] * np.eye(n)[0])
        assert found == pytest.approx(conducts[-1] * pressures[-1], rel=1e-9)


def test_a_short_run_is_near_and_the_gaussian_is_not(example, tmp_path, monkeypatch):
    monkeypatch.setattr(example, "SETS", 5)
    out, _ = run("random_field", "--steps", 250, "--out", tmp_path)
    numbers = {
        line.split(":")[0]: [float(n) for n in re.findall(r"-?\d+\.\d+", line)]
        for line in out.splitlines()
        if "covariance" in line
    }
    _, _, off, skewness, exact, negative, _, times = numbers["generated"]
    assert off < 20 and abs(skewness - exact) < 0.5 and negative == 0 and times < 8
    _, _, off, skewness, _, negative, _, times = numbers["Gaussian"]
    assert off < 10 and abs(skewness) < 0.2 and negative > 10 and times > 10
    *_, off, _, _, _, _, times = numbers["simulated"]
    assert off < 10 and times < 2
