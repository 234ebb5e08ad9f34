"""Rewards that hang, die, grow, fork, print and lie, each bounded so that it harms no machine.

A reward does its worst for the completion "bad" alone; every other earns its length.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

Bad = Callable[[], Any]

calls = 0


def length_or(worst: Bad) -> Callable[..., Any]:
    """Return a reward function of TRL's that does its ``worst`` where a completion is "bad"."""

    @wraps(worst)
    def reward(completions: list[Any], **columns: Any) -> Any:
        texts = [completion[0]["content"] for completion in completions]
        if "bad" in texts:
            given = worst()
            if given is not None:
                return given
        return [float(len(text)) for text in texts]

    del reward.__wrapped__  # the signature is the reward's own
    return reward


def counted(completions: list[Any], **columns: Any) -> list[float]:
    """Reward the number of the call: the module's globals live as long as the worker."""
    global calls
    calls += 1
    return [float(calls)] * len(completions)


@length_or
def hangs() -> None:
    time.sleep(60)


@length_or
def hangs_in_c() -> None:
    import re

    re.match(r"(a+)+$", "a" * 40 + "b")  # holds the interpreter for hours


@length_or
def ignores_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


@length_or
def stops_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


@length_or
def segfaults() -> None:
    ctypes.string_at(0)


@length_or
def exits() -> None:
    sys.exit(0)


@length_or
def leaves() -> None:
    os._exit(3)


@length_or
def prints() -> None:
    for _ in range(100):
        print("x" * 2**20)


@length_or
def prints_a_little() -> None:
    print("a word of the reward")


@length_or
def grows() -> None:
    held = []
    for _ in range(64):  # at most 4 GiB, should no limit hold
        held.append(b"x" * 2**26)


@length_or
def grows_together() -> None:
    """Hold memory in two children, neither of which has too much."""
    for _ in range(2):
        if os.fork() == 0:
            held = b"x" * (150 * 2**20)
            time.sleep(30)
            os._exit(len(held) % 2)
    time.sleep(30)


@length_or
def forks() -> None:
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    time.sleep(30)


@length_or
def leaves_a_daemon() -> None:
    """Start a process in a session of its own, which outlives its parent."""
    subprocess.Popen([sys.executable, "-c", DAEMON], start_new_session=True)
    time.sleep(30)


DAEMON = "import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(30)"


@length_or
def comes_back_twice() -> None:
    os.fork()


@length_or
def closes_its_streams() -> None:
    for number in (0, 1, 2):
        with suppress(OSError):  # closed by the call before
            os.close(number)


@length_or
def closes_everything() -> None:
    os.closerange(0, 100)


@length_or
def writes_rubbish() -> None:
    os.write(1, b'\xff\x00{"id": 1, "values": [9, 9]}\n')
    print("no answer", flush=True)


@length_or
def writes_into_every_pipe() -> None:
    for number in range(3, 30):
        with suppress(OSError):
            os.write(number, b'{"id": 99, "values": [9.0, 9.0]}\n')


@length_or
def fills_the_disk() -> None:
    with open("/tmp/vrft-hostile-reward", "wb") as file:
        try:
            for _ in range(64):
                file.write(b"x" * 2**20)
        finally:
            os.unlink(file.name)


@length_or
def gives_nan() -> list[float]:
    return [math.nan, math.nan]


@length_or
def gives_too_many() -> list[float]:
    return [1.0, 2.0, 3.0]


@length_or
def gives_text() -> list[str]:
    return ["1", "2"]


@length_or
def raises() -> None:
    raise KeyError("no such key")


class OwnError(Exception):
    """An exception that only this module knows."""


@length_or
def raises_its_own() -> None:
    raise OwnError("of my own")
