"""Drawn faces: portraits in a few strokes of colour, with attributes that can be counted.

They are drawings, and made to be read: each has or has not dark glasses, a smile, long hair and a
hat, independently of each other; pose and colours vary. No hair is black, no wall is warm, nothing
but teeth is white and so on, so that a rule reads the attributes off the colours, in samples of a
generator as well: no eye, and no network that might err as it does.

    faces = drawn_faces(20_000, seed=0)         a Dataset, whose labels are the combinations
    HAS[faces.labels]                           which attributes each face has
    read_faces(faces.images)                    the same, by the rule
"""

from __future__ import annotations

import itertools

import numpy as np

from minigan.backend import Generator, cpu
from minigan.data.dataset import Dataset

CHUNK = 32  # faces that are drawn at once: they stay in the processor's cache
ATTRIBUTES = {"glasses": 0.35, "smile": 0.5, "long hair": 0.5, "hat": 0.4}  # and how often they are
HAS = np.array(list(itertools.product((False, True), repeat=len(ATTRIBUTES))))

# Colours, red, green and blue from 0 to 255.
SKIN = (255, 220, 190), (146, 94, 62)  # and all tones between
HAIR = (122, 72, 24), (206, 96, 28), (236, 186, 52), (156, 60, 24)  # brown, ginger, blond, auburn
WALL = (150, 190, 235), (170, 215, 225), (185, 180, 235), (160, 205, 215)
SHIRT = (60, 140, 130), (70, 110, 180), (120, 100, 170), (90, 150, 90)
HAT, MOUTH, BLACK, WHITE = (208, 36, 64), (150, 34, 58), (18, 18, 22), (255, 255, 255)


def drawn_faces(n: int, seed=0, size=32) -> Dataset:
    """`n` faces, each attribute drawn by itself with its probability in ATTRIBUTES.

    Images are uint8 (n, size, size, 3), labels the combinations' numbers, rows of HAS. The same
    `n`, `seed` and `size` give the same images; `seed` is an int ≥ 0 or a sequence of such.
    ValueError if n < 1 or size < 8; below 28 pixels little can be told.
    """
    if n < 1 or size < 8:
        raise ValueError(f"drawn_faces: got n = {n}, size = {size}, wanted at least 1 and 8")
    rng = cpu.generator(seed)
    has = rng.uniform((n, len(ATTRIBUTES)), 0, 1) < np.array(list(ATTRIBUTES.values()))
    images = np.empty((n, size, size, 3), np.uint8)
    for start in range(0, n, CHUNK):
        some = slice(start, start + CHUNK)
        images[some] = np.rint(_portraits(rng, has[some], size))
    labels = has @ (1 << np.arange(len(ATTRIBUTES))[::-1])
    recipe = f"faces({n}, {seed}, {size})"
    return Dataset("drawn faces", images, labels, tuple(map(_called, HAS)), recipe)


def _called(has) -> str:
    """A combination in words: "glasses, long hair" or "short hair, glasses"."""
    names = [name for name, there in zip(ATTRIBUTES, has, strict=True) if there]
    return ", ".join(names if "long hair" in names else ["short hair", *names])


# --- Drawing -------------------------------------------------------------------------------------


class _Canvas:
    """Images that are painted on, part by part; each channel by itself, float32 (n, size, size)."""

    def __init__(self, colour, size):
        self.channels = [np.full((len(colour), size, size), c[:, None, None]) for c in colour.T]

    def paint(self, outside, colour, shown=None):
        """A part by how far each pixel's middle lies outside of it, (n, size, size), in pixels.

        colour: (3,) or (n, 3); shown: bool (n,), which of the images have this part.
        """
        cover = np.clip(np.float32(0.5) - outside, 0, 1)
        if shown is not None:
            cover *= shown[:, None, None]
        for channel, c in zip(self.channels, np.asarray(colour, np.float32).T, strict=True):
            channel += cover * (c[..., None, None] - channel)

    def images(self) -> np.ndarray:
        """Float32 (n, size, size, 3)."""
        return np.stack(self.channels, -1)


def _ellipse(x, y, at, radii):
    """How far points lie outside an ellipse, about, with the image's side as the unit."""
    away = np.sqrt(((x - at[0]) / radii[0]) ** 2 + ((y - at[1]) / radii[1]) ** 2)
    return (away - 1) * np.float32(np.sqrt(radii[0] * radii[1]))


def _box(x, y, at, half, corner=0.0):
    """How far points lie outside a box with round corners."""
    dx = np.maximum(abs(x - at[0]) - (half[0] - corner), 0)
    dy = np.maximum(abs(y - at[1]) - (half[1] - corner), 0)
    return np.sqrt(dx * dx + dy * dy) - np.float32(corner)


