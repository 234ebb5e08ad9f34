"""The shares of several processes in an epoch of lessons: together those of one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler

EMPTY = -1
"""The number of a lesson that teaches nothing: it stands where a process has none left."""


def rows(count: int, size: int, processes: int) -> list[int]:
    """Return the numbers of lessons, and as many empty ones as make batches equal.

    accelerate deals batches of ``size`` lessons to the processes in turn. With the empty ones all
    of them have equally many batches of the same size, and no lesson is seen twice.
    """
    rest = -count % (size * processes) if processes > 1 else 0
    return [*range(count), *[EMPTY] * rest]


class EqualShares(Sampler[int]):
    """The places of an epoch's rows: ``count`` lessons as one process draws them, then the rest."""

    def __init__(self, count: int, length: int) -> None:
        self.count, self.length = count, length
        self.lessons = SeedableRandomSampler(range(count), generator=torch.Generator())

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch next."""
        self.lessons.set_epoch(epoch)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        yield from self.lessons
        yield from range(self.count, self.length)
