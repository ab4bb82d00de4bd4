"""Data: real images, drawn digits, faces and captioned shapes, toy densities; and batches of them.

`choose` is what stands behind the option `--data` of the examples.

In the order of reading: idx, dataset, augment, digits, clutter, faces, shapes, regions,
domains, squares, folder, pairs, mnist, toy.
"""

from __future__ import annotations

from pathlib import Path

from minigan.data.augment import mirrored, shifted, warped
from minigan.data.clutter import cluttered_digits
from minigan.data.dataset import Batches, Dataset, OneOf, dequantised, to_bytes, to_unit
from minigan.data.digits import drawn_digits
from minigan.data.domains import DOMAINS, Domains
from minigan.data.faces import ATTRIBUTES, HAS, drawn_faces, read_faces
from minigan.data.folder import files_to_map, image_files, load_folder, load_image
from minigan.data.idx import DataError, parse_idx, read_idx
from minigan.data.mnist import COLLECTIONS, DownloadError, expand, load, set_in
from minigan.data.pairs import SIDES, load_pairs
from minigan.data.regions import Marks, drawn_regions, read_regions
from minigan.data.shapes import SCENES, Scenes, centroids, wander
from minigan.data.squares import SQUARES, Square, apart, unfaithful
from minigan.data.toy import (
    Gaussian,
    GaussianMixture1D,
    GaussianModes,
    Grid,
    Ring,
    Spiral,
    Uniform,
)

NAMES = (*COLLECTIONS, "digits", "faces")  # what `--data` means without being a folder
DRAWN = {"train": (60_000, 0), "test": (10_000, 1)}  # how many digits of which seed
FACES = {"train": (20_000, 0), "test": (4_000, 1)}  # and faces


def choose(
    data: str | None = None, *, split: str = "train", size: int = 28, progress: bool = True
) -> tuple[Dataset, str | None]:
    """The data set that the option `--data` means, and a notice to print, if there is one.

    data    "mnist" or "fashion-mnist": that set, from MINIGAN_DATA, the cache or the network
            "digits": the drawn digits; "faces": the drawn faces
            a folder that holds one of these, as `load` looks for it: that set; if both, MNIST
            any other folder: the image files in it, all of them for training
            None: MNIST as by name; or, with a notice, drawn digits if no mirror can be reached
    split   "train" or "test"
    size    pixels, the side to which a folder's images are resized, and that drawn faces have; the
            others are 28 × 28

    DataError if what was asked for cannot be had. (A folder called "mnist" is "./mnist".)
    """
    if split not in DRAWN:
        raise ValueError(f"split {split!r}: wanted train or test")
    if data is None:
        return _mnist_or_digits(split, progress)
    if data == "digits":
        return drawn_digits(*DRAWN[split]), None
    if data == "faces":
        return drawn_faces(*FACES[split], size), None
    if data in COLLECTIONS:
        return load(data, split=split, progress=progress), None
    if data == "":  # which as a path would be the folder one is in
        raise DataError(f"--data is empty: wanted a folder, or one of {', '.join(NAMES)}")
    return _from_folder(expand(data), split, size, progress), None


def _mnist_or_digits(split: str, progress: bool) -> tuple[Dataset, str | None]:
    try:
        return load("mnist", split=split, progress=progress), None
    except DownloadError as error:
        notice = (
            f"MNIST could not be reached ({error.reason}): drawn digits are used instead;"
            " --data FOLDER names the folder that holds mnist/"
        )
        return drawn_digits(*DRAWN[split]), notice


def _from_folder(folder: Path, split: str, size: int, progress: bool) -> Dataset:
    if not folder.is_dir():
        raise DataError(
            f"--data {folder}: no such folder, and none of the names {', '.join(NAMES)}"
        )
    if name := set_in(folder):
        return load(name, folder, split, progress=progress)
    if split == "test":
        raise DataError(f"--data {folder}: a folder of images has no test split")
    return load_folder(folder, size, progress)
