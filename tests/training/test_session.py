"""A session around a loop: in which order things happen, what is saved, and how a run ends."""

import itertools
import re
import signal

import numpy as np
import pytest
from PIL import Image
from running import module
from safetensors.numpy import load_file

from minigan import data, optim, plots
from minigan.engine import Tensor, grad
from minigan.nn import Linear
from minigan.training import Record, Session, Watch, checkpoint, options

DIGITS = data.Dataset("digits", np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1))


class Run:
    """The least that a run can be: a number that each step adds up, from batches of images.

    It notes the steps after which the body ran. `at` holds what happens in a step: {step: action}.
    """

    def __init__(self, folder, *argv, at=None, look=None, moves=1, parts=None, **session):
        p = options.parser("", out=folder, steps=10, epochs=True, resumable=True)
        options.images(p, every=4)
        self.args = options.parse(p, [str(a) for a in argv])
        self.at, self.noted = at or {}, []
        self.record = Record("sum")
        self.batches = data.Batches(DIGITS, 2, 0)
        self.moves, self.total = moves, 0.0
        watch = None if look is None else Watch(self.record, every=look, recent=1)
        session = {"about": DIGITS, "watch": watch} | session
        self.session = Session(
            self.args, {"record": self.record, "run": self} | (parts or {}),
            batches=self.batches, moves=moves, **session,
        )  # fmt: skip

    def state(self):
        return {"total": self.total}

    def load_state(self, state):
        self.total = state["total"]

    def step(self):
        self.at.get(self.session.done + 1, lambda: None)()
        for _ in range(self.moves):
            self.total += float(self.batches.next().sum())
        self.record.add(self.total)

    def play(self, body=4):
        with self.session as session:
            for done in session.steps(self.step):
                if session.due(body):
                    self.noted.append(done)
        return session.status


@pytest.fixture
def saves(monkeypatch):
    """The steps at which there was a save."""
    steps, save = [], checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda *a, **k: steps.append(k["step"]) or save(*a, **k)
    )
    return steps


def press():
    signal.raise_signal(signal.SIGINT)


def loses(run, step):
    """Makes a run lose its weights at a step."""
    run.at[step] = lambda: setattr(run, "total", float("nan"))
    return run


def rows(folder):
    return load_file(folder / checkpoint.NAME)["record/rows"]


# --- What happens when ---------------------------------------------------------------------------


def test_bodies_and_saves_come_when_they_are_due_and_at_the_end(tmp_path, saves, capsys):
    run = Run(tmp_path)
    assert run.play() == 0
    assert run.noted == saves == [4, 8, 10]
    assert (run.session.start, run.session.done, run.session.saved) == (0, 10, 10)
    out = re.sub(r"[\d.]+ s;", "0 s;", capsys.readouterr().out)
    assert out == f"10 steps on digits, 0 s; pictures: {tmp_path}\n"


def test_looks_saves_and_bodies_have_rhythms_of_their_own(tmp_path, saves):
    run = Run(tmp_path, every=6)
    looks = []
    look = {"every": 5, "begin": lambda _: None, "look": lambda *a: looks.append(a[1]) or True}
    run.session.watch = type("", (), look)()
    run.play(body=3)
    assert run.noted == [3, 6, 9, 10] and saves == [6, 10]
    assert looks == [3, 5, 6, 9, 10], "once for each step"


def test_due_may_leave_out_the_end(tmp_path):
    with Run(tmp_path).session as session:
        session.done = session.total
        assert session.due(4) and not session.due(4, end=False)
        session.done = 8
        assert session.due(4, end=False) and not session.due(3)


def test_a_body_that_leaves_the_loop_ends_a_run_that_is_saved(tmp_path, saves):
    run = Run(tmp_path)
    with run.session as session:
        for done in session.steps(run.step):
            if done == 3:
                break
    assert saves == [3] and session.status == 0


def test_an_error_in_the_body_saves_nothing_and_leaves_no_handler(tmp_path, saves, capsys):
    run, before = Run(tmp_path), signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), run.session as session:
        for _ in session.steps(run.step):
            assert signal.getsignal(signal.SIGINT) is not before
            raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before
    assert not saves and not capsys.readouterr().out


def test_several_loops_share_one_bar(tmp_path):
    run = Run(tmp_path, total=7)
    with run.session as session:
        assert list(session.steps(run.step, 3)) == [1, 2, 3]
        assert list(session.steps(run.step, 4)) == [4, 5, 6, 7]
        assert list(session.steps(run.step, 1)) == []


def test_nothing_to_do_is_nothing_done(tmp_path, capsys):
    with Session(options.parse(options.parser("", out=tmp_path, steps=5), []), total=0) as session:
        assert list(session.steps(None)) == []
    assert session.status == 0 and not capsys.readouterr().out


