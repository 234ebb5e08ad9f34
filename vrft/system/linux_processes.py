"""Processes of the system, as Linux tells of them in /proc: nothing is told by other systems."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """A process: its id, its parent's, its session's, and the bytes of its resident memory."""

    id: int
    parent: int
    session: int
    resident: int


def all_processes() -> Iterator[Process]:
    """Yield the processes of the system."""
    page = os.sysconf("SC_PAGE_SIZE")
    for number in process_ids():
        # Between the look into the folder and this one the process may have ended.
        with contextlib.suppress(OSError):
            text = (PROC / str(number) / "stat").read_bytes()
            # Behind the name, in which there may be anything: state, parent, group, session ...
            fields = text[text.rindex(b")") + 2 :].split()
            yield Process(number, int(fields[1]), int(fields[3]), int(fields[21]) * page)


def process_ids() -> list[int]:
    """Return the ids of all processes; [] where the system does not tell them."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(PROC) if name.isdigit()]
    return []


def of_session(leader: int) -> list[Process]:
    """Return the processes of a session, and those outside it that one of them has started."""
    processes = list(all_processes())
    family = {process.id: process for process in processes if process.session == leader}
    growing = bool(family)
    while growing:  # from parents to children, in whatever order they are listed
        children = [p for p in processes if p.parent in family and p.id not in family]
        family.update({process.id: process for process in children})
        growing = bool(children)
    return list(family.values())


def memory_of(processes: Sequence[Process]) -> int:
    """Return the bytes of memory that some processes hold; shared ones count for each of them."""
    return sum(process.resident for process in processes)


def shares_of(processes: Sequence[Process]) -> int:
    """Return the bytes of memory that some processes hold; shared ones are divided among them."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError, ValueError):  # it has ended
            text = (PROC / str(process.id) / "smaps_rollup").read_text()
            sizes = (line.split() for line in text.splitlines())
            total += 1024 * next(int(words[1]) for words in sizes if words[0] == "Pss:")
    return total


def with_word(word: str) -> list[int]:
    """Return the ids of the processes in whose environment there is a word such as "KEY=value"."""
    sought = word.encode()
    ids = []
    for number in process_ids():
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if sought in (PROC / str(number) / "environ").read_bytes().split(b"\0"):
                ids.append(number)
    return ids
