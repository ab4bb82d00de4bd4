"""The 1-D GAN in HIPS autograd; its one convolution has no stride, so DCGAN can't be written."""

from __future__ import annotations

from importlib.metadata import version as version_of

import autograd.numpy as np
from autograd import value_and_grad

from engines import RATES, Adam, Task, arrays


def version():
    return version_of("autograd")


def value(loss):
    return float(loss)


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def mlp(parameters, x):
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = np.dot(x, w) + b
        x = np.maximum(x, 0.2 * x)
    return np.dot(x, last[0]) + last[1]


def mlp_gan(task: Task):
    a = arrays(task)
    G_optimizer, D_optimizer = (Adam(p, *RATES["mlp_gan"]) for p in (a.G, a.D))

    def d_loss(D, real, fake):
        return np.mean(softplus(-mlp(D, real))) + np.mean(softplus(mlp(D, fake)))

    def g_loss(G, D, z):
        return np.mean(softplus(-mlp(D, mlp(G, z))))

    d_value_and_gradients, g_value_and_gradients = value_and_grad(d_loss), value_and_grad(g_loss)

    def step():
        loss_d, gradients = d_value_and_gradients(a.D, a.real, mlp(a.G, a.z))
        D_optimizer.step(gradients)
        loss_g, gradients = g_value_and_gradients(a.G, a.D, a.z)
        G_optimizer.step(gradients)
        return loss_d, loss_g

    return step
