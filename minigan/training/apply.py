"""A trained generator used: a folder of images in, a folder of images out."""

from __future__ import annotations

from pathlib import Path

from minigan import data, plots
from minigan.backend import Backend
from minigan.engine import Tensor, no_grad
from minigan.nn import Module
from minigan.system import bar

FOLDER = "applied"  # in the folder of a run


def apply_to_folder(
    G: Module, folder: Path, out: Path, *, size: int, backend: Backend, channels: int = 3
) -> int:
    """Maps each image in `folder` and below by G, into PNGs of the same names in out/applied.

    Returns how many there were. Each is cropped to the square in its middle and resized to `size`,
    as those that G was trained on, and shown to G by itself: in evaluation mode what becomes of it
    depends on no other. With `channels` = 1, G is shown grey.

    G: images float32 (1, size, size, channels) in [−1, 1] -> (1, h, w, 1 or 3).
    DataError, before the first, if two images would have one name; and for one that cannot be read.
    """
    files = data.files_to_map(folder)
    for file, name in bar(files.items(), desc="images", unit=" files"):
        pixels = data.load_image(folder / file, size, channels)
        shown = data.to_unit(backend.asarray(pixels[None]))
        with no_grad():
            made = G(Tensor(shown)).numpy()
        plots.save_image(out / FOLDER / name, plots.sample_grid(made))
    return len(files)
