"""Densities on a line; and the one-dimensional GAN: D and D*, G as a map, losses, by frames."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import NormalDist

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from minigan.plots.checks import check_finite, check_shape
from minigan.plots.curves import draw_curve, legend_above, moving_average, use_log_axis
from minigan.plots.figures import panels
from minigan.plots.style import D_STAR, DPI, GUIDE, P_DATA, P_G, STYLE, D
from minigan.system import write


def draw_densities(panel, x, p_data, p_model):
    """The data's density, a pale hill, and the model's, a line: arrays (nx,) over the grid x."""
    panel.fill_between(x, p_data, color=P_DATA, alpha=0.15, lw=0, label="data")
    panel.plot(x, p_model, color=P_G, label="model")


TAILS = np.linspace(-3.5, 3.5, 57)  # the quantiles of N(0, 1) that are drawn


def kept_tails(folder):
    """The name and the quantiles (57,) that `tail_figure` kept in a folder, if it is not None.

    ValueError if there is no such file, or something else in it.
    """
    if folder is None:
        return None
    path = folder / "tails.json"
    try:
        ((name, quantiles),) = json.loads(path.read_text("utf-8")).items()
        quantiles = np.array(quantiles, float)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: want quantiles that a run has kept: {error}") from error
    if quantiles.shape != TAILS.shape or not np.isfinite(quantiles).all():
        raise ValueError(f"{path}: want {TAILS.size} finite quantiles, got {quantiles.shape}")
    return name, quantiles


def tail_figure(folder, name, samples, beside=None) -> Figure:
    """The quantiles of samples that should be normal, over those of the normal distribution.

    samples: (n,), standardised by the exact mean and standard deviation. Their quantiles are kept
    in folder/tails.json under their name, so that those of another run, in the folder `beside`, can
    be drawn as well: see `kept_tails`.
    """
    exact, far, other = TAILS, NormalDist().inv_cdf(0.999), kept_tails(beside)
    found = np.quantile(samples, [NormalDist().cdf(place) for place in exact])
    write(folder / "tails.json", json.dumps({name: found.tolist()}).encode())
    with panels(size=(5.6, 4.6)) as (figure, panel):
        panel.plot(exact, exact, "--", color=P_DATA, lw=1, label="exact")
        panel.plot(exact, found, color=P_G, label=name)
        if other:
            panel.plot(exact, other[1], color=D_STAR, label=f"{other[0]}, {beside.name}")
        for place, share in ((-far, "0.1%"), (far, "99.9%")):
            panel.axvline(place, color=GUIDE, lw=1, ls=":")
            panel.text(place, 0, f" {share}", color=GUIDE, size=9)
        panel.set(xlabel="quantile of the data, in std", ylabel="quantile of G(z), in std")
        panel.legend(loc="upper left")
    return figure


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
                check_shape(f"DensityView: {name}", np.asarray(getattr(self, name)), shape)
        for name in ("x", "z", "p_data", "optimal_map"):
            check_finite(f"DensityView: {name}", getattr(self, name))


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
            self.figure = Figure(figsize=(10, 5.8), dpi=DPI)
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
        legend_above(panel, right)

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
        legend_above(panel)

    def _make_losses(self, panel, last_step, loss_limits, equilibrium):
        if loss_limits[0] > 0:
            use_log_axis(panel, decades=math.log10(loss_limits[1] / loss_limits[0]))
        panel.set(xlim=(0, last_step), ylim=loss_limits, xlabel="training step", ylabel="loss")
        panel.grid(axis="y", color=GUIDE, alpha=0.3)
        nothing = np.zeros(0)
        self._loss_d = draw_curve(panel, nothing, nothing, "loss of D", D)
        self._loss_g = draw_curve(panel, nothing, nothing, "loss of G", P_G)
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
        legend_above(panel)

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
