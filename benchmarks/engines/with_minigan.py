"""The three steps in minigan, with the networks and the two moves that its examples use."""

from __future__ import annotations

import minigan
from engines import RATES, Task, arrays
from minigan import Tensor, cpu, discriminator_step, generator_step, losses, models, optim


def version():
    return minigan.__version__


def value(loss):
    return loss.item()


class FixedMix:
    """In place of a random generator: the same points between real and fake at every step."""

    def __init__(self, mix):
        self.mix = mix

    def uniform(self, shape, dtype):
        return self.mix.reshape(shape).astype(dtype, copy=False)


def fill(network, parameters):
    """The network with the given arrays as its parameters."""
    for p, a in zip(network.parameters(), parameters, strict=True):
        p.data[...] = a
        p.updated()
    return network


def dcgan_networks(task: Task, seed=0):
    a, rng = arrays(task, seed), cpu.generator(0)
    G = models.dcgan_generator(rng=rng, width=task.width, latent=task.latent)
    D = models.dcgan_discriminator(rng=rng, width=task.width)
    return fill(G, a.G), fill(D, a.D), Tensor(a.real), Tensor(a.z)


def mlp_networks(task: Task, seed=0):
    a, rng = arrays(task, seed), cpu.generator(0)
    G, D = (models.mlp(task.sizes, rng=rng) for _ in range(2))
    return fill(G, a.G), fill(D, a.D), Tensor(a.real), Tensor(a.z)


def critic_network(task: Task, seed=0):
    """D without batch norm, a batch of real and of generated images, and the penalty."""
    a = arrays(task, seed)
    D = models.dcgan_discriminator(rng=cpu.generator(0), width=task.width, batch_norm=False)
    penalty = losses.gradient_penalty(FixedMix(a.mix), weight=10.0)
    return fill(D, a.D), Tensor(a.real), Tensor(a.z), penalty


def dcgan(task: Task):
    return _game(*dcgan_networks(task), *RATES["dcgan"])


def mlp_gan(task: Task):
    return _game(*mlp_networks(task), *RATES["mlp_gan"])


def _game(G, D, real, z, lr, betas):
    objective = losses.NonSaturating()
    G_optimizer = optim.Adam(G, lr, betas=betas)
    D_optimizer = optim.Adam(D, lr, betas=betas)

    def step():
        fake = G(z)
        d = discriminator_step(D, D_optimizer, objective, real, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        return d.loss, g.loss

    return step


def wgan_gp_critic(task: Task):
    D, real, fake, penalty = critic_network(task)
    lr, betas = RATES["wgan_gp_critic"]
    optimizer = optim.Adam(D, lr, betas=betas)
    objective = losses.Wasserstein()

    def step():
        return (discriminator_step(D, optimizer, objective, real, fake, penalty=penalty).loss,)

    return step
