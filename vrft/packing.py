"""Which groups pass the model together: micro-batches by prompts, or by a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Tokens of a group: its prompt's, and those of the longest of its ``generations`` answers."""

    prompt: int
    completion: int
    generations: int

    @property
    def tokens(self) -> int:
        """Tokens of the group's packed row: the prompt once, each completion as the longest."""
        return self.prompt + self.generations * self.completion

    def beside(self, other: Size) -> Size:
        """The size of both once they are padded to each other."""
        return Size(
            max(self.prompt, other.prompt),
            max(self.completion, other.completion),
            self.generations,
        )


def by_prompts(rows: Sequence[int], count: int) -> list[list[int]]:
    """Rows in their order, ``count`` at a time."""
    return [list(rows[first : first + count]) for first in range(0, len(rows), count)]


def by_tokens(rows: Sequence[int], sizes: Sequence[Size], budget: int) -> list[list[int]]:
    """Rows from the longest to the shortest, as many at a time as stay within the budget padded.

    ``sizes`` are those of all groups; a group that is over the budget by itself goes alone.
    """
    found: list[list[int]] = []
    widest = Size(0, 0, 0)
    for row in sorted(rows, key=lambda row: sizes[row].tokens, reverse=True):
        wider = sizes[row].beside(widest)
        if found and (len(found[-1]) + 1) * wider.tokens <= budget:
            found[-1].append(row)
            widest = wider
        else:
            found.append([row])
            widest = sizes[row]
    return found
