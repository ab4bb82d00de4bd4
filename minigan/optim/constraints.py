"""What holds weights within bounds after an optimiser's step."""

from __future__ import annotations

from minigan.nn import FlatParameters, Module
from minigan.optim.checks import positive


def clip_weights(network: Module, bound):
    """θ ← min(max(θ, −c), c) for every parameter, in place, to be called after an optimiser's step.

    How the first Wasserstein GAN keeps its critic's slope bounded (Arjovsky et al. 2017,
    Algorithm 1, line 7, with c = 0.01). ValueError unless bound > 0.
    """
    bound, flat = positive("bound", bound), FlatParameters(network.parameters())
    for _, memory in flat.pieces:
        flat.backend.xp.clip(memory, -bound, bound, out=memory)
    flat.backend.host(flat.updated)
