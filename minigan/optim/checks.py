"""What optimisers, schedules and averages check."""

from __future__ import annotations

import math

from minigan.engine.checks import expect


def positive(name, value):
    """The value. ValueError, with its name, unless it is above 0 and finite."""
    return expect(0 < value < math.inf, name, value, "a positive number")


def fraction(name, value):
    """The value. ValueError, with its name, unless it is at least 0 and below 1."""
    return expect(0 <= value < 1, name, value, f"0 <= {name} < 1")


def counted(state: dict, name="t") -> tuple:
    """The step count in a state, and the rest of it. ValueError if there is none."""
    if name not in state:
        raise ValueError(f"the state has no step count {name!r}")
    return state[name], {key: value for key, value in state.items() if key != name}