@pytest.mark.parametrize(("moves", "steps"), [(1, 12), (2, 6), (5, 2), (13, 1)])
def test_epochs_are_passes_over_the_data_however_many_batches_a_step_takes(moves, steps, tmp_path):
    assert Run(tmp_path, "--epochs", 2, moves=moves).session.total == steps


def test_what_is_shown_is_a_file_and_a_frame(tmp_path):
    film = plots.Film(np.zeros((2, 3, 3), np.uint8))
    run = Run(tmp_path, "--steps", 4, parts={"film": film})
    with run.session as session:
        for done in session.steps(run.step):
            if done == 3:
                session.show(np.full((2, 3, 3), 7, np.uint8))
    with Image.open(tmp_path / "samples_000003.png") as picture:
        assert picture.size == (6, 4) and picture.getpixel((0, 0)) == (7, 7, 7)
    assert load_file(tmp_path / checkpoint.NAME)["film/frames"].shape == (2, 2, 3, 3)


# --- Lost weights --------------------------------------------------------------------------------


@pytest.mark.parametrize(("look", "ends"), [(1, 6), (5, 8), (7, 7), (100, 8)])
def test_neither_a_body_nor_a_checkpoint_sees_lost_weights(look, ends, tmp_path, saves, capsys):
    run = loses(Run(tmp_path, look=look), 6)
    assert run.play() == 1
    assert run.noted == saves == [4] and run.session.done == ends
    assert np.isfinite(rows(tmp_path)).all()
    out, err = capsys.readouterr()
    assert f"step {ends}: NaN or infinity: the weights are lost" in err
    assert f"{ends} steps on digits" in out and "\ninterrupted" not in out


def test_weights_that_are_lost_when_the_run_is_interrupted_are_not_saved(tmp_path, saves, capsys):
    run = loses(Run(tmp_path, look=100), 6)
    run.at[7] = press
    assert run.play() == 1
    assert saves == [4] and "saved" not in capsys.readouterr().out


# --- Interrupted, resumed, done ------------------------------------------------------------------


@pytest.mark.parametrize("moves", [1, 3])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(moves, tmp_path, saves, capsys):
    Run(tmp_path / "whole", moves=moves).play()
    saves.clear()
    run = Run(tmp_path / "parts", at={5: press}, moves=moves)
    assert run.play() == 128 + signal.SIGINT
    assert saves == [4, 5] and run.noted == [4]
    assert capsys.readouterr().out.endswith("interrupted and saved: go on with --resume\n")
    again = Run(tmp_path / "parts", "--resume", moves=moves)
    assert again.play() == 0
    assert again.session.start == 5 and again.batches.step == 10 * moves
    np.testing.assert_array_equal(rows(tmp_path / "parts"), rows(tmp_path / "whole"))


def test_a_run_that_is_interrupted_with_its_last_step_is_done(tmp_path, capsys):
    assert Run(tmp_path, at={10: press}).play() == 130
    assert "\ninterrupted" not in capsys.readouterr().out


def test_a_run_that_cannot_be_saved_does_not_say_that_it_was(tmp_path, saves, capsys):
    p = options.parser("", out=tmp_path, steps=10)
    steps = itertools.count(1)
    with Session(options.parse(p, [])) as session:
        for _ in session.steps(lambda: press() if next(steps) == 3 else None):
            pass
    assert session.status == 130 and session.done == 3
    assert capsys.readouterr().out == "interrupted\n"
    assert not saves and not list(tmp_path.iterdir())


def test_a_run_that_was_done_is_left_alone(tmp_path, saves, capsys):
    Run(tmp_path).play()
    saves.clear()
    assert Run(tmp_path, "--resume").play() == 0
    assert "10 steps were done already: ask for more with --steps\n" in capsys.readouterr().out
    assert not saves


def test_a_run_on_other_data_is_refused(tmp_path):
    Run(tmp_path).play()
    other = data.Dataset("digits", DIGITS.images[::-1].copy())
    for about, said in (
        (other, "on digits, 12 images; --data names digits, 12 images, but not the same ones: "),
        ("ring", "on digits, 12 images; --data names ring: name the same data"),
    ):
        with (
            pytest.raises(checkpoint.CheckpointError, match=said),
            Run(tmp_path, "--resume", about=about).session,
        ):
            pass


