"""Do minigan and PyTorch compute the same gradients? Asked before anything is timed.

    python benchmarks/parity.py           at full size; prints JSON

Same weights, same inputs, then every gradient of D's loss, of G's loss, and of the critic's loss
with its gradient penalty. A gradient's error is the norm of the difference over the norm of
PyTorch's gradient, one number per parameter, in float32 as it is timed.

Where an input of a LeakyReLU is zero but for rounding, the two libraries may round it to
different sides, and both gradients are right: such a kink can make errors of 1e-3. So a few seeds
are tried: kinks differ from one to the next, whereas a wrong gradient is wrong with every seed.
A program of its own, since two thread pools in one process disturb each other.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from engines import (
    GRADIENT_TOLERANCE,
    QUICK_TASKS,
    TASKS,
    residual,
    torch_residual,
    with_minigan,
    with_torch,
)
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import relu

from minigan import grad, losses

SEEDS = range(6)


def gradients_here(task, seed) -> dict:
    """minigan's gradients by loss and parameter, as arrays in PyTorch's layout."""
    if task.function == "wgan_gp_critic":
        D, real, fake, penalty = with_minigan.critic_network(task, seed)
        loss = losses.Wasserstein().discriminator(D(real), D(fake)) + penalty(D, real, fake)
        players = {"critic": (loss, D)}
    elif task.function == "biggan":
        G, D, real, (z, y) = with_minigan.biggan_networks(task, seed)
        objective, fake = losses.Hinge(), G(z, y)
        loss_of_d = objective.discriminator(D(*real), D(fake.detach(), y))
        players = {"D": (loss_of_d, D), "G": (objective.generator(D(fake, y)), G)}
    else:
        networks = {"dcgan": with_minigan.dcgan_networks, "mlp_gan": with_minigan.mlp_networks}
        G, D, real, z = networks[task.function](task, seed)
        objective, fake = losses.NonSaturating(), G(z)
        loss_of_d = objective.discriminator(D(real), D(fake.detach()))
        players = {"D": (loss_of_d, D), "G": (objective.generator(D(fake)), G)}
    found = {}
    for player, (loss, network) in players.items():
        names = list(network.named_parameters())
        arrays = [g.numpy() for g in grad(loss, network.parameters())]
        if task.function == "biggan":
            arrays = map(torch_residual.converted, names, arrays)
        else:
            arrays = (g.numpy() for g in with_torch.torch_layout(arrays, task.width))
        found |= {f"{player} {name}": g for name, g in zip(names, arrays, strict=True)}
    return found


def gradients_there(task, seed) -> list:
    """PyTorch's gradients in the same order."""
    if task.function == "wgan_gp_critic":
        D, real, fake, mix = with_torch.critic_network(task, seed)
        penalty = with_torch.gradient_penalty(D, real, fake, mix)
        players = [(D(fake).mean() - D(real).mean() + penalty, D)]
    elif task.function == "biggan":
        G, D, real, z, y = with_torch.biggan_networks(task, seed)
        fake = G(z, y)
        loss_of_d = relu(1 - D(real, y)).mean() + relu(1 + D(fake.detach(), y)).mean()
        players = [(loss_of_d, D), (-D(fake, y).mean(), G)]
    else:
        networks = {"dcgan": with_torch.dcgan_networks, "mlp_gan": with_torch.mlp_networks}
        G, D, real, z = networks[task.function](task, seed)
        ones, fake = torch.ones(task.batch, 1), G(z)
        loss_of_d = bce(D(real), ones) + bce(D(fake.detach()), 0 * ones)
        players = [(loss_of_d, D), (bce(D(fake), ones), G)]
    return [
        g.numpy()
        for loss, network in players
        for g in torch.autograd.grad(loss, parameters_there(task, network))
    ]


def parameters_there(task, network) -> list:
    """PyTorch's parameters, in minigan's order."""
    if task.function != "biggan":
        return list(network.parameters())
    named = torch_residual.named(network)
    return [named[name] for of in residual.shapes(task) for name in of if of.keys() == named.keys()]


def errors(task, seed) -> dict:
    """The relative error of each gradient, by name.

    One that would be zero in exact arithmetic, such as the bias that cancels in a Wasserstein
    loss, is held against a millionth of the largest instead of against its own rounding errors.
    """
    here, there = gradients_here(task, seed), gradients_there(task, seed)
    smallest = 1e-6 * max(np.linalg.norm(g) for g in there)
    return {
        name: float(np.linalg.norm(a - b) / max(np.linalg.norm(b), smallest))
        for (name, a), b in zip(here.items(), there, strict=True)
    }


def compare(task) -> dict:
    """The first seed whose errors are all within the tolerance, or else the last; its errors."""
    for seed in SEEDS:
        found = errors(task, seed)
        if max(found.values()) <= GRADIENT_TOLERANCE:
            break
    return {"seed": seed, "largest": max(found.values()), "errors": found}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true", help="at the small size of --quick")
    tasks = QUICK_TASKS if p.parse_args().quick else TASKS
    print(json.dumps({name: compare(task) for name, task in tasks.items()}, indent=1))


if __name__ == "__main__":
    main()
