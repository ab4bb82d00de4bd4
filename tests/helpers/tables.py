"""What there is of each kind, once: for what is asked of all of them alike.

`test_suite_itself.py` holds each table against what the package offers. The first word of a row is
the public name.
"""

import numpy as np
from checks import OPERATIONS, fill
from layers import LAYERS

from minigan import cpu, data, gan, models, nn, optim

__all__ = [
    "DENSITIES",
    "GENERATORS",
    "INITIALISERS",
    "LAYERS",
    "LOSSES",
    "OPERATIONS",
    "OPTIMIZERS",
    "PENALTIES",
    "SCHEDULES",
]

# Made by init(rng, shape, fan_in, fan_out).
INITIALISERS = {
    "normal": nn.normal(),
    "normal, wide": nn.normal(0.5),
    "he": nn.he(),
    "he for a slope": nn.he(0.2),
    "xavier": nn.xavier(),
    "uniform": nn.uniform(0.05),
    "orthogonal": nn.orthogonal(),
}

# Made by (parameters or network, rate).
OPTIMIZERS = {"SGD": optim.SGD, "RMSprop": optim.RMSprop, "Adam": optim.Adam}

# Made by (rate, steps).
SCHEDULES = {
    "constant": lambda lr, steps: optim.constant(lr),
    "linear_decay": optim.linear_decay,
    "cosine": optim.cosine,
}

# Made by (rng, weight=…).
PENALTIES = {
    "gradient_penalty": gan.gradient_penalty,
    "gradient_penalty, one-sided": lambda rng, **options: gan.gradient_penalty(
        rng, target=0.2, one_sided=True, **options
    ),
    "dragan_penalty": gan.dragan_penalty,
    "r1_penalty": lambda rng, **options: gan.r1_penalty(**options),
    "r2_penalty": lambda rng, **options: gan.r2_penalty(**options),
}

DENSITIES = {
    "Gaussian": data.Gaussian(4.0, 1.25),
    "GaussianMixture1D": data.GaussianMixture1D([-2.0, 1.0, 5.0], [0.5, 1.0, 0.2], [0.2, 0.5, 0.3]),
    "Uniform": data.Uniform(-2.0, 1.5),
    "GaussianModes": data.GaussianModes([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]], 0.1),
    "Ring": data.Ring(),
    "Grid": data.Grid(),
    "Spiral": data.Spiral(),
}

# The arguments of a small one of each of models.GENERATORS, as a checkpoint would hold them.
GENERATORS = {
    "began": {"latent": 3, "size": 8, "hidden": 6},
    "biggan": {"latent": 3, "size": 16, "width": 2, "classes": 4},
    "conditional": {"latent": 3, "size": 8, "width": 2, "classes": 4},
    "dcgan": {"latent": 3, "size": 8, "width": 2, "hidden": 0},
    "goodfellow_2014": {"latent": 3, "hidden": 4},
    "vae": {"latent": 3, "hidden": [4, 5], "size": 8},
}


# --- Losses --------------------------------------------------------------------------------------

_CLASSES = np.array([2, 0, 1, 2])


class _Matching(gan.WithFeatures):
    relative = True

    def generator(self, fake, real=None):
        return super().generator(fake, real) + gan.feature_matching(real[1], fake[1])


def _with_more(name, game, labels=()):
    """Both sides of a game, on D's outputs and what it says beside them: rows of the table."""

    def judged(real, real_more, fake, fake_more):
        pairs = (real, real_more), (fake, fake_more)
        return [game.judge(lambda x, said=said: said, (said[0], *labels)) for said in pairs]

    return {
        f"{name}, D's": (lambda *said: game.discriminator(*judged(*said)), _ALL_THAT_D_SAYS),
        f"{name}, G's": (lambda *said: game.generator(*judged(*said)[::-1]), _ALL_THAT_D_SAYS),
    }


def _sides(name, objective, real, fake):
    """Both sides of a game, on D's outputs: rows of the table."""
    g_inputs = (fake, real) if objective.relative else (fake,)
    return {
        f"{name}, D's": (objective.discriminator, (real, fake)),
        f"{name}, G's": (objective.generator, g_inputs),
    }


_REAL, _FAKE = fill((5, 1), "even"), fill((4, 1), "odd", 1)  # none on a kink
_ENERGIES = fill((5,), "positive"), fill((4,), "positive", 1)
_ALL_THAT_D_SAYS = [fill((4, k), seed=seed) for seed, k in enumerate((1, 3, 1, 3))]

# A function of tensors, and float64 arrays to call it with.
LOSSES = {}
for _objective in gan.OBJECTIVES.values():
    LOSSES |= _sides(_objective.__name__, _objective(), _REAL, _FAKE)
LOSSES |= _sides("EnergyBased", gan.EnergyBased(float(np.median(_ENERGIES[1])) + 1e-3), *_ENERGIES)
_equilibrium = gan.BoundaryEquilibrium(cpu)
_equilibrium.k[...] = 0.3
LOSSES |= _sides("BoundaryEquilibrium", _equilibrium, *_ENERGIES)
LOSSES |= _with_more("WithFeatures", _Matching(gan.NonSaturating()))
_classes = gan.AuxiliaryClassifier(gan.NonSaturating(), weight=0.5)
LOSSES |= _with_more("AuxiliaryClassifier", _classes, [_CLASSES])
_transfer, _OF_THREE = gan.DomainTransfer(), [fill((4, 3), seed=seed) for seed in range(3)]
LOSSES |= {
    "DomainTransfer, D's": (lambda t, *fakes: _transfer.discriminator(t, fakes), _OF_THREE),
    "DomainTransfer, G's": (lambda *fakes: _transfer.generator(fakes), _OF_THREE[:2]),
    "image_variation": (gan.image_variation, (fill((2, 4, 3, 2)),)),
}
LOSSES |= {
    "binary_cross_entropy": (lambda x: gan.binary_cross_entropy(x, 0.9), (_REAL,)),
    "softmax_cross_entropy": (lambda x: gan.softmax_cross_entropy(x, _CLASSES), (fill((4, 3)),)),
    "feature_matching": (gan.feature_matching, (fill((5, 3)), fill((4, 3), seed=1))),
    "pulling_away": (gan.pulling_away, (fill((5, 3)),)),
    "pairwise_distances": (gan.pairwise_distances, (fill((4, 3)),)),
    "self_distances": (gan.self_distances, (fill((3, 2, 5, 1)),)),
}


# --- Bounds of a likelihood ----------------------------------------------------------------------

_E = models.GaussianEncoder([4, 3, 2], rng=cpu.generator(0)).astype("float64")
_G = models.vae_decoder(latent=2, hidden=(3,), size=2, rng=cpu.generator(1)).astype("float64")
_x = fill((3, 2, 2, 1), "positive")


def _bounded(bound):
    """A bound as a function of x and noise, by networks and a likelihood of their dtype."""

    def of(x, noise):
        parts = [part.astype(x.dtype) for part in (_E.copy(), _G.copy())]
        return bound(*parts, gan.GaussianLikelihood(0.5), x, noise)

    return of


LOSSES |= {
    "reparametrised": (gan.reparametrised, [fill((3, 2), seed=seed) for seed in range(3)]),
    "gaussian_kl": (gan.gaussian_kl, [fill((3, 2), seed=seed) for seed in range(2)]),
    "log_mean_exp": (gan.log_mean_exp, (fill((4, 3)),)),
    "elbo": (_bounded(lambda *given: gan.elbo(*given).elbo), (_x, fill((3, 2)))),
    "log_weights": (_bounded(gan.log_weights), (_x, fill((2, 3, 2)))),
}
