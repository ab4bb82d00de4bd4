"""The machine's matrix peak, as a contestant among the others: one large float32 product."""

from __future__ import annotations

import numpy as np

from engines import Task


def version():
    return np.__version__


def value(loss):
    return loss


def product(task: Task):
    """A square product of `width` rows, written in place: 2·width³ floating-point operations."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, task.width, task.width), np.float32)
    out = np.empty_like(a)

    def step():
        np.matmul(a, b, out=out)
        return ()

    return step
