"""The time that math-verify may take for many answers, and the answers that are judged at once.

A budget counts processor time of the workers and not the clock, and what is over it is decided
between rounds of as many answers as there are workers: what a run earns does not depend on how
busy its machine is.
"""

from __future__ import annotations

import contextvars
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from vrft import launched
from vrft.mathverify import worker
from vrft.mathverify.rules import Rule
from vrft.mathverify.worker import Verdict

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4
"""Workers at a time, on a machine with as many cores."""

REMEMBERED = 2**14
"""Verdicts that are remembered, the newest."""

AHEAD = 32
"""Items a worker that ``each`` gives out at a time where no budget counts them."""


class TimeBudget:
    """Processor time for comparisons: ``spent`` of ``seconds``, and what was left out for it.

    ``seconds`` of 0 never end, and where ``asks`` is false no worker is asked at all. A comparison
    counts once, also where its verdict is remembered from before.
    """

    def __init__(self, seconds: float, *, asks: bool = True) -> None:
        self.seconds, self.asks = seconds, asks
        self.spent = 0.0
        self.asked = 0
        """Comparisons that were asked for, those that are left out among them."""
        self.over = 0
        """Comparisons that were left out: their answers count as wrong."""
        self.exhausted = False
        self.counted: set[bytes] = set()
        self.lock = threading.Lock()

    def spend(self, key: bytes, seconds: float) -> None:
        """Count the time of a comparison, the first time that it is asked for."""
        with self.lock:
            if key not in self.counted:
                self.counted.add(key)
                self.spent += seconds

    def allows(self, key: bytes, *, known: bool) -> bool:
        """Return whether a comparison is made, and count it if it is left out.

        One that has been counted before is; beyond that only those are, where no worker is asked,
        whose verdict is ``known``.
        """
        with self.lock:
            allowed = key in self.counted or (not self.exhausted and (self.asks or known))
            self.asked += 1
            self.over += not allowed
            return allowed

    def settle(self) -> None:
        """Note whether the budget is spent; asked between rounds, so that each is judged alike."""
        self.exhausted = 0 < self.seconds <= self.spent


CURRENT: ContextVar[TimeBudget | None] = ContextVar("budget of math-verify", default=None)


@contextmanager
def budget(seconds: float) -> Iterator[TimeBudget]:
    """Bound the processor time of the comparisons inside: what is over is wrong, and counted."""
    with within(TimeBudget(seconds)) as made:
        yield made


@contextmanager
def remembered() -> Iterator[TimeBudget]:
    """Use only remembered verdicts inside: any other comparison is left out."""
    with within(TimeBudget(0.0, asks=False)) as made:
        yield made


@contextmanager
def within(made: TimeBudget) -> Iterator[TimeBudget]:
    """Make ``made`` the budget of the comparisons inside."""
    token = CURRENT.set(made)
    try:
        yield made
    finally:
        CURRENT.reset(token)


remembered_verdicts: dict[bytes, Future[Verdict]] = {}
"""Request -> its verdict, or the promise of the thread that asks for it, the oldest first."""

LOCK = threading.Lock()
os.register_at_fork(after_in_child=remembered_verdicts.clear)  # a promise of the parent's threads


def verdict_on(
    seconds: float, rule: Rule, gold: str | list[str], answer: str | list[str]
) -> bool | None:
    """Return the verdict on a request, which a worker is asked for once.

    It is False for a request beyond the current budget.
    """
    # Answers may have 100,000 characters: of those that are remembered a hash is kept.
    text = repr((seconds, rule, gold, answer)).encode("utf-8")
    key = hashlib.blake2b(text, digest_size=20).digest()
    limit = CURRENT.get()
    if limit is None:
        return asked_once(key, seconds, rule, gold, answer).same
    if not limit.allows(key, known=key in remembered_verdicts):
        return False
    verdict = asked_once(key, seconds, rule, gold, answer)
    limit.spend(key, verdict.seconds)
    return verdict.same


def asked_once(
    key: bytes, seconds: float, rule: Rule, gold: str | list[str], answer: str | list[str]
) -> Verdict:
    """Return the verdict on a request: the remembered one, or that which another thread awaits."""
    with LOCK:
        promise = remembered_verdicts.get(key)
        mine = promise is None
        if promise is None:
            promise = remembered_verdicts[key] = Future()
            while len(remembered_verdicts) > REMEMBERED:
                remembered_verdicts.pop(next(iter(remembered_verdicts)))
    if mine:
        try:
            promise.set_result(worker.ask(seconds, rule=rule, gold=gold, answer=answer))
        except BaseException as error:  # Ctrl-C as well: others wait for the promise
            with LOCK:
                remembered_verdicts.pop(key, None)
            promise.set_exception(error)
            raise
    return promise.result()


def forget() -> None:
    """Forget all verdicts."""
    with LOCK:
        remembered_verdicts.clear()


def in_use() -> bool:
    """Return whether this process has asked math-verify for anything."""
    return bool(remembered_verdicts)


def current() -> TimeBudget | None:
    """Return the budget of the comparisons here; None without one."""
    return CURRENT.get()


def workers() -> int:
    """Return how many answers are judged at once: MOST, or this process's share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    beside = launched.local_processes()
    return max(1, min(MOST, (cores or 1) // beside))


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the function's results for some items, in their order.

    From the first item on that has math-verify asked, several threads call the function at once.
    """
    results: list[Result] = []
    limit = CURRENT.get()
    while len(results) < len(items) and not in_use():
        results.append(function(items[len(results)]))
        if limit is not None:
            limit.settle()
    if len(results) == len(items):
        return results
    size = workers()
    round_size = size if limit is not None else size * AHEAD
    with ThreadPoolExecutor(size, thread_name_prefix="math-verify") as pool:
        while len(results) < len(items):
            some = items[len(results) : len(results) + round_size]
            futures = [pool.submit(contextvars.copy_context().run, function, item) for item in some]
            results += [future.result() for future in futures]
            if limit is not None:
                limit.settle()
    return results
