"""The running processes of a session, by Linux's /proc."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def of_session(session: int) -> list[int]:
    """Return the ids of a session's processes that run; one that nobody has waited for does not."""
    ids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            state, _, _, sid = text.rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                ids.append(int(folder.name))
    return ids


def named(session: int, name: str) -> list[int]:
    """Return the session's processes whose command line contains a name."""
    ids = []
    for process in of_session(session):
        with suppress(OSError):  # it has ended meanwhile
            if name in Path(f"/proc/{process}/cmdline").read_text():
                ids.append(process)
    return ids


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds; an AssertionError tells that it never did."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
