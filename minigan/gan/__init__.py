"""The game: what the two players minimise, how they move, and what is done when they fail.

And what takes no second player: the bounds by which a decoder with a likelihood is trained.

In the order of reading: losses, features, distances, transfer, penalties, adversarial, remedies,
unrolling, latent, truncation, variational.
"""

from minigan.gan.adversarial import (
    DiscriminatorReport,
    GeneratorReport,
    detached,
    discriminator_loss,
    discriminator_step,
    generator_loss,
    generator_step,
)
from minigan.gan.distances import KeptDistances, pairwise_distances, self_distances
from minigan.gan.features import AuxiliaryClassifier, WithFeatures
from minigan.gan.latent import Inversion, invert, lerp, slerp
from minigan.gan.losses import (
    OBJECTIVES,
    BoundaryEquilibrium,
    EnergyBased,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Objective,
    RelativisticAverage,
    Wasserstein,
    ZeroSum,
    binary_cross_entropy,
    feature_matching,
    pulling_away,
    softmax_cross_entropy,
    together,
)
from minigan.gan.penalties import dragan_penalty, gradient_penalty, r1_penalty, r2_penalty
from minigan.gan.remedies import History, InstanceNoise
from minigan.gan.transfer import DomainTransfer, image_variation
from minigan.gan.truncation import orthogonal_penalty, standing_statistics, truncated_normal
from minigan.gan.unrolling import Unrolling
from minigan.gan.variational import (
    BernoulliLikelihood,
    Bound,
    GaussianLikelihood,
    elbo,
    gaussian_kl,
    log_mean_exp,
    log_weights,
    reparametrised,
)
