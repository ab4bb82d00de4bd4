"""Pictures of a training run: densities with D(x), loss curves, sample grids, animations.

A GAN's losses say little about how well it is doing, so one looks. This is the only file that
imports matplotlib (and Pillow, for the files), and nothing in minigan imports this one: training
needs neither. Everything here takes NumPy arrays and draws on figures of its own; pyplot and its
global state are never touched, so a script or notebook that does use pyplot is left alone.

One colour means one thing, in every figure: p_data and the real samples, p_g and the generator,
the discriminator D, and the best possible discriminator D*.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image

from minigan import checkpoint
from minigan.data import to_bytes

# Colours that the colour-blind can tell apart: Okabe and Ito, "Color Universal Design" (2008).
# p_g in green and D in blue are also what Goodfellow et al. (2014) used in their figure 1.
P_DATA = "#000000"
P_G = "#009E73"
D = "#0072B2"
D_STAR = "#D55E00"
GUIDE = "#999999"

_DPI = 100
STYLE = {
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "legend.frameon": False,
}


# Files.


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
    _check_pixels(pixels)
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
        _check_pixels(pixels)
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

    A checkpoint part (see checkpoint.py). It keeps at most `capacity` frames: when it is full,
    every other one goes, and from then on only every other one is taken, so that a long run
    makes no longer a film than a short one.
    """

    growing = True

    def __init__(self, first: np.ndarray, capacity: int = 60):
        _check_pixels(first)
        self._frames = [first]
        self._capacity = capacity
        self._taken, self._stride = 0, 1

    def __len__(self):
        return len(self._frames)

    def add(self, pixels: np.ndarray):
        """The next frame: uint8 pixels (height, width, 3) of the first frame's shape."""
        _check_shape("Film: frame", pixels, self._frames[0].shape)
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
        return {"frames": np.stack(self._frames), "taken": self._taken, "stride": self._stride}

    def load_state(self, state: dict):
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
    checkpoint.write(path, file.getvalue())
    return path


def _check_pixels(pixels):
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(
            f"got pixels of shape {pixels.shape} and dtype {pixels.dtype}, "
            "expected (height, width, 3) of uint8"
        )


# Samples.

_SEPARATOR = 2


def sample_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Samples side by side, row by row: uint8 pixels of shape (height, width, 3).

    `images` are floats of shape (n, h, w, c) with c = 1 (grey) or 3 (red, green, blue), from −1
    (dark) to 1 (bright); what lies beyond is clipped. There are `columns` in a row, about as many
    as rows if None, 2 white pixels between them, and white cells where the last row ends early.

    ValueError for any other shape, no images, or values that are not finite.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"sample_grid: images of shape {images.shape}, expected (n, h, w, 1) or (n, h, w, 3)"
        )
    _check_finite("sample_grid: images", images)
    count, height, width, _ = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"sample_grid: {columns} columns, expected 1 or more")
    rows = math.ceil(count / columns)
    step_down, step_right = height + _SEPARATOR, width + _SEPARATOR
    shape = (rows * step_down - _SEPARATOR, columns * step_right - _SEPARATOR, 3)
    grid = np.full(shape, 255, np.uint8)
    for index, image in enumerate(to_bytes(images)):
        top, left = index // columns * step_down, index % columns * step_right
        grid[top : top + height, left : left + width] = image
    return grid


# Losses.

_PROBABILITIES = {
    "d_real": ("$D(x)$", P_DATA, "-"),
    "d_fake_before": ("$D(G(z))$ before", P_G, "-"),
    "d_fake_after": ("$D(G(z))$ after D's step", D_STAR, "--"),
}


