"""Each trouble on a synthetic record that has it, and on ten that don't."""

import numpy as np
import pytest

from minigan import cpu, losses
from minigan.engine import Tensor
from minigan.training import Record, Watch, troubles
from minigan.training.watch import LOST

BEGAN = losses.BoundaryEquilibrium(cpu)
# Ten sound states of all columns, each sound in another way: early, late, D ahead, G ahead …
SOUND = {
    "diversity": [0.24, 0.5, 0.9, 1.0, 1.1, 2.0, 3.4, 0.7, 0.8, 0.95],
    "variety": [0.34, 0.5, 0.9, 1.0, 1.3, 2.4, 10.0, 0.7, 0.8, 0.36],
    "d_real": [0.5, 0.99, 0.9, 0.6, 0.97, 0.5, 0.3, 0.99, 0.8, 0.51],
    "d_fake_before": [0.5, 0.03, 0.05, 0.4, 0.01, 0.5, 0.8, 0.1, 0.2, 0.49],
    "d_fake_after": [0.5, 0.02, 0.04, 0.41, 0.01, 0.5, 0.7, 0.05, 0.15, 0.52],
    "slope_g": [0.5, 0.3, 200.0, 3.0, 9000.0, 0.1, 1.0, 40.0, 5.0, 0.4],
    "d_least": [0.3, 1e-6, 1e-4, 0.1, 1e-5, 0.4, 0.5, 0.003, 0.0, 0.2],
    "normed": [1.0, 0.999, 0.97, 0.9, 0.81, 1.0, 0.99, 0.95, 0.995, 1.0],
    "k": [1e-4, 0.01, 0.1, 0.3, 0.37, 0.44, 0.9, 0.999, 0.5, 0.02],
    "leaning": [1.0, 0.99, 0.97, 0.9, 1.01, 0.85, 1.1, 1.0, 0.98, 0.95],
    "rank": [2.0, 1.9, 1.6, 1.5, 1.0, 2.0, 3.0, 7.8, 1.3, 2.0],
    "dimension": [2.0, 2.1, 2.0, 1.9, 1.1, 1.2, 3.1, 8.0, 1.9, 2.2],
}
FAILED = {
    troubles.collapse: ({"diversity": 0.1}, "hardly differ"),
    troubles.repeats: ({"variety": 0.13}, "13% as many different samples"),
    troubles.vanished: ({"d_fake_after": 1e-4, "slope_g": 0.04}, "gradient has vanished"),
    troubles.too_few_numbers: ({"rank": 1.0, "dimension": 2.0}, "1.0 directions"),
    troubles.by_heart: ({"leaning": 0.4}, "40% as far"),
    troubles.no_contest: ({"d_real": 0.99, "d_fake_before": 0.01}, "D has won"),
    troubles.company: ({"d_fake_before": 0.02, "d_fake_after": 0.5}, "depends on the company"),
    troubles.smoothed_fakes: (
        {"d_real": 0.88, "d_fake_before": 0.13, "d_least": 0.08},
        "generated samples are smoothed",
    ),
    troubles.not_normed: ({"normed": 0.1}, "0.10 instead of 1"),
    troubles.stuck(BEGAN): ({"k": 0.0}, "stayed at 0"),
}


@pytest.mark.parametrize("trouble", FAILED)
def test_a_trouble_is_told_where_it_is_and_in_none_of_ten_sound_runs(trouble):
    failed, words = FAILED[trouble]
    told = trouble(failed)
    assert words in told and told.endswith(".") and "\n" not in told and "Nan" not in told
    assert failed.keys() <= SOUND.keys()
    for sound in zip(*SOUND.values(), strict=True):
        assert trouble(dict(zip(SOUND, sound, strict=True))) is None


def test_k_may_be_stuck_at_either_bound():
    assert "stayed at 1" in troubles.stuck(BEGAN)({"k": 1.0})


# --- Over time -----------------------------------------------------------------------------------

T, RNG = np.arange(400), np.random.default_rng(0)
NOISE = RNG.standard_normal(400)
WALK = np.cumsum(RNG.standard_normal(400))
STEADY = [
    np.full(400, 0.5),
    0.5 + 0.1 * NOISE,
    0.5 + 0.005 * WALK,
    np.linspace(0.1, 0.9, 400),
    0.5 + 0.4 * np.exp(-T / 60),
    0.5 + 0.4 * np.exp(-T / 100) * np.sin(T / 6),  # it dies away
    0.5 + 0.03 * np.sin(T / 6),  # small
    0.5 + 0.2 * (-1.0) ** T,  # a zigzag
    np.where(T < 200, 0.3, 0.7),
    0.5 + 0.2 * np.sin(T / 90),  # no three periods
]


def swinging(course):
    record = Record("loss", "d_real")
    for value in course:
        record.add(1.0, value)
    return troubles.swings(record)({})


@pytest.mark.parametrize("every", [16, 33, 80, 120])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_swing_is_told_with_its_period(every, noise):
    told = swinging(0.5 + 0.15 * np.sin(2 * np.pi * T / every) + noise * NOISE + 1e-4 * T)
    found = int(told.split("every ")[1].split()[0])
    assert abs(found / every - round(found / every)) < 0.15 and "circle" in told


@pytest.mark.parametrize("course", STEADY)
def test_what_does_not_swing_is_not_told(course):
    assert len(STEADY) == 10 and swinging(course) is None


def test_a_short_record_does_not_swing():
    assert swinging(0.5 + 0.15 * np.sin(T[:399])) is None


# --- What was lost first -------------------------------------------------------------------------


class Screen:
    said = ()

    def say(self, line):
        self.said += (line,)


def test_the_first_number_that_is_not_finite_has_a_name_and_a_step():
    record, sizes = Record("loss", "d_real"), Record("D's weight", "D's bias", "D's scale")
    watch, screen = Watch(record, others=(sizes,)), Screen()
    assert watch.look(0, None, screen)  # nothing is there yet
    for step in range(40):
        nan = np.nan if step >= 16 else 0.0
        record.add(1.0, np.inf if step >= 16 else 0.5)
        sizes.add(nan, 1.0, nan)
    assert not watch.look(40, None, screen)
    where = "First in step 17: D's weight, D's scale, d_real."
    assert screen.said == (f"step 40: {LOST} {where}",) == tuple(watch.said)
    assert troubles.first_lost(Record("loss")) == ""


def test_a_measure_is_taken_of_what_the_step_returns():
    record, screen = Record("loss"), Screen()
    record.add(1.0)
    watch = Watch(
        record,
        early=1,
        measures={"variety": lambda x: x.sum()},
        troubles={troubles.repeats: None},
    )
    for value in (1.0, 0.1, 0.05):
        assert watch.look(1, Tensor(np.full(1, value)), screen)
    assert len(screen.said) == 1 and "10% as many" in screen.said[0]
    record.add(np.nan)
    assert not watch.look(2, None, screen)  # nothing is measured of lost samples
