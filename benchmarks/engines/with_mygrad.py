"""The 1-D GAN in MyGrad; it has convolution but not its transpose, so DCGAN can't be written."""

from __future__ import annotations

import mygrad as mg
import numpy as np

from engines import RATES, Adam, Task, arrays

SLOPE = np.float32(0.2)  # a Python number would make MyGrad compute in float64

# MyGrad locks the arrays of a graph against writing; its documentation says to turn that off
# for speed once the code is known to be right.
mg.turn_memory_guarding_off()


def version():
    return mg.__version__


def value(loss):
    return float(loss)


def softplus(x):
    return mg.logaddexp(x, np.float32(0))


def mlp(parameters, x):
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = x @ w + b
        x = mg.maximum(x, mg.multiply(x, SLOPE))
    return x @ last[0] + last[1]


def mlp_gan(task: Task):
    a = arrays(task)
    G, D = ([mg.tensor(p, copy=False) for p in network] for network in (a.G, a.D))
    G_optimizer, D_optimizer = (Adam(p, *RATES["mlp_gan"]) for p in (a.G, a.D))

    def move(loss, network, optimizer):
        loss.backward()
        optimizer.step([p.grad for p in network])
        for p in network:
            p.null_grad()
        return loss.item()

    def step():
        fake = mlp(G, a.z)
        d_loss = softplus(-mlp(D, a.real)).mean() + softplus(mlp(D, fake.data)).mean()
        d_loss = move(d_loss, D, D_optimizer)
        g_loss = move(softplus(-mlp(D, fake)).mean(), G, G_optimizer)
        return d_loss, g_loss

    return step
