"""Points, modes and heat maps stand where they should."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from minigan import plots
from minigan.data import Ring

CENTRES = np.array([[0.0, 2.0], [-1.0, 0.5]])
REACH = 1.25 * 2.0 + 0.15


def test_heat_points_are_the_middles_of_cells(monkeypatch):
    monkeypatch.setattr(plots.modes, "CELLS", 2)
    half = REACH / 2
    expected = [[-half, -half], [half, -half], [-half, half], [half, half]]
    np.testing.assert_allclose(plots.heat_points(CENTRES), expected)


@pytest.mark.parametrize("limits", [None, (0, 1)])
def test_modes_are_drawn_over_the_heat_at_its_points(monkeypatch, limits):
    monkeypatch.setattr(plots.modes, "CELLS", 4)
    panel, samples = Figure().subplots(), np.array([[0.5, -1.0]])
    places = plots.heat_points(CENTRES)
    plots.draw_modes(panel, samples, CENTRES, heat=places[:, 1], limits=limits)
    (image,), (points, rings) = panel.images, panel.collections
    assert image.get_extent() == pytest.approx([-REACH, REACH] * 2) and image.origin == "lower"
    np.testing.assert_allclose(image.get_array().reshape(-1), places[:, 1])
    assert image.get_clim() == (limits or (places[:, 1].min(), places[:, 1].max()))
    np.testing.assert_allclose(points.get_offsets(), samples)
    np.testing.assert_allclose(rings.get_offsets(), CENTRES)
    assert panel.get_xlim() == panel.get_ylim() == pytest.approx((-REACH, REACH))


def test_points_are_drawn_by_their_first_and_last_coordinate():
    panel, real = Figure().subplots(), np.array([[1.0, 9.0, 2.0]])
    plots.draw_points(panel, real, real + 1)
    found = [np.asarray(drawn.get_offsets()).tolist() for drawn in panel.collections]
    assert found == [[[1, 2]], [[2, 3]]]


def test_runs_stand_side_by_side_and_may_be_empty():
    centres = Ring().centres
    runs = {f"run {n}": (np.zeros((n, 2)), f"{n} samples") for n in range(9)}
    figure = plots.modes_side_by_side(runs, centres)
    drawn = [panel for panel in figure.axes if panel.axison]
    assert len(figure.axes) == 14 and len(drawn) == 9
    for n, panel in enumerate(drawn):
        assert (panel.get_title(loc="left"), panel.get_xlabel()) == (f"run {n}", f"{n} samples")
        assert len(panel.collections[0].get_offsets()) == n
    height, width, _ = plots.frame(figure).shape
    assert width == 1295 and height in (459, 460)  # as Matplotlib rounds 2 rows of 2.3 inches
