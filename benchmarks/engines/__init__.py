"""The contestants: each GAN written once per engine, as plainly as its users would write it.

A file `with_<engine>.py` has a function per task, which takes a `Task` and returns a step: a
function without arguments that trains both players once and returns their losses, in whatever
form the engine has them. Beside it stand `value(loss)`, the float in such a loss (it waits for
the engine to finish), and `version()`. What an engine can't do, it has no function for.

minigan and PyTorch also train on a GPU. Their files then tell how much of its memory they took:
`device_memory(step)`, counted from the last `forget_device_memory()`.

All engines start from the same weights and repeat the step on the same inputs, made here with
NumPy alone. So their first losses have to agree, and nobody's random numbers are in the timing.
Images are (n, h, w, c) and filters (kh, kw, in, out) here, minigan's layout.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

SIDE = 7  # of the small image between the linear layer and the convolutions


class Task(NamedTuple):
    """One training step to be timed: which function of an engine file, at what size, and where."""

    function: str
    batch: int
    width: int = 0
    latent: int = 0
    sizes: tuple[int, ...] = ()
    device: str = "cpu"
    precision: str = "float32"  # of matrix products and convolutions; or "tf32", on a GPU


TASKS = {
    "DCGAN-28": Task("dcgan", batch=64, width=64, latent=100),
    "1-D GAN": Task("mlp_gan", batch=128, latent=1, sizes=(1, 16, 16, 1)),
    "WGAN-GP critic": Task("wgan_gp_critic", batch=64, width=64),
    "BigGAN-32": Task("biggan", batch=32, width=32, latent=80),
}

# --quick: too small to say anything about speed, large enough to say whether results agree.
QUICK_TASKS = {
    "DCGAN-28": Task("dcgan", batch=4, width=8, latent=8),
    "1-D GAN": Task("mlp_gan", batch=16, latent=1, sizes=(1, 16, 16, 1)),
    "WGAN-GP critic": Task("wgan_gp_critic", batch=4, width=8),
    "BigGAN-32": Task("biggan", batch=4, width=8, latent=8),
}


def gpu_tasks(quick: bool, precision: str) -> dict:
    """DCGAN-28 on a GPU: a batch that leaves it waiting for Python, and one that fills it."""
    task = (QUICK_TASKS if quick else TASKS)["DCGAN-28"]
    task = task._replace(device="cuda", precision=precision)
    batches = (task.batch,) if quick else (64, 1024)
    return {f"DCGAN-28, batch {n}": task._replace(batch=n) for n in batches}


class Engine(NamedTuple):
    """A row of the comparison: the file it is written in, and what its functions are called with.

    numpy:        computes with NumPy, as minigan does.
    second_order: takes part in the task that needs gradients of gradients.
    compiles:     needs too long before its first step for --quick.
    lacks:        why it can't do DCGAN, if it can't.
    """

    module: str
    options: dict
    numpy: bool = False
    second_order: bool = False
    compiles: bool = False
    lacks: str = ""


ENGINES = {
    "minigan": Engine("with_minigan", {}, numpy=True, second_order=True),
    "PyTorch": Engine("with_torch", {}, second_order=True),
    "PyTorch best eager": Engine("with_torch", {"best": True}),
    "torch.compile": Engine("with_torch", {"compiled": True}, compiles=True),
    "JAX jit": Engine("with_jax", {}, compiles=True),
    "DeZero": Engine("with_dezero", {}, numpy=True),
    "MyGrad": Engine("with_mygrad", {}, numpy=True, lacks="no transposed convolution"),
    "autograd": Engine("with_autograd", {}, numpy=True, lacks="no strided convolution"),
}

# On a GPU. A captured step is one CUDA graph; so is PyTorch's around a step with a capturable
# Adam. Which memory layout suits cuDNN depends on precision and size, so there are graphs of both.
GPU_ENGINES = {
    "minigan": Engine("with_minigan", {}),
    "minigan captured": Engine("with_minigan", {"captured": True}),
    "PyTorch": Engine("with_torch", {}),
    "PyTorch channels_last": Engine("with_torch", {"best": True}),
    "torch.compile": Engine("with_torch", {"compiled": True}, compiles=True),
    "PyTorch graph": Engine("with_torch", {"graphed": True}),
    "PyTorch graph channels_last": Engine("with_torch", {"best": True, "graphed": True}),
}


def engines_for(task: Task) -> dict:
    """The engines that are there for a task's device."""
    return GPU_ENGINES if task.device == "cuda" else ENGINES


BASELINE = "PyTorch"
GRADIENT_TOLERANCE = 1e-4  # of a gradient's norm, between minigan and PyTorch


class Absent(Exception):
    """An engine doesn't take part; the message is the reason."""


