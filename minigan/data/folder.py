"""A folder of image files as a data set: how one trains on pictures of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.idx import DataError
from minigan.terminal import bar

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def load_folder(path, size: int, progress: bool = True) -> Dataset:
    """All images in the folder `path` and below it, uint8 (n, size, size, 3), in sorted order.

    Each is cropped to the square in its middle and resized. If all lie in sub-folders, an image's
    label is the sub-folder of `path` it lies in, and the classes are the sub-folders' names; else
    there are no labels. Of an animation the first picture counts; what is transparent gets white.

    ValueError if size < 1. DataError if there is no such folder, no image in it, or a file that
    cannot be read as an image of 8 bits a channel.
    """
    if size < 1:
        raise ValueError(f"load_folder: got size {size}, wanted at least 1 pixel")
    folder = Path(path)
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: no images here or below; looked for {', '.join(ENDINGS)}")
    images = np.empty((len(files), size, size, 3), np.uint8)
    for i, file in enumerate(bar(files, desc="images", unit=" files", disable=not progress)):
        images[i] = _read_image(folder / file, size)
    return Dataset(folder.name, images, *_labels(files))


def image_files(folder: Path) -> list[Path]:
    """The image files in `folder` and below, relative to it, sorted; hidden ones do not count.

    DataError if there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    images = [file for file in files if file.suffix.lower() in ENDINGS and not _is_hidden(file)]
    return sorted(images, key=lambda file: file.parts)


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _labels(files: list[Path]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(labels, classes) from the first part of each file's path; (None, ()) if one has none."""
    if any(len(file.parts) == 1 for file in files):
        return None, ()
    classes, labels = np.unique([file.parts[0] for file in files], return_inverse=True)
    return labels.astype(np.int64), tuple(classes.tolist())


def _read_image(file: Path, size: int) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if image.mode[0] in "IF":  # Pillow would clip almost all of it to white
                raise ValueError(f"pixels of mode {image.mode!r}, wanted 8 bits a channel")
            upright = ImageOps.exif_transpose(image).convert("RGBA")
            pixels = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    # A decoder that meets a broken file raises almost anything: OSError, SyntaxError, EOFError …
    except Exception as error:
        raise DataError(f"{file}: cannot be read as an image: {error}") from error
    white = Image.new("RGBA", pixels.size, "white")
    return np.asarray(Image.alpha_composite(white, pixels).convert("RGB"))
