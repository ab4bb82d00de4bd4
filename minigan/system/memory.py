"""Memory that is used again."""

from __future__ import annotations

import ctypes
import os
import platform


def keep_freed_memory():
    """Asks glibc to reuse large blocks that were freed instead of returning them to the system.

    A training step frees and allocates the same few megabytes over and over; as shipped, glibc
    unmaps each of them and the next step pays a page fault for every 4 KiB. Raising both
    thresholds together removes some ten thousand faults a step. MINIGAN_MALLOC=off declines.
    """
    if platform.libc_ver()[0] != "glibc" or os.environ.get("MINIGAN_MALLOC") == "off":
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(mmap_threshold, 32 << 20)  # glibc accepts no more than 32 MiB
    mallopt(trim_threshold, 1 << 30)
