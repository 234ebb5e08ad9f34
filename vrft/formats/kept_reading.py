"""The last reading of a split, kept while a command reads the same rows several times.

A command reads its data to choose the task, to say how they are read, and to make samples.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from vrft import paths
from vrft.formats import recognition
from vrft.formats.recognition import FormatName, Reading
from vrft.formats.rows import Row
from vrft.records.reading import AS_NAMED

Key = tuple[object, ...]

LAST: dict[Key, Reading] = {}
"""The last reading of files, by what was asked and the state of the files."""

SETTLED = 2.0
"""Seconds after which a change of a file surely shows in its time."""


def read(
    source: str | Path,
    split: str,
    *,
    name: FormatName | None = None,
    columns: Mapping[str, str] = AS_NAMED,
    limit: int | None = None,
    encoding: str = "",
    config: str | None = None,
    allow_outside: bool = False,
) -> Reading:
    """Read a split as ``recognition.read`` does, or return the last reading if nothing has changed.

    Whoever makes samples takes the rows by ``passing``, as they are not needed beside them.
    """
    asked: Key = (split, name, tuple(columns.items()), limit, encoding, allow_outside)
    stamp = None if config is not None else stamp_of(paths.expanded(source), split)
    if stamp is not None and (kept := LAST.get(asked + stamp)):
        return kept
    forget()  # first: two readings need not be in memory at a time
    reading = recognition.read(
        source,
        split,
        name=name,
        columns=columns,
        limit=limit,
        encoding=encoding,
        config=config,
        allow_outside=allow_outside,
    )
    if stamp is not None:
        LAST[asked + stamp] = reading
    return reading


def forget() -> None:
    """Drop the last reading."""
    LAST.clear()


def passing(reading: Reading) -> Passing:
    """Return a reading's rows, each let go as the next is asked for, and drop the last reading.

    The caller drops its own too, or the rows stay in memory.
    """
    forget()
    return Passing(reading.rows)


class Passing:
    """Rows of a reading, each of which is let go when the next one is asked for.

    Samples are made of a million rows while the rows leave, so that the memory never holds both.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.left = list(rows)
        self.left.reverse()

    def __len__(self) -> int:
        return len(self.left)

    def __iter__(self) -> Iterator[Row]:
        while self.left:
            yield self.left.pop()


def stamp_of(root: Path, split: str) -> Key | None:
    """Return what changes when a split's files do: their names, times and sizes.

    None for data that are no files here, and for files written in this moment, which another
    writing would leave with the same time.
    """
    if not os.path.exists(root):
        return None
    folders = [root, root / "data", root / "annotations", root / split]
    files = [file for folder in folders if folder.is_dir() for file in os.scandir(folder)]
    states = [os.stat(root)] if root.is_file() else [file.stat() for file in files]
    if any(time.time() - state.st_mtime < SETTLED for state in states):
        return None
    names = [os.path.abspath(root), *sorted(file.path for file in files)]
    return (*names, *sorted((s.st_ino, s.st_mtime_ns, s.st_size) for s in states))
