"""The four steps in minigan, with the networks and the two moves that its examples use.

On a GPU also what the device can do at best, as contestants among the others: one large product,
which is cuBLAS's work and not minigan's, and one large copy.
"""

from __future__ import annotations

import minigan
from engines import RATES, Task, arrays, residual
from minigan import Tensor, cpu, discriminator_step, generator_step, losses, models, optim
from minigan.backend import get_backend
from minigan.gan import penalties
from minigan.nn import SpectralNorm


def version():
    return minigan.__version__


def value(loss):
    loss.backend.synchronize()  # a GPU may know the loss before it has moved the parameters
    return loss.item()


def device_of(task: Task):
    """The backend that a task is for, set to the task's precision."""
    backend = get_backend(task.device)
    if backend is not cpu:
        backend.precision = task.precision
    return backend


def forget_device_memory():
    """Nothing to forget: what the pools hold is what the largest step so far has needed."""


def device_memory(step) -> dict:
    """MB of the device that the pools hold: never less than what was in use at the peak."""
    pools = [get_backend("cuda")._pool]
    if hasattr(step, "_pool"):  # a captured step has its own
        pools.append(step._pool)
    held = sum(pool.total_bytes() for pool in pools) / 2**20
    return {"peak_mb": held, "held_mb": held}


class FixedMix:
    """In place of a random generator: the same points between real and fake at every step."""

    def __init__(self, mix):
        self.mix = mix

    def uniform(self, shape, dtype):
        return self.mix.reshape(shape).astype(dtype, copy=False)


def fill(network, parameters):
    """The network with the given arrays as its parameters."""
    for p, a in zip(network.parameters(), parameters, strict=True):
        p.data[...] = p.backend.asarray(a)
        p.updated()
    return network


def dcgan_networks(task: Task, seed=0):
    a, backend = arrays(task, seed), device_of(task)
    rng = backend.generator(0)
    G = models.dcgan_generator(rng=rng, width=task.width, latent=task.latent)
    D = models.dcgan_discriminator(rng=rng, width=task.width)
    return fill(G, a.G), fill(D, a.D), *inputs(backend, a)


def mlp_networks(task: Task, seed=0):
    a, backend = arrays(task, seed), device_of(task)
    rng = backend.generator(0)
    G, D = (models.mlp(task.sizes, rng=rng) for _ in range(2))
    return fill(G, a.G), fill(D, a.D), *inputs(backend, a)


def inputs(backend, a):
    """A batch of real samples and one of noise, as constants on the device."""
    return Tensor(backend.asarray(a.real)), Tensor(backend.asarray(a.z))


def critic_network(task: Task, seed=0):
    """D without batch norm, a batch of real and of generated images, and the penalty."""
    a = arrays(task, seed)
    D = models.dcgan_discriminator(rng=cpu.generator(0), width=task.width, batch_norm=False)
    penalty = penalties.gradient_penalty(FixedMix(a.mix), weight=10.0)
    return fill(D, a.D), Tensor(a.real), Tensor(a.z), penalty


def dcgan(task: Task, captured=False):
    step = _game(*dcgan_networks(task), *RATES["dcgan"])
    return device_of(task).capture(step) if captured else step


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


def biggan_networks(task: Task, seed=0):
    """G, D, (real, labels) and (z, labels): see `residual.py`."""
    rng, shape = cpu.generator(0), {"channels": residual.COLOURS, "classes": residual.CLASSES}
    shape |= {"size": residual.IMAGE, "attention": residual.LOOKS_AT, "width": task.width}
    G = models.BigGANGenerator(rng=rng, latent=task.latent, embedded=residual.EMBEDDED, **shape)
    D = models.BigGANDiscriminator(rng=rng, **shape)
    for network, weights in zip((G, D), residual.draw(task, seed), strict=True):
        fill(network, weights.values())
        for _, module in network.modules():
            if isinstance(module, SpectralNorm):
                module.u[...] = residual.start_of(module.layer.weight.data).reshape(-1)
    real, z, y = map(Tensor, residual.inputs(task, seed))
    return G, D, (real, y), (z, y)


def biggan(task: Task):
    G, D, real, (z, y) = biggan_networks(task)
    lr, betas = RATES["biggan"]
    G_optimizer, D_optimizer = (optim.Adam(network, lr, betas=betas) for network in (G, D))
    objective = losses.Hinge()

    def step():
        fake = G(z, y), y
        d = discriminator_step(D, D_optimizer, objective, real, fake)
        g = generator_step(D, G_optimizer, objective, fake)
        return d.loss, g.loss

    return step


# --- What the device can do at best --------------------------------------------------------------


def product(task: Task):
    """A square product of `width` rows, written in place: 2·width³ floating-point operations."""
    backend = device_of(task)
    rng = backend.generator(0)
    a, b = (rng.normal((task.width, task.width)) for _ in range(2))
    out = backend.xp.empty_like(a)

    def step():
        backend.matmul(a, b, out=out)
        return (Tensor(out[:1, 0]),)

    return step


def copy(task: Task):
    """A copy of `width` MiB, which reads and writes as many."""
    backend = device_of(task)
    source = backend.generator(0).normal((task.width, 2**18))
    out = backend.xp.empty_like(source)

    def step():
        backend.xp.copyto(out, source)
        return (Tensor(out[:1, 0]),)

    return step