def _portraits(rng: Generator, has, size) -> np.ndarray:
    """Faces with these attributes, bool (n, 4): float32 (n, size, size, 3), from 0 to 255."""
    n = len(has)
    glasses, smile, long, hat = has.T
    t = rng.uniform((n, 1), 0, 1)
    skin = _varied(rng, SKIN[0] + t * np.subtract(SKIN[1], SKIN[0]), 5)
    hair, wall, shirt = (
        _varied(rng, np.array(some)[rng.integers(0, len(some), n)], 10)
        for some in (HAIR, WALL, SHIRT)
    )
    felt = _varied(rng, np.tile(HAT, (n, 1)), 10)

    x, y, flat_x, flat_y, pixels = _pose(rng, n, size)
    side = abs(x)  # what there is on both sides is drawn once
    canvas = _Canvas(wall, size)

    def paint(outside, colour, shown=None):
        canvas.paint(outside * pixels, colour, shown)

    paint(_ellipse(flat_x, flat_y, (0, 0.6), (0.4, 0.24)), shirt)
    paint(_box(x, y, (0, 0.06), (0.34, 0.37), 0.26), hair, long)
    paint(_box(x, y, (0, 0.3), (0.08, 0.14), 0.04), 0.88 * skin)
    paint(_ellipse(side, y, (0.26, 0.03), (0.05, 0.065)), 0.94 * skin, ~long)
    paint(_ellipse(x, y, (0, 0.02), (0.265, 0.31)), skin)
    paint(_ellipse(side, y, (0.16, 0.11), (0.05, 0.04)), 0.8 * skin + 0.2 * np.array((235, 95, 95)))

    # Parted hair if it is long, combed to a side if it is short and no hat hides it; the hat.
    line = np.where(long[:, None, None], 0.6 * side - 0.19, 0.25 * x - 0.13)
    crown = _ellipse(x, y, (0, -0.01), (0.285, 0.325))
    paint(np.maximum(crown, y - line), hair, long | ~hat)
    paint(np.maximum(_ellipse(x, y, (0, -0.12), (0.29, 0.3)), y + 0.14), felt, hat)
    paint(_box(x, y, (0, -0.15), (0.31, 0.045), 0.04), 0.8 * felt, hat)

    paint(_box(side, y, (0.11, -0.075), (0.05, 0.012), 0.012), 0.8 * hair, ~glasses)
    paint(_ellipse(x, y, (0, 0.08), (0.022, 0.035)), 0.82 * skin)
    paint(_ellipse(side, y, (0.115, 0.0), (0.03, 0.036)), BLACK)
    lens = _ellipse(side, y, (0.118, 0.005), (0.105, 0.09))
    bridge = _box(side, y, (0, -0.02), (0.035, 0.015))
    temple = _box(side, y, (0.235, -0.01), (0.03, 0.015))
    paint(np.minimum(lens, np.minimum(bridge, temple)), BLACK, glasses)

    paint(_box(x, y, (0, 0.19), (0.065, 0.016), 0.016), MOUTH, ~smile)
    paint(np.maximum(_ellipse(x, y, (0, 0.145), (0.15, 0.135)), 0.145 - y), MOUTH, smile)
    paint(np.maximum(_ellipse(x, y, (0, 0.16), (0.12, 0.085)), 0.16 - y), WHITE, smile)
    return canvas.images()


def _pose(rng: Generator, n, size):
    """Where the pixels are in `n` faces: x, y down, both (n, size, size) from the face's middle.

    Also x and y without the tilt, for the shoulders, and the pixels to a unit, (n, 1, 1).
    """
    grid = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size - np.float32(0.5)
    scale = rng.uniform((n, 1, 1), 1.02, 1.1)
    across, down = rng.uniform((2, n, 1, 1), -0.03, 0.03)
    flat_x = np.broadcast_to((grid - across) / scale, (n, size, size))
    flat_y = np.broadcast_to((grid[:, None] - down - np.float32(0.02)) / scale, (n, size, size))
    tilt = rng.uniform((n, 1, 1), -0.1, 0.1)
    cos, sin = np.cos(tilt), np.sin(tilt)
    x, y = cos * flat_x + sin * flat_y, cos * flat_y - sin * flat_x
    return x, y, flat_x, flat_y, scale * size


def _varied(rng: Generator, colours, most) -> np.ndarray:
    """Colours (n, 3), each with a brightness and a hue of its own, float32."""
    return (colours + rng.uniform(colours.shape, -most, most)).clip(0, 255).astype(np.float32)


# --- Reading -------------------------------------------------------------------------------------


def read_faces(images: np.ndarray) -> np.ndarray:
    """Which attributes faces have, by the rule: uint8 (n, size, size, 3) -> bool (n, 4).

    A rule of colours: glasses are black on both sides of the middle, more of it than eyes have; a
    smile is white, a hat crimson, and long hair is hair in the lower half. What is not warm in the
    middle and cool in the upper corners is no face and has nothing. Right on drawn faces of 28
    pixels and more.
    """
    chunks = range(0, len(images), CHUNK)
    return np.concatenate([_read(images[start : start + CHUNK]) for start in chunks])


def _read(images):
    r, g, b = np.moveaxis(images.astype(np.float32), -1, 0)
    most, least = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
    warm, pale = r > b + 20, b >= 0.36 * r
    black, white = np.clip((120 - most) / 60, 0, 1) * pale, np.clip((least - 205) / 40, 0, 1)
    skin = warm & pale & (g > b)
    hair = warm & ~pale & (g > b) & (most > 75)
    crimson = warm & (r > 120) & (g < 0.4 * r) & (b > g)

    size = images.shape[1]
    grid = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / size
    middle = skin.sum(1) @ grid / np.maximum(skin.sum((1, 2)), 1)
    left = (grid < middle[:, None])[:, None]
    # Shares of the image, between those of faces with and those of faces without.
    there = [
        np.minimum((black * left).mean((1, 2)), (black * ~left).mean((1, 2))) > 0.012,
        white.mean((1, 2)) > 0.004,
        (hair & (grid > 0.55)[:, None]).mean((1, 2)) > 0.025,
        crimson.mean((1, 2)) > 0.05,
    ]
    inside, outside = abs(grid - 0.5) < 0.2, abs(grid - 0.5) > 0.35
    cheeks = (r - b)[:, (grid > 0.45) & (grid < 0.7)][:, :, inside]
    corners = (r - b)[:, grid < 0.2][:, :, outside]
    face = (cheeks.mean((1, 2)) > 12) & (corners.mean((1, 2)) < -25)
    return np.stack(there, 1) & face[:, None]
