"""A network of one variable, looked at on a line."""

from __future__ import annotations

from minigan.backend import Backend
from minigan.engine import Tensor, no_grad


def on_line(function, x, backend: Backend):
    """The values of a network of one variable at the points x (n,), for pictures and measures.

    function: from a tensor (n, 1) on `backend` to one; a network, or one and what comes behind it.
    Returns a host array, float64 (n,); nothing is recorded.
    """
    with no_grad():
        y = function(Tensor(backend.asarray(x, "float32").reshape(-1, 1)))
    return y.numpy().astype(float).ravel()
