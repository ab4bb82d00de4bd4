"""How Hypothesis draws its examples: the same ones in every run, so that a failure can be repeated.

`pytest --hypothesis-profile=explore` looks further: other examples each time, and many more.
"""

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
