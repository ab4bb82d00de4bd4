"""Learning rates: functions of the step t = 1, 2, …; and other numbers that follow such a function.

Objects rather than closures, as these can't be pickled. `steps` is after how many a rate is 0.
"""

from __future__ import annotations

import bisect
import math
from typing import NamedTuple

from minigan.engine.checks import expect


class _Constant(NamedTuple):
    lr: float

    def __call__(self, t):
        return self.lr


class _LinearDecay(NamedTuple):
    lr: float
    steps: int
    begin: float

    def __call__(self, t):
        share = (self.steps - (t - 1)) / max(self.steps - self.begin, 1.0)
        return self.lr * min(1.0, max(0.0, share))


class _Cosine(NamedTuple):
    lr: float
    steps: int

    def __call__(self, t):
        return 0.5 * self.lr * (1.0 + math.cos(math.pi * min(1.0, (t - 1) / self.steps)))


def constant(lr):
    """The same rate at every step."""
    return _Constant(lr)


def linear_decay(lr, steps, *, start=0.5):
    """`lr` for the share `start` of the steps, then along a line that meets 0 after the last."""
    expect(steps >= 1, "linear_decay: the number of steps", steps, "at least 1")
    return _LinearDecay(lr, steps, start * steps)


def cosine(lr, steps):
    """lr (1 + cos(π t / steps)) / 2, half a cosine wave down to 0 (Loshchilov and Hutter 2017)."""
    expect(steps >= 1, "cosine: the number of steps", steps, "at least 1")
    return _Cosine(lr, steps)


class Growth:
    """The levels of a network that grows: when each ends, and how far the newest is faded in.

        growth = Growth(3000, 3, each=1000, fade=500)       ends: [1000, 2000, 3000]
        fade = Scheduled(growth, backend)                   the α of Karras et al. 2018, section 3

    Levels before the last take `each` steps; the last has what is left of all steps, so that a run
    that goes on for longer is the longer run. Over its first `fade` steps, or `each`, if that is
    fewer, a level is faded in: growth(t) is from 0 to 1. The first has nothing to be faded from.
    ValueError if nothing is left for the last, or for a fade of no steps.
    """

    def __init__(self, steps, levels, *, each, fade):
        expect(levels >= 1, "Growth: levels", levels, "at least 1")
        before = (levels - 1) * expect(each >= 1, "Growth: each", each, "at least 1")
        expect(steps > before, "Growth: steps", steps, f"more than {before}, those of small levels")
        self.ends = [*(each * k for k in range(1, levels)), steps]
        self.fade = min(each, expect(fade >= 1, "Growth: fade", fade, "at least 1"))

    def __call__(self, t):
        level = bisect.bisect_left(self.ends[:-1], t)
        if level == 0:
            return 1.0
        return min(1.0, (t - self.ends[level - 1]) / self.fade)


class Scheduled:
    """A number that follows a schedule from step to step, in captured steps too.

        fade = Scheduled(Growth(3000, 3, each=1000, fade=500), backend)
        …
        fade.advance()                                         at the start of each training step
        real, fake = (x, level, fade.value), (G(z, level, fade.value), level, fade.value)

    schedule: a function of the step t = 1, 2, …, or a number. A checkpoint part.
    """

    def __init__(self, schedule, backend):
        self.schedule = schedule if callable(schedule) else constant(schedule)
        self.backend, self.live, self.t = backend, backend.live(), 0

    def advance(self):
        """On to the next step's value."""
        self.backend.host(self._advance)

    def _advance(self):
        self.t += 1
        self.live.set(self.schedule(self.t))

    @property
    def value(self):
        """The number, or on a device the 0-d array where a replayed step finds it.

        RuntimeError if there was no first `advance()`.
        """
        if self.t == 0:
            name = type(self).__name__
            raise RuntimeError(f"{name}: call advance() at the start of each training step")
        return self.live[0]

    def state(self) -> dict:
        """The step count."""
        return {"t": self.t}

    def load_state(self, state: dict):
        """Takes over `state()`, with the value of that step by this object's own schedule."""
        self.t = state["t"]
        if self.t:
            self.live.set(self.schedule(self.t))
