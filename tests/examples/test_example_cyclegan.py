"""cyclegan.py: what its numbers notice, and what is asked of two sets of unequal length."""

from argparse import Namespace

import numpy as np
import pytest
from PIL import Image
from running import arrays, complaint, module, run

from minigan import data, tensor
from minigan.backend import cpu

SMALL = ["--steps=3", "--width=4", "--batch=4"]
OWN = [*SMALL, "--size=8"]


@pytest.fixture(scope="module")
def example():
    return module("cyclegan")


@pytest.fixture(scope="module")
def days():
    pair = data.DOMAINS["day"]
    return pair, pair.draw(600, 0), pair.draw(150, 1)


def lines(example, days, made):
    pair, sets, new = days
    curves = example.round_trips(pair, new, made, 0)
    return curves, "\n".join(example.marks(pair, sets, new, made, curves))


def test_the_round_trip_alone_is_no_success(example, days):
    """Colours turned round, and back again: all comes back, and nothing agrees or looks real."""
    curves, said = lines(example, days, lambda which, images: -np.asarray(images))
    assert all(kept[0] == 1 for kept in curves.values())
    assert said.count(": 0.0% look real") == 2
    agree = [line for line in said.splitlines() if line.endswith("agree")]
    assert len(agree) == 2 and all(float(line.split()[-2][:-1]) < 15 for line in agree)


def test_what_is_hidden_in_the_image_between_is_lost_by_noise(example, days):
    """G_AB gives images by night, and hides the day's in the last digits of their pixels."""
    *_, new = days
    night = data.to_unit(new[1].images[:1])

    def made(which, images):
        images = np.asarray(images)
        return night + 1e-3 * images if which == 0 else (images - night) * 1e3

    curves, _ = lines(example, days, made)
    walls = curves["colours of walls, by day"]
    assert walls[0] > 0.95 and max(walls[1:]) < 0.5


def folders(path, *counts):
    random = np.random.default_rng(0)
    for name, count in zip("AB", counts, strict=True):
        (path / name).mkdir()
        for i in range(count):
            pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")
    return path / "A", path / "B"


def test_a_set_with_fewer_images_than_the_other(tmp_path):
    given = ["--data", *folders(tmp_path, 20, 5), "--out", tmp_path / "run"]
    run("cyclegan", *OWN, "--steps=9", *given)
    kept = arrays(tmp_path / "run")
    for name in ("AB", "BA"):  # both have an average of their own, which lags behind
        weights = {key: x for key, x in kept.items() if key.startswith(f"G_{name}/")}
        average = {key: key.replace(f"G_{name}", f"average_{name[0]}") for key in weights}
        same = [(kept[average[key]] == x).all() for key, x in weights.items()]
        assert len(same) > 8 and not any(same)
    _, err = run("cyclegan", *OWN, "--batch=6", *given, status=2)
    assert "batch size 6: wanted 1 to 5, the images there are (B)" in complaint(err)


@pytest.mark.parametrize("generator", ["waist", "unet", "residual"])
@pytest.mark.parametrize("size", [8, 12, 16])
def test_both_d_look_at_images_of_any_size(example, generator, size):
    """An instance norm of a single pixel would leave nothing of the image."""
    args = Namespace(width=4, generator=generator)
    *_, D_A, D_B = example.networks(args, size, (3, 1), cpu.generator(0))
    images = np.random.default_rng(0).random((2, size, size, 3), dtype=np.float32)
    for D, shown in ((D_A, images), (D_B, images[..., :1])):
        assert np.ptp(D(tensor(shown)).numpy(), axis=0).max() > 1e-4


def test_sets_that_are_swapped_do_not_go_on(tmp_path):
    a, b = folders(tmp_path, 8, 8)
    out = ["--out", tmp_path / "run"]
    run("cyclegan", *OWN, "--data", a, b, *out)
    _, err = run("cyclegan", "--resume", "--steps=5", "--data", b, a, *out, status=2)
    assert (
        "was trained on A, 8 images and B, 8 images; these are the same two the other way"
        in complaint(err)
    )
    run("cyclegan", "--resume", "--steps=5", "--data", a, b, *out)


def test_a_folder_is_mapped_either_way_and_by_the_average(tmp_path):
    """Grey bars to coloured discs, or the other way round; the way is no part of the run."""
    out, few = ["--out", tmp_path / "run"], tmp_path / "few"
    run("cyclegan", *SMALL, *out)
    few.mkdir()
    Image.new("RGB", (20, 16), (255, 40, 0)).save(few / "a.png")
    before = arrays(tmp_path / "run")
    for way in ((), ("--backward",), ()):
        said, _ = run("cyclegan", "--resume", "--apply", few, *way, *out)
        assert "1 images mapped" in said
        with Image.open(tmp_path / "run" / "applied" / "a.png") as image:
            made = np.asarray(image).astype(int)
        assert made.shape == (16, 16, 3) and (np.ptp(made, axis=-1).max() > 0) == bool(way)
    after = arrays(tmp_path / "run")
    assert all((after[key] == x).all() for key, x in before.items())
    _, err = run("cyclegan", *SMALL, "--backward", *out, status=2)
    assert "--backward is heeded only with --apply FOLDER" in complaint(err)
