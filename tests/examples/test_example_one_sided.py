"""one_sided.py: distances find the square, and neither nothing nor a cycle does."""

import re

import numpy as np
from running import run

from minigan import Tensor, data
from minigan.gan import KeptDistances, self_distances


def test_a_square_becomes_a_square_by_keeping_distances(tmp_path):
    """On its way there, in 600 steps; the whole run's numbers are in examples/README.md."""
    out, _ = run("one_sided", "--pair", "square", "--steps", "600", "--out", tmp_path)
    off = dict(re.findall(r"square, (\w+): ([\d.]+)", out))
    nothing, cycle, distances = (float(off[way]) for way in ("nothing", "cycle", "distances"))
    assert distances < 0.15 < 0.3 < min(nothing, cycle)
    assert (tmp_path / "one_sided.png").exists()


def test_the_distances_of_the_images_know_the_right_mapping():
    """Pairs do: of twisted, folded and 45-degree squares none is nearly as good. Halves do not."""
    uv, others = np.random.default_rng(0).random((2, 150, 2), np.float32)
    centred = uv - 0.5
    angle = 6 * np.hypot(*centred.T)
    turn = lambda angle: np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1)
    turned = lambda angle: np.einsum("ni,nij->nj", centred, turn(angle).reshape(-1, 2, 2))
    wrong = {
        "whirl": 0.5 + turned(angle),
        "fold": np.stack([1 - abs(2 * centred[:, 0]), uv[:, 1]], 1),
        "45 degrees": 0.5 + turned(np.full(150, np.pi / 4)) / 2**0.5,
    }
    lights, bars = (data.SQUARES[name].draw for name in ("lights", "bars"))
    pairs, halves = (
        KeptDistances(Tensor(lights(others)), Tensor(bars(others)), *how)
        for how in ((), (self_distances,))
    )
    kept = lambda keep, to: keep(Tensor(lights(uv)), Tensor(bars(to.astype("float32")))).item()
    assert max(kept(pairs, uv), kept(pairs, uv[:, ::-1])) < 0.1
    assert min(kept(pairs, to) for to in wrong.values()) > 0.3
    assert kept(halves, uv) > 0.5
