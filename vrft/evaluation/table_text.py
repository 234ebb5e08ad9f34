"""Tables as plain text that fits a terminal, and texts that any terminal can print."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

from vrft import columns
from vrft.evaluation import settings_file
from vrft.viz.markup import in_order

UNBOUNDED = 10_000
"""Columns of a table that goes to a file or a pipe: more than any table has."""

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""The characters that move a terminal's cursor, colour it or beep, but for the line end."""


def text(shown: Table, width: int | None = None, notes: Sequence[str] = ()) -> str:
    """Return a table as plain text, and below it the notes, each in a line of its own.

    It is as wide as ``width``, or as the terminal; for files and pipes, as it needs. Names go on
    in the next line where they are too long, and numbers that do not fit beside each other stand
    in a second table.
    """
    width = width or columns.terminal_width()
    # A file of its own and no colours: the text must not depend on the terminal it is printed to.
    # Nor markup and emoji: a subset may be called "[/b]" or ":cat:".
    console = Console(
        file=io.StringIO(),
        width=width or UNBOUNDED,
        color_system=None,
        force_terminal=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for part in parts(shown, width or UNBOUNDED):
            console.print(part)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    told = [columns.wrapped(note, width, 2) for note in notes if note]
    return printable("\n".join([*lines, *told]) + "\n")


def parts(shown: Table, width: int) -> list[Table]:
    """Return a table, or several with the same names and some of its numbers each, that fit.

    Names may go on in a further line, numbers never.
    """
    names = [column for column in shown.columns if column.justify != "right"]
    numbers = [column for column in shown.columns if column.justify == "right"]
    words = [longest(column, column.cells, words=True) for column in names]
    taken = 1 + sum(3 + min(word, width // 4) for word in words)
    groups: list[list[Column]] = [[]]
    for column in numbers:
        sizes = [3 + longest(each, each.cells) for each in (*groups[-1], column)]
        if groups[-1] and taken + sum(sizes) > width:
            groups.append([])
        groups[-1].append(column)
    tables = [
        Table(
            *(Column(c.header, justify=c.justify, overflow="fold", no_wrap=c in group)
              for c in (*names, *group)),
            title=shown.title if group is groups[0] else None,
            caption=shown.caption if group is groups[-1] else None,
            caption_justify="left",
        )
        for group in groups
    ]  # fmt: skip
    for made, group in zip(tables, groups, strict=True):
        for row in zip(*(column.cells for column in (*names, *group)), strict=True):
            made.add_row(*row)
    return tables


def longest(column: Column, cells: Iterable[Any], words: bool = False) -> int:
    """Return the columns of the longest entry or heading of a column, or of the longest word."""
    entries = [str(column.header), *map(str, cells)]
    if words:
        entries = " ".join(entries).split() or [""]
    return max(map(cell_len, entries))


def printable(text: str) -> str:
    """Return a text that any terminal can print.

    Half a surrogate pair, control characters but the line end, and marks that turn the direction of
    writing are escaped, as ``\\ud83d``, ``\\x1b`` and ``\\u202e``.
    """
    text = in_order(text)
    text = CONTROLS.sub(lambda control: f"\\x{ord(control[0]):02x}", text)
    return text.encode("utf-8", settings_file.ESCAPED).decode("utf-8")
