"""What a program is given and how it ends: options, a resumed run's, interruption, the record."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from minigan.backend import DeviceError
from minigan.data import Dataset
from minigan.engine import tensor
from minigan.training import (
    CheckpointError,
    Interrupt,
    OptionError,
    Record,
    Session,
    checkpoint,
    make_folder,
    options,
    run,
)


def make_parser():
    p = options.parser("a test", steps=10, out="nowhere", epochs=True, resumable=True)
    p.add_argument("--width", type=options.whole(1), default=4)
    p.add_argument("--lr-g", type=options.above(0), default=0.5)
    p.add_argument("--data")
    p.add_argument("--quick", action="store_true")
    return p


def parse(*argv):
    return options.parse(make_parser(), [str(a) for a in argv])


# --- Options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--steps", "0"], "got '0', expected an integer >= 1"),
        (["--steps", "ten"], "got 'ten', expected an integer >= 1"),
        (["--steps", "1.5"], "got '1.5', expected an integer >= 1"),
        (["--seed", "-1"], "expected an integer >= 0"),
        (["--lr-g", "0"], "expected a number > 0"),
        (["--lr-g", "nan"], "expected a number > 0"),
        (["--lr-g", "inf"], "expected a number > 0"),
        (["--steps", "5", "--epochs", "2"], "not allowed with"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_a_wrong_option_says_what_was_got_and_wanted(argv, said, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(*argv)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


def test_defaults_without_resume():
    args = parse("--width", "7")
    assert (args.steps, args.width, args.resume, str(args.out)) == (10, 7, None, "nowhere")


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a run with --width 7 --epochs 3 --data digits."""
    args = parse("--width", "7", "--epochs", "3", "--data", "digits", "--out", tmp_path / "run")
    path = args.out / checkpoint.NAME
    checkpoint.save(path, {}, step=5, options=options.saved(args))
    return path


def test_a_resumed_run_takes_its_options_from_the_checkpoint(saved):
    for argv in (
        ["--resume", saved],
        ["--resume", saved.parent],
        ["--resume", "--out", saved.parent],
    ):
        args = parse(*argv)
        assert (args.width, args.epochs, args.data) == (7, 3, "digits")
        assert (args.resume, args.out) == (saved, saved.parent)


def test_a_resumed_run_may_go_on_for_longer_and_elsewhere(saved, tmp_path):
    args = parse("--resume", saved, "--steps", 99, "--out", tmp_path / "new", "--data", "mnist")
    assert (args.steps, args.epochs, args.data) == (99, None, "mnist")
    assert (args.out, args.width) == (tmp_path / "new", 7)


def test_a_resumed_run_may_not_contradict_its_checkpoint(saved):
    assert parse("--resume", saved, "--width", 7).width == 7
    with pytest.raises(CheckpointError, match="made with --width 7, which a run with --width 4"):
        parse("--resume", saved, "--width", 4)  # also where 4 is the default
    with pytest.raises(CheckpointError, match="without --quick, which a run with --quick"):
        parse("--resume", saved, "--quick")
    assert parse("--resume", saved, "--lr-g", 0.1).lr_g == 0.1


def test_what_comes_after_the_training_a_resumed_run_may_have_otherwise(tmp_path):
    p = options.parser("", out=tmp_path, steps=3, resumable=True, after=("count",))
    for name in ("--count", "--width"):
        p.add_argument(name, type=options.whole(1), default=4)
    given = options.parse(p, ["--count", "5", "--width", "6"])
    checkpoint.save(tmp_path / checkpoint.NAME, {}, step=1, options=options.saved(given))
    assert options.parse(p, ["--resume"]).count == 5
    again = options.parse(p, ["--resume", "--count", "7"])
    assert (again.count, again.width) == (7, 6)
    with pytest.raises(CheckpointError, match="made with --width 6"):
        options.parse(p, ["--resume", "--width", "4"])


def test_a_run_of_another_script_is_not_gone_on_with(tmp_path):
    """Seen by an option whose choices are others there, before anything is built after it."""
    p = options.parser("", out=tmp_path, steps=3, resumable=True)
    p.add_argument("--loss", choices=["hinge", "minimax"])
    path = tmp_path / checkpoint.NAME
    for loss in (None, "hinge"):
        checkpoint.save(path, {}, step=1, options={"loss": loss})
        assert options.parse(p, ["--resume"]).loss == loss
    checkpoint.save(path, {}, step=1, options={"loss": "began"})
    said = "made with --loss began, which is none of hinge, minimax: it is another script's"
    with pytest.raises(CheckpointError, match=said):
        options.parse(p, ["--resume"])


def test_resuming_from_nothing_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        parse("--resume", "--out", tmp_path)


def images(name, value, n=3):
    return Dataset(name, np.full((n, 2, 2, 1), value, np.uint8))


def saved_run(args, data):
    """Saves a run on `data` as it is after five steps."""
    session = Session(args, {"record": Record("loss")}, about=data)
    session.done = 5
    session.save()


