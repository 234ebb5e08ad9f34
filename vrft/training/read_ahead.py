"""Reading ahead: threads read the next step's inputs while this step computes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ReadAhead(Generic[T, R]):
    """A reader whose results are prepared by ``workers`` threads; with 0, at the time of asking.

    ``read`` turns an input into its result, and ``key`` tells inputs apart. The results are the
    same for any number of workers, and an error of ``read`` is raised where its result is taken,
    not in the thread, so that a run ends in the step that needs the broken input.
    """

    def __init__(self, read: Callable[[T], R], key: Callable[[T], Hashable], workers: int) -> None:
        self.read, self.key = read, key
        self.pool = ThreadPoolExecutor(workers, "ahead") if workers else None
        self.pending: dict[Hashable, Future[R]] = {}

    def announce(self, items: Sequence[T]) -> None:
        """Begin to read inputs in the order in which they will be asked for; forget all others."""
        if self.pool is None:
            return
        # Only what is announced is held on to: results of inputs that were announced but never
        # taken (resampling ended, say) would otherwise pile up, pictures and all.
        before, self.pending = self.pending, {}
        for item in items:
            key = self.key(item)
            if key not in self.pending:
                self.pending[key] = before.get(key) or self.pool.submit(self.read, item)

    def get(self, item: T) -> R:
        """Return the result of an input, read now where it was not announced."""
        pending = self.pending.get(self.key(item))
        return self.read(item) if pending is None else pending.result()

    def close(self) -> None:
        """Cancel the reads that have not begun, and wait for those that have."""
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
