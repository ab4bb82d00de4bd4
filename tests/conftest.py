"""How the tests run: on one core each, and with the same Hypothesis examples in every run.

`pytest --hypothesis-profile=explore` looks further: other examples each time, and many more.
"""

import functools
import os
import sys
from pathlib import Path

# Before anything imports NumPy: tests run side by side, and each BLAS would take every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests share; in a folder of its own, apart from the folders named as the package's.
sys.path.insert(0, str(Path(__file__).with_name("helpers")))

import pytest
from checks import gpu_is_there
from fake_device import fake_device
from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    settings.get_profile("repeatable"),
    derandomize=False,
    max_examples=300,
)
settings.load_profile("repeatable")


@pytest.fixture
def few_digits(monkeypatch):
    """Drawn digits, but only some: to draw as many as MNIST has takes seconds."""
    from minigan import data

    few = {split: (2000, seed) for split, (_, seed) in data.DRAWN.items()}
    monkeypatch.setattr(data, "DRAWN", few)


@pytest.fixture(scope="module")
def drawn_once():
    """The same drawn digits are drawn only once."""
    from minigan import data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "drawn_digits", functools.cache(data.drawn_digits))
        yield


# --- The GPU, and what stands in for it ----------------------------------------------------------


@functools.cache
def _real_device():
    from minigan.backend.cuda import open_device

    return open_device()


DEVICES = ["fake", *[pytest.param("real", marks=pytest.mark.cuda)] * gpu_is_there()]


@pytest.fixture(params=DEVICES)
def cuda(request, monkeypatch):
    """The CUDA backend: on the fake device, which counts and refuses, and on a GPU if there is one.

    `cuda.xp` is then `fake_cupy`'s module, or CuPy.
    """
    from minigan import backend

    device = {"fake": fake_device, "real": _real_device}[request.param]()
    monkeypatch.setattr(device, "precision", "float32")
    monkeypatch.setitem(backend._BACKENDS, "cuda", device)
    monkeypatch.setitem(backend._BACKEND_OF_TYPE, device.xp.ndarray, device)
    return device
