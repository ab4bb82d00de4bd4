"""A folder of image files as a data set: how one trains on pictures of one's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from minigan.data.dataset import Dataset
from minigan.data.idx import DataError
from minigan.system import bar

IDX_NAME = re.compile(r"[.-]idx\d?\b")
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def load_folder(path, size: int, progress: bool = True) -> Dataset:
    """All images in the folder `path` and below it, uint8 (n, size, size, 3), in sorted order.

    Each is cropped to the square in its middle and resized. If all lie in sub-folders, an image's
    label is the sub-folder of `path` it lies in, and the classes are the sub-folders' names; else
    there are no labels. Links are followed, and any of these may be one. Of an animation the first
    picture counts, of 16 bits a colour the upper 8; what is transparent gets white.

    ValueError if size < 1. DataError if there is no such folder, no image in it, something that
    cannot be opened, or a file that cannot be read as an image of 8 bits a channel.
    """
    if size < 1:
        raise ValueError(f"load_folder: got size {size}, wanted at least 1 pixel")
    folder = Path(path)
    files = image_files(folder)
    images = np.empty((len(files), size, size, 3), np.uint8)
    for i, file in enumerate(bar(files, desc="images", unit=" files", disable=not progress)):
        images[i] = load_image(folder / file, size)
    return Dataset(name_of(folder), images, *_labels(files))


def image_files(folder: Path) -> list[Path]:
    """The image files in `folder` and below, relative to it, sorted; hidden ones do not count.

    Links to folders are followed, once within each sub-folder of `folder` and never back up to it.
    DataError if there is no such folder, no image in it, or something that cannot be opened.
    """
    files = [file for file in _files(folder) if file.suffix.lower() in ENDINGS]
    if not files:
        raise DataError(f"{folder}: {_what_is_wrong_with(folder)}")
    return sorted(files, key=lambda file: file.parts)


def files_to_map(folder: Path) -> dict[Path, Path]:
    """The image files, as by `image_files`, and what each will be called as a PNG.

    DataError if two would have one name, and as `image_files`.
    """
    names = {file: file.with_suffix(".png") for file in image_files(folder)}
    for name, count in Counter(names.values()).items():
        if count > 1:
            raise DataError(f"{folder}: several images would become {name}: rename one")
    return names


def name_of(folder: Path) -> str:
    """What the folder is called, however its path is spelt."""
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of images")
    top = folder.resolve()
    try:
        # Each class keeps its own account of where it has been: two may link to one folder.
        found = [file for child in _children(folder) for file in _below(child, {top})]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be opened: {error.strerror}") from error
    return [file.relative_to(folder) for file in found]


def _below(path: Path, seen: set[Path]) -> Iterator[Path]:
    """The file `path`, or all files in and below the folder `path`, but for what was `seen`."""
    if path.is_dir():
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            for child in _children(path):
                yield from _below(child, seen)
    elif path.is_file():
        yield path
    elif path.is_symlink():
        raise DataError(f"{path}: a link to nowhere ({path.readlink()}): mend or remove it")


def _children(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _what_is_wrong_with(folder: Path) -> str:
    """Why there is no image in the folder: nothing there, or files such as MNIST's."""
    idx = next((file for file in _files(folder) if IDX_NAME.search(file.name)), None)
    if idx is None:
        return f"no images here or below; looked for {', '.join(ENDINGS)}"
    return (
        f"IDX files such as {idx}, but neither MNIST nor Fashion-MNIST, which are looked for in "
        "this folder and in mnist/ and fashion-mnist/ in it"
    )


def _labels(files: list[Path]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """(labels, classes) from the first part of each file's path; (None, ()) if one has none."""
    if any(len(file.parts) == 1 for file in files):
        return None, ()
    classes, labels = np.unique([file.parts[0] for file in files], return_inverse=True)
    return labels.astype(np.int64), tuple(classes.tolist())


def load_image(file: Path, size: int, channels: int = 3) -> np.ndarray:
    """The square in the middle of an image file, resized: uint8 (size, size, channels), 1 for grey.

    DataError if there is no such file, or it cannot be read as an image of 8 bits a channel.
    """
    return squared(opened(file), size, channels)


def opened(file: Path):
    """An image file as Pillow's RGBA image, upright. DataError as for `load_image`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if image.mode[0] in "IF":  # Pillow would clip almost all of it to white
                raise ValueError(f"pixels of mode {image.mode!r}, wanted 8 bits a channel")
            return ImageOps.exif_transpose(image).convert("RGBA")
    # A decoder that meets a broken file raises almost anything: OSError, SyntaxError, EOFError …
    except Exception as error:
        raise DataError(f"{file}: cannot be read as an image: {error}") from error


def squared(image, size: int, channels: int = 3) -> np.ndarray:
    """The square in the middle of it, resized, on white: uint8 (size, size, channels)."""
    from PIL import Image, ImageOps

    if channels not in (1, 3):
        raise ValueError(f"load_image: got {channels} channels, wanted 1 or 3")
    pixels = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", pixels.size, "white")
    opaque = Image.alpha_composite(white, pixels).convert("L" if channels == 1 else "RGB")
    return np.asarray(opaque).reshape(size, size, channels)
