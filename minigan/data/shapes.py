"""Captioned shapes: drawn scenes, sentences that say what is in them, and a rule that reads them.

A scene is one coloured shape, "a small red circle at the top left", or two in relation, "a red
circle left of a blue square". What a caption says is read off the pixels again by a rule, so that a
generator from text can be marked by counting: no eye, and no network that might err as it does.

    images = SCENES["one"].draw(24_000, seed=0)         a Dataset, whose labels are the scenes
    SCENES["one"].captions[images.labels]               every image's captions, in numbers
    SCENES["one"].read(images.images)                   what is in them, by the rule

Some combinations are held out: their parts are all to be learnt from other captions, so they show
whether a generator has learnt words or sentences.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minigan.backend import cpu
from minigan.data.dataset import Dataset
from minigan.data.idx import DataError

SIZE = 28  # pixels, the image's side
CHUNK = 500  # images that are drawn or read at once
JITTER = 1.25  # pixels that a shape may lie beside its place, in x and in y; of two, a little less
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
}
SHAPES = ("circle", "square", "triangle")
AREAS = {"small": 36.0, "large": 80.0}  # pixels²; each varies by a tenth
PLACES = {  # (x, y) in pixels, y down
    "at the top left": (9, 9),
    "at the top right": (19, 9),
    "in the middle": (14, 14),
    "at the bottom left": (9, 19),
    "at the bottom right": (19, 19),
}
AXES = {"left of": "right of", "above": "below"}  # of a first shape to a second, and back
APART, AREA_OF_TWO = 7.0, 54.0  # pixels from the middle to each of two shapes, and its area

SENTENCES = (
    "a {size} {colour} {shape} {place}",
    "{place} a {size} {colour} {shape}",
    "a {colour} {shape} that is {size} {place}",
)
SYNONYMS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}


@dataclass(frozen=True, eq=False)
class Scenes:
    """All scenes of a kind, with what is said of them.

    name        of the kind
    attributes  what a scene is made of: {name: its values}
    facts       int64 (scenes, attributes): which values each scene has
    sentences   every scene's captions, k of each: the first is what it is called
    held        bool (scenes,): the scenes that are held out
    """

    name: str
    attributes: dict[str, tuple[str, ...]]
    facts: np.ndarray
    sentences: tuple[tuple[str, ...], ...]
    held: np.ndarray

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that there are, by their numbers; "", number 0, fills a short caption up."""
        return "", *sorted({word for texts in self.sentences for word in " ".join(texts).split()})

    @cached_property
    def captions(self) -> np.ndarray:
        """The sentences in numbers: int64 (scenes, k, length), all of the longest one's length."""
        number = self.vocabulary.index
        rows = [[[number(word) for word in text.split()] for text in k] for k in self.sentences]
        length = max(len(row) for k in rows for row in k)
        return np.array([[row + [0] * (length - len(row)) for row in k] for k in rows])

    def __len__(self):
        return len(self.facts)

    def draw(self, n: int, seed=0, *, held=False) -> Dataset:
        """`n` images of seen scenes, or of those held out, in random order, each scene as often as
        any other, give or take one.

        Images are uint8 (n, 28, 28, 3), labels the scenes' numbers. The same `n` and `seed` give
        the same images; `seed` is an int ≥ 0 or a sequence of such. ValueError if n < 1.
        """
        if n < 1:
            raise ValueError(f"{self.name}: got n = {n}, wanted at least 1")
        rng, scenes = cpu.generator(seed), np.flatnonzero(self.held == held)
        scenes = scenes[rng.permutation(len(scenes))]
        labels = scenes[rng.permutation(n) % len(scenes)]
        images = np.empty((n, SIZE, SIZE, 3), np.uint8)
        for start in range(0, n, CHUNK):
            facts = self.facts[labels[start : start + CHUNK]]
            parts = _PARTS[self.name](facts)
            light = sum(_lit(rng, *part) for part in parts)
            images[start : start + CHUNK] = np.rint(light * 255)
        recipe = f"{self.name}({n}, {seed}, {held})"
        names = tuple(texts[0] for texts in self.sentences)
        return Dataset(self.name, images, labels, names, recipe)

    def read(self, images: np.ndarray) -> np.ndarray:
        """What is in images, uint8 (n, 28, 28, 3), by the rule: int64 (n, attributes)."""
        chunks = range(0, len(images), CHUNK)
        return np.concatenate([_READERS[self.name](images[i : i + CHUNK]) for i in chunks])

    def words(self, caption: str) -> np.ndarray:
        """A caption in numbers, int64 (length,). DataError for unknown words, too many or none."""
        words = caption.lower().replace(",", " ").replace(".", " ").split()
        unknown = [word for word in words if word not in self.vocabulary]
        if unknown:
            known = ", ".join(self.vocabulary[1:])
            raise DataError(
                f"caption {caption!r}: unknown words: {', '.join(unknown)}; known are: {known}"
            )
        length = self.captions.shape[-1]
        if not 1 <= len(words) <= length:
            raise DataError(f"caption {caption!r}: {len(words)} words, wanted 1 to {length}")
        return np.array([*map(self.vocabulary.index, words), *[0] * (length - len(words))])

    def called(self, facts) -> str:
        """What a scene is called, by its facts (attributes,); or "no scene"."""
        found = np.flatnonzero((self.facts == facts).all(1))
        return self.sentences[found[0]][0] if len(found) else "no scene"

    def near(self) -> np.ndarray:
        """The seen scenes that differ in one attribute from each scene: int64 (scenes, m).

        m is as many as the scene with the most has; a scene that has fewer repeats them.
        """
        differ = (self.facts[:, None] != self.facts[None]).sum(-1)
        rows = [np.flatnonzero((row == 1) & ~self.held) for row in differ]
        return np.stack([np.resize(row, max(map(len, rows))) for row in rows])


