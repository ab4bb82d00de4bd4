"""Two sets of images that belong together, but not image by image; and a rule that reads them.

    pair = DOMAINS["day"]
    days, nights = pair.draw(4000, seed=0)              two Datasets, of different scenes
    pair.read[1]["what is there"](nights.images)        what is in them, by the rule

"hue" has discs of six hues and bars of six orientations. Nothing local in a disc's colour says how
a bar is to be turned, so a mapping that looks at pixels can't know, and any that pairs hues with
orientations one to one is as good as any other. "day" has streets by day and by night. What stands
in a street, and where the sun or the moon is, can be read off both; the colours of walls, by day
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigan.backend import cpu
from minigan.data.dataset import Dataset

CHUNK = 500  # images that are drawn or read at once


@dataclass(frozen=True)
class Domains:
    """A pair of sets.

    names     of the two
    shapes    of an image of each, (h, w, c)
    drawers   a function for each set, from a generator and n to floats (n, h, w, c) from 0 to 1
    read      for each, what can be read off its images: {name: a function from uint8 (n, h, w, c)
              to int64 (n, k)}. What has one name in both sets means the same in both
    """

    names: tuple[str, str]
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]]
    drawers: tuple[Callable, Callable]
    read: tuple[dict[str, Callable], dict[str, Callable]]

    def draw(self, n: int, seed=0) -> tuple[Dataset, Dataset]:
        """`n` images of each set, always the same for the same `n` and `seed`; no two belong
        together. `seed` is an int ≥ 0 or a sequence of such. ValueError if n < 1.
        """
        if n < 1:
            raise ValueError(f"{' and '.join(self.names)}: got n = {n}, wanted at least 1")
        streams = cpu.generator(seed).spawn(2)
        drawn = []
        for name, side, draw, rng in zip(
            self.names, self.shapes, self.drawers, streams, strict=True
        ):
            images = np.empty((n, *side), np.uint8)
            for start in range(0, n, CHUNK):
                some = images[start : start + CHUNK]
                some[...] = np.rint(draw(rng, len(some)) * 255)
            drawn.append(Dataset(name, images, recipe=f"{name}({n}, {seed})"))
        return drawn[0], drawn[1]

    def same(self, images, others, sides: tuple[int, int]) -> dict[str, float]:
        """How many images have all that can be read off them in common with others, in turn.

        {name: a share in [0, 1]}, of what can be read off both sides, 0 or 1, that they are of.
        """
        of_images, of_others = (self.read[side] for side in sides)
        return {
            what: float((read(images) == of_others[what](others)).all(1).mean())
            for what, read in of_images.items()
            if what in of_others
        }


def _grid(size) -> np.ndarray:
    """The middles of the pixels along a side."""
    return np.arange(size, dtype=np.float32) + np.float32(0.5)


def _column(values) -> np.ndarray:
    """(n,) as (n, 1, 1), to go with images."""
    return np.asarray(values, np.float32)[:, None, None]


def _offsets(size, centre) -> tuple[np.ndarray, np.ndarray]:
    """How far pixels are from centres (n, 2), to the right, (n, 1, w), and down, (n, h, 1)."""
    dx = _grid(size) - _column(centre[:, 0])
    return dx, _grid(size)[:, None] - _column(centre[:, 1])


# --- Hues and orientations -----------------------------------------------------------------------

SMALL, KINDS = 16, 6  # pixels; hues, and orientations


def _discs(rng, n):
    hue = (rng.integers(0, KINDS, n) + rng.uniform((n,), -0.12, 0.12)) / KINDS
    dx, dy = _offsets(SMALL, 8 + rng.uniform((n, 2), -1.2, 1.2))
    cover = np.clip(_column(rng.uniform((n,), 3.5, 5)) - np.hypot(dx, dy) + 0.5, 0, 1)
    # One channel at 1, one at 0, one between: a colour that is as strong as can be.
    turns = (hue[:, None] + np.array([0, 2 / 3, 1 / 3], np.float32)) % 1
    rgb = np.clip(np.abs(6 * turns - 3) - 1, 0, 1)
    return cover[..., None] * rgb[:, None, None]


def _bars(rng, n):
    angle = (rng.integers(0, KINDS, n) / KINDS + rng.uniform((n,), -0.02, 0.02)) * np.pi
    dx, dy = _offsets(SMALL, 8 + rng.uniform((n, 2), -1.2, 1.2))
    cos, sin = _column(np.cos(angle)), _column(np.sin(angle))
    along, across = np.abs(cos * dx + sin * dy), np.abs(cos * dy - sin * dx)
    outside = np.maximum(along - 6, across - _column(rng.uniform((n,), 1, 1.6)))
    return np.clip(0.5 - outside, 0, 1)[..., None]


def _hue(images):
    """The hue of all the light in an image."""
    red, green, blue = images.sum((1, 2), dtype=np.float64).T
    turn = np.arctan2(3**0.5 * (green - blue), 2 * red - green - blue) / (2 * np.pi)
    return (np.rint(turn * KINDS).astype(np.int64) % KINDS)[:, None]


def _orientation(images):
    """The direction along which the light is most spread out."""
    light = images[..., 0].astype(np.float64) + 1e-6
    total = light.sum((1, 2))
    x, y = light.sum(1) @ _grid(SMALL) / total, light.sum(2) @ _grid(SMALL) / total
    dx, dy = _offsets(SMALL, np.stack([x, y], 1))
    xx, yy, xy = ((light * part).sum((1, 2)) for part in (dx * dx, dy * dy, dx * dy))
    turn = np.arctan2(2 * xy, xx - yy) / (2 * np.pi)
    return (np.rint(turn * KINDS).astype(np.int64) % KINDS)[:, None]


# --- Streets by day and by night -----------------------------------------------------------------

LARGE, GROUND = 32, 26.0  # pixels; where the ground begins
PLACES = np.array([5.5, 16.0, 26.5])  # of what stands in a street, and of the sun or the moon
STANDING = ("nothing", "a house", "a tower", "a tree")
JITTER = 1.2  # pixels

WALLS = [(205, 70, 60), (235, 205, 95), (220, 140, 180)]
DAY = {
    "sky": ((120, 175, 235), (205, 228, 245)),
    "ground": (115, 170, 80),
    "lamp": (255, 225, 60),
    "walls": WALLS,
    "roof": (110, 60, 50),
    "window": (50, 60, 80),
    "crown": (35, 115, 50),
    "trunk": (95, 65, 40),
}
NIGHT = {
    "sky": ((8, 10, 38), (38, 40, 88)),
    "ground": (16, 34, 26),
    "lamp": (235, 238, 250),
    "walls": [(78, 70, 92)] * len(WALLS),
    "roof": (30, 22, 30),
    "window": (255, 205, 90),
    "crown": (14, 52, 40),
    "trunk": (34, 26, 26),
}


def _box(dx, dy, width, top, bottom):
    """A rectangle from `top` to `bottom`, pixels below the ground's edge, so that up is < 0."""
    outside = np.maximum(np.abs(dx) - width / 2, np.maximum(top - dy, dy - bottom))
    return np.clip(0.5 - outside, 0, 1)


