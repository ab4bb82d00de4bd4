"""The figure of a GAN that grew shows what it was given."""

import numpy as np

from minigan import plots


def test_columns_curves_and_when_levels_ended():
    columns = {side: np.full((40, 10, 3), i, np.uint8) for i, side in enumerate(("8", "16"))}
    curves = {"FD": {"this run": ([1, 2], [30, 20]), "the other": ([2, 3], [40, 10])}}
    figure = plots.growth_figure(columns, curves, {"8": 1.5, "16": 2.0})
    images, panel = figure.axes
    (drawn,) = images.images
    np.testing.assert_array_equal(drawn.get_array()[:, [5, 17], 0], [[0, 1]] * 40)
    assert [label.get_text() for label in images.get_xticklabels()] == ["8", "16"]
    mine, other, *ends = panel.lines
    assert [*mine.get_ydata(), *other.get_xdata()] == [30, 20, 2, 3]
    assert [line.get_xdata()[0] for line in ends] == [1.5, 2.0]
    assert plots.frame(figure).ndim == 3
