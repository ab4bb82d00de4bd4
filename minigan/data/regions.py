"""Maps of two regions and pictures of them: a paired task of which the map says nearly all.

A map is two regions with a wavy border, a few black houses, and a legend: two patches of colour in
the corner. Its picture has each region striped in white on paper, along x in the one and along y in
the other. The left patch is the first region's paper, the right one the second's. The picture has
no legend, its corner is white: else it would tell by itself which way its stripes should run. So of
a picture

    the direction of stripes   stands in the map at the very place
    the houses                 stand there too, as small as 2 × 2 pixels
    the papers                 stand in the legend, far away
    where stripes begin        stands nowhere: it is drawn at random, one pixel in four is white

and a rule reads all of it off the pixels again. The best picture by absolute error has no stripes:
the median of what each pixel may be is paper.

    maps, pictures = drawn_regions(4000, seed=0)
    read_regions(maps.images, pictures.images)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigan.backend import cpu
from minigan.data.dataset import Dataset

SIZE = 32  # pixels, an image's side
LAND = np.array([235, 140], np.uint8)  # the greys that stand for the two regions in a map
BETWEEN = 190  # what lies between these greys
PERIOD = 4  # pixels from stripe to stripe
PAPER = 60, 180  # the darkest and the brightest that paper is, in each of red, green and blue
LEGEND = 8  # pixels, the side of each of its patches
HOUSES, HOUSE = 8, 2  # how many there are, and the side of each, in pixels


def drawn_regions(n: int, seed=0) -> tuple[Dataset, Dataset]:
    """`n` maps and their pictures, both uint8 (n, 32, 32, 3).

    The same `n` and `seed` give the same. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"drawn_regions: got n = {n}, wanted at least 1")
    rng, places = cpu.generator(seed), np.arange(SIZE)
    second = _second(rng, n)
    papers = rng.integers(*PAPER, (n, 2, 3)).astype(np.uint8)
    begin = rng.integers(0, PERIOD, (n, 2, 1))
    white = (places + begin) % PERIOD == 0  # along y in the first region, along x in the second
    striped = np.where(second, white[:, 1, None, :], white[:, 0, :, None])[..., None]
    paper = np.where(second[..., None], papers[:, None, None, 1], papers[:, None, None, 0])
    pictures = np.where(striped, np.uint8(255), paper)
    maps = np.repeat(LAND[second.astype(int)][..., None], 3, -1)
    pictures[:, :LEGEND, : 2 * LEGEND] = 255
    for k in (0, 1):
        maps[:, :LEGEND, k * LEGEND : (k + 1) * LEGEND] = papers[:, None, None, k]
    houses = _houses(rng, n)
    maps[houses], pictures[houses] = 0, 0
    recipe = f"regions({n}, {seed})"
    sets = (("maps", maps), ("pictures", pictures))
    return tuple(Dataset(name, images, recipe=f"{name} of {recipe}") for name, images in sets)


def _second(rng, n) -> np.ndarray:
    """Where the second region is: bool (n, 32, 32), a half-plane with a wavy edge."""
    x = np.arange(SIZE) + 0.5 - SIZE / 2
    y, angle = x[:, None], rng.uniform((n, 1, 1), 0, 2 * np.pi)
    away = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    shift, wave, start = (rng.uniform((n, 1, 1), *r) for r in ((-3, 3), (0.3, 0.6), (0, 2 * np.pi)))
    return away + shift + 2.5 * np.sin(wave * along + start) > 0


def _houses(rng, n) -> np.ndarray:
    """Where houses are, bool (n, 32, 32): each in a cell of 4 × 4 of its own, off the legend."""
    side = SIZE // 4
    free = [k for k in range(side**2) if k // side >= LEGEND // 4 or k % side >= 2 * LEGEND // 4]
    houses = np.zeros((n, SIZE, SIZE), bool)
    for image in houses:
        cells = np.array(free)[rng.permutation(len(free))[:HOUSES]]
        corners = 4 * np.stack(np.divmod(cells, side), 1) + rng.integers(
            0, 4 - HOUSE + 1, (HOUSES, 2)
        )
        for i, j in corners:
            image[i : i + HOUSE, j : j + HOUSE] = True
    return houses


# --- Reading -------------------------------------------------------------------------------------


class Marks(NamedTuple):
    """What a picture makes of a map, for each of n images.

    energy   of the stripes: the mean squared difference of neighbours, in units of white² (n,)
    right    bool (n, 2): whether there are stripes in a region, more of them as they should run
             than the other way
    colour   by how much a region's paper differs from the legend, from 0 to 1 (n, 2)
    houses   how far what is black covers the houses and nothing else, from 0 to 1 (n,)
    """

    energy: np.ndarray
    right: np.ndarray
    colour: np.ndarray
    houses: np.ndarray

    def means(self) -> dict[str, float]:
        """The mean of each over all images and regions."""
        return {name: float(np.mean(values)) for name, values in self._asdict().items()}


def read_regions(maps: np.ndarray, pictures: np.ndarray) -> Marks:
    """Reads pictures by a rule, beside their maps: both uint8 (n, 32, 32, 3)."""
    rows = [_read(*pair) for pair in zip(maps, pictures, strict=True)]
    return Marks(*map(np.array, zip(*rows, strict=True)))


def _read(plan, picture):
    """One picture's energy, right, colour and houses."""
    houses, light = (plan == 0).all(-1), picture.mean(-1) / 255
    second = plan[..., 0] < BETWEEN
    legend = np.zeros_like(houses)
    legend[:LEGEND, : 2 * LEGEND] = True
    papers = [plan[0, k * LEGEND] / 255 for k in (0, 1)]
    down, across = (np.diff(light, axis=axis) ** 2 for axis in (0, 1))
    energies, right, colour = [], [], []
    for k, region in enumerate((~second, second)):
        land = region & ~houses & ~legend
        both = down[land[1:] & land[:-1]].mean(), across[land[:, 1:] & land[:, :-1]].mean()
        energies.append(sum(both))
        # In the first region light changes from row to row. Less than a fifth of it are no stripes.
        whole = (1 - papers[k].mean()) ** 2 * 2 / PERIOD
        right.append(both[k] > sum(both) / 2 and sum(both) > 0.2 * whole)
        colour.append(np.abs(np.median(picture[land], 0) / 255 - papers[k]).mean())
    paper = np.where(second, papers[1].mean(), papers[0].mean())
    black = (light < paper / 2) & ~legend
    return np.mean(energies), right, colour, (black & houses).sum() / (black | houses).sum()
