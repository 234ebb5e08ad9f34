"""The heap of a process that trains on a CPU: freed memory is kept for the next tensors.

By default the C library gives every large block back to the system when it is freed, and asks for
new pages for the next one, each of which the system clears when it is first touched. The tensors of
one training step are as large as those of the step before, so that their pages can serve again.
"""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Options of mallopt(3): the free memory at the heap's end from which on it is given back, and the
size from which on a block is no part of the heap."""

KEPT = 2**30
"""Bytes of free memory that the heap keeps."""

LARGEST = 2**28
"""Bytes of a block above which it is a mapping of its own, as before: a few would fill the heap."""

SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
"""Environment variables by which a user has set the same."""


def keep_freed_memory() -> bool:
    """Let the heap keep what is freed, up to KEPT bytes; return whether it does.

    Only glibc's does, and only where the environment sets nothing else.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in SETTINGS):
        return False
    set_option = ctypes.CDLL(None).mallopt
    return bool(set_option(TRIM_THRESHOLD, KEPT) and set_option(MMAP_THRESHOLD, LARGEST))
