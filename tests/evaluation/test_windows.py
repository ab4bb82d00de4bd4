"""The score of table 1 in Goodfellow et al. 2014 is its parts; those are in test_metrics.py."""

import numpy as np

from minigan.evaluation import (
    parzen_log_likelihood,
    parzen_score,
    parzen_sigma,
    standard_error,
    unit_rows,
)


def test_a_score_takes_its_width_from_the_validation_points():
    random = np.random.default_rng(0)
    points, validation, samples = (random.normal(0, 0.3, (n, 4)) for n in (30, 20, 50))
    score = parzen_score(points, validation, samples)
    sigma = parzen_sigma(validation, samples)
    values = parzen_log_likelihood(points, samples, sigma)
    assert score == (values.mean(), standard_error(values), sigma)
    assert parzen_score(points, samples, samples).sigma == 0.1  # the narrowest: itself


def test_bytes_as_rows():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    rows = unit_rows(images)
    assert rows.dtype == np.float32 and rows.shape == (4, 64)
    np.testing.assert_allclose(rows.ravel(), np.arange(256) / 255, rtol=1e-6)
    assert rows.max() == 1