def resumed(tmp_path, saved_with, data, **changes):
    """Saves a run on `saved_with`, with some of its extra changed, and resumes it on `data`."""
    out = tmp_path / "run"
    saved_run(parse("--out", out), saved_with)
    path = out / checkpoint.NAME
    if changes:
        checkpoint.save(path, {"record": Record("loss")}, **{**checkpoint.peek(path), **changes})
    args = parse("--resume", path)
    with Session(args, {"record": Record("loss")}, about=data) as session:
        return session.start


def test_data_is_the_same_if_its_content_is_whatever_its_name(tmp_path):
    assert resumed(tmp_path, images("train", 1), images("moved", 1)) == 5
    assert resumed(tmp_path, "ring", "ring") == 5
    said = r"was trained on train, 3 images; --data names train, 3 images, but not the same ones: "
    with pytest.raises(CheckpointError, match=said):
        resumed(tmp_path, images("train", 1), images("train", 2))
    with pytest.raises(CheckpointError, match="train, 3 images; --data names t, 4 images:"):
        resumed(tmp_path, images("train", 1), images("t", 1, n=4))
    with pytest.raises(CheckpointError, match="trained on ring; --data names grid: name"):
        resumed(tmp_path, "ring", "grid")


def test_a_checkpoint_without_a_digest_of_its_data_is_judged_by_the_name(tmp_path):
    assert resumed(tmp_path, images("train", 1), images("train", 2), data_sha256=None) == 5
    with pytest.raises(CheckpointError, match="trained on train, 3 images; --data names"):
        resumed(tmp_path, images("train", 1), images("other", 1), data_sha256=None)


# --- Ending --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DeviceError("no such device"), "error: no such device\n"),
        (CheckpointError("x: cut short"), "error: x: cut short\n"),
        (PermissionError(13, "Permission denied", "out"), "error: out: Permission denied\n"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(error, said, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == said


def test_a_mistake_of_ours_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


@pytest.mark.parametrize("status", [None, 0, 1, 130])
def test_run_exits_with_the_status_of_main(status):
    with pytest.raises(SystemExit) as exit_:
        run(lambda: status)
    assert exit_.value.code == status


ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if os.name != "nt" else []


@pytest.mark.parametrize("number", ENDING)
def test_the_first_interrupt_asks_and_the_second_insists(number, monkeypatch):
    """But what comes at once again, as from a terminal that goes away, is the first one's echo."""
    before = signal.getsignal(number)
    with Interrupt() as interrupted:
        assert not interrupted and interrupted.status == 0
        for _ in range(2):
            os.kill(os.getpid(), number)
            assert interrupted and interrupted.status == 128 + number
        monkeypatch.setattr(Interrupt, "ECHO", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for rights to make links")
def test_what_is_in_the_place_of_the_output_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, said in (("file", "not a folder"), ("link", "a link to nowhere")):
        with pytest.raises(OptionError, match=rf"{name}: this is {said}"):
            make_folder(tmp_path / name)


def test_a_run_goes_on_from_another_folder(tmp_path, monkeypatch):
    """The images' place is kept as an absolute one; once they are gone, the error says whose."""
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    dataset = Dataset("images", np.zeros((1, 2, 2, 1), np.uint8))
    p = options.parser("", out=out, steps=3, resumable=True)
    p.add_argument("--data")
    monkeypatch.chdir(tmp_path)
    saved_run(options.parse(p, ["--data", "images"]), dataset)
    monkeypatch.chdir(out)
    assert options.parse(p, ["--resume"]).data == str(images)
    images.rmdir()
    with pytest.raises(CheckpointError, match="images, and there is no such folder"):
        options.parse(p, ["--resume"])
    assert options.parse(p, ["--resume", "--data", "digits"]).data == "digits"


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_where_no_loop_asks_ends_a_run_in_one_line(number, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(lambda: os.kill(os.getpid(), number))
    assert exit_.value.code == 128 + number
    assert capsys.readouterr().err == "\ninterrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP")
def test_a_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt(patient=False) as impatient, Interrupt() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted and not impatient
    finally:
        signal.signal(signal.SIGHUP, before)


# --- Record and progress -------------------------------------------------------------------------


def test_record_keeps_every_row_and_survives_a_checkpoint(tmp_path):
    record = Record("a", "b")
    for i in range(5):
        record.add(tensor(float(i)), 2 * i)
    assert len(record) == 5
    np.testing.assert_array_equal(record["b"], [0, 2, 4, 6, 8])
    assert record.latest(2) == {"a": 3.5, "b": 7.0}

    checkpoint.save(tmp_path / "c", {"record": record})
    again = Record("a", "b")
    checkpoint.load(tmp_path / "c", {"record": again})
    again.add(9, 9)
    np.testing.assert_array_equal(again["a"], [0, 1, 2, 3, 4, 9])


def test_progress_writes_lines_where_there_is_no_terminal():
    program = (
        "from minigan.training import Progress\n"
        "with Progress(3) as progress:\n"
        "    for _ in range(3):\n"
        "        progress.advance()\n"
        "    progress.show('loss 1')\n"
        "    progress.say('a line')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    assert "a line" in done.stderr and "3/3" in done.stderr and "loss 1" in done.stderr