def loss_curves(history: dict, steps: np.ndarray, title: str = "") -> Figure:
    """The two losses over a run and, if recorded, what D thinks of real and generated samples.

    `history` holds arrays of shape (n,), one value for each of `steps`: "loss_d" and "loss_g",
    and any of the probabilities "d_real" = D(x), "d_fake_before" and "d_fake_after" = D(G(z))
    before and after the discriminator's step, for a second panel. Other names are ignored. Losses
    get a log axis, or a linear one if any is zero or negative, as Wasserstein losses are.

    Values that are not finite, as from a run that failed, leave gaps. ValueError for a missing
    loss or an array of another shape.
    """
    steps = np.asarray(steps)
    curves = _checked_history(history, steps)
    probabilities = [name for name in _PROBABILITIES if name in curves]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.8), dpi=_DPI)
        panels = figure.subplots(1, 2 if probabilities else 1, squeeze=False)[0]
        _draw_losses(panels[0], steps, curves["loss_d"], curves["loss_g"])
        if probabilities:
            _draw_probabilities(panels[1], steps, {name: curves[name] for name in probabilities})
        for panel in panels:
            panel.set_xlabel("training step")
            # A run that failed keeps the axis of the run that was meant, and shows its end.
            panel.set_xlim(steps.min(initial=0), steps.max(initial=1))
            _legend_above(panel)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.subplots_adjust(left=0.06, right=0.975, bottom=0.13, top=0.82, wspace=0.17)
    return figure


def _checked_history(history: dict, steps: np.ndarray) -> dict:
    """The curves of a history that are drawn, as float arrays with NaN for all not finite."""
    missing = {"loss_d", "loss_g"} - history.keys()
    if missing:
        raise ValueError(f"loss_curves: history has no {sorted(missing)[0]!r}; it is needed")
    if steps.ndim != 1:
        raise ValueError(f"loss_curves: steps of shape {steps.shape}, expected (n,)")
    curves = {}
    for name in ("loss_d", "loss_g", *_PROBABILITIES):
        if name in history:
            curve = np.asarray(history[name], dtype=float)
            _check_shape(f"loss_curves: {name}", curve, steps.shape)
            curves[name] = np.where(np.isfinite(curve), curve, np.nan)
    return curves


def _draw_losses(panel, steps, loss_d, loss_g):
    for loss, name, color in ((loss_d, "loss of D", D), (loss_g, "loss of G", P_G)):
        _draw_curve(panel, steps, loss, name, color)
    losses = np.concatenate([loss_d, loss_g])
    if not (losses <= 0).any() and np.isfinite(losses).any():
        _use_log_axis(panel, decades=np.log10(np.nanmax(losses) / np.nanmin(losses)))
    panel.set_ylabel("loss")
    panel.grid(axis="y", color=GUIDE, alpha=0.3)


def _use_log_axis(panel, decades):
    """A logarithmic y axis with plain numbers, the more of them the fewer decades it spans."""
    few, some, many = (1,), (1, 2, 5), (1, 1.2, 1.5, 2, 3, 4, 5, 7)
    panel.set_yscale("log")
    subs = many if decades < 1 else some if decades < 2 else few
    panel.yaxis.set_major_locator(LogLocator(subs=subs))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter(NullFormatter())


def _draw_probabilities(panel, steps, curves: dict):
    panel.axhline(0.5, color=GUIDE, linestyle="--", linewidth=1)
    for name, curve in curves.items():
        label, color, style = _PROBABILITIES[name]
        _draw_curve(panel, steps, curve, label, color, style)
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.set_ylabel("probability of being real")


def _draw_curve(panel, steps, values, label, color, style="-"):
    """A noisy curve: pale as it was measured, and strong as a moving average. Returns both."""
    (raw,) = panel.plot(steps, values, color=color, linewidth=0.7, alpha=0.25)
    (smooth,) = panel.plot(
        steps, moving_average(values), color=color, linewidth=1.6, linestyle=style, label=label
    )
    return raw, smooth


