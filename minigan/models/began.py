"""A generator, and a discriminator that is an autoencoder (Berthelot et al. 2017)."""

from __future__ import annotations

from minigan.backend import Generator
from minigan.engine import functional as F
from minigan.engine.operations import mean
from minigan.nn import BatchNorm, Flatten, LeakyReLU, Linear, Module, Reshape, Sequential, Tanh


class Autoencoder(Module):
    """A discriminator whose verdict is an energy: how badly it rebuilds what it is shown.

        energy(x) = mean over x's values of |x − decode(encode(x))|ᵖ

    Images (n, …) -> energies (n,), each at least 0; `D.encode` and `D.decode` are its two halves.
    Zhao et al. 2017 (EBGAN) rebuild real images well and keep the energy of generated ones up;
    Berthelot et al. 2017 (BEGAN, eq. 1) have p = 1 or 2. ValueError for another p.
    """

    def __init__(self, encode: Module, decode: Module, *, power=2, name="D"):
        if power not in (1, 2):
            raise ValueError(f"Autoencoder: power is {power}, expected 1 or 2")
        self.encode, self.decode = encode, decode
        self.power, self.name = power, name

    def forward(self, x):
        error = x - self.decode(self.encode(x))
        error = F.abs(error) if self.power == 1 else error * error
        return mean(error, tuple(range(1, x.ndim)))

    def describe(self):
        return f"power={self.power}"


def began_discriminator(
    *, rng: Generator, size=28, channels=1, hidden=256, code=16, power=2, name="D"
) -> Autoencoder:
    """An autoencoder of images (n, size, size, channels), through `code` numbers and back.

    One hidden layer on either side, LeakyReLU, and a tanh at the end.
    """
    pixels = size * size * channels
    encode = Sequential(
        Flatten(),
        Linear(pixels, hidden, rng=rng),
        LeakyReLU(0.2),
        Linear(hidden, code, rng=rng),
        LeakyReLU(0.2),
    )
    decode = Sequential(
        Linear(code, hidden, rng=rng),
        LeakyReLU(0.2),
        Linear(hidden, pixels, rng=rng),
        Tanh(),
        Reshape(size, size, channels),
    )
    return Autoencoder(encode, decode, power=power, name=name)


def began_generator(
    *, rng: Generator, size=28, channels=1, latent=16, hidden=256, batch_norm=True, name="G"
) -> Sequential:
    """A generator for that discriminator: z (n, latent) -> images (n, size, size, channels).

    Two hidden layers with LeakyReLU, and a tanh at the end.

    batch_norm: BEGAN's own networks have none. It keeps every hidden unit varying over the batch,
    so that G does not as easily learn to ignore z (examples/began.py shows both).
    """
    layers = []
    for inputs in (latent, hidden):
        layers.append(Linear(inputs, hidden, rng=rng, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(hidden, rng=rng))
        layers.append(LeakyReLU(0.2))
    return Sequential(
        *layers,
        Linear(hidden, size * size * channels, rng=rng),
        Tanh(),
        Reshape(size, size, channels),
        name=name,
    )
