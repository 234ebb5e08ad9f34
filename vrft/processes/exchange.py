"""Values that the processes of a launch give each other: rows, objects, the main process's word.

Every function here but ``local_rows`` must be called by all processes, and equally often: a process
that leaves a call out makes the others wait forever. Alone, a process has its own values at once.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from vrft.system.waiting import waiting

T = TypeVar("T")


@waiting()
def gather(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Return the rows [b, ...] of every process in the order of ranks: [b * processes, ...].

    b must be the same in all processes.
    """
    if accelerator.num_processes == 1:
        return rows
    out: Tensor = accelerator.gather(rows.to(accelerator.device))
    return out.to(rows.device)


def local_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Return this process's rows of a tensor that ``gather`` returned."""
    size = len(rows) // accelerator.num_processes
    return rows[accelerator.process_index * size :][:size]


@waiting()
def gather_objects(accelerator: Accelerator, own: list[T]) -> list[T]:
    """Return the items of all processes' lists, of any type, in the order of ranks."""
    return own if accelerator.num_processes == 1 else list(gather_object(own))


@waiting()
def wait_for_everyone(accelerator: Accelerator) -> None:
    """Return once all processes have called this."""
    accelerator.wait_for_everyone()


@waiting()
def from_main(accelerator: Accelerator, value: T) -> T:
    """Return the main process's value in every process."""
    if accelerator.num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)  # in place; pickled, so the value may be of any type
    return values[0]


def max_over_ranks(accelerator: Accelerator, number: int) -> int:
    """Return the largest of all processes' numbers."""
    return int(gather(accelerator, torch.tensor([number])).max())
