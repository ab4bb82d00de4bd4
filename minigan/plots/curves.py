"""Curves of a run: losses, and what D says of real and generated samples."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from minigan.plots.checks import check_shape
from minigan.plots.style import D_STAR, DPI, GUIDE, P_DATA, P_G, STYLE, D

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
        figure = Figure(figsize=(10, 3.8), dpi=DPI)
        panels = figure.subplots(1, 2 if probabilities else 1, squeeze=False)[0]
        _draw_losses(panels[0], steps, curves["loss_d"], curves["loss_g"])
        if probabilities:
            _draw_probabilities(panels[1], steps, {name: curves[name] for name in probabilities})
        for panel in panels:
            panel.set_xlabel("training step")
            # A run that failed keeps the axis of the run that was meant, and shows its end.
            panel.set_xlim(steps.min(initial=0), steps.max(initial=1))
            legend_above(panel)
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
            check_shape(f"loss_curves: {name}", curve, steps.shape)
            curves[name] = np.where(np.isfinite(curve), curve, np.nan)
    return curves


def _draw_losses(panel, steps, loss_d, loss_g):
    for loss, name, color in ((loss_d, "loss of D", D), (loss_g, "loss of G", P_G)):
        draw_curve(panel, steps, loss, name, color)
    losses = np.concatenate([loss_d, loss_g])
    if not (losses <= 0).any() and np.isfinite(losses).any():
        use_log_axis(panel, decades=np.log10(np.nanmax(losses) / np.nanmin(losses)))
    panel.set_ylabel("loss")
    panel.grid(axis="y", color=GUIDE, alpha=0.3)


def use_log_axis(panel, decades):
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
        draw_curve(panel, steps, curve, label, color, style)
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.set_ylabel("probability of being real")


def draw_curve(panel, steps, values, label, color, style="-", reach: int | None = None):
    """A noisy curve: pale as it was measured, and strong as a moving average. Returns both."""
    (raw,) = panel.plot(steps, values, color=color, linewidth=0.7, alpha=0.25)
    mean = moving_average(values, reach)
    (smooth,) = panel.plot(steps, mean, color=color, linewidth=1.6, linestyle=style, label=label)
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


def legend_above(panel, twin=None):
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
