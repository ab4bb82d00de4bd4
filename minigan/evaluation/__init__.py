"""How good are samples? Distances between distributions, and measures of sets of samples.

In the order of reading: divergences, metrics, line.
"""

from minigan.evaluation.divergences import (
    LARGEST_ASSIGNMENT,
    LARGEST_PROGRAM,
    UNITS,
    cross_entropy,
    entropy,
    game_value,
    histogram,
    js,
    kl,
    optimal_discriminator,
    optimal_transport,
    pushforward_density,
    sliced_wasserstein,
    total_variation,
    wasserstein,
    wasserstein1_to_quantiles,
    wasserstein_discrete,
)
from minigan.evaluation.line import (
    CriticOnLine,
    cells,
    critic_on_line,
    levels,
    on_line,
    shared_out,
)
from minigan.evaluation.metrics import (
    BLOCK,
    LARGEST,
    SIGMAS,
    Modes,
    PrecisionRecall,
    confidence_interval,
    frechet_distance,
    mmd,
    modes,
    nearest,
    parzen_log_likelihood,
    parzen_sigma,
    precision_recall,
    standard_error,
)
