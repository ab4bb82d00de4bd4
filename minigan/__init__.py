"""minigan: generative adversarial networks from scratch, on NumPy and CuPy.

Each folder is a floor, and imports from those before it alone:
system, backend, engine, nn, optim, gan, models, data, evaluation, plots, training.
Each folder's first lines say what it is for, and in which order to read its files.
"""

from minigan import models, nn, optim
from minigan.backend import DeviceError, cpu, get_backend
from minigan.engine import (
    ShapeError,
    StaleGraphError,
    Tensor,
    frozen,
    functional,
    grad,
    no_grad,
    tensor,
)
from minigan.gan import discriminator_step, generator_step, losses, penalties

__version__ = "0.1.0"
