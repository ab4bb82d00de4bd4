"""How good are samples? Distances between distributions, measures of sets, a classifier as ruler.

In the order of reading: divergences, line, pairs, neighbours, metrics, health, windows, ruler,
pyramids, arithmetic, bounds, subspaces, hmc, ais.
"""

from minigan.evaluation.ais import (
    Annealed,
    Bracket,
    ais_log_likelihood,
    bdmc_bounds,
    effective_sample_size,
    sigmoid_schedule,
    simulated,
)
from minigan.evaluation.arithmetic import (
    Found,
    attribute_members,
    attribute_vectors,
    class_vectors,
    find_vector,
    flipped,
    random_vectors,
)
from minigan.evaluation.bounds import (
    active_units,
    draw_log_weights,
    importance_bound,
    linear_log_likelihood,
    plane_log_likelihood,
)
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
from minigan.evaluation.health import (
    intrinsic_dimension,
    normed_variance,
    rank,
    slope,
    variety,
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
    Modes,
    PrecisionRecall,
    class_shares,
    confidence_interval,
    diversity,
    frechet_distance,
    mmd,
    modes,
    precision_recall,
    rank_correlation,
    spread,
    standard_error,
)
from minigan.evaluation.neighbours import k_means, leaning, looks_real, nearest, nearness, vote
from minigan.evaluation.pyramids import laplacian_pyramid, pyramid_distances
from minigan.evaluation.ruler import Seen, look, train_classifier
from minigan.evaluation.subspaces import PCA, pca, ppca_log_likelihood, principal_angles
from minigan.evaluation.windows import (
    SIGMAS,
    ParzenScore,
    parzen_log_likelihood,
    parzen_score,
    parzen_sigma,
    unit_rows,
)
