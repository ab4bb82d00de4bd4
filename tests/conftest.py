"""How the tests run: on one core each, and with the same Hypothesis examples in every run.

`pytest --hypothesis-profile=explore` looks further: other examples each time, and many more.
"""

import os

# Before anything imports NumPy: tests run side by side, and each BLAS would take every core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

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