def reason_to_skip(name: str, task: Task) -> str:
    """Why an engine can't do a task, known without starting it; empty if it can."""
    engine = engines_for(task)[name]
    if task.function == "wgan_gp_critic" and not engine.second_order:
        return "not compared: this task is minigan against PyTorch eager"
    if task.function == "biggan" and engine.module not in ("with_minigan", "with_torch"):
        return "not compared: this task is minigan against PyTorch"
    if engine.compiles and task._replace(device="cpu", precision="float32") in QUICK_TASKS.values():
        return "compiles: too slow for --quick"
    return engine.lacks if task.function == "dcgan" else ""


# --- Weights and inputs --------------------------------------------------------------------------


class Arrays(NamedTuple):
    """What every engine starts from: parameters in the order of the layers, and the inputs."""

    G: list
    D: list
    real: np.ndarray
    z: np.ndarray  # noise; for the critic, the generated images instead
    mix: np.ndarray  # the critic's: where between real and fake the penalty is taken


def arrays(task: Task, seed=0) -> Arrays:
    """The weights and inputs of a task, float32; the same for every engine."""
    rng = np.random.default_rng(seed)

    def normal(*shape, std=1.0):
        return (rng.standard_normal(shape) * std).astype(np.float32)

    def dense(n, k):
        return [normal(n, k, std=np.sqrt(2 / n)), np.zeros(k, np.float32)]

    if task.function == "mlp_gan":
        pairs = list(itertools.pairwise(task.sizes))
        G, D = ([a for n, k in pairs for a in dense(n, k)] for _ in range(2))
        return Arrays(G, D, normal(task.batch, 1) + 4, normal(task.batch, task.latent), None)

    w, images = task.width, (task.batch, 4 * SIDE, 4 * SIDE, 1)
    norms = {n: [np.ones(n, np.float32), np.zeros(n, np.float32)] for n in (w, 2 * w)}
    critic = task.function == "wgan_gp_critic"
    G = [normal(task.latent, SIDE * SIDE * 2 * w, std=0.02), *norms[2 * w]]
    G += [normal(4, 4, w, 2 * w, std=0.02), *norms[w]]
    G += [normal(4, 4, 1, w, std=0.02), np.zeros(1, np.float32)]
    D = [normal(4, 4, 1, w, std=0.02), np.zeros(w, np.float32)]
    D += [normal(4, 4, w, 2 * w, std=0.02), *(norms[2 * w][1:] if critic else norms[2 * w])]
    D += [normal(SIDE * SIDE * 2 * w, 1, std=0.02), np.zeros(1, np.float32)]
    real = np.tanh(normal(*images))
    if critic:
        return Arrays([], D, real, np.tanh(normal(*images)), rng.random((task.batch, 1, 1, 1), "f"))
    return Arrays(G, D, real, normal(task.batch, task.latent), None)


def channels_first(parameters, width) -> list:
    """Parameters as engines with images (n, c, h, w) have them: filters (out, in, kh, kw), and
    the linear layers beside a small image reordered from (h, w, c) to (c, h, w)."""
    inner = SIDE * SIDE * 2 * width
    converted = []
    for a in parameters:
        if a.ndim == 4:
            a = a.transpose(3, 2, 0, 1)
        elif a.ndim == 2 and a.shape[0] == inner:
            a = a.reshape(SIDE, SIDE, -1, 1).transpose(2, 0, 1, 3).reshape(a.shape)
        elif a.ndim == 2 and a.shape[1] == inner:
            a = a.reshape(-1, SIDE, SIDE, 2 * width).transpose(0, 3, 1, 2).reshape(a.shape)
        converted.append(np.ascontiguousarray(a))
    return converted


class Adam:
    """Adam for engines that bring no optimiser: in place, on a list of NumPy arrays."""

    def __init__(self, parameters, lr, betas, eps=1e-8):
        self.parameters, self.lr, self.betas, self.eps, self.t = parameters, lr, betas, eps, 0
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]

    def step(self, gradients):
        self.t += 1
        b1, b2 = self.betas
        rate = self.lr * float(np.sqrt(1 - b2**self.t)) / (1 - b1**self.t)
        for p, g, (m, v) in zip(self.parameters, gradients, self.moments, strict=True):
            m += (1 - b1) * (g - m)
            v += (1 - b2) * (g * g - v)
            p -= rate * m / (np.sqrt(v) + self.eps)


# What the optimisers of every engine are made with: (learning rate, (β₁, β₂)).
RATES = {
    "dcgan": (2e-4, (0.5, 0.999)),
    "mlp_gan": (1e-3, (0.5, 0.999)),
    "wgan_gp_critic": (1e-4, (0.0, 0.9)),
    "biggan": (2e-4, (0.0, 0.999)),
}
