"""minigan: generative adversarial networks from scratch, on NumPy.

The reading order is backend, engine, functional, conv, nn, optim, losses, models, adversarial,
remedies; then any of the examples, and data, divergences and metrics where they are used.
"""

from minigan import functional, losses, models, nn, optim
from minigan.adversarial import discriminator_step, generator_step
from minigan.backend import DeviceError, cpu, get_backend
from minigan.engine import (
    ShapeError,
    StaleGraphError,
    Tensor,
    frozen,
    grad,
    no_grad,
    tensor,
)

__version__ = "0.1.0"

__all__ = [
    "DeviceError",
    "ShapeError",
    "StaleGraphError",
    "Tensor",
    "cpu",
    "discriminator_step",
    "frozen",
    "functional",
    "generator_step",
    "get_backend",
    "grad",
    "losses",
    "models",
    "nn",
    "no_grad",
    "optim",
    "tensor",
]
