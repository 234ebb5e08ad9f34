"""The signals that ask a run to save and stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from vrft import launched

UNHANDLED = (
    "note: training runs in a thread beside the main one, where Ctrl-C and SIGTERM cannot be "
    "awaited; go on with the last checkpoint if it is stopped (train.save_steps)"
)

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""The signals after which a run saves and stops: of a keyboard, a batch system that ends or
preempts a job (Slurm's ``--signal``), and a terminal that is closed."""

LEFT_IGNORED = ("SIGHUP", "SIGQUIT")
"""Signals that stay ignored where whoever started the run ignores them, as ``nohup`` does."""

REPEATED = 1.0
"""Seconds in which a second signal counts as the first: launchers pass on what a process of theirs
has received by itself."""


class StopSignal:
    """A context in which the signals of STOPPING ask the run to stop after its step.

    ``number`` is the signal that came, None before. A second Ctrl-C stops at once, by
    KeyboardInterrupt, and so does, by SystemExit(128 + signal), any other signal that comes
    ``REPEATED`` seconds or more after the first. The former handlers are put back when the context
    ends.

    In another thread than the main one, where Python lets nobody handle signals, nothing is
    handled and ``number`` stays None; a line on standard error says so.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.number: int | None = None
        self.former: dict[int, Any] = {}
        self.clock, self.came = clock, 0.0

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            print(UNHANDLED, file=sys.stderr)
            return self
        for number in STOPPING:
            ignored = signal.getsignal(number) == signal.SIG_IGN
            if not (ignored and number.name in LEFT_IGNORED):
                self.former[number] = signal.signal(number, self.receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal, for the loop to look at after each step."""
        # Nothing else is done here: a handler runs between any two instructions of the step.
        name = signal.Signals(number).name
        if self.number is None:
            self.number, self.came = number, self.clock()
            say(f"{name}: the run saves and stops after this step; once more stops it at once")
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.clock() - self.came >= REPEATED:
            say(f"{name} once more: stopped at once; go on from the last checkpoint")
            raise SystemExit(128 + number)


def say(line: str) -> None:
    """Write a line to standard error from within a signal's handler."""
    # print() fails where the signal has interrupted another print.
    if launched.speaks():
        with suppress(OSError):
            os.write(2, f"\n{line}\n".encode())