def moving_average(values: np.ndarray, reach: int | None = None) -> np.ndarray:
    """The mean of the finite values around each, up to `reach` before and after it; (n,) -> (n,).

    By default a hundredth of the run to either side.
    """
    reach = len(values) // 100 if reach is None else reach
    finite = np.isfinite(values)
    edges = np.arange(len(values))
    first, last = np.maximum(edges - reach, 0), np.minimum(edges + reach + 1, len(values))
    total = np.concatenate([[0], np.cumsum(np.where(finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    mean = (total[last] - total[first]) / np.maximum(count[last] - count[first], 1)
    return np.where(finite, mean, np.nan)


# The one-dimensional GAN.


@dataclass
class DensityView:
    """What a one-dimensional GAN looks like at one step of its training; arrays of floats.

    The values of the networks and the losses may be NaN or infinite, as in a run that failed,
    and leave gaps; the grids, `p_data` and `optimal_map` are known exactly and must be finite.
    """

    x: np.ndarray  # (nx,), the grid in data space that the next three stand on
    p_data: np.ndarray  # (nx,), target density
    d: np.ndarray  # (nx,), D(x)
    d_star: np.ndarray  # (nx,), p_data / (p_data + p_g)
    samples: np.ndarray  # (n,), many G(z), for the histogram that shows p_g
    points_x: np.ndarray  # (m,), G(z) of a few dozen z
    points_d: np.ndarray  # (m,), D(G(z)) of the same z
    z: np.ndarray  # (nz,), the grid in latent space that the next two stand on
    g_of_z: np.ndarray  # (nz,), G(z)
    optimal_map: np.ndarray  # (nz,), the increasing map that turns p_z into p_data
    steps: np.ndarray  # (k,), the steps so far at which the losses were recorded
    loss_d: np.ndarray  # (k,)
    loss_g: np.ndarray  # (k,)
    step: int
    title: str = ""

    def check(self):
        """ValueError for an array that does not fit the others, naming it."""
        groups = {
            "x": ("p_data", "d", "d_star"),
            "points_x": ("points_d",),
            "z": ("g_of_z", "optimal_map"),
            "steps": ("loss_d", "loss_g"),
            "samples": (),
        }
        for leader, followers in groups.items():
            shape = np.shape(getattr(self, leader))
            if len(shape) != 1:
                raise ValueError(f"DensityView: {leader} has shape {shape}, expected (n,)")
            for name in followers:
                _check_shape(f"DensityView: {name}", np.asarray(getattr(self, name)), shape)
        for name in ("x", "z", "p_data", "optimal_map"):
            _check_finite(f"DensityView: {name}", getattr(self, name))


class DensityFigure:
    """The figure of the one-dimensional GAN, after figure 1 of Goodfellow et al. (2014).

    Left, data space: p_data and p_g, and D(x) beside the best reply D*(x) to this p_g; below,
    where G carries evenly spaced z. Right, the map G(z) itself beside the optimal one, and the
    losses. The axes are made once and stay, so that the frames of an animation can be compared:

        figure = DensityFigure(x_limits=(-4, 8), z_limits=(-3, 3), density_max=0.6, last_step=5000)
        frames = [figure.update(view) for view in views]
        save_gif("out/training.gif", frames)
        save_image("out/result.png", frames[-1])

    What stands still (axes, legends, guides) is drawn once and kept as pixels; only the curves
    are drawn for each frame, which takes a tenth of the time.

    `density_max` ends the axis of the densities, `last_step` that of the losses. Loss axes are
    logarithmic if `loss_limits` are positive. With `equilibrium`, lines mark log 4 and log 2, what
    the minimax loss of D and the non-saturating loss of G come to at p_g = p_data.
    """

    BINS = 80

    def __init__(
        self,
        *,
        x_limits: tuple[float, float],
        z_limits: tuple[float, float],
        density_max: float,
        last_step: int,
        loss_limits: tuple[float, float] = (0.1, 10.0),
        equilibrium: bool = True,
    ):
        self.x_limits, self.z_limits = x_limits, z_limits
        with matplotlib.rc_context(STYLE):
            self.figure = Figure(figsize=(10, 5.8), dpi=_DPI)
            left = self.figure.add_gridspec(
                2, 1, left=0.06, right=0.545, bottom=0.085, top=0.875, height_ratios=(3.4, 1)
            )
            right = self.figure.add_gridspec(
                2, 1, left=0.665, right=0.955, bottom=0.085, top=0.875, hspace=0.55
            )
            self._title = self.figure.text(0.01, 0.985, "", va="top", size=12, weight="bold")
            self._step = self.figure.text(0.985, 0.985, "", va="top", ha="right", size=12)
            self._make_densities(self.figure.add_subplot(left[0]), density_max)
            self._make_arrows(self.figure.add_subplot(left[1]))
            self._make_map(self.figure.add_subplot(right[0]))
            self._make_losses(
                self.figure.add_subplot(right[1]), last_step, loss_limits, equilibrium
            )
        self._moving = [self._p_data, self._p_g, self._d, self._d_star, self._points]
        self._moving += [self._arrows, self._map, self._optimal_map, *self._loss_d, *self._loss_g]
        self._moving += [self._title, self._step]
        for artist in self._moving:
            artist.set_animated(True)  # leaves it out of the background
        self._canvas = FigureCanvasAgg(self.figure)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    def update(self, view: DensityView) -> np.ndarray:
        """Draws `view`; returns the pixels, uint8 (height, width, 3). ValueError as its check."""
        view.check()
        self._title.set_text(view.title)
        self._step.set_text(f"step {view.step:,}")
        self._p_data.set_data(view.x, view.p_data)
        self._p_g.set_data(self._histogram(view.samples))
        self._d.set_data(view.x, view.d)
        self._d_star.set_data(view.x, view.d_star)
        self._points.set_data(view.points_x, view.points_d)
        self._arrows.set_segments(self._segments(view.z, view.g_of_z))
        self._map.set_data(view.z, view.g_of_z)
        self._optimal_map.set_data(view.z, view.optimal_map)
        for lines, loss in ((self._loss_d, view.loss_d), (self._loss_g, view.loss_g)):
            loss = np.asarray(loss, dtype=float)
            for line, values in zip(lines, (loss, moving_average(loss)), strict=True):
                line.set_data(view.steps, values)
        self._canvas.restore_region(self._background)
        for artist in self._moving:
            (artist.axes or self.figure).draw_artist(artist)
        return np.array(self._canvas.buffer_rgba())[:, :, :3]

    def _make_densities(self, panel, density_max):
        panel.set(xlim=self.x_limits, ylim=(0, density_max), xlabel="$x$", ylabel="density")
        panel.xaxis.labelpad = 0
        (self._p_data,) = panel.plot(
            [], [], color=P_DATA, linewidth=1.8, label=r"$p_\mathrm{data}$"
        )
        edges = np.linspace(*self.x_limits, self.BINS + 1)
        self._p_g = panel.stairs(
            np.zeros(self.BINS), edges, fill=True, color=P_G, alpha=0.45, label="$p_g$ (samples)"
        )
        right = panel.twinx()
        right.set_ylim(0, 1.05)
        right.set_yticks([0, 0.5, 1])
        right.set_ylabel("$D(x)$, probability of being real", color=D)
        right.tick_params(axis="y", colors=D)
        right.spines["right"].set(visible=True, color=D)
        right.axhline(0.5, color=GUIDE, linestyle=":", linewidth=1)
        (self._d,) = right.plot([], [], color=D, linewidth=1.8, label="$D(x)$")
        (self._d_star,) = right.plot(
            [], [], color=D_STAR, linewidth=1.6, linestyle="--", label="optimal $D^*(x)$"
        )
        (self._points,) = right.plot(
            [], [], "o", color=P_G, markersize=4, markeredgecolor="white", markeredgewidth=0.5
        )
        self._points.set_label("$(G(z), D(G(z)))$")
        _legend_above(panel, right)

    def _make_arrows(self, panel):
        """The two lines of the paper's figure: z below, x above, and where G takes each z."""
        panel.set(xlim=self.x_limits, ylim=(0, 1), xlabel="$z$")
        panel.xaxis.labelpad = 0
        panel.spines["left"].set_visible(False)
        panel.spines["top"].set_visible(True)
        low, high = (math.ceil(self.z_limits[0]), math.floor(self.z_limits[1]))
        ticks = np.arange(low, high + 1)
        panel.set_xticks(self._beside_x(ticks), [f"{tick}".replace("-", "−") for tick in ticks])
        panel.set_yticks([0, 1], ["$z$", "$G(z)$"])
        panel.tick_params(axis="y", length=0)
        self._arrows = LineCollection([], colors=P_G, linewidths=0.9, alpha=0.8)
        panel.add_collection(self._arrows)

    def _make_map(self, panel):
        panel.set(xlim=self.z_limits, ylim=self.x_limits, xlabel="$z$", ylabel="$x$")
        panel.xaxis.labelpad = 0
        (self._map,) = panel.plot([], [], color=P_G, linewidth=1.8, label="$G(z)$")
        (self._optimal_map,) = panel.plot(
            [], [], color=P_DATA, linewidth=1.4, linestyle="--", label="optimal increasing map"
        )
        panel.grid(color=GUIDE, alpha=0.3)
        _legend_above(panel)

    def _make_losses(self, panel, last_step, loss_limits, equilibrium):
        if loss_limits[0] > 0:
            _use_log_axis(panel, decades=math.log10(loss_limits[1] / loss_limits[0]))
        panel.set(xlim=(0, last_step), ylim=loss_limits, xlabel="training step", ylabel="loss")
        panel.grid(axis="y", color=GUIDE, alpha=0.3)
        nothing = np.zeros(0)
        self._loss_d = _draw_curve(panel, nothing, nothing, "loss of D", D)
        self._loss_g = _draw_curve(panel, nothing, nothing, "loss of G", P_G)
        if equilibrium:
            for value, name, color in ((4, "log 4", D), (2, "log 2", P_G)):
                panel.axhline(math.log(value), color=color, linestyle=":", linewidth=1.2)
                panel.annotate(
                    name,
                    (last_step, math.log(value)),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    color=color,
                    size=9,
                )
        _legend_above(panel)

    def _histogram(self, samples) -> np.ndarray:
        """The density of the samples in each bin; those outside the axis count in the total."""
        counts, edges = np.histogram(samples, self.BINS, self.x_limits)
        return counts / (max(len(samples), 1) * (edges[1] - edges[0]))

    def _segments(self, z, g_of_z, count=33) -> np.ndarray:
        """Lines from evenly spaced z to G(z), of shape (at most count, 2, 2)."""
        chosen = np.linspace(0, len(z) - 1, min(count, len(z))).round().astype(int)
        start = np.stack([self._beside_x(np.asarray(z)[chosen]), np.zeros(len(chosen))], axis=1)
        end = np.stack([np.asarray(g_of_z)[chosen], np.ones(len(chosen))], axis=1)
        return np.stack([start, end], axis=1)

    def _beside_x(self, z):
        """The place on the x axis that lies under z when both axes are as long."""
        (x_low, x_high), (z_low, z_high) = self.x_limits, self.z_limits
        return x_low + (z - z_low) * (x_high - x_low) / (z_high - z_low)


def _legend_above(panel, twin=None):
    """A legend over the panel, where no curve can run into it."""
    handles, labels = panel.get_legend_handles_labels()
    if twin is not None:
        more_handles, more_labels = twin.get_legend_handles_labels()
        handles, labels = handles + more_handles, labels + more_labels
    panel.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles),
        borderaxespad=0.2,
        borderpad=0.2,
        handlelength=1.5,
        handletextpad=0.5,
        columnspacing=1.2,
    )


def _check_shape(name: str, array: np.ndarray, shape: tuple):
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")


def _check_finite(name: str, array: np.ndarray):
    bad = np.size(array) - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(f"{name}: {bad} of {np.size(array)} values are NaN or infinite")
