"""Work in parallel: its width, its order, its first failure and its interruption."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from vrft.endpoints.parallel import in_parallel

Work = Callable[[int], Awaitable[int]]


class Opened:
    """A context that gives the work, and records whether it was left."""

    def __init__(self, work: Work) -> None:
        self.work, self.left = work, False

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Work]:
        try:
            yield self.work
        finally:
            self.left = True


def test_all_results_come_and_no_more_than_the_width_are_under_way() -> None:
    running, most = 0, 0

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return item * item

    opened = Opened(work)
    assert sorted(in_parallel(range(20), opened, 4)) == [n * n for n in range(20)]
    assert most == 4
    assert opened.left


def test_results_come_in_the_order_in_which_they_end() -> None:
    async def work(item: int) -> int:
        await asyncio.sleep(item / 20)
        return item

    assert list(in_parallel([4, 1], Opened(work), 2)) == [1, 4]


def test_the_first_failure_ends_all_and_comes_behind_the_results() -> None:
    cancelled = []

    async def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        if item > 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(item)
                raise
        return item

    opened, results = Opened(work), []
    with pytest.raises(ValueError, match="two"):
        for result in in_parallel([0, 1, 3, 2, 4], opened, 2):
            results.append(result)
    assert (results, cancelled, opened.left) == ([0, 1], [3], True)


def test_a_failure_to_open_is_raised() -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Work]:
        raise ConnectionError("closed")
        yield

    with pytest.raises(ConnectionError, match="closed"):
        list(in_parallel([1], opened, 1))


def test_an_interruption_yields_what_is_there_and_ends_the_rest() -> None:
    first, cancelled = threading.Event(), []

    async def work(item: int) -> int:
        if item == 0:
            return item
        first.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    results = in_parallel([0, 1], Opened(work), 1)
    assert next(results) == 0
    assert first.wait(10)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert cancelled == [1]


def test_whoever_stops_reading_leaves_nothing_running() -> None:
    async def work(item: int) -> int:
        await asyncio.sleep(0 if item == 0 else 60)
        return item

    opened = Opened(work)
    results = in_parallel([0, 1], opened, 1)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert opened.left
    assert not [thread for thread in threading.enumerate() if thread.name == "vrft-parallel"]
