"""Processes that hang: alive, but at rest where they have not said that they wait.

A process is at rest from one look to the next if no thread that its run waits for has been on a
processor, and if all its threads and child processes together have used next to no processor time:
slowness of any kind is no rest. Linux tells the times in /proc; elsewhere nothing is at rest.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from vrft.system.waiting import announced

PROC = Path("/proc")

SHARE = 0.01
"""Part of a processor that a process at rest may use in the background: logs, signs of life."""

RUNNABLE = "R"
"""The state, in /proc, of a thread that computes, or would if there were a free processor."""

OWN = str(Path(__file__).parent.parent) + os.sep
"""The folder of the toolkit's code, which may be installed among the libraries."""

LIBRARIES = tuple(
    sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
"""Folders of code that is neither the toolkit's nor a user's."""


@dataclass(frozen=True)
class Thread:
    """A thread at a look: its state, the account of its processor time, and its instruction."""

    id: int
    state: str
    account: str
    code: CodeType | None
    instruction: int


@dataclass(frozen=True)
class Look:
    """A process at a moment: threads that its run waits for, and its times in seconds.

    ``seconds`` of processor time are those of all its threads and child processes.
    """

    threads: tuple[Thread, ...]
    seconds: float
    time: float


def at_rest(before: Look, now: Look) -> bool:
    """Return whether a process has done nothing from one look to the next."""
    still = before.threads == now.threads and bool(now.threads)
    runs = any(thread.state == RUNNABLE for thread in now.threads)
    used = now.seconds - before.seconds
    return still and not runs and used < SHARE * (now.time - before.time)


class Rest:
    """The looks in a row at which this process was at rest and its ``thread`` announced no wait.

    ``line`` tells of it once there are as many as ``limit`` seconds have, at one every ``beat``
    seconds; never for a limit of 0.
    """

    def __init__(
        self,
        thread: int,
        limit: float,
        beat: float,
        look: Callable[[int], Look] | None = None,
    ) -> None:
        self.thread, self.limit, self.look = thread, limit, look or look_at_process
        self.most = math.ceil(limit / beat)
        self.before: Look | None = None
        self.count = 0

    def line(self) -> str | None:
        """Look at the process; return where it hangs, in words, or None while it does not."""
        if not self.most:
            return None
        now, before = self.look(self.thread), self.before
        self.before = now
        resting = before is not None and at_rest(before, now) and not announced(self.thread)
        self.count = self.count + 1 if resting else 0
        if self.count < self.most:
            return None
        return (
            f"it has hung for {self.limit:g} seconds in {whereabouts(self.thread)}, and computes "
            "nothing; mend what it waits for there, or raise train.hang_timeout (0: no limit)"
        )


def look_at_process(thread: int) -> Look:
    """Return this process as it is now, without the thread that asks.

    Its threads are the one that runs, and those of Python's that are no daemons: they may work
    for it.
    """
    me = threading.get_ident()
    frames = sys._current_frames()
    threads = []
    for each in threading.enumerate():
        if each.ident == me or each.ident is None or each.native_id is None:
            continue
        if each.daemon and each.ident != thread:
            continue
        with contextlib.suppress(OSError):  # it has ended, or the system tells nothing
            frame = frames.get(each.ident)
            state, account = state_and_account(each.native_id)
            code = None if frame is None else frame.f_code
            instruction = -1 if frame is None else frame.f_lasti
            threads.append(Thread(each.native_id, state, account, code, instruction))
    others = time.process_time() - time.thread_time()
    seconds = others + sum(map(seconds_of, descendants(os.getpid())))
    return Look(tuple(threads), seconds, time.monotonic())


def state_and_account(thread: int) -> tuple[str, str]:
    """Return the state of a thread of this process, and what changes whenever it gets to run.

    Raises OSError for a thread that has ended.
    """
    folder = PROC / "self" / "task" / str(thread)
    # Behind the name, in which there may be anything.
    fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    with contextlib.suppress(FileNotFoundError):  # a kernel without it counts hundredths of seconds
        return fields[0], (folder / "schedstat").read_text()
    return fields[0], " ".join(fields[11:13])


def descendants(process: int) -> Iterator[int]:
    """Yield the ids of all processes that one has started, and those that they have."""
    for file in (PROC / str(process) / "task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            for child in map(int, file.read_text().split()):
                yield child
                yield from descendants(child)


def seconds_of(process: int) -> float:
    """Return the seconds of processor time of a process and those that it has waited for."""
    with contextlib.suppress(OSError):  # it has ended
        text = (PROC / str(process) / "stat").read_text(errors="replace")
        fields = text.rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def whereabouts(thread: int) -> str:
    """Return the line of the toolkit's or a user's code that a thread is in, and what it calls."""
    frame = sys._current_frames().get(thread)
    own = frame
    while own is not None and not is_own(own.f_code.co_filename):
        own = own.f_back
    if own is None or own is frame:
        return place(frame)
    return f"{place(own)}, at {place(frame)}"


def place_of(thread: int) -> str:
    """Return where a thread of this process is, such as ``mine.py:12 (reward)``."""
    return place(sys._current_frames().get(thread))


def place(frame: FrameType | None) -> str:
    """Return a frame's place in the code, such as ``mine.py:12 (reward)``."""
    if frame is None:
        return "a thread that has ended"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})"


def is_own(file: str) -> bool:
    """Return whether a file is the toolkit's or a user's, and no library's."""
    return file.startswith(OWN) or not file.startswith((*LIBRARIES, "<"))
