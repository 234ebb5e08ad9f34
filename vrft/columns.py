"""Text in columns for the console: within the width of a terminal, as wide as it is elsewhere."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence

GAP = "  "
"""What stands between two columns."""


def terminal_width() -> int | None:
    """Return the columns of the terminal, by $COLUMNS where it is set; None for files and pipes."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: "1 sample", "2 samples"; the plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def aligned(rows: Sequence[Sequence[str]], width: int | None, *, headed: bool = False) -> str:
    """Return rows as columns, each as wide as its longest entry, in lines of at most ``width``.

    Entries that are too long go on below themselves; no word is broken. Where not even the longest
    words fit beside each other, each row is a paragraph: its first entry, and below it the others,
    behind the headings of the first row if it is ``headed``.
    """
    if not rows:
        return ""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if width is not None:
        least = [max(map(longest_word, column)) for column in columns]
        room = width - len(GAP) * (len(widths) - 1)
        if sum(least) > room:
            return paragraphs(rows, width, headed)
        while sum(widths) > room:
            # The widest one that can still become narrower gives way first.
            widest = max((w, i) for i, w in enumerate(widths) if w > least[i])[1]
            widths[widest] -= 1
    return "\n".join(line for row in rows for line in lines_of(row, widths))


def lines_of(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the lines of one row, each entry wrapped to the width of its column."""
    cells = [wrapped(cell, width).split("\n") for cell, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    filled = [cell + [""] * (height - len(cell)) for cell in cells]
    return [
        GAP.join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*filled, strict=True)
    ]


def paragraphs(rows: Sequence[Sequence[str]], width: int, headed: bool) -> str:
    """Return a paragraph for each row: its first entry, and the others indented below it."""
    headings = rows[0] if headed else [""] * len(rows[0])
    size = max(map(len, headings[1:]), default=0) + len(GAP) if headed else 0
    lines: list[str] = []
    for row in rows[headed:]:
        lines.append(row[0])
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            if cell:
                lines.append(wrapped(f"{GAP}{heading:{size}}{cell}", width, size + len(GAP)))
    return "\n".join(lines)


def longest_word(text: str) -> int:
    """Return the length of the longest word of a text."""
    return max(map(len, text.split()), default=0)


def wrapped(text: str, width: int | None, indent: int | None = None) -> str:
    """Return a line of text broken between words into lines of at most ``width``.

    A word that is longer has a line of its own, unbroken: it may be a path to copy. Further lines
    are indented by ``indent``, by default as the first one is.
    """
    if width is None or len(text) <= width:
        return text
    lead = len(text) - len(text.lstrip())
    lines = textwrap.wrap(
        text.lstrip(),
        width=width,
        initial_indent=" " * lead,
        subsequent_indent=" " * (lead if indent is None else indent),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def facts(lines: Sequence[str], width: int | None) -> str:
    """Return lines such as "note: a long text", what does not fit indented below each.

    Of lines in two columns, such as "steps      250", it stands below the second one.
    """
    return "\n".join(wrapped(line, width, indent_below(line)) for line in lines)


def indent_below(line: str) -> int:
    """Return the column in which a line goes on below itself."""
    second = re.match(r"\S+ {2,}(?=\S)", line)
    return second.end() if second else len(line) - len(line.lstrip()) + 2
