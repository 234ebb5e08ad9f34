"""Handlers of loggers follow standard error while something else stands in its place."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from vrft.system.log_handlers import handlers_followed


class Proxy(io.StringIO):
    """A stream in the place of another, as a bar's is."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self.stream = stream


@pytest.fixture
def library() -> Iterator[logging.Logger]:
    logger = logging.getLogger("a_library_of_handlers")
    yield logger
    logger.handlers.clear()


def test_what_is_logged_goes_where_standard_error_leads_and_back(
    library: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = logging.StreamHandler()  # holds the stream that it meets here
    library.addHandler(handler)
    proxy = Proxy(terminal)
    monkeypatch.setattr(sys, "stderr", proxy)
    with pytest.raises(ZeroDivisionError), handlers_followed():
        library.warning("above the bar")
        raise ZeroDivisionError
    library.warning("as before")
    assert proxy.getvalue() == "above the bar\n" and terminal.getvalue() == "as before\n"


def test_a_handler_of_another_stream_stays_there(
    library: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, terminal = io.StringIO(), io.StringIO()
    library.addHandler(logging.StreamHandler(log))
    monkeypatch.setattr(sys, "stderr", terminal)
    with handlers_followed():
        library.warning("into a file")
    assert log.getvalue() == "into a file\n" and terminal.getvalue() == ""
