"""Sets that are squares in disguise: whatever is in one has its place (u, v) in [0, 1]².

    points  (2 u − 1, 2 v − 1), as a network sees a square
    lights  images of two beams that cross at (u, v)
    bars    images of two bars of the heights u and v

Each is uniform on the square, and near places look alike. So it is known which mappings from one to
another are right: the eight that turn or mirror the square at most. `unfaithful` is how far another
one is from the nearest of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigan.backend import backend_of

PIXELS = 16  # a side
LEVELS = 65  # places along u, and along v, among which that of a light is looked for


@dataclass(frozen=True)
class Square:
    """A set: its name, what is at places, and where something is.

    draw: places, float32 (n, 2) on any device -> what is there, float32 (n, …), from −1 to 1.
    read: such things on the host, or others like them (n, …) -> their places, (n, 2).
    """

    name: str
    draw: Callable
    read: Callable


def _sides(uv):
    """The middles of the pixels along a side, from 0 to 1."""
    return (backend_of(uv).xp.arange(PIXELS, dtype="float32") + 0.5) / PIXELS


def _lights(uv):
    """A red beam along x = u and a green one along y = v, each fading to its sides.

    So images differ by about |u − u'| + |v − v'|, as bars do. One round light would not do: how far
    apart two of them are is the same whichever way, and a square of them fits one of bars best when
    it is turned by 45 degrees.
    """
    xp = backend_of(uv).xp
    across, down = (
        1 - 2 * (abs(_sides(uv) - (0.2 + 0.6 * x)) / 0.7).clip(0, 1) for x in (uv[:, :1], uv[:, 1:])
    )
    dark = xp.full((len(uv), PIXELS, PIXELS), -1.0, "float32")
    red, green = dark * 0 + across[:, None, :], dark * 0 + down[:, :, None]
    return xp.stack([red, green, dark], -1)


def _bars(uv):
    left, right = (
        ((0.1 + 0.8 * x - _sides(uv)) * PIXELS + 0.5).clip(0, 1)[:, ::-1, None]
        for x in (uv[:, :1], uv[:, 1:])
    )
    first, second = (abs(_sides(uv) - middle) < 0.15 for middle in (0.28, 0.72))
    return 2 * (left * first + right * second)[..., None] - 1


def _read_lights(images):
    """The places whose lights differ least."""
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, LEVELS, dtype="float32")] * 2), -1)
    places = places.reshape(-1, 2)
    drawn = _lights(places).reshape(len(places), -1)
    misfit = (drawn**2).sum(1) - 2 * np.asarray(images).reshape(len(images), -1) @ drawn.T
    return places[misfit.argmin(1)]


def _read_bars(images):
    """The light in each half of an image, which a bar of a height makes up."""
    light = (np.asarray(images)[..., 0] + 1) / 2
    halves = [half.sum((1, 2)) for half in np.split(light, 2, axis=2)]
    width = int((abs(_sides(light) - 0.28) < 0.15).sum())
    return (np.stack(halves, 1) / (width * PIXELS) - 0.1) / 0.8


SQUARES = {
    "points": Square("points", lambda uv: 2 * uv - 1, lambda points: (points + 1) / 2),
    "lights": Square("lights", _lights, _read_lights),
    "bars": Square("bars", _bars, _read_bars),
}


def unfaithful(places, found) -> float:
    """How far a mapping of places (n, 2) to those that were found, (n, 2), is from being right.

    The root mean square of the distances between found places and those that the best of the eight
    symmetries of the square makes, in sides of it. A mapping to the middle alone has 0.41, one to
    places at random 0.58.
    """
    centred = np.asarray(places) - 0.5
    turned = [
        0.5 + np.array(signs) * way
        for way in (centred, centred[:, ::-1])
        for signs in itertools.product((1, -1), repeat=2)
    ]
    return min(apart(found, one) for one in turned)


def apart(places, others) -> float:
    """The root mean square of the distances between places (n, 2) and others (n, 2), in turn."""
    return float(((np.asarray(places) - others) ** 2).sum(1).mean() ** 0.5)
