"""ais.py: the linear decoder's bounds close, and what it is held against does not come near."""

from running import module

from minigan import cpu


def test_bounds_close_where_one_temperature_and_windows_are_far_off(monkeypatch):
    example = module("ais")
    monkeypatch.setattr(example, "CENTRES", 1000)
    said = example.linear(cpu.generator(0), (1, 150))
    (plain, lower), (_, upper), exact = said["lower"], said["upper"], said["exact"]
    assert exact - 5 < lower < exact + 0.1 and exact - 0.1 < upper < exact + 5
    assert exact - plain > 100 and exact - said["kde"] > 10
    words = example.linear_in_words(said)
    assert f"exact {exact:.2f}" in words and f"KDE {said['kde'] - exact:+.0f}" in words
