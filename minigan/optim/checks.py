"""What optimisers, schedules and averages check."""

from __future__ import annotations

import math


def positive(name, value):
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}, expected a positive number")
    return value


def fraction(name, value):
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}, expected 0 <= {name} < 1")
    return value


def counted(state: dict, name="t") -> tuple:
    """The step count in a state, and the rest of it. ValueError if there is none."""
    if name not in state:
        raise ValueError(f"the state has no step count {name!r}")
    return state[name], {key: value for key, value in state.items() if key != name}
