"""progressive.py: it goes on across levels bit for bit, and fades in replayed steps."""

import numpy as np
import pytest
from PIL import Image
from running import ctrl_c_after, ended, equal, module, run
from safetensors.numpy import load_file

from minigan import optim
from minigan.training import checkpoint

SMALL = "--size 32 --width 2 --latent 3 --batch 4 --each 5 --fade 4 --steps 15 --every 5"


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The options of a run of milliseconds, on images without labels."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(8):
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    example = module("progressive")
    for name in ("LOOKED", "COUNTED"):
        monkeypatch.setattr(example, name, {"count": 6, "patches": 2, "directions": 2})
    return [*SMALL.split(), "--data", tmp_path / "images", "--out"]


@pytest.mark.parametrize("step", [5, 8])
def test_it_goes_on_across_levels_bit_for_bit(small, tmp_path, step):
    """From the end of the first level, and from the midst of the second's fade."""
    run("progressive", *small, tmp_path / "whole")
    with ctrl_c_after(step):
        run("progressive", *small, tmp_path / "parts", status=130)
    assert checkpoint.peek(tmp_path / "parts" / checkpoint.NAME)["step"] == step
    run("progressive", "--resume", "--out", tmp_path / "parts")
    assert equal(tmp_path / "whole", tmp_path / "parts")
    kept = load_file(tmp_path / "whole" / checkpoint.NAME)
    assert kept["marks/rows"][:, 0].tolist() == [5, 10, 15]
    assert len(kept["stages/frames"]) == 3  # none, and after all levels but the last


def test_a_fade_goes_on_in_replayed_steps(cuda, small, tmp_path, monkeypatch):
    """The last two of the five steps of each level are replayed; α is read where they read it."""
    seen, advance = [], optim.Scheduled.advance

    def noted(self):
        advance(self)
        self.value  # noqa: B018 (from now on there is such memory)
        self.backend.host(lambda: seen.append(float(cuda.to_numpy(self.value))))

    monkeypatch.setattr(optim.Scheduled, "advance", noted)
    done = ended("progressive", *small, tmp_path / "run", "--device", "cuda")
    assert done.status == 0, done.err
    assert seen == [1.0] * 5 + [0.25, 0.5, 0.75, 1.0, 1.0] * 2
    assert np.isfinite(load_file(tmp_path / "run" / checkpoint.NAME)["record/rows"]).all()
