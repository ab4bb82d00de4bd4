"""Text to image: what counts is what was asked for, and a caption that is typed is drawn."""

import re

import numpy as np
import pytest
from PIL import Image
from running import arrays, complaint, module, run

from minigan import data

SMALL = ["--images=600", "--steps=3", "--width=4", "--hidden=8", "--latent=3", "--batch=8"]


@pytest.fixture(scope="module")
def example():
    return module("text_to_image")


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("scenes", data.SCENES.values(), ids=data.SCENES)
def test_marks_count_what_was_asked_for(example, scenes, held):
    """Real images get full marks, those of other captions what chance gives them."""
    images = scenes.draw(2 * example.COUNTED, 5, held=held)

    def drawn(asked):
        left = {scene: list(np.flatnonzero(images.labels == scene)) for scene in set(asked)}
        return data.to_unit(images.images[[left[scene].pop() for scene in asked]])

    said = example.marks(scenes, held, 5, drawn)
    assert said.startswith("held out" if held else "seen")
    right, *shares, differ = map(float, re.findall(r"([\d.]+)%", said))
    assert [right, *shares] == [100] * (1 + len(scenes.attributes))
    assert differ == pytest.approx(100, abs=8)

    chance = example.marks(scenes, held, 5, lambda asked: data.to_unit(images.images[: len(asked)]))
    right, *shares, _ = map(float, re.findall(r"([\d.]+)%", chance))
    assert right < 6 and max(shares) < 70


def test_a_caption_is_drawn_from_a_checkpoint_and_the_run_stays_as_it_was(tmp_path):
    run("text_to_image", *SMALL, "--out", tmp_path)
    before = {key: value.tobytes() for key, value in arrays(tmp_path).items()}
    argv = "--resume", "--out", tmp_path, "--caption"
    out, _ = run("text_to_image", *argv, "A small red circle, at the top left.")
    numbers = re.findall(r"(\d+) × ", out.split("by the rule: ")[1])
    assert sum(map(int, numbers)) == 8
    with Image.open(tmp_path / "caption.png") as picture:
        assert picture.size[0] > 400
    assert {key: value.tobytes() for key, value in arrays(tmp_path).items()} == before
    _, err = run("text_to_image", *argv, "a small mauve circle", status=2)
    assert "unknown words: mauve; known are: a, at, big, blue, bottom" in complaint(err)


def test_numbers_of_scenes_say_nothing_of_those_that_were_held_out(example, tmp_path):
    """The control: what was never seen has a vector that nothing has moved."""
    scenes = data.SCENES["one"]
    moved = []
    for steps in ("1", "60"):
        run("text_to_image", *SMALL, "--steps", steps, "--encoder", "id", "--out", tmp_path / steps)
        moved.append(arrays(tmp_path / steps)["G/text.words.weight"])
    still = (moved[0] == moved[1]).all(1).reshape(len(scenes), -1)
    assert still[scenes.held].all() and not still[~scenes.held].all(0).any()
