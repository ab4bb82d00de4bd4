"""The figure of what truncation trades: curves, their ends, and what they are held against."""

import numpy as np

from minigan import plots


def test_a_panel_for_each_of_two_shares_beside_the_grids():
    grid = plots.sample_grid(np.zeros((6, 8, 8, 1)), 2)
    curves = {"drawn again": [(0.5, 0.75), (0.75, 0.25)], "scaled": [(0.25, 1.0), (0.5, 0.5)]}
    names = ("0", "1", "2")
    figure = plots.truncation_figure({"z": grid, "low": grid}, names, (2, 1), curves, (0.9, 0.8))
    first, second, precision, recall = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "z",
        "low",
        "precision",
        "recall",
    ]
    assert [label.get_text() for label in first.get_yticklabels()] == list(names)
    for panel, values in (
        (precision, ([0.5, 0.75], [0.25, 0.5])),
        (recall, ([0.75, 0.25], [1.0, 0.5])),
    ):
        *drawn, _ = panel.lines
        assert [line.get_ydata().tolist() for line in drawn] == list(values)
        assert [line.get_xdata().tolist() for line in drawn] == [[2, 1]] * 2
    assert [panel.lines[-1].get_ydata()[0] for panel in (precision, recall)] == [0.9, 0.8]
    assert plots.frame(figure).shape[1] == 1140 and second.images
