"""The game: what the two players minimise, how they move, and what is done when they fail.

In the order of reading: losses, features, penalties, adversarial, remedies, unrolling, latent.
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
from minigan.gan.unrolling import Unrolling
