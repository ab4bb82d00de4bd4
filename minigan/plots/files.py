"""Figures as pixels, and pixels as files: pictures and films."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from minigan.plots.checks import check_pixels, check_shape
from minigan.system import write


def frame(figure: Figure) -> np.ndarray:
    """The figure drawn as pixels: uint8 of shape (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[:, :, :3]


def save_figure(figure: Figure, path) -> Path:
    """Writes the figure to `path` as a PNG of 256 colours; creates the folder; returns the path."""
    image = Image.fromarray(frame(figure))
    return _write(path, image.quantize(256, dither=Image.Dither.NONE), "PNG", optimize=True)


def save_image(path, pixels: np.ndarray, scale: int = 1) -> Path:
    """Writes uint8 pixels of shape (height, width, 3) as a PNG; returns the path.

    Each pixel becomes `scale` × `scale` pixels of the same colour. ValueError for other arrays.
    """
    check_pixels(pixels)
    if scale < 1:
        raise ValueError(f"save_image: scale {scale}, expected 1 or more")
    enlarged = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    return _write(path, Image.fromarray(enlarged), "PNG", optimize=True)


def save_gif(path, frames, seconds_per_frame=0.1, hold_last=2.0, max_colors=64) -> Path:
    """Writes `frames` as a GIF that plays for ever and rests on its last frame; returns the path.

    `frames` are uint8 arrays of one shape (height, width, 3); `seconds_per_frame` and
    `hold_last` are in seconds, which a GIF rounds to hundredths. Frames equal to the one before
    are stored as a longer showing of it. ValueError for no frames or unequal shapes,
    or `max_colors` outside 2 … 256.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("save_gif: no frames, expected at least one")
    for index, pixels in enumerate(frames):
        check_pixels(pixels)
        if pixels.shape != frames[0].shape:
            raise ValueError(
                f"save_gif: frame {index} has shape {pixels.shape}, expected {frames[0].shape} "
                "as the first"
            )
    if not 2 <= max_colors <= 256:
        raise ValueError(f"save_gif: max_colors {max_colors}, expected 2 to 256")
    images = _with_shared_palette(frames, max_colors)
    durations = [seconds_per_frame] * (len(frames) - 1) + [hold_last]
    return _write(
        path,
        images[0],
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=[round(seconds * 100) * 10 for seconds in durations],
        loop=0,
    )


class Film:
    """The frames of an animation that grows while a run trains, and survives being resumed.

    A checkpoint part (see training/checkpoint.py). It keeps at most `capacity` frames: when it is
    full, every other one goes, and from then on only every other one is taken, so that a long run
    makes no longer a film than a short one.
    """

    growing = True

    def __init__(self, first: np.ndarray, capacity: int = 60):
        check_pixels(first)
        self._frames = [first]
        self._capacity = capacity
        self._taken, self._stride = 0, 1

    def __len__(self):
        return len(self._frames)

    def add(self, pixels: np.ndarray):
        """The next frame: uint8 pixels (height, width, 3) of the first frame's shape."""
        check_shape("Film: frame", pixels, self._frames[0].shape)
        self._taken += 1
        if self._taken % self._stride:
            return
        self._frames.append(pixels)
        if len(self._frames) > self._capacity:
            self._frames = self._frames[::2]
            self._stride *= 2

    def save_gif(self, path, seconds_per_frame=0.2) -> Path:
        """Writes the film so far; see the function `save_gif`."""
        return save_gif(path, self._frames, seconds_per_frame)

    def state(self) -> dict:
        """The frames that are kept, and which of the next ones will be."""
        return {"frames": np.stack(self._frames), "taken": self._taken, "stride": self._stride}

    def load_state(self, state: dict):
        """Takes over `state()` of a film of pictures of one size."""
        self._frames = list(state["frames"])
        self._taken, self._stride = state["taken"], state["stride"]


def _with_shared_palette(frames, max_colors) -> list[Image.Image]:
    """The frames in one palette, or what stands still would flicker as its colour changes.

    The background, the colour in the first corner, has an entry of its own: Pillow would make it
    a little darker than it is, and that shows on a white page.
    """
    height, width, _ = frames[0].shape
    # Two million pixels from all the frames are enough to choose colours by.
    step = math.ceil(math.sqrt(len(frames) * height * width / 2e6))
    sampled = np.concatenate([pixels[::step, ::step].reshape(-1, 1, 3) for pixels in frames])
    background = frames[0][0, 0]
    ink = sampled[(sampled != background).any(axis=2)]
    ink = ink[:, np.newaxis] if len(ink) else sampled
    palette = Image.fromarray(ink).quantize(max_colors - 1)
    colors = palette.getpalette()[: 3 * (max_colors - 1)]
    images = []
    for pixels in frames:
        quantized = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
        indices = np.array(quantized)
        indices[(pixels == background).all(axis=2)] = len(colors) // 3
        image = Image.fromarray(indices)
        image.putpalette([*colors, *background.tolist()])
        images.append(image)
    return images


def _write(path, image: Image.Image, file_format: str, **options) -> Path:
    """Saves under another name and renames, so that a viewer never meets half a file."""
    path, file = Path(path), io.BytesIO()
    image.save(file, file_format, **options)
    write(path, file.getvalue())
    return path
