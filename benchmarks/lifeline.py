"""Processes that end with the one that started them, whatever ends it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection


class Lanes(ProcessPoolExecutor):
    """A pool of ``count`` processes that end with this one, each after one task if ``fresh``.

    Processes of concurrent.futures wait for their next task for ever once the process that would
    have given it was killed: each of them holds the end of the pipe at which it waits.
    """

    def __init__(
        self, count: int, begin: Callable[[], None] | None = None, *, fresh: bool = False
    ) -> None:
        """Make the pool; every process calls ``begin``, if given, before its first task."""
        # A forked process would inherit locks of torch's threads, and CUDA does not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        theirs, self.lifeline = spawn.Pipe(duplex=False)
        super().__init__(
            count,
            mp_context=spawn,
            initializer=begin_tied,
            initargs=(theirs, begin),
            max_tasks_per_child=1 if fresh else None,
        )


def begin_tied(starter: Connection, begin: Callable[[], None] | None) -> None:
    """Tie this process to the one that started it, and call ``begin``."""
    tie(starter)
    if begin is not None:
        begin()


def tie(starter: Connection) -> None:
    """End this process as soon as the one that holds the other end of a pipe is gone."""
    threading.Thread(target=end_with, args=(starter,), name="lifeline", daemon=True).start()


def end_with(starter: Connection) -> None:
    """Wait until the other end of a pipe is gone, and end this process, which serves nobody now."""
    with suppress(EOFError, OSError):
        starter.recv()  # nothing is ever sent this way
    os.kill(os.getpid(), signal.SIGTERM)
