"""The figure of the latent space: every image is where its words say."""

import numpy as np

from minigan import plots


def row(*greys):
    """Images 6 × 6 of one grey each, from −1 to 1."""
    return np.ones((len(greys), 6, 6, 1)) * np.reshape(greys, (-1, 1, 1, 1))


def drawn(sums):
    ways = [(name, row(-1, 0, 1)) for name in ("lerp", "slerp")]
    numbers = np.array([0.125, 0.25]), np.array([0.5, 0.0625])
    found = row(-1, 0), row(0, 1), row(1, -1), *numbers
    figure = plots.latent_figure(ways, sums, found, row(0, 1, 0), titles=("w", "s", "f", "m"))
    assert plots.frame(figure).shape == (600, 1250, 3)
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_formulas_have_their_signs_in_white_columns_between_the_images():
    terms = row(-1, -1, -1), row(-1, -1, -1), row(-1), row(-1)
    panel = drawn({"to 3": terms, "to 7": terms})["s"]
    assert words(panel) == ["−", "+", "="] * 2
    pixels = panel.images[0].get_array()
    assert pixels.shape == (14, 11 * 8 - 2, 3)
    for text in panel.texts:
        column, line = (int(position // 8) for position in text.get_position())
        cell = pixels[8 * line : 8 * line + 6, 8 * column : 8 * column + 6]
        assert (cell == 255).all()
    assert (pixels[:6, :6] == 0).all() and (pixels[:6, -6:] == 0).all()


def test_distances_stand_under_the_images_that_they_belong_to():
    panel = drawn({})["f"]
    assert words(panel) == ["0.125", "0.250", "0.500", "0.062"]
    pixels = panel.images[0].get_array()
    for text, above in zip(panel.texts, (128, 255, 255, 0), strict=True):
        x, y = map(int, text.get_position())
        assert (pixels[y + 1, x] == 255).all() and (pixels[y - 1, x] == above).all()


def test_without_sums_their_panel_is_empty():
    panels = drawn({})
    assert not panels["s"].images and not panels["s"].axison
    assert len(panels["w"].get_yticklabels()) == 2 and panels["m"].images
