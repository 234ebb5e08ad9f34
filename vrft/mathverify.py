"""Whether two mathematical expressions mean the same, asked of math-verify in another process.

sympy may take for ever over what a model writes (9^{9^{9}} is enough), and nothing inside a
process can be relied on to stop it. So a worker compares, one pair at a time, within limits of
processor time and memory at which the system kills it; the next pair gets a fresh worker. Texts
travel as JSON, and nothing of them is ever run. The worker is this file, run as a program; it
ends with the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

Rule = Literal["boxed", "lighteval", "default"]
"""How expressions are found and compared; see ``equivalent``."""

SECONDS = 5.0
"""Processor time for reading the gold expression, and again for the answer.

It is the worker's own, so that no score depends on how busy the machine is.
"""
MEMORY = 2 << 30
"""Bytes that a worker may have."""


@functools.lru_cache(maxsize=512)
def equivalent(
    gold: str, answer: str, rule: Rule = "boxed", seconds: float = SECONDS
) -> bool | None:
    """Whether an answer means the same as the gold one; None if the gold one cannot be read.

    The gold one is read first; an answer that cannot be read, or not within the limits, is wrong.

    - ``boxed``: both are bare LaTeX, such as the contents of a box; nothing is searched for.
    - ``lighteval``: the answer is a whole output, in which lighteval's settings for open-rs find
      the expression; numbers are equal that agree to 5 decimals.
    - ``default``: both are whole texts, searched by math-verify's own settings and compared the
      wrong way round, as in the published rewards of Visual-RFT and R1-V.
    """
    worker = waiting() or Worker()
    verdict = worker.compare(gold=gold, answer=answer, rule=rule, seconds=seconds)
    if worker.alive:  # one that an exception interrupted is dropped here, and ends by itself
        idle.append(worker)
    return verdict


class Worker:
    """A process that compares expressions until it is closed or a limit kills it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
        )
        if self.receive() != "ready":
            raise RuntimeError("the worker of math-verify did not start; its own message is above")

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def compare(self, **request: object) -> bool | None:
        """The verdict on one request; None if its gold expression cannot be read."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        readable = self.receive() == "readable"
        return self.receive() == "same" if readable else None

    def receive(self) -> str:
        """The next line of the process, "" once it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
        return line.strip()

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.communicate()


idle: list[Worker] = []
"""Workers that wait for a request: as many as threads have ever asked at once."""


def waiting() -> Worker | None:
    """A worker that waits, taken from ``idle``; None if there is none."""
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


os.register_at_fork(after_in_child=idle.clear)  # a fork must not talk to its parent's workers


def serve() -> None:
    """The worker: for each request say "readable" once the gold text is, then "same" or not.

    A request whose gold text cannot be read is answered "unreadable" alone.
    """
    import signal

    out, sys.stdout = sys.stdout, sys.stderr  # whatever libraries print is no answer
    rules = load_rules()
    limit_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        read_gold, read_answer, same = rules[request["rule"]]
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        gold = read_gold(request["gold"])
        print("readable" if gold else "unreadable", file=out, flush=True)
        if gold:
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])
            verdict = same(gold, read_answer(request["answer"]))
            print("same" if verdict else "different", file=out, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_memory() -> None:
    """Bound the memory of this process, where the system can."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


Read = Callable[[str], list[Any]]
Same = Callable[[list[Any], list[Any]], bool]


def load_rules() -> dict[str, tuple[Read, Read, Same]]:
    """Per rule how to read a gold text, how to read an answer, and how to compare the two.

    Nothing read is an empty list. The time limits of math-verify itself are off: they are alarms
    that long computations do not hear.
    """
    import logging

    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    logging.disable()
    latex, number = LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()

    def read(text: str, targets: Iterable[Any], **options: Any) -> list[Any]:
        return list(parse(text, list(targets), parsing_timeout=None, **options))

    def boxed(text: str) -> list[Any]:
        options = {"fallback_mode": "no_fallback", "extraction_mode": "first_match"}
        return read(f"$\\boxed{{{text}}}$", [latex], **options)

    def anywhere(text: str) -> list[Any]:
        return read(text, [latex, number])

    def whole(text: str) -> list[Any]:
        return read(text, [LatexExtractionConfig(), number])

    def same(gold: list[Any], answer: list[Any], decimals: int = 6) -> bool:
        return bool(verify(gold, answer, float_rounding=decimals, timeout_seconds=None))

    return {
        "boxed": (boxed, boxed, same),
        "lighteval": (boxed, anywhere, functools.partial(same, decimals=5)),
        "default": (whole, whole, lambda gold, answer: same(answer, gold)),
    }


if __name__ == "__main__":
    serve()