# --- Drawing -------------------------------------------------------------------------------------


def _cover(shape: str, area, centre) -> np.ndarray:
    """How far a shape covers each pixel, (n, 28, 28); areas (n,), in pixels², centres (n, 2)."""
    grid = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    dx = grid - centre[:, 0, None, None].astype(np.float32)
    dy = grid[:, None] - centre[:, 1, None, None].astype(np.float32)
    area = np.asarray(area, np.float32)[:, None, None]
    # How far a pixel's middle lies outside the shape, about its centre of gravity.
    if shape == "circle":
        outside = np.hypot(dx, dy) - np.sqrt(area / np.float32(np.pi))
    elif shape == "square":
        outside = np.maximum(abs(dx), abs(dy)) - np.sqrt(area) / 2
    else:  # three sides of equal distance from the centre, one of them below
        slanted = np.float32(np.sqrt(0.75)) * abs(dx) - dy / 2
        outside = np.maximum(dy, slanted) - np.sqrt(area / np.float32(np.sqrt(27)))
    return np.clip(np.float32(0.5) - outside, 0, 1)


def _lit(rng, colour, shape, area, place, jitter=JITTER) -> np.ndarray:
    """Shapes in light, float32 (n, 28, 28, 3): colours, shapes, areas, (n,), and places (n, 2)."""
    n = len(colour)
    area = area * rng.uniform((n,), 0.9, 1.1)
    centre = place + rng.uniform((n, 2), -jitter, jitter)
    cover = np.zeros((n, SIZE, SIZE), np.float32)
    for i, name in enumerate(SHAPES):
        members = shape == i
        cover[members] = _cover(name, area[members], centre[members])
    brightness = rng.uniform((n, 1, 1), 0.75, 1)
    rgb = np.array(list(COLOURS.values()), np.float32)[colour]
    return (cover * brightness)[..., None] * rgb[:, None, None]


def _one(facts):
    colour, size, place, shape = facts.T
    areas, places = np.array(list(AREAS.values())), np.array(list(PLACES.values()))
    return [(colour, shape, areas[size], places[place])]


def _two(facts):
    colour, shape, other_colour, other_shape, axis = facts.T
    away = APART * np.eye(2)[axis]
    area, middle = np.full(len(facts), AREA_OF_TWO), SIZE / 2
    first = (colour, shape, area, middle - away, 1.0)
    return [first, (other_colour, other_shape, area, middle + away, 1.0)]


# --- Reading -------------------------------------------------------------------------------------


def _light(images) -> np.ndarray:
    """The brightest channel of each pixel: float32 (n, 28, 28), from 0 to 255."""
    return images.max(-1).astype(np.float32)


def centroids(images: np.ndarray) -> np.ndarray:
    """Where the light of each image is, in pixels: uint8 (n, 28, 28, 3) -> (n, 2), x and y."""
    light, grid = _light(images), np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    total = np.maximum(light.sum((1, 2)), 1e-3)
    return np.stack([light.sum(1) @ grid, light.sum(2) @ grid], 1) / total[:, None]


