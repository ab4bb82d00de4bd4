"""Pix2pix: what it is marked by, what it shows of other runs, and folders that it maps."""

import re

import numpy as np
import pytest
from PIL import Image
from running import arrays, complaint, module, run

from minigan import data

OWN = ["--steps=2", "--width=4", "--batch=4"]
SMALL = [*OWN, "--images=40"]
MARKS = r"energy ([\d.]+)% .* right in ([\d.]+)% .* off by ([\d.]+), houses ([\d.]+)%"


@pytest.fixture(scope="module")
def example():
    return module("pix2pix")


@pytest.fixture
def small(example, monkeypatch):
    monkeypatch.setattr(example, "COUNTED", 8)


def test_marks_are_full_for_true_pictures_and_low_for_others(example):
    new = data.drawn_regions(60, 3)
    made = data.to_unit(new[1].images)
    shares = [*map(float, re.search(MARKS, example.marks(new, made)).groups())]
    assert shares == [100, 100, 0, 100]
    _, right, colour, houses = map(float, re.search(MARKS, example.marks(new, made[::-1])).groups())
    assert right < 65 and colour > 0.1 and houses < 5


def test_it_learns_what_the_map_says_and_evaluation_mode_is_as_good_as_training_mode(
    example, tmp_path, monkeypatch
):
    """The trap of batch norm: averages that lag behind weights make evaluation mode worse.

    In the few steps of a test the error alone finds houses and paper, and no stripes.
    """
    monkeypatch.setattr(example, "COUNTED", 60)
    argv = "--images=200", "--steps=80", "--width=6", "--no-gan", "--lr-g=6e-3", "--batch=8"
    out, _ = run("pix2pix", *argv, "--out", tmp_path)
    (energy, right, colour, houses), training = (
        map(float, found) for found in re.findall(MARKS, out)
    )
    assert houses > 60 and energy < 20 and right < 5
    *_, worse_colour, fewer_houses = training
    assert colour < worse_colour + 0.01 and houses > fewer_houses - 5


def test_other_runs_are_shown_beside_and_the_run_stays_as_it_was(small, tmp_path):
    for name, *argv in (("all",), ("skips", "--no-skips"), ("gan", "--no-gan")):
        run("pix2pix", *SMALL, *argv, "--out", tmp_path / name)
    before = {key: value.tobytes() for key, value in arrays(tmp_path / "all").items()}
    with Image.open(tmp_path / "all" / "pix2pix.png") as picture:
        alone = picture.size
    argv = "--resume", "--out", tmp_path / "all", "--beside", tmp_path / "skips", tmp_path / "gan"
    run("pix2pix", *argv)
    with Image.open(tmp_path / "all" / "pix2pix.png") as picture:
        assert picture.size[0] == alone[0] and picture.size[1] > 1.5 * alone[1]
    assert {key: value.tobytes() for key, value in arrays(tmp_path / "all").items()} == before


def test_runs_that_can_not_be_shown_beside(small, pairs, tmp_path):
    run("pix2pix", *OWN, "--pairs", pairs, "--size=16", "--out", tmp_path / "own")
    run("mode_collapse", "--steps=1", "--frames=1", "--batch=8", "--out", tmp_path / "other")
    for name in ("own", "other"):
        _, err = run("pix2pix", *SMALL, "--beside", tmp_path / name, status=2)
        assert "not a run of this script on images of 32" in complaint(err)


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 32, 3), dtype=np.uint8)
    for k, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def test_a_folder_is_mapped_from_a_checkpoint_and_the_run_stays_as_it_was(pairs, tmp_path):
    """By images of another size than the run's; and again, to the very same files."""
    out, mine = tmp_path / "run", tmp_path / "mine"
    run("pix2pix", *OWN, "--pairs", pairs, "--size=16", "--out", out)
    (mine / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 30), (9, 99, 200)).save(mine / "deep" / "a.jpg")
    before = {key: value.tobytes() for key, value in arrays(out).items()}
    made = []
    for _ in range(2):
        said, _ = run("pix2pix", "--resume", "--out", out, "--apply", mine)
        assert "1 images mapped" in said
        with Image.open(out / "applied" / "deep" / "a.png") as image:
            made.append(np.asarray(image).tobytes())
            assert image.size == (16, 16)
    assert made[0] == made[1]
    assert {key: value.tobytes() for key, value in arrays(out).items()} == before


def test_pairs_whose_halves_are_swapped_or_of_another_size_do_not_go_on(pairs, tmp_path):
    run("pix2pix", *OWN, "--pairs", pairs, "--size=16", "--out", tmp_path)
    for argv, said in (
        (["--source", "right"], "was made with --source left"),
        (["--size", "8"], "was made with --size 16, which a run with --size 8 does not continue"),
    ):
        _, err = run("pix2pix", "--resume", "--out", tmp_path, *argv, status=2)
        assert said in complaint(err)
    for path in pairs.iterdir():  # each file's halves the other way round
        with Image.open(path) as image:
            turned = np.roll(np.asarray(image), 16, axis=1)
        Image.fromarray(turned).save(path)
    _, err = run("pix2pix", "--resume", "--out", tmp_path, status=2)
    assert "these are the same two the other way round: swap them" in complaint(err)
