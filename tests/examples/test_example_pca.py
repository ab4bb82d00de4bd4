"""pca.py: subspace and axes within the bars, and the control without decay, which has no axes."""

import re

from running import run


def test_axes_are_found_with_decay_and_only_with_it(tmp_path):
    argv = ["--quick", "--images", "200", "--steps", "1600", "--code", "2", "--out", tmp_path]
    out, _ = run("pca", *argv)
    pattern = r"subspace ([\d.]+), axes ([\d.]+), rows ([\d.]+); s\^2 off by ([\d.]+)"
    without, one, each = (tuple(map(float, found)) for found in re.findall(pattern, out))
    assert max(without[0], one[0], each[0]) < 1
    assert one[1] < 2 and each[1] < 2 and each[2] < 2
    assert without[1] > 20 and one[2] > 2
    assert max(one[3], each[3]) < 0.01 < without[3]
