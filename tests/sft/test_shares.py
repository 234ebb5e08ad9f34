"""Processes that share an epoch take together what one process takes, step by step."""

from __future__ import annotations

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SeedableRandomSampler
from torch.utils.data import BatchSampler

from vrft.sft.shares import EMPTY, EqualShares, rows


@pytest.mark.parametrize(
    ("count", "size", "processes", "empty"),
    [
        (9, 1, 2, 1),
        (9, 2, 2, 3),  # of 4 a turn
        (8, 2, 2, 0),
        (1, 4, 3, 11),
        (9, 2, 1, 0),  # alone: the last batch is smaller
    ],
)
def test_empty_lessons_fill_the_last_turn(
    count: int, size: int, processes: int, empty: int
) -> None:
    assert rows(count, size, processes) == [*range(count), *[EMPTY] * empty]


@pytest.mark.parametrize(
    ("count", "size", "processes"), [(9, 1, 2), (9, 2, 2), (8, 2, 2), (7, 3, 4)]
)
def test_a_step_of_several_processes_has_the_lessons_of_one(
    count: int, size: int, processes: int
) -> None:
    """Two epochs, in accelerate's own deal."""
    numbers = rows(count, size, processes)
    torch.manual_seed(42)
    alone = SeedableRandomSampler(range(count), generator=torch.Generator())
    for epoch in range(2):
        shares = []
        for process in range(processes):
            torch.manual_seed(42)
            order = EqualShares(count, len(numbers))
            order.set_epoch(epoch)
            dealt = BatchSamplerShard(
                BatchSampler(order, size, drop_last=False), processes, process
            )
            shares.append([[numbers[place] for place in batch] for batch in dealt])
        assert len({len(batches) for batches in shares}) == 1
        assert {len(batch) for batches in shares for batch in batches} == {size}
        alone.set_epoch(epoch)
        whole = list(alone)
        turn = size * processes
        for number, batches in enumerate(zip(*shares, strict=True)):
            seen = [row for batch in batches for row in batch if row != EMPTY]
            assert seen == whole[number * turn :][:turn]


def test_epochs_have_orders_of_their_own() -> None:
    torch.manual_seed(42)
    order = EqualShares(9, 10)
    assert len(order) == 10 and list(order)[-1] == 9
    first = list(order)
    order.set_epoch(1)
    assert list(order) == first  # the second time it was the epoch after
    order.set_epoch(5)
    assert list(order) != first