def wander(images: np.ndarray, labels: np.ndarray) -> float:
    """How far the places of images of one scene differ, in pixels: the standard deviation of x and
    of y, within each scene, of which there are two images or more; its root mean square.
    """
    centres = centroids(images)
    variances = [centres[labels == scene].var(0, ddof=1).mean() for scene in np.unique(labels)]
    return float(np.mean(variances) ** 0.5)


def _seen(images):
    """Of one shape in each image: its colour, shape and area, (n,), and its centre, (n, 2)."""
    centre, light = centroids(images), _light(images)
    cover = light / np.maximum(light.max((1, 2), keepdims=True), 1)
    area = np.maximum(cover.sum((1, 2)), 1)
    palette = np.array(list(COLOURS.values()), np.float32)
    palette /= np.linalg.norm(palette, axis=1, keepdims=True)
    colour = (images.sum((1, 2), dtype=np.float32) @ palette.T).argmax(1)
    # The shape that, drawn with this area around this centre, differs least.
    misfit = [((_cover(name, area, centre) - cover) ** 2).sum((1, 2)) for name in SHAPES]
    return colour, np.argmin(misfit, 0), area, centre


def _read_one(images):
    colour, shape, area, centre = _seen(images)
    size = (area > np.sqrt(np.prod(list(AREAS.values())))).astype(int)
    away = centre[:, None] - np.array(list(PLACES.values()))
    return np.stack([colour, size, (away**2).sum(-1).argmin(1), shape], 1)


def _read_two(images):
    """The axis is the one along which the light is more spread out; then each half by itself."""
    grid = np.arange(SIZE) + 0.5 - SIZE / 2
    light = _light(images)
    axis = (light.sum(2) @ grid**2 > light.sum(1) @ grid**2).astype(int)
    second = np.where(axis[:, None, None] == 0, grid > 0, grid[:, None] > 0)[..., None]
    first, other = _seen(images * ~second), _seen(images * second)
    return np.stack([*first[:2], *other[:2], axis], 1)


_PARTS = {"one shape": _one, "two shapes": _two}
_READERS = {"one shape": _read_one, "two shapes": _read_two}


# --- The scenes ----------------------------------------------------------------------------------


def _held(facts, pairs, share) -> np.ndarray:
    """The scenes of these pairs of colour and shape, and a share of the others, always the same."""
    held = np.array([(row[0], row[-1]) in pairs for row in facts])
    others = np.flatnonzero(~held)
    held[others[cpu.generator(0).permutation(len(others))[: int(share * len(others))]]] = True
    return held


def _scenes_of_one() -> Scenes:
    attributes = {
        "colour": tuple(COLOURS),
        "size": tuple(AREAS),
        "place": tuple(PLACES),
        "shape": SHAPES,
    }
    facts = np.array(list(itertools.product(*map(range, map(len, attributes.values())))))
    sentences = []
    for row in facts:
        said = {key: values[i] for (key, values), i in zip(attributes.items(), row, strict=True)}
        sizes = [said | {"size": size} for size in SYNONYMS[said["size"]]]
        sentences.append(tuple(text.format(**some) for some in sizes for text in SENTENCES))
    # Never seen: a blue circle, a red triangle, a yellow square; and some other combinations.
    held = _held(facts, {(2, 0), (0, 2), (3, 1)}, 0.2)
    return Scenes("one shape", attributes, facts, tuple(sentences), held)


def _scenes_of_two() -> Scenes:
    colours = tuple(COLOURS)[:4]
    attributes = {"colour": colours, "shape": SHAPES, "other colour": colours}
    attributes |= {"other shape": SHAPES, "axis": tuple(AXES)}
    facts = itertools.product(*map(range, map(len, attributes.values())))
    facts = np.array([row for row in facts if row[0] != row[2]])
    sentences = []
    for a, b, c, d, axis in facts:
        first, second = f"a {colours[a]} {SHAPES[b]}", f"a {colours[c]} {SHAPES[d]}"
        there, back = list(AXES.items())[axis]
        sentences.append((f"{first} {there} {second}", f"{second} {back} {first}"))
    return Scenes("two shapes", attributes, facts, tuple(sentences), _held(facts, set(), 0.2))


SCENES = {"one": _scenes_of_one(), "two": _scenes_of_two()}
