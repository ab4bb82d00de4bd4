"""Drawn digits: a labelled data set that needs no network, made with a pen.

The images look like MNIST's (28 × 28, white on black) and are made like handwriting: a digit is
a few strokes, every sample bends, slants and scales them in its own way, and a round pen of its
own width follows them. Some digits have two or three forms, as people write them. It is a good
subject for a GAN: ten modes of unequal difficulty, inner variation that can be seen, and as many
samples as one likes.
"""

from __future__ import annotations

import numpy as np

from minigan.backend import Generator, cpu
from minigan.data.dataset import Dataset

SIZE = 28  # pixels, the image's side
HEIGHT = 19.0  # pixels, a digit's height before its own scale
CHUNK = 64  # samples drawn at once: their images stay in the processor's cache


def drawn_digits(n: int, seed=0) -> Dataset:
    """`n` digits in random order, of each class as many as of any other, give or take one.

    Images are uint8 (n, 28, 28, 1), classes "0" … "9". The same `n` and `seed` give the same
    images; `seed` is an int ≥ 0 or a sequence of such. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"drawn_digits: got n = {n}, wanted at least 1")
    rng = cpu.generator(seed)
    labels = rng.permutation(n) % 10
    images = np.empty((n, SIZE, SIZE), np.uint8)
    for digit, forms in enumerate(GLYPHS):
        members = np.flatnonzero(labels == digit)
        form_of_member = rng.integers(0, len(forms), len(members))
        for form, strokes in enumerate(forms):
            segments, chosen = _segments(strokes), members[form_of_member == form]
            for start in range(0, len(chosen), CHUNK):
                part = chosen[start : start + CHUNK]
                images[part] = _draw(segments, rng, len(part))
    recipe = f"drawn_digits({n}, {seed})"
    return Dataset("drawn digits", images[..., None], labels, tuple("0123456789"), recipe)


# Strokes. A stroke is a polyline, float (points, 2) in (x, y), in a box of height 1 with x to the
# right and y down, as pixels count; a stroke that bends is a polyline fine enough to look round.


def _line(*points):
    return np.array(points, float)


def _arc(centre, radii, start, stop):
    """Part of an ellipse. Angles in degrees, clockwise on the screen: 0 is right, 90 is down."""
    angles = np.radians(np.linspace(start, stop, 2 + int(abs(stop - start) / 24)))
    return np.array(centre) + np.array(radii) * np.stack([np.cos(angles), np.sin(angles)], 1)


def _bezier(*control, pieces=7):
    """The cubic Bézier curve with four control points."""
    t = np.linspace(0, 1, pieces + 1)[:, None]
    a, b, c, d = np.array(control, float)
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d


def _eight():
    """An eight in one go, crossing itself in the middle: a Lissajous curve."""
    t = np.linspace(0, 2 * np.pi, 25)
    width = 0.24 + 0.03 * np.cos(t)
    return np.stack([0.5 - width * np.sin(2 * t), 0.5 + 0.5 * np.cos(t)], 1)


def _joined(*pieces):
    """One stroke of several pieces, the pen staying on the paper."""
    return np.concatenate(pieces)


# GLYPHS[digit] is the list of its forms; a form is a list of strokes.
GLYPHS = [
    [[_arc((0.5, 0.5), (0.31, 0.5), -90, 270)]],
    [
        [_line((0.5, 0), (0.5, 1))],
        [_line((0.29, 0.24), (0.53, 0), (0.53, 1))],
        [_line((0.27, 0.24), (0.52, 0), (0.52, 1)), _line((0.25, 1), (0.79, 1))],
    ],
    [
        [
            _joined(
                _arc((0.48, 0.28), (0.28, 0.28), -165, 20),
                _bezier((0.74, 0.38), (0.66, 0.58), (0.36, 0.78), (0.2, 1)),
                _line((0.2, 1), (0.82, 1)),
            )
        ],
        [
            _joined(
                _arc((0.48, 0.27), (0.27, 0.27), -165, 20),
                _bezier((0.73, 0.37), (0.66, 0.62), (0.42, 1.0), (0.26, 1.0)),
                _bezier((0.26, 1.0), (0.1, 1.0), (0.12, 0.78), (0.28, 0.8)),
                _bezier((0.28, 0.8), (0.5, 0.84), (0.6, 1.04), (0.86, 0.94)),
            )
        ],
    ],
    [
        [
            _arc((0.46, 0.25), (0.27, 0.25), -160, 90),
            _arc((0.46, 0.74), (0.32, 0.26), -90, 155),
        ],
        [
            _joined(
                _line((0.2, 0), (0.74, 0), (0.44, 0.4)),
                _arc((0.46, 0.7), (0.31, 0.3), -85, 150),
            )
        ],
    ],
    [
        [_line((0.62, 1), (0.62, 0), (0.14, 0.68), (0.88, 0.68))],
        [_line((0.26, 0), (0.18, 0.56), (0.84, 0.56)), _line((0.7, 0.08), (0.66, 1))],
    ],
    [
        [
            _joined(
                _line((0.76, 0), (0.3, 0), (0.25, 0.46)),
                _arc((0.46, 0.69), (0.33, 0.31), -130, 150),
            )
        ],
        [
            _line((0.32, 0.02), (0.78, 0)),
            _joined(
                _line((0.32, 0.02), (0.28, 0.46)),
                _bezier((0.28, 0.46), (0.95, 0.3), (0.95, 1.0), (0.5, 1.0)),
                _bezier((0.5, 1.0), (0.38, 1.0), (0.26, 0.96), (0.2, 0.88), pieces=3),
            ),
        ],
    ],
    [
        [
            _joined(
                _bezier((0.66, 0), (0.4, 0.1), (0.22, 0.42), (0.21, 0.7)),
                _arc((0.49, 0.71), (0.28, 0.29), 180, -180),
            )
        ],
    ],
    [
        [_line((0.18, 0), (0.8, 0), (0.42, 1))],
        [_line((0.18, 0), (0.8, 0), (0.4, 1)), _line((0.36, 0.5), (0.76, 0.5))],
    ],
    [
        [_arc((0.5, 0.24), (0.23, 0.24), 90, 450), _arc((0.5, 0.74), (0.28, 0.26), -90, 270)],
        [_eight()],
    ],
    [
        [_arc((0.5, 0.29), (0.27, 0.29), 0, 360), _line((0.77, 0.29), (0.7, 1))],
        [
            _joined(
                _arc((0.5, 0.29), (0.28, 0.29), 0, -360),
                _bezier((0.78, 0.29), (0.8, 0.7), (0.7, 1.0), (0.48, 1.0)),
                _bezier((0.48, 1.0), (0.38, 1.0), (0.3, 0.95), (0.26, 0.88), pieces=3),
            )
        ],
    ],
]


def _segments(strokes) -> np.ndarray:
    """The straight pieces of all strokes with their two ends, float32 (segments, 2, 2)."""
    pieces = np.concatenate([np.stack([stroke[:-1], stroke[1:]], 1) for stroke in strokes])
    is_long = np.hypot(*(pieces[:, 1] - pieces[:, 0]).T) > 1e-6
    return pieces[is_long].astype(np.float32)


def _draw(segments, rng: Generator, n: int) -> np.ndarray:
    """`n` samples of one form, uint8 (n, 28, 28)."""
    ends = _handwriting(segments, rng, n)
    radius = rng.uniform((n, 1, 1), 0.75, 1.6)
    distance = np.sqrt(_squared_distance(ends))
    # A pixel at the pen's edge is lit in proportion to how far the pen covers it.
    coverage = np.clip(radius + 0.5 - distance, 0, 1)
    return np.rint(coverage * 255).astype(np.uint8)


def _handwriting(segments, rng: Generator, n: int) -> np.ndarray:
    """The ends of the segments as `n` hands write them, in pixels, (n, segments, 2, 2)."""
    points = segments.reshape(1, -1, 2) - np.float32(0.5)
    points = points + _wobble(points, rng, n)
    angle, slant = rng.uniform((n, 1), -0.14, 0.14), rng.uniform((n, 1), -0.12, 0.38)
    width, height = rng.uniform((n, 1), 0.8, 1.15), rng.uniform((n, 1), 0.88, 1.08)
    x = points[..., 0] * width - points[..., 1] * slant
    y = points[..., 1] * height
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
    centre = SIZE / 2 + rng.uniform((n, 1, 2), -1.5, 1.5)
    return (centre + HEIGHT * turned).reshape(n, *segments.shape)


def _wobble(points, rng: Generator, n: int) -> np.ndarray:
    """A displacement of the points, (n, points, 2), by a long wave across the paper.

    The paper is bent and not each point moved alone, so strokes stay smooth and what touches
    keeps touching.
    """
    waves = rng.uniform((n, 2, 2), -4.5, 4.5)  # radians per unit, per direction of displacement
    phase = rng.uniform((n, 1, 2), 0, 2 * np.pi)
    amplitude = rng.uniform((n, 1, 2), 0, 0.07)
    return amplitude * np.sin(points @ waves + phase)


def _squared_distance(ends) -> np.ndarray:
    """From each pixel's centre to the nearest segment, in pixels², (n, 28, 28).

    With d the pixel seen from a segment's start and v the segment, the nearest point is t·v with
    t = d·v / v·v clipped to [0, 1]. For u the unclipped value, |d − t v|² = |d|² + v·v t (t − 2u),
    where |d|² and u are sums of a term in x and a term in y, so a row and a column give all pixels.
    """
    n, segments = ends.shape[:2]
    grid = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    start = ends[:, :, 0]
    v = ends[:, :, 1] - start
    vv = (v * v).sum(-1)[..., None]
    dx, dy = grid - start[..., :1], grid - start[..., 1:]
    ux, uy = dx * v[..., :1] / vv, dy * v[..., 1:] / vv
    nearest = np.full((n, SIZE, SIZE), np.inf, np.float32)
    for s in range(segments):
        u = uy[:, s, :, None] + ux[:, s, None, :]
        t = np.clip(u, 0, 1)
        u *= 2
        squared = t - u
        squared *= t
        squared *= vv[:, s, :, None]
        squared += dx[:, s, None, :] ** 2
        squared += dy[:, s, :, None] ** 2
        np.minimum(nearest, squared, out=nearest)
    return np.maximum(nearest, 0)  # rounding may leave −1e-5 where the pen's middle passes
