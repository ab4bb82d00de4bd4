"""Figures and files say what they should: sizes, frames, pixels, and errors for what is no data."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from minigan import plots
from minigan.plots import (
    DensityFigure,
    DensityView,
    frame,
    kept_tails,
    loss_curves,
    sample_grid,
    save_figure,
    save_gif,
    save_image,
    tail_figure,
)


def solid(color, height=6, width=8):
    return np.full((height, width, 3), color, np.uint8)


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


# Files.


def test_importing_plots_leaves_pyplot_alone():
    code = """
import sys
import matplotlib
import numpy as np
before = matplotlib.rcParams.copy()
from minigan.plots import frame, loss_curves
frame(loss_curves({"loss_d": np.ones(3), "loss_g": np.ones(3)}, np.arange(3)))
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_figure_is_saved_as_it_is_framed(tmp_path):
    figure = Figure(figsize=(3, 2), dpi=50, facecolor=plots.D_STAR)
    path = save_figure(figure, tmp_path / "new" / "folder" / "figure.png")
    assert names_in(path.parent) == ["figure.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (100, 150, 3)
    assert pixels.dtype == frame(figure).dtype == np.uint8
    assert np.array_equal(pixels, frame(figure))
    assert pixels[50, 75].tolist() == [round(255 * part) for part in to_rgb(plots.D_STAR)]


def test_frames_do_not_share_memory():
    figure = Figure(figsize=(1, 1), dpi=20, facecolor="white")
    first = frame(figure)
    figure.set_facecolor("black")
    assert frame(figure).max() == 0
    assert first.min() == 255


def test_an_image_is_enlarged_pixel_by_pixel(tmp_path):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    path = save_image(tmp_path / "image.png", pixels, scale=3)
    with Image.open(path) as image:
        saved = np.asarray(image)
    assert saved.shape == (6, 12, 3)
    for i in range(6):
        for j in range(12):
            assert saved[i, j].tolist() == pixels[i // 3, j // 3].tolist()


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_image_of_another_kind_is_refused(tmp_path, pixels):
    with pytest.raises(ValueError, match=r"expected \(height, width, 3\) of uint8"):
        save_image(tmp_path / "image.png", pixels)
    with pytest.raises(ValueError, match=r"expected \(height, width, 3\) of uint8"):
        save_gif(tmp_path / "image.gif", [pixels])
    assert names_in(tmp_path) == []


def test_scale_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="scale 0, expected 1 or more"):
        save_image(tmp_path / "image.png", solid(0), scale=0)


def test_gif_frames_durations_and_loop(tmp_path):
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (255, 255, 255)]
    path = tmp_path / "out" / "training.gif"
    save_gif(path, map(solid, colors), seconds_per_frame=0.08, hold_last=1.5)
    assert names_in(path.parent) == ["training.gif"]
    with Image.open(path) as gif:
        assert gif.n_frames == 4
        assert gif.size == (8, 6)
        assert gif.info["loop"] == 0
        durations, seen = [], []
        for image in ImageSequence.Iterator(gif):
            durations.append(image.info["duration"])
            seen.append(np.asarray(image.convert("RGB")))
    assert durations == [80, 80, 80, 1500]
    for pixels, color in zip(seen, colors, strict=True):
        assert np.array_equal(pixels, solid(color))


def test_gif_of_one_frame(tmp_path):
    with Image.open(save_gif(tmp_path / "one.gif", [solid(7)])) as gif:
        assert gif.n_frames == 1


def test_gif_keeps_the_background_exact(tmp_path):
    noise = np.random.default_rng(0).integers(200, 256, (5, 40, 40, 3)).astype(np.uint8)
    noise[:, :10] = 255
    with Image.open(save_gif(tmp_path / "noise.gif", noise, max_colors=8)) as gif:
        for image in ImageSequence.Iterator(gif):
            assert (np.asarray(image.convert("RGB"))[0] == 255).all()


def test_gif_without_frames_or_with_unequal_ones(tmp_path):
    with pytest.raises(ValueError, match="no frames, expected at least one"):
        save_gif(tmp_path / "a.gif", [])
    with pytest.raises(ValueError, match=r"frame 1 has shape \(6, 9, 3\), expected \(6, 8, 3\)"):
        save_gif(tmp_path / "a.gif", [solid(0), solid(0, width=9)])
    with pytest.raises(ValueError, match="max_colors 1, expected 2 to 256"):
        save_gif(tmp_path / "a.gif", [solid(0)], max_colors=1)


