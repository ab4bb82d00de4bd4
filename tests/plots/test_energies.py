"""The figure of a D that rebuilds images: its images, its curves, their last values."""

import numpy as np
import pytest

from minigan import plots

STEPS = 150
NUMBERS = {
    name: np.linspace(start, end, STEPS)
    for name, start, end in [
        ("real", 0.4, 0.2),
        ("fake", 0.1, 0.2),
        ("diversity", 0.0, 0.9),
        ("k", 0.0, 0.4),
        ("m", 0.5, 0.3),
    ]
}
BEGAN, EBGAN = [["m"], ["diversity"], ["k"]], [["real", "fake"], ["diversity"]]


def drawn(panels, beside):
    images = np.linspace(-1, 1, 12 * 16).reshape(12, 4, 4, 1)
    pairs = [(images[:5], images[5:10]), (images[:5], images[:5], images[5:10])]
    figure = plots.energy_figure(images, pairs, panels, NUMBERS, beside, 0.5)
    pictures, curves = (
        [axes for axes in figure.axes if bool(axes.images) == wanted] for wanted in (True, False)
    )
    assert plots.frame(figure).shape == (520, 1200, 3)
    return pictures, curves


def test_images_stand_above_what_d_makes_of_them():
    pictures, _ = drawn(BEGAN, {})
    samples, real, fake = (axes.images[0].get_array() for axes in pictures)
    assert samples.shape == (10, 34, 3)
    assert real.shape == (10, 28, 3) and fake.shape == (16, 28, 3)
    assert (fake[:4] == fake[6:10]).all() and (real[:4] != real[6:]).any()
    assert (fake[12:] == real[6:]).all()
    titles = [axes.get_title(loc="left") for axes in pictures]
    assert titles[0] == "samples" and titles[1].startswith("real") and "nearest" in titles[2]


@pytest.mark.parametrize("panels", [BEGAN, EBGAN], ids=["began", "ebgan"])
def test_each_panel_has_its_curves_and_their_last_values(panels):
    beside = {"diversity": np.full(20, 0.1), "m": np.full(20, 0.2)}
    _, alone = drawn(panels, {})
    _, curves = drawn(panels, beside)
    assert len(curves) == len(alone) == len(panels)
    for columns, axes, without in zip(panels, curves, alone, strict=True):
        title = axes.get_title(loc="left")
        for column in columns:
            assert f"{NUMBERS[column][-100:].mean():.3f}" in title
        dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert len(dotted) == sum(column in beside for column in columns)
        assert len(axes.lines) - len(dotted) == len(without.lines)
        level = [line for line in axes.lines if set(line.get_ydata()) == {0.5}]
        assert len(level) == (columns == ["diversity"])
        top = 1.4 if columns in (["diversity"], ["k"]) else None
        largest = max(NUMBERS[column][-100:].mean() for column in columns)
        assert axes.get_ylim() == pytest.approx((0, top or 4 * largest))
