"""Work that waits for others, many pieces at a time, for a program that runs without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Work = Callable[[T], Awaitable[R]]


def in_parallel(
    items: Iterable[T], opened: Callable[[], AbstractAsyncContextManager[Work[T, R]]], width: int
) -> Iterator[R]:
    """Yield the results of ``width`` pieces of work at a time, in the order in which they end.

    ``opened`` gives the work, a coroutine function, and holds what it needs while it runs, such as
    connections. Items are taken one by one, when a piece of work has ended. The first exception of
    a piece of work ends all others, and is raised behind the results that are there. So is an
    interruption (Ctrl-C).
    """
    running = Running(items, opened, width)
    try:
        yield from running.results()
        running.task.result()  # raises the exception that has ended the work
    except KeyboardInterrupt:
        running.stop()
        yield from running.results()
        raise
    finally:
        running.stop()


class Running(Generic[T, R]):
    """Work in a thread with an event loop of its own, as a notebook's loop is in use already."""

    def __init__(
        self,
        items: Iterable[T],
        opened: Callable[[], AbstractAsyncContextManager[Work[T, R]]],
        width: int,
    ) -> None:
        self.items, self.opened, self.width = iter(items), opened, width
        # Results in tuples, and None behind the last of them.
        self.queue: SimpleQueue[tuple[R] | None] = SimpleQueue()
        self.loop = asyncio.new_event_loop()
        self.task = self.loop.create_task(self.everything())
        self.thread = threading.Thread(target=self.run, name="vrft-parallel", daemon=True)
        self.thread.start()

    def run(self) -> None:
        """Run the loop until all is done, failed or cancelled."""
        try:
            self.loop.run_until_complete(asyncio.wait({self.task}))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()
            self.queue.put(None)

    async def everything(self) -> None:
        """Let ``width`` workers take the items; the first exception cancels the others."""
        async with self.opened() as work:
            workers = [asyncio.ensure_future(self.worker(work)) for _ in range(self.width)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def worker(self, work: Work[T, R]) -> None:
        """Do one piece of work after the other, until no item is left."""
        for item in self.items:
            self.queue.put((await work(item),))

    def results(self) -> Iterator[R]:
        """Yield the results that are there, and those that come, until the work has ended."""
        while (result := self.queue.get()) is not None:
            yield result[0]
        self.queue.put(None)  # for who asks once more

    def stop(self) -> None:
        """Cancel what is under way, and wait until all has ended."""
        with contextlib.suppress(RuntimeError):  # a closed loop has nothing under way
            self.loop.call_soon_threadsafe(self.task.cancel)
        self.thread.join()
