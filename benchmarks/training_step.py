"""How long a training step takes: the two GANs that the examples train, without the examples.

    python benchmarks/training_step.py            DCGAN at width 32 and 64, and the 1-D GAN
    python benchmarks/training_step.py --quick    a few steps of each, to see that it runs

Medians over repeated steps after a warm-up, so that a busy machine shows less. BLAS reads its
settings at start: set OMP_NUM_THREADS to measure other numbers of threads.
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import numpy as np

from minigan import Tensor, cpu, discriminator_step, generator_step, losses, models, optim

BLAS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE")


def game(G, D, real, latent, rng):
    """A function that makes one step of both players."""
    objective = losses.NonSaturating()
    D_optimizer = optim.Adam(D, 2e-4, betas=(0.5, 0.999))
    G_optimizer = optim.Adam(G, 2e-4, betas=(0.5, 0.999))

    def step():
        fake = G(Tensor(rng.normal((len(real), latent))))
        discriminator_step(D, D_optimizer, objective, real, fake)
        generator_step(D, G_optimizer, objective, fake)

    return step


def dcgan(width, batch=64, latent=100):
    rng = cpu.generator(0)
    G = models.dcgan_generator(rng=rng, width=width, latent=latent)
    D = models.dcgan_discriminator(rng=rng, width=width)
    return game(G, D, Tensor(rng.normal((batch, 28, 28, 1))), latent, rng)


def gaussian_1d(batch=256):
    rng = cpu.generator(0)
    G, D = (models.mlp([1, 32, 32, 1], rng=rng) for _ in range(2))
    return game(G, D, Tensor(rng.normal((batch, 1))), 1, rng)


def seconds_per_step(step, warm_up, repeats):
    """The median, the fastest and the slowest of `repeats` steps."""
    for _ in range(warm_up):
        step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return np.median(times), min(times), max(times)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--quick", action="store_true", help="three steps of each")
    quick = p.parse_args().quick
    settings = [f"{name}={os.environ[name]}" for name in BLAS_VARIABLES if name in os.environ]
    print(f"NumPy {np.__version__}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    print("BLAS variables:", ", ".join(settings) or "none set")
    print(f"{'step':<22}{'median ms':>10}{'min':>9}{'max':>9}{'samples/s':>12}")
    for name, step, batch, repeats in (
        ("1-D GAN, batch 256", gaussian_1d(), 256, 1000),
        ("DCGAN 28, width 32", dcgan(32), 64, 60),
        ("DCGAN 28, width 64", dcgan(64), 64, 40),
    ):
        median, low, high = seconds_per_step(step, 1 if quick else 5, 3 if quick else repeats)
        print(
            f"{name:<22}{median * 1e3:>10.2f}{low * 1e3:>9.2f}{high * 1e3:>9.2f}"
            f"{batch / median:>12,.0f}"
        )


if __name__ == "__main__":
    main()
