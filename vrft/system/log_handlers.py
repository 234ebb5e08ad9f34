"""Handlers of loggers, which follow standard error wherever it leads at the moment."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class CurrentError:
    """A stream that writes to whatever standard error is at the moment of writing."""

    def write(self, text: str) -> int:
        """Write a text."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


@contextmanager
def handlers_followed() -> Iterator[None]:
    """Let the handlers of all loggers follow standard error within the block.

    Libraries keep the stream that they met at their import, and would write into the bar.
    """
    terminal = {id(sys.__stderr__)} | {id(stream) for stream in unwrapped(sys.stderr)}
    named = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    moved: list[tuple[logging.StreamHandler[Any], Any]] = [
        (handler, handler.stream)
        for logger in (logging.root, *named)
        for handler in logger.handlers
        if isinstance(handler, logging.StreamHandler)
        and id(vars(handler).get("stream")) in terminal
    ]
    for handler, _ in moved:
        handler.stream = CurrentError()
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.stream = stream


def unwrapped(stream: Any) -> list[Any]:
    """Return a stream, and those that it stands for, from the outermost inwards."""
    streams = [stream]
    for name in ("rich_proxied_file", "stream"):
        inner = getattr(streams[-1], name, None)
        if inner is not None:
            streams.append(inner)
    return streams
