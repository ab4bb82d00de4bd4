"""Two of the steps in DeZero, the engine of Saito's "Deep Learning from Scratch 3".

Its last release is from before NumPy 2. Two things are put back as they were, or it would not
import, and would compute half of the step in float64: `np.int`, and that a Python number does
not change the dtype of the float32 array it meets.
"""

from __future__ import annotations

import numpy as np

np.int = int  # before the import below, which needs it

import dezero  # noqa: E402
import dezero.functions as F  # noqa: E402
from dezero import Parameter, optimizers  # noqa: E402
from dezero.functions_conv import conv2d, deconv2d  # noqa: E402

from engines import RATES, SIDE, Task, arrays, channels_first  # noqa: E402

dezero.core.as_array = lambda x, xp=np: xp.array(x, np.float32) if xp.isscalar(x) else x


def version():
    from importlib.metadata import version

    return version("dezero") + " with NumPy 1's np.int and float32 numbers put back"


def value(loss):
    return float(loss.data)


class Network(dezero.Layer):
    """Parameters in a list, and the function that applies them."""

    def __init__(self, parameters, function):
        super().__init__()
        self.function = function
        self.arguments = [Parameter(p) for p in parameters]
        for i, p in enumerate(self.arguments):
            setattr(self, f"p{i}", p)  # how a layer of DeZero learns what its parameters are

    def forward(self, x):
        return self.function(x, *self.arguments)


def batch_norm(x, scale, shift):
    channels = x.shape[1]
    running = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    return F.batch_nrom(x, scale, shift, *running, eps=1e-5)


def generator(z, w0, scale0, shift0, w1, scale1, shift1, w2, b2):
    x = F.reshape(F.linear(z, w0), (len(z), -1, SIDE, SIDE))
    x = F.relu(batch_norm(x, scale0, shift0))
    x = F.relu(batch_norm(deconv2d(x, w1, None, 2, 1), scale1, shift1))
    return F.tanh(deconv2d(x, w2, b2, 2, 1))


def discriminator(x, w0, b0, w1, scale, shift, w2, b2):
    x = F.leaky_relu(conv2d(x, w0, b0, 2, 1), 0.2)
    x = F.leaky_relu(batch_norm(conv2d(x, w1, None, 2, 1), scale, shift), 0.2)
    return F.linear(F.reshape(x, (len(x), -1)), w2, b2)


def mlp(x, *parameters):
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = F.leaky_relu(F.linear(x, w, b), 0.2)
    return F.linear(x, *last)


def dcgan(task: Task):
    a = arrays(task)
    G = Network(channels_first(a.G, task.width), generator)
    D = Network(channels_first(a.D, task.width), discriminator)
    return _game(G, D, np.ascontiguousarray(a.real.transpose(0, 3, 1, 2)), a.z, *RATES["dcgan"])


def mlp_gan(task: Task):
    a = arrays(task)
    return _game(Network(a.G, mlp), Network(a.D, mlp), a.real, a.z, *RATES["mlp_gan"])


def _game(G, D, real, z, lr, betas):
    real, z = dezero.Variable(real), dezero.Variable(z)
    G_optimizer = optimizers.Adam(lr, *betas).setup(G)
    D_optimizer = optimizers.Adam(lr, *betas).setup(D)

    def cross_entropy_of_ones(logits):
        return -F.sum(F.log(F.sigmoid(logits))) / len(logits)

    def step():
        fake = G(z)
        D.cleargrads()
        d_loss = cross_entropy_of_ones(D(real)) + cross_entropy_of_ones(-D(fake.data))
        d_loss.backward()
        D_optimizer.update()
        G.cleargrads()
        g_loss = cross_entropy_of_ones(D(fake))
        g_loss.backward()
        G_optimizer.update()
        return d_loss, g_loss

    return step
