"""How a program starts itself again as several ranks, and what becomes of it then.

It stays as the one that waits: it passes on what the ranks print, and the signals that it gets. Of
what mpiexec says when a rank has died, one line is left.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from minigan.system import cores
from minigan.system.parallel import HOW, ParallelError

SIGNALS = [signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]
ON_TERMINAL = "MINIGAN_ON_TERMINAL"  # tells ranks, who see a pipe, that there is one behind it
BANNER = b"=" * 60, b"BAD TERMINATION"  # MPICH's: a line that begins so, then one that says this


def start(ranks: int) -> int:
    """Runs this program's own command line as so many ranks, and returns its exit status.

    It gets SIGTERM for each of SIGNALS, as mpiexec itself has words for some of them and dies of
    others; the status is then that of the signal.

    ParallelError if there is no mpiexec or no mpi4py.
    """
    command = [_mpiexec(), "-n", str(ranks), sys.executable, *sys.orig_argv[1:]]
    surroundings = {"OMP_NUM_THREADS": str(cores.share(ranks)), "PYTHONUNBUFFERED": "1"}
    surroundings |= {ON_TERMINAL: "1"} if sys.stderr.isatty() else {}
    process = subprocess.Popen(
        command,
        env=surroundings | os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,  # or a terminal's Ctrl-C would reach mpiexec as well
    )
    with process, _passed_on(process) as got:
        died = _print(process.stdout)
        status = process.wait()
    if died and not got:
        words = f"a rank was ended by {died}, and so the others were"
        words += ": go on from the last checkpoint with --resume"
        print(f"\nerror: {words}", file=sys.stderr)  # a bar has left its line open
        return 128 + status if status < 128 else status
    ended = signal.SIGTERM, 128 + signal.SIGTERM  # before a rank was ready for it, or after
    return 128 + got[0] if got and status in ended else status


def _mpiexec() -> str:
    """Where mpiexec is: the one that pip has put beside this Python, or that of the path."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None or importlib.util.find_spec("mpi4py") is None:
        missing = "mpiexec" if found is None else "mpi4py"
        raise ParallelError(f"there is no {missing}: {HOW}")
    return found


@contextlib.contextmanager
def _passed_on(process):
    """Within it, signals are the process's; a list of those that there were."""
    got = []

    def pass_on(number, frame):
        got.append(number)
        process.terminate()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, pass_on)
    try:
        yield got
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _print(lines) -> str:
    """Prints what the ranks print, up to mpiexec's banner; of that, what a rank has died of."""
    rule, words = BANNER
    held = b""
    for line in lines:
        if held and words in line:
            rest = b"".join(lines).decode(errors="replace")
            return rest.partition("EXIT STRING: ")[2].partition("\n")[0] or "a failure"
        held, ready = (line, held) if line.startswith(rule) else (b"", held + line)
        sys.stdout.write(ready.decode(errors="replace"))
        sys.stdout.flush()
    sys.stdout.write(held.decode(errors="replace"))
    return ""
