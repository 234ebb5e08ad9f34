"""The console of a run: what is said of a step, and lines that go on when nobody reads them.

A pipe whose reader has gone, such as ``| head``, or a terminal that was closed would end the run at
its next line, hours before the last step.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import select
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from vrft.system.log_handlers import CurrentError

NAME = "console.log"
"""The file in a run's folder that takes what the console takes no more."""


CLOSED = (errno.EPIPE, errno.EIO)
"""The errors of a pipe without a reader, and of a terminal that is gone."""


class SteadyStream:
    """A text stream that goes on in a file from the moment on in which nobody reads it."""

    def __init__(self, stream: TextIO, path: Path) -> None:
        self.stream, self.path = stream, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, to the file once the stream is closed at its other end."""
        # Asked for first, as Python may lose a text of which it learns too late.
        if is_closed(self.stream):
            self.divert(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            self.divert(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written, to the file once the stream is closed at its other end."""
        try:
            self.stream.flush()
        except OSError as error:
            self.divert(error)

    def divert(self, error: OSError) -> None:
        """Let the stream's descriptor be that of the file, and flush what waits for it.

        Raises any error but those of a closed end.
        """
        if error.errno not in CLOSED:
            raise error
        # By the descriptor, so that what is in the stream's buffer, and what libraries write past
        # Python, goes there too.
        try:
            target = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError:
            target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, self.stream.fileno())
        os.close(target)
        self.stream.flush()


def is_closed(stream: TextIO) -> bool:
    """Return whether a stream is a pipe or terminal whose other end is closed."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(stream, 0)  # errors and hang-ups are told of in any case
    except (OSError, ValueError, TypeError):
        return False  # no descriptor, as in a notebook
    return bool(poll.poll(0))


@contextlib.contextmanager
def steady(folder: Path) -> Iterator[None]:
    """Let standard output and error go on in ``console.log`` of a folder once nobody reads them."""
    former = sys.stdout, sys.stderr
    path = folder / NAME
    sys.stdout, sys.stderr = SteadyStream(former[0], path), SteadyStream(former[1], path)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def step_texts(
    metrics: Mapping[str, float], evaluated: Mapping[str, float] | None = None
) -> list[str]:
    """Return what is said of a step beside its progress, the most important first.

    That is the loss or reward, the share of groups with signal, the first score of the last
    evaluation, and the mean of every reward where there are several.
    """
    texts = [f"{name} {metrics[name]:.3f}" for name in ("loss", "reward") if name in metrics]
    if "reward" in metrics:
        texts = texts[-1:]  # the loss of a policy gradient says nothing about its progress
    # The first is of baselines that do not compare siblings, for which equal rewards teach too.
    flat = metrics.get("frac_without_signal", metrics.get("frac_reward_zero_std"))
    if flat is not None:
        texts.append(f"signal {100 * (1 - flat):.0f}%")
    texts += [f"{name} {value:.3f}" for name, value in [*(evaluated or {}).items()][:1]]
    parts = {
        name.removeprefix("rewards/").removesuffix("/mean"): value
        for name, value in metrics.items()
        if name.startswith("rewards/") and name.endswith("/mean") and math.isfinite(value)
    }
    return texts + [f"{name} {value:.3f}" for name, value in parts.items() if len(parts) > 1]


AMONG_LIBRARIES = ("`is_gradient_checkpointing` is deprecated",)
"""Beginnings of what one library tells another, here transformers peft, that no user can mend."""


@contextlib.contextmanager
def warnings_in_words() -> Iterator[None]:
    """Let Python's warnings be one line each on standard error, each text once.

    Those of AMONG_LIBRARIES are left out.
    """
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = " ".join(str(message).split())
        if line not in said and not line.startswith(AMONG_LIBRARIES):
            said.add(line)
            print(f"warning: {line}", file=sys.stderr)

    former, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = former


@contextlib.contextmanager
def logs_on_error() -> Iterator[None]:
    """Let loggers that libraries make within the block write to standard error alone.

    Standard output holds the lines of a command, which other programs read; DeepSpeed, wherever it
    is imported, logs there. A logger keeps its stream after the block; the root logger, which is
    the user's to set up, stays as it is.
    """
    former = logging.getLoggerClass()

    class OnError(former):  # type: ignore[misc,valid-type]
        """A logger none of whose handlers writes to standard output."""

        def addHandler(self, hdlr: logging.Handler) -> None:
            """Add a handler, with standard error in place of standard output."""
            if getattr(hdlr, "stream", None) in (sys.stdout, sys.__stdout__):
                hdlr.setStream(CurrentError())  # type: ignore[attr-defined]
            super().addHandler(hdlr)

    logging.setLoggerClass(OnError)
    try:
        yield
    finally:
        logging.setLoggerClass(former)
