"""one_sided.py: distances find the square, and neither nothing nor a cycle does."""

import re

from running import run


def test_a_square_becomes_a_square_by_keeping_distances(tmp_path):
    """On its way there, in 600 steps; the whole run's numbers are in examples/README.md."""
    out, _ = run("one_sided", "--pair", "square", "--steps", "600", "--out", tmp_path)
    off = dict(re.findall(r"square, (\w+): ([\d.]+)", out))
    nothing, cycle, distances = (float(off[way]) for way in ("nothing", "cycle", "distances"))
    assert distances < 0.15 < 0.3 < min(nothing, cycle)
    assert (tmp_path / "one_sided.png").exists()
