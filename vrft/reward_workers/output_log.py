"""The log of what a worker prints: its last part in a file of the run, however much it is."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

KEPT = 2**20
"""Bytes in a file of the log; there are at most two, and the older one is deleted for a third."""


class OutputLog:
    """The output of a worker, one process of it after the other, which threads read from pipes.

    Nothing is written before ``keep_in`` has named the file, and until then the last KEPT bytes are
    held. ``of_call`` counts the bytes since ``begin_call``.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self.path: Path | None = None
        self.held = bytearray()
        self.of_call = 0
        self.written = 0
        self.cut = 0
        self.lock = threading.Lock()
        self.reader: threading.Thread | None = None

    def follow(self, pipe: int) -> None:
        """Read a pipe to its end, in a thread, and close it."""
        self.reader = threading.Thread(
            target=self.read, args=(pipe,), name="vrft output", daemon=True
        )
        self.reader.start()

    def settle(self) -> None:
        """Wait for the end of the pipe, which ends with its processes; at most a second."""
        if self.reader is not None:
            self.reader.join(1.0)

    def read(self, pipe: int) -> None:
        """Read a pipe to its end."""
        with os.fdopen(pipe, "rb", buffering=0) as file:
            while chunk := file.read(1 << 16):
                self.add(chunk)

    def begin_call(self) -> None:
        """Count what is printed from here on."""
        self.of_call = 0

    def keep_in(self, path: Path) -> None:
        """Write the log to a file from now on, beginning with what is held."""
        with self.lock:
            self.path = path
            self.written = path.stat().st_size if path.exists() else 0
            held, self.held = bytes(self.held), bytearray()
            if held:
                self.write(held)

    def add(self, chunk: bytes) -> None:
        """Take some output."""
        with self.lock:
            self.of_call += len(chunk)
            if self.path is None:
                self.held += chunk
                self.cut += max(0, len(self.held) - self.kept)
                del self.held[: -self.kept]
            else:
                self.write(chunk)

    def write(self, chunk: bytes) -> None:
        """Append to the file; a full one makes room, and the one before it is deleted."""
        assert self.path is not None
        # A disk that is full, or a folder that is gone, must not end the thread: the worker would
        # wait for ever to print.
        with contextlib.suppress(OSError):
            if self.written + len(chunk) > self.kept and self.written:
                former = self.path.with_suffix(".former.log")
                if former.exists():
                    self.cut += former.stat().st_size
                os.replace(self.path, former)
                self.written = 0
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                if not self.written and self.cut:
                    file.write(b"[vrft: %d bytes before these two files]\n" % self.cut)
                file.write(chunk)
            self.written += len(chunk)
