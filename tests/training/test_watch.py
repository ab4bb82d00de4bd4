"""What a watch shows, what it says, and when: rows of a record, and batches with a known spread."""

import itertools

import numpy as np
import pytest

from minigan import data, losses
from minigan.engine import Tensor
from minigan.training import GAME, LOST, Record, Watch
from minigan.training.troubles import COLLAPSED, collapse, no_contest


class Screen:
    """A progress bar that remembers what it was asked to show."""

    def __init__(self):
        self.shown, self.said = [], []

    def show(self, text):
        self.shown.append(text)

    def say(self, line):
        self.said.append(line)


BYTES = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), np.uint8)
REAL = data.Dataset("real", BYTES)
VARIED = data.to_unit(BYTES)
DULL = np.ones((8, 4, 4, 1))
ROW = (1.3, 0.7, 0.5, 0.5, 0.5)


def watched(rows, samples, objective=None, **options):
    """The screen, and the verdict, after rows of a record and a look at some samples."""
    record, screen = Record(*GAME), Screen()
    watch = Watch.of_images(record, objective or losses.NonSaturating(), REAL, 8, **options)
    for row in rows:
        record.add(*row)
    return screen, watch.look(len(rows), Tensor(samples), screen), watch


# --- On images -----------------------------------------------------------------------------------


def test_losses_scores_and_speed_are_shown():
    screen, healthy, _ = watched([(1.25, 0.75, 0.625, 0.375, 0.25)], VARIED)
    assert healthy and not screen.said
    assert "loss D 1.25 G 0.75, D(x) 0.62, D(G(z)) 0.38 -> 0.25, " in screen.shown[-1]
    assert screen.shown[-1].endswith(" img/s")


def test_trouble_is_said_once_and_in_words():
    """Though its numbers are others at every look."""
    won = [(0.01, 9.0, 0.99 + 1e-5 * i, 0.001, 0.001) for i in range(500)]
    screen, healthy, watch = watched(won, VARIED)
    assert healthy and len(screen.said) == 1
    assert screen.said[0].startswith("step 500: D has won")
    for _ in range(200):
        watch.record.add(0.01, 9.0, 0.999, 0.0, 0.0)
    watch.look(700, Tensor(VARIED), screen)
    assert len(screen.said) == 1


def test_a_critics_values_are_no_probabilities():
    critic = [(0.01, 9.0, 5.0, -5.0, -5.0)] * 500
    screen, healthy, _ = watched(critic, VARIED, losses.Wasserstein())
    assert healthy and not screen.said


def test_collapse_is_seen_once_g_is_no_longer_fresh():
    for rows, options, said in (
        (99, {"early": 100}, False),  # a fresh generator may be as dull as that
        (100, {"early": 100}, True),
        (499, {}, False),
        (500, {}, True),
        (599, {"early": 600}, False),
    ):
        screen, healthy, _ = watched([ROW] * rows, DULL, **options)
        assert healthy and ["mode collapse" in line for line in screen.said] == [True] * said


def test_images_that_are_all_black_are_no_collapse():
    """Real images of no diversity have no share of it, and so no trouble with it."""
    alike, screen = data.Dataset("black", 0 * BYTES), Screen()
    watch = Watch.of_images(Record(*GAME), losses.NonSaturating(), alike, 8, early=1)
    watch.record.add(*ROW)
    assert watch.look(1, Tensor(DULL), screen) and not screen.said


@pytest.mark.parametrize("low", [-1.0, 0.0])
@pytest.mark.parametrize(("share", "said"), [(0.9, 0), (1.1, 0), (0.19, 1), (0.22, 0)])
def test_diversity_is_a_share_of_the_datas(share, said, low):
    """Also of pixels from 0 to 1, which lie half as far apart."""
    samples = share * (VARIED if low == -1 else 0.5 * VARIED + 0.5)
    screen, _, _ = watched([ROW] * 500, samples, low=low)
    assert len(screen.said) == said and COLLAPSED == 0.2


def test_two_images_of_many_are_a_collapse_though_each_pixel_varies():
    """Both digits alike but for a few pixels: a spread that no absolute threshold would notice."""
    near = np.repeat(VARIED[:1], 60, axis=0)
    near[::2, 0, 0] *= -1
    screen, _, _ = watched([ROW] * 500, near)
    assert "mode collapse" in screen.said[0]


@pytest.mark.parametrize("row", [*itertools.product([float("nan"), float("inf")], range(5))])
def test_lost_weights_are_seen_at_once(row):
    value, column = row
    lost = [*ROW[:column], value, *ROW[column + 1 :]]
    screen, healthy, _ = watched([ROW, lost], VARIED)
    first = f"First in step 2: {GAME[column]}."
    assert not healthy and screen.said == [f"step 2: {LOST} {first}"]


def test_lost_samples_are_lost_weights():
    screen, healthy, _ = watched([ROW], np.full((8, 4, 4, 1), np.nan))
    assert not healthy and "NaN" in screen.said[0]


# --- What is wrong, in words ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["collapse", "no_contest"])
def test_diagnoses_are_one_line(name):
    now = {"diversity": 0.0, "d_real": 0.9876, "d_fake_before": 0.0123}
    message = {"collapse": collapse, "no_contest": no_contest}[name](now)
    assert "\n" not in message and message.endswith(".")
    assert name == "collapse" or ("D has won" in message and "0.988" in message)
    assert name == "collapse" or "0.012" in message


@pytest.mark.parametrize("scores", [(0.5, 0.5), (0.98, 0.01), (0.99, 0.02), (0.01, 0.99)])
def test_no_diagnosis_where_all_is_well(scores):
    assert no_contest(dict(zip(("d_real", "d_fake_before"), scores, strict=True))) is None
    assert collapse({"diversity": COLLAPSED}) is None


# --- A watch of one's own ------------------------------------------------------------------------


def test_a_trouble_and_its_end_are_said_once_each():
    record, screen = Record("diversity", "k"), Screen()
    watch = Watch(
        record,
        show=lambda now: f"k {now['k']:.1f}",
        troubles={
            lambda now: "collapsed" if now["diversity"] < 0.5 else None: lambda now: "again",
            lambda now: "small k" if now["k"] < 1 else None: None,
        },
        recent=100,
        early=200,
    )
    for step, diversity in enumerate([0.9] * 300 + [0.1] * 300 + [0.9] * 300 + [0.1] * 300, 1):
        record.add(diversity, 0.5)
        if step % 50 == 0:
            assert watch.look(step, None, screen)
    assert screen.said == [
        "step 200: small k",
        "step 400: collapsed",
        "step 700: again",
        "step 1,000: collapsed",
    ]
    assert set(screen.shown) == {"k 0.5"}
    record.add(float("nan"), 0.5)
    assert not watch.look(1201, None, screen)
    assert screen.said[-1] == f"step 1,201: {LOST} First in step 1,201: diversity."


def test_a_watch_that_shows_nothing_still_sees_lost_weights():
    record, screen = Record("loss"), Screen()
    record.add(1.0)
    watch = Watch(record)
    assert watch.look(1, None, screen) and not screen.shown
    record.add(float("inf"))
    assert not watch.look(2, None, screen)
