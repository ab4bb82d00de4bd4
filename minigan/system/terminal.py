"""What goes to a terminal: text and progress bars, none of which may end a run.

Whoever reads along may go while a run goes on: `| head` has seen enough, the disk of the log is
full, the connection drops, a service has no standard error from the start. And what reads may know
no Greek, as a Windows console in cp1252.
"""

from __future__ import annotations

import contextlib
import os
import sys

from minigan.system.launcher import ON_TERMINAL
from minigan.system.parallel import is_first


class Quiet:
    """A text stream in front of another, whose writes never fail.

    What the other's encoding lacks becomes a question mark. After the first write that fails, or
    if there is no stream (None, or one that is closed), all that is written is dropped.
    """

    def __init__(self, stream):
        self.stream = stream
        self.lost = stream is None or getattr(stream, "closed", False)

    def __getattr__(self, name):
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return not self.lost and self.stream.isatty()

    def write(self, text) -> int:
        self._attempt("write", text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self):
        self._attempt("flush")

    def end(self):
        """Flushes. What can't be written then is sent nowhere, or Python's own exit would fail."""
        self.flush()
        if self.lost and self.stream is not None:
            # Without a descriptor, as a StringIO, it has nothing that is still to be written.
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())

    def _attempt(self, name, *values):
        if not self.lost:
            try:
                getattr(self.stream, name)(*values)
            except (OSError, ValueError):  # ValueError: somebody has closed it
                self.lost = True


def quiet(stream) -> Quiet:
    """The stream as one whose writes never fail."""
    return stream if isinstance(stream, Quiet) else Quiet(stream)


@contextlib.contextmanager
def guarded():
    """`with guarded():` around a whole program: nothing that only prints can end it.

    Of several ranks the first alone prints: what others do is dropped.
    """
    before = sys.stdout, sys.stderr
    heard = before if is_first() else (None, None)
    sys.stdout, sys.stderr = streams = tuple(map(quiet, heard))
    try:
        yield
    finally:
        for stream in streams:
            stream.end()
        sys.stdout, sys.stderr = before


def bar(iterable=None, **options):
    """tqdm's progress bar on standard error, whatever that is; options: tqdm's.

    On a terminal it is redrawn several times a second; where the output goes to a file, it is a
    line every ten seconds.
    """
    from tqdm import tqdm

    file = quiet(sys.stderr)
    interval = 0.2 if file.isatty() or ON_TERMINAL in os.environ else 10.0
    return tqdm(iterable, file=file, dynamic_ncols=True, mininterval=interval, **options)
