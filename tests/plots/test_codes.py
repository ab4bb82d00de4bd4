"""The figure of a variational autoencoder shows what it was given."""

import numpy as np
import pytest

from minigan import plots

CODES = np.random.default_rng(0).standard_normal((30, 3))
RUNGS = {"ELBO": [1.0, 1.5], "L_5": [2.5, 2.5], "exact": [3.0, 5.0]}


@pytest.mark.parametrize("classes", [np.arange(30) % 4, None])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_each_panel_shows_its_part(classes, dimensions):
    images = np.linspace(-1, 1, 10 * 16).reshape(10, 4, 4, 1)
    samples = np.full((20, 20, 3), 7, np.uint8)
    parts = images, -images, CODES[:, :dimensions], classes, samples, RUNGS
    figure = plots.vae_figure(*parts, titles="abcd")
    assert plots.frame(figure).shape == (360, 1250, 3)
    pairs, codes, drawn, ladder = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [*"abcd"]
    pixels = pairs.images[0].get_array()
    assert pixels.shape == (4 * 6 - 2, 5 * 6 - 2, 3)
    assert (pixels[:4, :4] + pixels[6:10, :4] == 255).all()  # an image, and its negative below
    points = codes.collections[0].get_offsets()
    np.testing.assert_array_equal(points[:, 0], CODES[:, 0])
    np.testing.assert_array_equal(points[:, 1], CODES[:, 1] if dimensions > 1 else 0)
    names = [] if classes is None else ["0", "1", "2", "3"]
    assert [text.get_text() for text in codes.texts] == names
    assert (drawn.images[0].get_array() == samples).all()
    assert ladder.lines[0].get_ydata().tolist() == [1.25, 2.5, 4.0]
    assert [text.get_text() for text in ladder.texts] == ["1.2", "2.5", "4.0"]
    assert [label.get_text() for label in ladder.get_xticklabels()] == [*RUNGS]
