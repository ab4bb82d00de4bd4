"""The figure of annealing shows what it was given."""

import numpy as np

from minigan import plots

KNOWN = {"exact": -3.0, "kde": -13.0, "temperatures": (1, 10), "lower": [-9.0, -3.5]}
KNOWN |= {"upper": [-6.0, -3.0]}
MODEL = {"train": 5.0, "test": 4.0, "simulated": 6.0, "upper": 6.5, "most": 9.0}
MODEL |= {"train_error": 0.5, "test_error": 0.5, "simulated_error": 0.1}
MODEL |= {"kde_train": -1.0, "kde_test": -2.0}


def test_each_panel_shows_its_part():
    figure = plots.annealing_figure(KNOWN, {"VAE": MODEL, "GAN": MODEL})
    assert plots.frame(figure).shape == (460, 1200, 3)
    closing, models = figure.axes
    lower, upper, wrong, kde = closing.lines
    assert (wrong.get_xdata(), wrong.get_ydata()) == (1, 3)  # an upper bound of −6, of −3
    assert wrong.get_label() == "upper bound, on the wrong side"
    np.testing.assert_allclose(lower.get_ydata(), [6, 0.5])
    np.testing.assert_allclose(upper.get_ydata(), [3, 1e-3])  # 0 has no place on a log axis
    assert kde.get_ydata() == [10, 10]
    drawn = np.concatenate([np.ravel(line.get_ydata()) for line in models.lines])
    for nats in (5, 4, 6, 6.5, 9, -1, -2):
        assert (drawn == nats).sum() >= 2
    assert [label.get_text() for label in models.get_xticklabels()] == ["VAE", "GAN"]