def _house(dx, dy):
    roof = np.clip(0.5 - np.maximum(np.abs(dx) * 0.7 - (dy + 13) * 0.7, dy + 7.5), 0, 1)
    windows = _box(np.abs(dx) - 2, dy, 2, -5, -2.5)
    return {"walls": _box(dx, dy, 9, -8, 0), "roof": roof, "window": windows}


def _tower(dx, dy):
    storeys = np.abs(np.abs(dy + 8) - 2) - 2
    windows = np.maximum(_box(np.abs(dx) - 1.6, storeys, 1.6, -1, 1), 0) * (dy < -1.5)
    return {"walls": _box(dx, dy, 7, -15, 0), "window": windows * (dy > -14)}


def _tree(dx, dy):
    crown = np.clip(4.5 - np.hypot(dx, dy + 8), 0, 1)
    return {"trunk": _box(dx, dy, 1.6, -5, 0), "crown": crown}


_SHAPES = (None, _house, _tower, _tree)


def _paint(images, cover, rgb):
    images += cover[..., None] * (np.asarray(rgb, np.float32).reshape(-1, 1, 1, 3) - images)


def _street(look, facts, colours, jitter, light):
    """Streets as floats (n, 32, 32, 3) in 0 to 255.

    facts: (n, 4), the place of the lamp and what stands at each; colours: (n, 3), of walls; jitter:
    (n, 4), pixels to the right; light: (n,), a factor.
    """
    n, (above, below) = len(facts), np.array(look["sky"], np.float32)
    share = _grid(LARGE)[:, None, None] / GROUND
    sky = np.where(share > 1, np.array(look["ground"], np.float32), above + share * (below - above))
    images = np.broadcast_to(sky, (n, LARGE, LARGE, 3)).astype(np.float32)
    dx, dy = _offsets(LARGE, np.stack([PLACES[facts[:, 0]] + jitter[:, 0], np.full(n, 5.0)], 1))
    _paint(images, np.clip(3.4 - np.hypot(dx, dy), 0, 1), look["lamp"])
    for place in range(3):
        centre = np.stack([PLACES[place] + jitter[:, place + 1], np.full(n, GROUND)], 1)
        for kind, shape in enumerate(_SHAPES):
            members = np.flatnonzero(facts[:, place + 1] == kind)
            if shape is None or not len(members):
                continue
            some = images[members]
            for part, cover in shape(*_offsets(LARGE, centre[members])).items():
                walls = part == "walls"
                rgb = np.array(look[part])[colours[members, place]] if walls else look[part]
                _paint(some, cover, rgb)
            images[members] = some
    return images * _column(light)[..., None]


