"""A variational autoencoder in one figure: what it rebuilds, where it puts it, and its bounds."""

from __future__ import annotations

import numpy as np

from minigan.plots.figures import panels
from minigan.plots.grids import draw_pairs
from minigan.plots.style import D_STAR, P_G


def vae_figure(images, rebuilt, codes, classes, samples, rungs: dict, *, titles):
    """Four panels: images above what the decoder makes of them, codes, samples, and the ladder.

    images    floats as for `sample_grid`, and `rebuilt` as many; five in a row
    codes     μ(x) of many images, (n, d): the first two numbers of each are drawn
    classes   (n,), by which they are coloured, at the mean of each its number; or None
    samples   pixels (height, width, 3)
    rungs     bounds from below to the top, {name: nats of each image (m,)}, whose means are drawn;
              one called "exact" is no bound
    titles    of the four panels
    """
    with panels(1, 4, size=(12.5, 3.6), width_ratios=[3.6, 3.6, 3.6, 3.2]) as (figure, axes):
        draw_pairs(axes[0], images, rebuilt, labels=("x", "G(μ(x))"), columns=5)
        _codes(axes[1], codes, classes)
        axes[2].imshow(samples)
        axes[2].set_axis_off()
        _ladder(axes[3], rungs)
        for panel, title in zip(axes, titles, strict=True):
            panel.set_title(title, loc="left")
    return figure


def _codes(panel, codes, classes):
    x, y = codes[:, 0], codes[:, 1] if codes.shape[1] > 1 else np.zeros(len(codes))
    colors = {"color": P_G} if classes is None else {"c": classes, "cmap": "tab10"}
    panel.scatter(x, y, s=3, lw=0, **colors)
    for k in [] if classes is None else np.unique(classes):
        middle = np.median(x[classes == k]), np.median(y[classes == k])
        box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
        panel.text(*middle, str(k), ha="center", va="center", weight="bold", bbox=box)
    reach = 1.05 * max(2, abs(x).max(), abs(y).max())  # as far as the prior at least
    limits = -reach, reach
    panel.set(xlim=limits, ylim=limits, aspect="equal", xlabel="z₁", ylabel="z₂")


def _ladder(panel, rungs):
    """A point for each rung, its value above it."""
    colors = [D_STAR if name == "exact" else P_G for name in rungs]
    means = [np.mean(nats) for nats in rungs.values()]
    panel.plot(range(len(rungs)), means, color=P_G, lw=1)
    panel.scatter(range(len(rungs)), means, c=colors, zorder=3)
    for place, nats in enumerate(means):
        offset = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        panel.annotate(f"{nats:.1f}", (place, nats), size=9, **offset)
    panel.set_xticks(range(len(rungs)), rungs)
    margin = 0.12 * max(1, np.ptp(means))
    panel.set_ylim(min(means) - margin, max(means) + margin)
    panel.margins(x=0.12)
