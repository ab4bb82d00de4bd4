"""Two of the steps in JAX: one jitted function per step, parameters in lists."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from engines import RATES, SIDE, Task, arrays


def version():
    return jax.__version__


def value(loss):
    return float(loss)


def leaky(x):
    return jnp.where(x > 0, x, 0.2 * x)


def batch_norm(x, scale, shift, eps=1e-5):
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) * lax.rsqrt(variance + eps) * scale + shift


def conv(x, w):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, (2, 2), ((1, 1), (1, 1)), dimension_numbers=layout)


def conv_transpose(y, w):
    """For a 4x4 kernel and stride 2, "SAME" is padding 1."""
    return lax.conv_transpose(
        y, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), transpose_kernel=True
    )


def generator(parameters, z):
    w0, scale0, shift0, w1, scale1, shift1, w2, b2 = parameters
    x = (z @ w0).reshape(len(z), SIDE, SIDE, -1)
    x = jax.nn.relu(batch_norm(x, scale0, shift0))
    x = jax.nn.relu(batch_norm(conv_transpose(x, w1), scale1, shift1))
    return jnp.tanh(conv_transpose(x, w2) + b2)


def discriminator(parameters, x):
    w0, b0, w1, scale, shift, w2, b2 = parameters
    x = leaky(conv(x, w0) + b0)
    x = leaky(batch_norm(conv(x, w1), scale, shift))
    return x.reshape(len(x), -1) @ w2 + b2


def mlp(parameters, x):
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = leaky(x @ w + b)
    return x @ last[0] + last[1]


def adam(parameters, gradients, state, lr, betas, eps=1e-8):
    t, ms, vs = state
    t, (b1, b2) = t + 1, betas
    ms = [b1 * m + (1 - b1) * g for m, g in zip(ms, gradients, strict=True)]
    vs = [b2 * v + (1 - b2) * g * g for v, g in zip(vs, gradients, strict=True)]
    rate = lr * jnp.sqrt(1 - b2**t) / (1 - b1**t)
    moved = [p - rate * m / (jnp.sqrt(v) + eps) for p, m, v in zip(parameters, ms, vs, strict=True)]
    return moved, (t, ms, vs)


def dcgan(task: Task):
    return _game(generator, discriminator, arrays(task), *RATES["dcgan"])


def mlp_gan(task: Task):
    return _game(mlp, mlp, arrays(task), *RATES["mlp_gan"])


def _game(G, D, a, lr, betas):
    real, z = jnp.asarray(a.real), jnp.asarray(a.z)

    def d_loss(d, real, fake):
        return jax.nn.softplus(-D(d, real)).mean() + jax.nn.softplus(D(d, fake)).mean()

    def g_loss(g, d, z):
        return jax.nn.softplus(-D(d, G(g, z))).mean()

    @jax.jit
    def both(players, states, real, z):
        (g, d), (g_state, d_state) = players, states
        loss_d, gradients = jax.value_and_grad(d_loss)(d, real, G(g, z))
        d, d_state = adam(d, gradients, d_state, lr, betas)
        loss_g, gradients = jax.value_and_grad(g_loss)(g, d, z)
        g, g_state = adam(g, gradients, g_state, lr, betas)
        return ((g, d), (g_state, d_state)), (loss_d, loss_g)

    players = [[jnp.asarray(p) for p in network] for network in (a.G, a.D)]
    zeros = [[jnp.zeros_like(p) for p in network] for network in players]
    training = players, [(0.0, n, n) for n in zeros]

    def step():
        nonlocal training
        training, losses = both(*training, real, z)
        return losses

    return step
