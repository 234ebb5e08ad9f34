"""Which groups pass the model together: micro-batches by prompts, or by a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence


def by_prompts(rows: Sequence[int], count: int) -> list[list[int]]:
    """Rows in their order, ``count`` at a time."""
    return [list(rows[first : first + count]) for first in range(0, len(rows), count)]


def by_tokens(rows: Sequence[int], tokens: Sequence[int], budget: int) -> list[list[int]]:
    """Rows from the longest to the shortest, each where the budget first has room for it.

    ``tokens`` are those of all groups; a group that is over the budget by itself goes alone.
    """
    found: list[list[int]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: tokens[row], reverse=True):
        place = next((i for i, left in enumerate(room) if tokens[row] <= left), len(found))
        if place == len(found):
            found.append([])
            room.append(budget)
        found[place].append(row)
        room[place] -= tokens[row]
    return found
