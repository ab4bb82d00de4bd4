"""Figures of a few panels, as the examples draw them."""

from __future__ import annotations

import contextlib

import matplotlib
from matplotlib.figure import Figure

from minigan.plots.style import DPI, STYLE


@contextlib.contextmanager
def panels(rows=1, columns=1, *, size, **options):
    """A figure in the style that all share, and its panels, to be drawn on within the `with`.

        with plots.panels(1, 2, size=(12, 4.4), width_ratios=[3, 2]) as (figure, (left, right)):
            left.plot(x, y)
            left.set(title="…", xlabel="x")
        plots.save_figure(figure, path)

    size: width and height in inches, of DPI pixels each. options: those of `Figure.subplots`, which
    also tells what the panels are: one, or an array of `rows`, of `columns` or of both.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)
