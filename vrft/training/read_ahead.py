"""Reading ahead: what comes next is read by threads while the rest of the program computes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ReadAhead(Generic[T, R]):
    """``read`` of things, done by ``workers`` threads before it is asked for; by none, when it is.

    Either way the same is read, and what goes wrong in reading is raised where it is taken.
    """

    def __init__(self, read: Callable[[T], R], key: Callable[[T], Hashable], workers: int) -> None:
        self.read, self.key = read, key
        self.pool = ThreadPoolExecutor(workers, "ahead") if workers else None
        self.started: dict[Hashable, Future[R]] = {}

    def take(self, wanted: Sequence[T], coming: Sequence[T] = ()) -> list[R]:
        """What is read of the wanted things; reading those that are coming has begun."""
        if self.pool is None:
            return [self.read(thing) for thing in wanted]
        before, self.started = self.started, {}
        for thing in (*wanted, *coming):
            key = self.key(thing)
            if key not in self.started:
                self.started[key] = before.get(key) or self.pool.submit(self.read, thing)
        return [self.started[self.key(thing)].result() for thing in wanted]

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
