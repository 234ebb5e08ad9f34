"""Processes that compare expressions, from the side of those who ask: started, asked, ended."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any, NamedTuple

from vrft.mathverify import rules

CLOCK = 600.0
"""Seconds on the wall for a line of a worker: only one that stands still needs so long.

The limits of a comparison are of processor time, so that no score depends on how busy the machine
is; a process that waits for something would never reach them.
"""


class Verdict(NamedTuple):
    """The result of one comparison, and the time that it took.

    ``same`` says whether the two expressions are equal, None for an unreadable gold text;
    ``seconds`` are those of the worker's processor time.
    """

    same: bool | None
    seconds: float


class Worker:
    """A process that compares expressions until it is closed or killed at a limit."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            # -P: without it the folder of this file comes first on sys.path, and modules beside it
            # would hide those of Python's library.
            [sys.executable, "-P", "-W", "ignore", rules.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pending = b""
        if self.receive()[0] != "ready":
            raise RuntimeError("the worker of math-verify did not start; its own message is above")

    @property
    def alive(self) -> bool:
        """Return whether the process is still there."""
        return self.process.poll() is None

    def compare(self, seconds: float, **request: object) -> Verdict:
        """Return the verdict on one request; None if its gold expression cannot be read.

        A worker that is killed at a limit, which took ``seconds``, answers "" from then on: while
        it reads the gold text that makes None, while it reads or compares the answer False.
        """
        assert self.process.stdin is not None
        line = json.dumps({**request, "seconds": seconds})  # ASCII, lone surrogates included
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line.encode("ascii") + b"\n")
            self.process.stdin.flush()
        told, reading = self.receive(seconds)
        if told != "readable":
            return Verdict(None, reading)
        told, comparing = self.receive(seconds)
        return Verdict(told == "same", reading + comparing)

    def receive(self, seconds: float = 0.0) -> tuple[str, float]:
        """Return the next word of the process and the processor time behind it.

        They are "" and ``seconds`` once it has ended.
        """
        assert self.process.stdout is not None
        pipe, deadline = self.process.stdout.fileno(), time.monotonic() + CLOCK
        while b"\n" not in self.pending:
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            waited = poll.poll(1000 * max(0.0, deadline - time.monotonic()))
            chunk = os.read(pipe, 1 << 16) if waited else b""
            if not chunk:
                self.close()
                return "", seconds
            self.pending += chunk
        line, _, self.pending = self.pending.partition(b"\n")
        told, *took = line.decode("ascii").split()
        return told, float(took[0]) if took else 0.0

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.communicate()


idle: list[Worker] = []
"""Workers that wait for a request: as many as threads have ever asked at once.

A list needs no lock: its ``pop`` and ``append`` are atomic, and a worker is in use by one thread.
"""


def ask(seconds: float, **request: Any) -> Verdict:
    """Return the verdict of a worker that waits, or else of a new one; see ``Worker.compare``."""
    worker = waiting() or Worker()
    verdict = worker.compare(seconds, **request)
    # Only here the worker is known to have no answer pending. If Ctrl-C interrupts `compare`, the
    # worker is dropped, its input closes, and it ends by itself.
    if worker.alive:
        idle.append(worker)
    return verdict


def waiting() -> Worker | None:
    """Take a living worker from ``idle``; None if there is none."""
    while idle:
        worker = idle.pop()
        if worker.alive:
            return worker
        worker.close()
    return None


@atexit.register
def close() -> None:
    """End the workers that wait; the next request starts another."""
    while idle:
        idle.pop().close()


# A forked child must not talk to the workers of its parent: each would read the other's verdicts.
os.register_at_fork(after_in_child=idle.clear)
