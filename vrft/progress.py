"""Progress of long work on the console: a bar on a terminal, else a line now and then.

While a bar is shown, whatever is printed, logged or warned of appears above it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

from vrft import launched
from vrft.system.log_handlers import handlers_followed

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds that work may take before `with_progress` shows its progress."""

WIDEST_BAR, NARROWEST_BAR = 24, 8
"""Columns of a bar where there is room, and below which there is none at all."""


class ProgressDisplay(Protocol):
    """The display of one piece of work, to be told how far the work has come."""

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more items as done."""

    def note(self, *texts: str) -> None:
        """Show short texts beside the progress until the next note, the most important first."""


@contextmanager
def progress(
    total: int | None,
    description: str,
    *,
    done: int = 0,
    stream: TextIO | None = None,
    interval: float = 15.0,
    every: int | None = None,
) -> Iterator[ProgressDisplay]:
    """Show progress with its rate and the time left, on standard error unless told otherwise.

    A terminal gets a bar, any other stream a line at most every ``interval`` seconds, or one
    every ``every`` items. ``done`` of the ``total`` items were finished before, as in a resumed
    run, and do not count for the rate. Without a ``total``, nobody knows how many there are.
    """
    # Looked up at each call: tests and notebooks replace sys.stderr after this module is imported.
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        with bar(Bar(total, description, done), stream) as shown:
            yield shown
    else:
        lines = Lines(total, description, done, stream, interval, every=every)
        try:
            yield lines
        finally:
            # Also when the work fails: the log then says how far it came.
            lines.finish()


def with_progress(
    items: Iterable[T],
    description: str,
    *,
    patience: float = PATIENCE,
    stream: TextIO | None = None,
    interval: float = 15.0,
) -> Iterator[T]:
    """Yield items one by one, and show their progress if they take longer than ``patience``.

    Work that is done in a moment is not worth a line. Rate and time left are those of the items
    after the first ``patience`` seconds. Of the processes of a launch only the first shows any.
    """
    if not launched.speaks():
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


class Work:
    """A piece of work: how far it has come, since when, and what is said beside it."""

    def __init__(
        self,
        total: int | None,
        description: str,
        done: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.description, self.clock = total, description, clock
        self.done = self.first = done
        self.started = clock()
        self.texts: tuple[str, ...] = ()

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more items as done."""
        self.done += n

    def note(self, *texts: str) -> None:
        """Keep the texts to be shown beside the progress."""
        self.texts = tuple(filter(None, texts))

    def numbers(self) -> list[str]:
        """Return how far the work has come, the time left and the rate, the latter if known.

        The rate is that of the items since the start; those of an earlier start do not count.
        """
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        fresh, seconds = self.done - self.first, self.clock() - self.started
        if not fresh or seconds <= 0:
            return [count]
        rate = fresh / seconds
        if self.total is None or self.done >= self.total:
            return [count, f"{rate:.2f}/s"]
        return [count, f"{duration((self.total - self.done) / rate)} left", f"{rate:.2f}/s"]


class Lines(Work):
    """Progress as plain lines, for log files and pipes."""

    def __init__(
        self,
        total: int | None,
        description: str,
        done: int = 0,
        stream: TextIO = sys.stderr,
        interval: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        every: int | None = None,
    ) -> None:
        super().__init__(total, description, done, clock)
        self.stream, self.interval, self.every = stream, interval, every
        self.written, self.pending = self.started, False

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more items as done, and write a line if it is time for one."""
        super().advance(n)
        self.pending = True
        if self.every is not None:
            due = self.done % self.every == 0
        else:
            due = self.clock() - self.written >= self.interval
        if due:
            self.write()

    def finish(self) -> None:
        """Write the last state, unless a line has shown it."""
        if self.pending:
            self.write()

    def write(self) -> None:
        """Write one line and start the next interval."""
        self.written, self.pending = self.clock(), False
        line = "  ".join([f"{self.description}: {self.numbers()[0]}", *self.numbers()[1:]])
        # Flushed, as a pipe is buffered by the block and would show nothing for hours.
        print("  ".join([line, *self.texts]), file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Return seconds as ``h:mm:ss``, or as ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar(Work):
    """Progress as one or two lines of a terminal."""

    def lines(self, width: int, cells: str = "━╌") -> list[str]:
        """Return the lines for a terminal of ``width`` columns.

        The texts stand beside the bar where all of them fit, else below it, and the last of them
        go first. A narrow terminal loses the bar, then the rate, then the time left. ``cells``
        are the characters of what is done and of what is not.
        """
        numbers, texts = self.numbers(), "  ".join(self.texts)
        head = f"{self.description} "
        room = width - len(head) - len("  ".join(numbers)) - 1
        beside = room - len(texts) - 2
        if texts and beside >= NARROWEST_BAR:
            return [f"{head}{self.cells(beside, cells)} {'  '.join([*numbers, texts])}"]
        drawn = f"{self.cells(room, cells)} " if room >= NARROWEST_BAR else ""
        first = head + drawn + fitted(numbers, width - len(head) - len(drawn))
        return [first[:width], *([fitted(self.texts, width)] if texts else [])]

    def cells(self, room: int, cells: str) -> str:
        """Return the bar itself in at most ``room`` columns; none of an unknown total is done."""
        size = min(room, WIDEST_BAR)
        full = 0 if not self.total else min(size, size * self.done // self.total)
        return cells[0] * full + cells[1] * (size - full)


def fitted(texts: Sequence[str], width: int) -> str:
    """Return as many of the first texts as fit a width, two spaces apart; the first one anyway."""
    line = texts[0][: max(width, 0)] if texts else ""
    for text in texts[1:]:
        if len(line) + 2 + len(text) > width:
            break
        line += f"  {text}"
    return line


OPEN: list[Bar] = []
"""The bars on the terminal, the outermost first: work within work is shown below it."""


@contextmanager
def bar(shown: Bar, stream: TextIO) -> Iterator[Bar]:
    """Show a bar on a terminal, redrawn four times a second, below all that is printed meanwhile.

    A bar that begins while another is shown becomes a line below it, until it ends.
    """
    if OPEN:
        OPEN.append(shown)
        try:
            yield shown
        finally:
            OPEN.remove(shown)
        return
    # Imported here: rich takes long to load, and `vrft --help` needs none of it.
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stream)
    cells = "━╌" if "utf" in console.encoding.lower() else "#-"

    def drawn() -> RenderableType:
        # As texts: "[reward]" in a note would be read as a style and vanish.
        lines = [line for each in OPEN for line in each.lines(console.width - 1, cells)]
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    OPEN.append(shown)
    # Standard output is taken along where it is the same terminal, and never from a file.
    live = Live(get_renderable=drawn, console=console, redirect_stdout=sys.stdout.isatty())
    try:
        with live, handlers_followed():
            yield shown
            live.refresh()
    finally:
        OPEN.remove(shown)
