"""y"""

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
