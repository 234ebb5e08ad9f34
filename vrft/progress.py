"""Progress of long work on the console: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from typing import Protocol, TextIO, TypeVar

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that work may take before `watched` shows its progress."""


class ProgressDisplay(Protocol):
    """The display of one piece of work, to be told how far the work has come."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more items as done."""

    def note(self, text: str) -> None:
        """Show a short text beside the progress until the next note."""


@contextmanager
def progress(
    total: int | None,
    description: str,
    *,
    done: int = 0,
    stream: TextIO | None = None,
    interval: float = 15.0,
) -> Iterator[ProgressDisplay]:
    """Show progress with its rate and the time left, on standard error unless told otherwise.

    A terminal gets a bar, any other stream a line at most every ``interval`` seconds. ``done`` of
    the ``total`` items were finished before, as in a resumed run, and do not count for the rate.
    Without a ``total``, nobody knows how many there are.
    """
    # Looked up at each call: tests and notebooks replace sys.stderr after this module is imported.
    stream = stream or sys.stderr
    if stream.isatty():
        with bar(total, description, done, stream) as display:
            yield display
    else:
        lines = Lines(total, description, done, stream, interval)
        try:
            yield lines
        finally:
            # Also when the work fails: the log then says how far it came.
            lines.finish()


def watched(
    items: Iterable[T],
    description: str,
    *,
    patience: float = PATIENCE,
    stream: TextIO | None = None,
    interval: float = 15.0,
) -> Iterator[T]:
    """Yield items one by one, and show their progress if they take longer than ``patience``.

    Work that is done in a moment is not worth a line. Rate and time left are those of the items
    behind the first ``patience`` seconds. Of the processes of a launch only the first shows any.
    """
    if os.environ.get("RANK", "0") != "0":
        yield from items
        return
    total = len(items) if isinstance(items, Sized) else None
    started, shown = time.monotonic(), None
    with ExitStack() as stack:
        for done, item in enumerate(items, 1):
            yield item
            if shown is not None:
                shown.advance(1)
            elif time.monotonic() - started >= patience:
                display = progress(total, description, done=done, stream=stream, interval=interval)
                shown = stack.enter_context(display)


class Lines:
    """Progress as plain lines, for log files and pipes."""

    def __init__(
        self,
        total: int | None,
        description: str,
        done: int = 0,
        stream: TextIO = sys.stderr,
        interval: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.description, self.stream = total, description, stream
        self.done = self.first = done
        self.interval, self.clock = interval, clock
        self.started = self.written = clock()
        self.text, self.pending = "", False

    def advance(self, n: int = 1) -> None:
        self.done += n
        self.pending = True
        if self.clock() - self.written >= self.interval:
            self.write()

    def note(self, text: str) -> None:
        self.text = text

    def finish(self) -> None:
        """Write the last state, unless a line has shown it."""
        if self.pending:
            self.write()

    def write(self) -> None:
        """Write one line and start the next interval."""
        self.written, self.pending = self.clock(), False
        line = progress_line(
            self.description,
            self.done,
            self.total,
            self.done - self.first,
            self.written - self.started,
        )
        # Flushed, as a pipe is buffered by the block and would show nothing for hours.
        print(f"{line}  {self.text}".rstrip(), file=self.stream, flush=True)


def progress_line(
    description: str, done: int, total: int | None, fresh: int, seconds: float
) -> str:
    """Return one line of progress; ``fresh`` items took ``seconds``, which gives the rate."""
    line = f"{description}: {done}" if total is None else f"{description}: {done}/{total}"
    if not fresh or seconds <= 0:
        return line
    rate = fresh / seconds
    if total is None:
        return f"{line}  {rate:.2f}/s"
    left = duration(max(total - done, 0) / rate)
    return f"{line}  {rate:.2f}/s  {left} left" if done < total else f"{line}  {rate:.2f}/s"


def duration(seconds: float) -> str:
    """Return seconds as ``h:mm:ss``, or as ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def bar(
    total: int | None, description: str, done: int, stream: TextIO
) -> Iterator[ProgressDisplay]:
    """Show progress as a bar of rich on a terminal."""
    # Imported here: rich takes long to load, and `vrft --help` needs none of it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    # Without markup: "[reward]" in a text would be read as a style and vanish.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=Console(file=stream)) as display:
        task = display.add_task(description, total=total, completed=done, rate="", note="")

        class Bar:
            def advance(self, n: int = 1) -> None:
                display.advance(task, n)
                speed = display.tasks[0].speed  # None before rich has timed two items
                display.update(task, rate=f"{speed:.2f}/s" if speed else "")

            def note(self, text: str) -> None:
                display.update(task, note=text)

        yield Bar()
