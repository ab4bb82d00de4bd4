"""The likelihood of points under windows around samples: Parzen's estimate of a density."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from minigan.evaluation.metrics import standard_error
from minigan.evaluation.pairs import positive, squared_distances, two_sets

SIGMAS = np.logspace(-1, 0, 10)  # from 0.1 to 1


def parzen_log_likelihood(points, samples, sigma) -> np.ndarray:
    """ln of the density that Gaussian windows around the samples give to each point; (n,), nats.

        ln p(x) = ln 1/m Σⱼ N(x; sⱼ, σ² I)

    The measure of Goodfellow et al. 2014, table 1, as in their released code: 10,000 samples, σ
    from `parzen_sigma` on validation points, the mean over the test set ± its `standard_error`;
    pixels in [0, 1]. Theis et al. 2016 discredit it: in many dimensions it is far from the model's
    likelihood for any number of samples, and the centres of k-means score higher than real data.

    points: (n, d); samples: (m, d); sigma: the windows' standard deviation, > 0, in their units.
    """
    points, samples = two_sets("parzen_log_likelihood", points=points, samples=samples)
    return _parzen(points, samples, [positive("parzen_log_likelihood: sigma", sigma)])[0]


def parzen_sigma(points, samples, sigmas=SIGMAS) -> float:
    """The one of `sigmas` that gives validation points the highest mean Parzen log-likelihood.

    The default is the grid of Goodfellow et al. 2014's released code, for pixels in [0, 1]. If the
    first or the last of the grid comes out, the best lies beyond: move the grid. The points must
    not be among the samples, or the narrowest window wins.
    """
    points, samples = two_sets("parzen_sigma", points=points, samples=samples)
    sigmas = [positive("parzen_sigma: sigma", sigma) for sigma in np.ravel(sigmas)]
    if not sigmas:
        raise ValueError("parzen_sigma: no sigmas to choose from")
    return sigmas[int(np.argmax(_parzen(points, samples, sigmas).mean(axis=1)))]


class ParzenScore(NamedTuple):
    """The mean log-likelihood of points in nats, its standard error, and the windows' σ."""

    mean: float
    error: float
    sigma: float


def parzen_score(points, validation, samples) -> ParzenScore:
    """How likely points are under windows around samples: table 1 of Goodfellow et al. 2014.

    The windows are as wide as suits the validation points best. All (n, d), pixels from 0 to 1.
    """
    sigma = parzen_sigma(validation, samples)
    values = parzen_log_likelihood(points, samples, sigma)
    return ParzenScore(float(values.mean()), standard_error(values), sigma)


def unit_rows(images) -> np.ndarray:
    """Images as this measure takes them: bytes (n, …) to float32 (n, d), pixels from 0 to 1."""
    return images.reshape(len(images), -1) / np.float32(255)


def _parzen(points, samples, sigmas) -> np.ndarray:
    """ln p of each point for each σ, (len(sigmas), n); the distances are computed once for all."""
    total = np.full((len(sigmas), len(points)), -np.inf)
    for rows, _, squared in squared_distances(points, samples):
        for row, sigma in zip(total, sigmas, strict=True):
            exponents = squared * (-0.5 / sigma**2)
            largest = exponents.max(axis=1)  # left out of the sum, which would be 0 far out
            exponents -= largest[:, None]
            terms = np.exp(exponents, out=exponents).sum(axis=1)
            row[rows] = np.logaddexp(row[rows], np.log(terms) + largest)
    n, d = samples.shape
    scale = math.log(n) + d * np.log(np.sqrt(2 * np.pi) * np.array(sigmas))
    return total - scale[:, None]