@pytest.mark.parametrize("max_colors", [2, 64, 256])
def test_gif_palette_sizes(tmp_path, max_colors):
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    with Image.open(save_gif(tmp_path / "a.gif", noise, max_colors=max_colors)) as gif:
        for image in ImageSequence.Iterator(gif):
            seen = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
            assert len(seen) <= max_colors


def test_a_link_to_a_picture_stays_a_link(tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "picture.png")
    plots.save_image(link, np.full((2, 2, 3), 7, np.uint8))
    assert link.is_symlink()
    assert np.asarray(Image.open(tmp_path / "picture.png").convert("RGB"))[0, 0].tolist() == [7] * 3


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_image(tmp_path / "image.png", solid(1))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save_image(path, solid(2))
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["image.png"]


# Samples.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "columns", "rows"), [(7, 3, 3), (6, 6, 1), (2, 5, 1), (5, 1, 5)])
def test_grid_places_each_image(channels, count, columns, rows):
    images = np.random.default_rng(0).uniform(-1, 1, (count, 4, 5, channels)).astype("float32")
    grid = sample_grid(images, columns)
    assert grid.dtype == np.uint8
    assert grid.shape == (rows * 6 - 2, columns * 7 - 2, 3)
    covered = np.zeros(grid.shape[:2], bool)
    for k in range(count):
        for i in range(4):
            for j in range(5):
                row, column = (k // columns) * 6 + i, (k % columns) * 7 + j
                covered[row, column] = True
                for c in range(3):
                    value = images[k, i, j, c % channels]
                    assert abs(int(grid[row, column, c]) - (value + 1) / 2 * 255) <= 0.501
    assert (grid[~covered] == 255).all()


def test_grid_is_about_square_and_clips():
    assert sample_grid(np.zeros((10, 4, 4, 1))).shape == (3 * 6 - 2, 4 * 6 - 2, 3)
    values = np.array([-9.0, -1, 0, 1, 9]).reshape(1, 1, 5, 1)
    assert sample_grid(values)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (2, 4, 4, 2), (2, 3, 4, 4), (0, 4, 4, 1)])
