"""What the examples draw with: panels in the house's style, and pictures of critics and losses."""

import matplotlib
import numpy as np
import pytest

from minigan import losses, plots
from minigan.plots import frame, panels

X = np.linspace(-2, 2, 41)


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


def values(panel, label):
    """The y values of the line with this label."""
    return next(line.get_ydata() for line in panel.lines if line.get_label() == label)


def test_panels_have_the_style_and_give_back_the_settings_that_were():
    before = matplotlib.rcParams.copy()
    with panels(1, 2, size=(4, 2), width_ratios=[3, 1]) as (figure, (left, right)):
        assert matplotlib.rcParams["legend.frameon"] is False
        left.set(title="left", xlabel="x")
    assert matplotlib.rcParams.copy() == before
    assert frame(figure).shape == (200, 400, 3) and len(figure.axes) == 2
    assert left.get_title(loc="left") == "left" and left.get_title(loc="center") == ""
    assert left.get_position().width > 2 * right.get_position().width


def test_one_panel_is_no_array():
    with panels(size=(2, 1)) as (figure, panel):
        panel.plot(X)
    assert figure.axes == [panel]


def test_a_curve_is_averaged_as_far_as_is_asked():
    noisy = np.random.default_rng(0).normal(size=50)
    with panels(size=(2, 1)) as (_, panel):
        raw, smooth = plots.draw_curve(panel, np.arange(50), noisy, "noise", plots.D, reach=3)
    assert (raw.get_ydata() == noisy).all()
    np.testing.assert_allclose(smooth.get_ydata()[10], noisy[7:14].mean())


def test_every_objective_has_a_colour_of_its_own_and_is_drawn():
    """A new objective fails here until it has one."""
    colors = plots.OBJECTIVE_COLORS
    assert colors.keys() >= losses.OBJECTIVES.keys() and len(set(colors.values())) == len(colors)
    pulls = {name: np.stack([X, X - 1], axis=1) for name in colors}
    with panels(1, 2, size=(8, 4)) as (figure, (left, right)):
        plots.draw_objectives(left, right, X, pulls)
    frame(figure)
    assert labels(left) == list(colors) and right.get_yscale() == "log"
    assert (values(left, "hinge") == X).all()
    slopes = values(right, "hinge")
    assert np.isnan(slopes[X == 1]).all() and (slopes[X != 1] == np.abs(X - 1)[X != 1]).all()


def test_critics_stand_beside_the_best_one_where_mass_moves():
    """The best has the slope sign h, so a critic of this slope lies upon it."""
    h = np.where(np.abs(X) < 1.05, 0.3, 0.0)
    with panels(1, 2, size=(8, 4)) as (figure, (left, right)):
        plots.draw_critics(left, right, X, h, [("mine", plots.D, X + 7)], (-1, 1))
    frame(figure)
    exact, moved = values(left, "exact"), h > 0
    assert np.isnan(exact[~moved]).all() and labels(left) == ["exact", "mine"]
    np.testing.assert_allclose(values(left, "mine")[moved], exact[moved], atol=1e-12)
    slope, found = right.lines
    assert (slope.get_ydata()[moved] == 1).all() and right.get_xlim() == left.get_xlim() == (-1, 1)
    np.testing.assert_allclose(found.get_ydata(), 1)


def test_the_other_panels_of_a_critic():
    density = np.exp(-(X**2))
    with panels(2, 2, size=(8, 8)) as (figure, ((gap, estimates), (norms, game))):
        plots.draw_gap(gap, X, density, density / 2, density - 0.5, (-1, 2))
        found = [("a", plots.D, "-", [0.1, 0.8]), ("b", plots.P_G, "--", [0.3, 0.9])]
        plots.draw_estimates(estimates, [0, 50], found, 1.0)
        plots.draw_norms(norms, [("deep", plots.D, [1e-9, 1e-3, 1.0])])
        plots.draw_value(game, np.array([2.0, -1.0, 0.5]), np.array([3.0, 2.0, 1.0]))
    frame(figure)
    assert labels(gap) == ["data", "model", "$F_g - F_d$"] and labels(estimates) == ["a", "b"]
    assert gap.get_xlim() == (-1, 2)
    assert estimates.get_ylim() == pytest.approx((0, 1.2))
    assert norms.get_yscale() == "log" and "3 hidden layers" in norms.get_title(loc="left")
    assert (values(norms, "deep") == [1e-9, 1e-3, 1]).all()
    assert game.get_ylim() == pytest.approx((0, 3.3))
    assert values(game, "critic's value") == pytest.approx(0.5)  # the mean of all three


def test_a_value_of_no_steps_is_an_empty_panel():
    with panels(size=(2, 1)) as (figure, panel):
        plots.draw_value(panel, np.zeros(0))
    frame(figure)
