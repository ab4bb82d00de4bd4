"""What is printed where nobody can read it: a reader gone, a full disk, another encoding."""

import io
import os
import subprocess
import sys

import pytest
from PIL import Image

from minigan.data import load_folder
from minigan.system import launcher, terminal
from minigan.training import Progress, run


class Broken(io.StringIO):
    """A stream that takes some characters, and then nothing more."""

    def __init__(self, error, room=0):
        super().__init__()
        self.error, self.room = error, room

    def write(self, text):
        self.room -= len(text)
        if self.room < 0:
            raise self.error
        return super().write(text)


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


DEAF = {
    "none": lambda: None,
    "closed": closed,
    "a reader that is gone": lambda: Broken(BrokenPipeError(32, "Broken pipe")),
    "a full disk": lambda: Broken(OSError(28, "No space left on device"), room=9),
    "a terminal that is gone": lambda: Broken(OSError(5, "Input/output error"), room=9),
}


@pytest.mark.parametrize("stream", DEAF.values(), ids=DEAF.keys())
def test_nothing_that_only_prints_ends_a_run(stream, tmp_path, monkeypatch):
    done = []

    def main():
        print("a line of Greek, σ")
        with Progress(3) as progress:
            for _ in range(3):
                progress.show("loss 1")
                progress.say("a line")
                progress.advance()
        print("an error", file=sys.stderr, flush=True)
        done.append("saved")

    out, err = stream(), stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code is None and done
    assert sys.stdout is out and sys.stderr is err


@pytest.mark.parametrize("stream", DEAF.values(), ids=DEAF.keys())
def test_a_bar_of_a_program_that_is_no_example_ends_nothing(stream, tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "stderr", stream())
    assert len(load_folder(tmp_path, 4)) == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_becomes_a_question_mark(encoding):
    bytes_ = io.BytesIO()
    stream = terminal.quiet(io.TextIOWrapper(bytes_, encoding=encoding))
    print("σ ± 1, \udcff", file=stream, flush=True)
    expected = {"ascii": b"? ? 1, ?\n", "cp1252": b"? \xb1 1, ?\n"}
    assert bytes_.getvalue() == expected.get(encoding, "σ ± 1, ?\n".encode())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("where", [">&-", "2>&-", ">/dev/full", "2>/dev/full", "2>&1 | true"])
def test_a_process_whose_output_goes_nowhere_ends_well(where):
    """As the shell starts it; Python's own flush at its exit must find nothing to complain of."""
    program = (
        "import sys, time; from minigan.training import run\n"
        "def main():\n"
        "    time.sleep(0.3)\n"  # until `true` has gone
        "    print('out' * 5000); print('err' * 5000, file=sys.stderr)\n"
        "    return 7\n"
        "run(main)\n"
    )
    script = f'set -o pipefail; "$0" -X dev -W error -c "$1" {where}'
    command = ["bash", "-c", script, sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7
    assert set(done.stdout + done.stderr) <= set("outer\n")


@pytest.mark.parametrize(("told", "seconds"), [({}, 10.0), ({launcher.ON_TERMINAL: "1"}, 0.2)])
def test_a_bar_is_redrawn_on_a_terminal_and_by_ranks_that_are_told_of_one(
    monkeypatch, told, seconds
):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with terminal.bar(total=1) as bar:
        assert bar.mininterval == seconds
