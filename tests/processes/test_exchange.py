"""What a process is given by the others; tests/processes/test_distributed.py launches real ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vrft.processes import exchange


class Rank:
    """The accelerator of one of three processes, each of which has rows 10 above the former's."""

    num_processes = 3
    device = torch.device("cpu")

    def __init__(self, number: int) -> None:
        self.process_index = number

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat([rows + 10 * (number - self.process_index) for number in range(3)])


class Alone:
    """The accelerator of a process without others, which must not be asked to communicate."""

    num_processes = 1
    process_index = 0


@pytest.mark.parametrize("number", range(3))
def test_rows_come_in_the_order_of_ranks_and_each_process_finds_its_own(number: int) -> None:
    rank: Any = Rank(number)
    own = torch.tensor([[1, 2], [3, 4]]) + 10 * number
    rows = exchange.gather(rank, own)
    assert rows.tolist() == [[1, 2], [3, 4], [11, 12], [13, 14], [21, 22], [23, 24]]
    assert exchange.local_rows(rank, rows).equal(own)


@pytest.mark.parametrize("number", range(3))
def test_the_largest_number_is_that_of_any_process(number: int) -> None:
    rank: Any = Rank(number)
    assert exchange.max_over_ranks(rank, 5 + 10 * number) == 25


def test_items_of_all_processes_are_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    rank: Any = Rank(0)
    monkeypatch.setattr(exchange, "gather_object", lambda own: (*own, "b", "c"))
    assert exchange.gather_objects(rank, ["a"]) == ["a", "b", "c"]


def test_every_process_has_the_value_of_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broadcast(values: list[Any]) -> None:
        values[0] = "main's"

    rank: Any = Rank(1)
    monkeypatch.setattr(exchange, "broadcast_object_list", broadcast)
    assert exchange.from_main(rank, "own") == "main's"


def test_a_process_without_others_has_its_own_values_and_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("gather_object", "broadcast_object_list"):
        monkeypatch.delattr(exchange, name)
    alone: Any = Alone()
    rows = torch.arange(4)
    assert exchange.gather(alone, rows) is rows
    assert exchange.local_rows(alone, rows).equal(rows)
    assert exchange.gather_objects(alone, ["a"]) == ["a"]
    assert exchange.from_main(alone, "own") == "own"
    assert exchange.max_over_ranks(alone, 7) == 7