def _streets(look):
    def draw(rng, n):
        facts = np.concatenate([rng.integers(0, 3, (n, 1)), rng.integers(0, 4, (n, 3))], 1)
        jitter, light = rng.uniform((n, 4), -JITTER, JITTER), rng.uniform((n,), 0.9, 1)
        return _street(look, facts, rng.integers(0, 3, (n, 3)), jitter, light) / 255

    return draw


def _models(look):
    """What can stand at a place, the middle one: its kind and colour, (m,), and pixels (m, …)."""
    kinds, colours, shifts = (
        part.ravel() for part in np.meshgrid(range(4), range(3), np.linspace(-1, 1, 5) * JITTER)
    )
    facts, wall = np.zeros((len(kinds), 4), int), np.zeros((len(kinds), 3), int)
    facts[:, 2], wall[:, 1] = kinds, colours
    jitter = np.zeros((len(kinds), 4))
    jitter[:, 2] = shifts
    images = _street(look, facts, wall, jitter, np.full(len(kinds), 0.95))
    return kinds, colours, _around(images, 1)


def _around(images, place):
    """The pixels of a place, between its neighbours and above the ground: (n, …)."""
    left = int(PLACES[place] - 5.5)
    return images[:, 9:26, left : left + 11].reshape(len(images), -1).astype(np.float32)


def _standing(look, images):
    """What stands at each place, and its colour, (n, 3) each: what, drawn, differs least."""
    kinds, colours, models = _models(look)
    found = []
    for place in range(3):
        pixels = _around(images, place)
        squares = (models**2).sum(1) - 2 * pixels @ models.T
        found.append(squares.argmin(1))
    best = np.stack(found, 1)
    return kinds[best].astype(np.int64), colours[best].astype(np.int64)


def _read_street(look):
    lamp, sky = np.array(look["lamp"], float), np.array(look["sky"][0], float)

    def read(images):
        light = np.maximum((images[:, :10] - sky) @ (lamp - sky), 0).sum(1)
        thirds = np.stack([part.sum(1) for part in np.split(light, (11, 21), axis=1)], 1)
        return np.concatenate([thirds.argmax(1)[:, None], _standing(look, images)[0]], 1)

    return read


def _walls(images):
    """The colours of the walls of houses and towers by day; −1 where there are none."""
    kinds, colours = _standing(DAY, images)
    return np.where((kinds == 1) | (kinds == 2), colours, -1)


DOMAINS = {
    "hue": Domains(
        ("discs", "bars"),
        ((SMALL, SMALL, 3), (SMALL, SMALL, 1)),
        (_discs, _bars),
        ({"hue": _hue}, {"orientation": _orientation}),
    ),
    "day": Domains(
        ("by day", "by night"),
        ((LARGE, LARGE, 3), (LARGE, LARGE, 3)),
        (_streets(DAY), _streets(NIGHT)),
        (
            {"what is there": _read_street(DAY), "colours of walls": _walls},
            {"what is there": _read_street(NIGHT)},
        ),
    ),
}