def test_grid_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(n, h, w, 1\) or \(n, h, w, 3\)"):
        sample_grid(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_grid_of_values_that_are_not_finite_is_refused(value):
    images = np.zeros((2, 4, 4, 1))
    images[1, 2, 3] = value
    with pytest.raises(ValueError, match="images: 1 of 32 values are NaN or infinite"):
        sample_grid(images)


def test_grid_needs_a_column():
    with pytest.raises(ValueError, match="0 columns, expected 1 or more"):
        sample_grid(np.zeros((2, 4, 4, 1)), columns=0)


# Images and their classes.


def test_partners_stand_below_their_images():
    """Five grey pixels, three in a row: rows of images, of partners, of the rest, of theirs."""
    values = np.linspace(-1, 1, 5)
    images = np.full((5, 1, 1, 1), 1.0) * values[:, None, None, None]
    panel = Figure().subplots()
    plots.draw_pairs(panel, images, -images, labels=["up", "down"], columns=3, title="pairs")
    grid = panel.images[0].get_array()[::3, ::3, 0] / 127.5 - 1
    rows = [values[:3], -values[:3], [*values[3:], 1], [*-values[3:], 1]]  # 1: white, as the page
    np.testing.assert_allclose(grid, rows, atol=0.01)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["up", "down"] * 2
    assert panel.get_title(loc="left") == "pairs"


def test_pairs_are_as_many_and_as_large():
    images = np.zeros((4, 2, 2, 1))
    with pytest.raises(ValueError, match="draw_pairs: partners has shape"):
        plots.draw_pairs(Figure().subplots(), images, images[:3], labels=["a", "b"])


@pytest.mark.parametrize(("classes", "rotation"), [("0 1 2", 0), ("cat dog ox", 90)])
def test_shares_are_bars_and_those_of_the_data_marks(classes, rotation):
    panel = Figure().subplots()
    shares, real = [0.5, 0.0, 0.5], [0.2, 0.3, 0.5]
    plots.draw_shares(panel, shares, real, classes.split(), name="mine", color=plots.D)
    assert [bar.get_height() for bar in panel.patches] == shares
    assert panel.lines[0].get_ydata().tolist() == real
    assert {label.get_rotation() for label in panel.get_xticklabels()} == {rotation}
    assert [label.get_text() for label in panel.get_xticklabels()] == classes.split()
    assert panel.get_legend_handles_labels()[1] == ["training images", "mine"]
    assert panel.get_ylim()[1] == 1.25 * 0.5


# Losses.


def history(n=200, **changes):
    rng = np.random.default_rng(0)
    names = ("loss_d", "loss_g", "d_real", "d_fake_before", "d_fake_after")
    return {name: rng.uniform(0.1, 0.9, n) for name in names} | changes


def test_loss_curves_draws_both_panels_labelled():
    figure = loss_curves(history(), np.arange(200), title="a run")
    losses, probabilities = figure.axes
    assert frame(figure).shape == (380, 1000, 3)
    assert losses.get_yscale() == "log"
    assert probabilities.get_ylim() == (0, 1)
    for panel in figure.axes:
        assert panel.get_xlabel() == "training step"
        assert panel.get_ylabel()
    assert figure.get_suptitle() == "a run"
    labels = [text.get_text() for text in losses.get_legend().get_texts()]
    assert labels == ["loss of D", "loss of G"]


def test_probabilities_are_optional():
    curves = {"loss_d": np.ones(9), "loss_g": np.ones(9), "seconds": "ignored"}
    assert len(loss_curves(curves, np.arange(9)).axes) == 1
    assert len(loss_curves(curves | {"d_real": np.ones(9)}, np.arange(9)).axes) == 2


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_losses_that_are_not_positive_get_a_linear_axis(value):
    figure = loss_curves(history(5, loss_g=np.array([1, 2, value, 4, 5])), np.arange(5))
    assert figure.axes[0].get_yscale() == "linear"
    frame(figure)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("first", [0, 1, 120, 199])
def test_a_failed_run_still_plots(value, first):
    curves = history()
    for curve in curves.values():
        curve[first:] = value
    figure = loss_curves(curves, np.arange(200))
    frame(figure)
    assert figure.axes[0].get_xlim() == (0, 199)
    assert figure.axes[0].get_yscale() == ("log" if first else "linear")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_runs_plot(n):
    frame(loss_curves(history(n), np.arange(n)))


@pytest.mark.parametrize("top", [1e-12, 1.0001, 50, 1e9])
def test_losses_of_any_range_plot(top):
    frame(loss_curves(history(2, loss_d=np.array([1.0, top])), np.arange(2)))


def test_wrong_histories_are_refused():
    with pytest.raises(ValueError, match="history has no 'loss_g'"):
        loss_curves({"loss_d": np.ones(3)}, np.arange(3))
    with pytest.raises(ValueError, match=r"d_real has shape \(4,\), expected \(3,\)"):
        loss_curves(history(3, d_real=np.ones(4)), np.arange(3))
    with pytest.raises(ValueError, match=r"steps of shape \(1, 3\), expected \(n,\)"):
        loss_curves(history(3), np.ones((1, 3)))


@pytest.mark.parametrize("n", [1, 5, 99, 250])
def testmoving_average_against_a_loop(n):
    values = np.random.default_rng(n).normal(size=n)
    values[::7] = np.nan
    got = plots.moving_average(values)
    reach = n // 100
    for k in range(n):
        window = values[max(0, k - reach) : k + reach + 1]
        if math.isnan(values[k]):
            assert math.isnan(got[k])
        else:
            assert got[k] == pytest.approx(np.mean(window[np.isfinite(window)]))


# The one-dimensional GAN.


def view(**changes):
    x, z, steps = np.linspace(-4, 4, 50), np.linspace(-3, 3, 31), np.arange(0, 100, 2)
    p_data = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    samples = np.random.default_rng(0).normal(1, 0.5, 500)
    usual = DensityView(
        x=x,
        p_data=p_data,
        d=np.full(50, 0.5),
        d_star=np.linspace(1, 0, 50),
        samples=samples,
        points_x=samples[:30],
        points_d=np.full(30, 0.5),
        z=z,
        g_of_z=1 + 0.5 * z,
        optimal_map=z,
        steps=steps,
        loss_d=np.linspace(1.0, math.log(4), 50),
        loss_g=np.linspace(2.0, math.log(2), 50),
        step=100,
        title="a Gaussian",
    )
    return replace(usual, **changes)


def density_figure(**changes):
    usual = dict(x_limits=(-4, 4), z_limits=(-3, 3), density_max=1.0, last_step=200)  # noqa: C408
    return DensityFigure(**(usual | changes))


def test_density_frames_keep_their_size_and_axes(tmp_path):
    figure = density_figure()
    first = figure.update(view())
    limits = [(panel.get_xlim(), panel.get_ylim()) for panel in figure.figure.axes]
    second = figure.update(view(samples=np.full(500, 3.9), g_of_z=np.full(31, 99.0), step=120))
    assert first.shape == second.shape == (580, 1000, 3)
    assert not np.array_equal(first, second)
    assert limits == [(panel.get_xlim(), panel.get_ylim()) for panel in figure.figure.axes]
    assert np.array_equal(figure.update(view()), first)
    path = save_figure(figure.figure, tmp_path / "density.png")
    with Image.open(path) as image:
        assert image.size == (1000, 580)
    assert path.stat().st_size < 100_000


def test_histogram_is_the_density_of_all_samples():
    figure = density_figure()
    width = 8 / figure.BINS
    samples = np.array([-3.99, 0.01, 0.02, 77.0])
    density = figure._histogram(samples)
    assert density.sum() * width == pytest.approx(3 / 4)
    assert density[0] == pytest.approx(1 / 4 / width)
    assert density[figure.BINS // 2] == pytest.approx(2 / 4 / width)


def test_arrows_lead_from_z_to_its_image():
    figure = density_figure(x_limits=(-6, 6), z_limits=(-3, 3))
    z = np.linspace(-3, 3, 301)
    segments = figure._segments(z, z**2)
    assert segments.shape == (33, 2, 2)
    for (beside, bottom), (image, top) in segments:
        assert (bottom, top) == (0, 1)
        assert image == pytest.approx((beside / 2) ** 2)
    assert segments[0, 0, 0] == pytest.approx(-6)
    assert segments[-1, 0, 0] == pytest.approx(6)


def test_tails_are_quantiles_over_exact_ones_and_another_runs_are_drawn_beside(tmp_path):
    """Of evenly spread normal quantiles the curve is the diagonal; of twice them twice as steep."""
    samples = np.array([NormalDist().inv_cdf((i + 0.5) / 20_000) for i in range(20_000)])
    (tmp_path / "first").mkdir()
    tail_figure(tmp_path / "first", "twice", 2 * samples)
    figure = tail_figure(tmp_path, "right", samples, tmp_path / "first")
    curves = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines[:3]}
    assert list(curves) == ["exact", "right", "twice, first"]
    np.testing.assert_allclose(curves["right"], curves["exact"], atol=0.03)
    np.testing.assert_allclose(curves["twice, first"], 2 * np.array(curves["exact"]), atol=0.06)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"a": 1}', '{"a": [1, 2]}', '{"a": ["b"]}', "\x00", "NaN"]
)
def test_a_file_of_other_tails_is_one_clear_error(text, tmp_path):
    (tmp_path / "tails.json").write_text(text)
    with pytest.raises(ValueError, match=r"tails.json: want .*quantiles"):
        kept_tails(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_failed_density_run_still_plots(value):
    names = ("samples", "d", "d_star", "points_x", "points_d", "g_of_z", "loss_d", "loss_g")
    broken = {name: np.full_like(getattr(view(), name), value) for name in names}
    density_figure().update(view(**broken))


def test_the_first_frame_has_no_losses_yet():
    nothing = np.zeros(0)
    density_figure().update(view(steps=nothing, loss_d=nothing, loss_g=nothing, step=0))


def test_negative_loss_limits_give_a_linear_axis():
    figure = density_figure(loss_limits=(-2, 2), equilibrium=False)
    figure.update(view(loss_d=np.linspace(-1, 1, 50)))
    assert figure.figure.axes[-1].get_yscale() == "linear"
    assert density_figure().figure.axes[-1].get_yscale() == "log"


@pytest.mark.parametrize("name", ["p_data", "d", "points_d", "optimal_map", "loss_g"])
def test_a_view_of_unequal_lengths_is_refused(name):
    with pytest.raises(ValueError, match=rf"DensityView: {name} has shape \(7,\), expected \("):
        density_figure().update(view(**{name: np.zeros(7)}))


@pytest.mark.parametrize("name", ["x", "samples", "z", "steps"])
def test_a_view_of_two_axes_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} has shape \(50, 1\), expected \(n,\)"):
        density_figure().update(view(**{name: np.zeros((50, 1))}))


@pytest.mark.parametrize("name", ["x", "p_data", "z", "optimal_map"])
def test_what_is_known_exactly_must_be_finite(name):
    values = getattr(view(), name).copy()
    values[3] = np.nan
    with pytest.raises(ValueError, match=f"DensityView: {name}: 1 of .* are NaN or infinite"):
        density_figure().update(view(**{name: values}))
