"""Files that are whole: written under another name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from minigan.system.parallel import is_first


def write(path: Path, data: bytes):
    """Puts `data` at `path` in one instant: under another name first, then renamed.

    A link stays, and what it points at is written, as by any other program; there need not be a
    file yet, but the folder must be there, as its disk may be missing. OSError if links go round.

    The file is synced before the rename, or a power failure could leave the new name on a file
    whose contents never reached the disk; the folder after it, so that the rename lasts.

    Of several ranks, which all have the same data, the first alone writes.
    """
    if not is_first():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    named, path = path, Path(os.path.realpath(path))
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(named))
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # a full disk does not say for which file
        error.filename = error.filename or str(named)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove_leftovers(path: Path):
    """Removes what a process that was killed while it saved to `path` left behind."""
    leftover = re.compile(re.escape(f".{path.name}.tmp-") + r"\d+")
    with contextlib.suppress(OSError):  # the folder is not there yet, or may not be listed
        for neighbour in path.parent.iterdir():
            if leftover.fullmatch(neighbour.name):
                neighbour.unlink(missing_ok=True)


def _sync_folder(folder: Path):
    if os.name == "nt":  # Windows cannot open a folder
        return
    # Some file systems refuse to sync a folder, and some folders may not be read. Either file that
    # a crash then leaves under the name is whole, so this is no reason to call the save a failure.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