def test_two_sets_are_told_apart_by_their_order(tmp_path, capsys):
    """Domains that are swapped would train each network on the other's images."""
    other = data.Dataset("other", DIGITS.images[::-1].copy())
    Run(tmp_path, about=(DIGITS, other)).play()
    assert "10 steps on digits and other," in capsys.readouterr().out
    swapped = (
        "on digits, 12 images and other, 12 images; these are the same two the other way round"
    )
    for about, said in (
        ((other, DIGITS), swapped),
        ((DIGITS, DIGITS), "--data names digits, 12 images and digits, 12 images: name the same"),
        (DIGITS, "--data names digits, 12 images: name the same data"),
    ):
        with (
            pytest.raises(checkpoint.CheckpointError, match=said),
            Run(tmp_path, "--resume", about=about).session,
        ):
            pass
    assert Run(tmp_path, "--resume", about=(DIGITS, other)).play() == 0


def test_batches_of_two_sets_both_go_on_where_the_run_does(tmp_path):
    few = data.Dataset("few", DIGITS.images[:5])
    run = Run(tmp_path)
    run.play()
    run = Run(tmp_path, "--resume", "--steps", 12, moves=2)
    both = data.Batches(DIGITS, 2, 0), data.Batches(few, 2, 1)
    with Session(run.args, {"record": run.record, "run": run}, about=DIGITS, batches=both, moves=2):
        assert [batches.step for batches in both] == [20, 20]


@pytest.mark.parametrize(
    ("about", "here", "same"),
    [
        (("a", "1"), ("a", "1"), True),
        (("a", "1"), ("moved", "1"), True),
        (("a", "1"), ("a", "2"), False),
        (("a", None), ("a", "2"), True),
        (("a", None), ("b", "2"), False),
        (("ring", None), ("ring", None), True),
        (("ring", None), ("grid", None), False),
    ],
)
def test_data_is_the_same_by_its_digest_and_without_one_by_its_name(about, here, same):
    class Data(str):
        sha256 = here[1]

    kept = dict(zip(("data", "data_sha256"), about, strict=True))
    assert checkpoint.same_data(kept, Data(here[0])) is same
    assert checkpoint.about_data(Data(here[0])) == {"data": here[0], "data_sha256": here[1]}


# --- On the device -------------------------------------------------------------------------------


def test_a_step_is_captured_on_a_device_that_can(cuda, tmp_path):
    """Python runs it only until it is recorded; the numbers are those of a loop without replays."""
    p = options.parser("", out=tmp_path, steps=9)
    calls, record = [], Record("loss")
    layer = Linear(2, 1, rng=cuda.generator(0))
    optimizer = optim.SGD(layer, 0.1)
    x = Tensor(cuda.asarray(np.ones((4, 2), "float32")))

    def step():
        calls.append(1)
        loss = (layer(x) ** 2).mean()
        optimizer.step(grad(loss, optimizer.parameters))
        record.add(loss.detach())

    with Session(options.parse(p, ["--device", "cuda"])) as session:
        assert list(session.steps(step)) == list(range(1, 10))
    assert len(record) == 9 and len(calls) < 9
    falls = record["loss"]
    assert (np.diff(falls) < 0).all() and falls[-1] < 0.1 * falls[0]


@pytest.mark.parametrize(
    "argv",
    [[], ["--loss", "wasserstein", "--critic-steps", "2"], ["--critic-steps", "2", "--clip", "1"]],
    ids=["plain", "penalty", "clip"],
)
def test_dcgan_on_the_device_is_the_dcgan_without_replays(argv, cuda, tmp_path, monkeypatch):
    example = module("dcgan_mnist")
    monkeypatch.setattr(data, "choose", lambda *a, **k: (SMALL, None))
    argv = ["--device", "cuda", "--width", "2", "--hidden", "4", "--latent", "3", "--batch", "4",
            "--samples", "4", "--steps", "6", "--every", "3", *argv]  # fmt: skip
    assert example.main([*argv, "--out", str(tmp_path / "captured")]) == 0
    monkeypatch.setattr(cuda, "capture", lambda step: step)
    assert example.main([*argv, "--out", str(tmp_path / "eager")]) == 0
    captured, eager = (rows(tmp_path / name) for name in ("captured", "eager"))
    np.testing.assert_allclose(captured, eager, rtol=2e-3, atol=2e-4)


SMALL = data.Dataset("small", np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8))


def test_the_speed_of_a_resumed_run_counts_its_own_steps(tmp_path, monkeypatch):
    """And no time before the first of them, in which networks are built and data is read."""
    now = itertools.count(0, 2)  # seconds: a tick for each look at the clock
    monkeypatch.setattr("minigan.training.watch.time.perf_counter", lambda: next(now))
    shown = []
    for argv in (["--steps", 4], ["--resume", "--steps", 8]):
        run = Run(tmp_path, *argv, look=4)
        watch = run.session.watch
        watch.batch, watch.show = 6, lambda now: ""
        with run.session as session:
            monkeypatch.setattr(session.progress, "show", shown.append)
            next(now), next(now)
            for _ in session.steps(run.step):
                pass
    assert len(shown) == 2 and shown[0] == shown[1]
