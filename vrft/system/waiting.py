"""Waits that a thread announces, for another process, a server or a disk: they may take their time.

In a run of several processes, one that neither computes nor has announced that it waits is taken
for one that hangs after ``train.hang_timeout`` seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

ANNOUNCED: dict[int, int] = {}
"""Thread -> the announced waits that it is in, one within the other."""


@contextmanager
def waiting() -> Iterator[None]:
    """Announce within the block, or the function it decorates, that this thread may have to wait.

    For what has a limit of its own, such as a server's answer, or for what nobody can hasten.
    """
    thread = threading.get_ident()
    ANNOUNCED[thread] = ANNOUNCED.get(thread, 0) + 1
    try:
        yield
    finally:
        ANNOUNCED[thread] -= 1
        if not ANNOUNCED[thread]:
            del ANNOUNCED[thread]


def announced(thread: int) -> bool:
    """Return whether a thread is in a wait that it has announced."""
    return thread in ANNOUNCED
