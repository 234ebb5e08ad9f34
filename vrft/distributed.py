"""Several devices through accelerate: set up, gather, and whole groups on each rank."""

from __future__ import annotations

from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from vrft.config import ModelConfig

T = TypeVar("T")


def accelerator(config: ModelConfig) -> Accelerator:
    """The accelerator of this process: on CUDA it computes in bfloat16 unless told otherwise."""
    cuda = torch.cuda.is_available()
    if config.dtype == "auto":
        precision = "bf16" if cuda else "no"
    else:
        precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[config.dtype]
    return Accelerator(cpu=not cuda, mixed_precision=precision)


def gather(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Rows [b, ...] of every rank, in rank order: [b * world, ...]; b is the same on all."""
    if accelerator.num_processes == 1:
        return rows
    out: Tensor = accelerator.gather(rows.to(accelerator.device))
    return out.to(rows.device)


def share(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """This rank's rows of a tensor that ``gather`` made."""
    size = len(rows) // accelerator.num_processes
    return rows[accelerator.process_index * size :][:size]


def from_main(accelerator: Accelerator, value: T) -> T:
    """The main process's value, on every process."""
    if accelerator.num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def largest(accelerator: Accelerator, number: int) -> int:
    """The largest of a number over all ranks."""
    return int(gather(accelerator, torch.tensor([number])).max())
