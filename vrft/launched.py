"""The launch of this process: which of how many it is, and what shards their weights.

torchrun and ``accelerate launch`` tell it by the environment, which no other module asks.
"""

from __future__ import annotations

import os
from typing import Literal


def process() -> int:
    """Return the number of this process, from 0 on all machines of the launch together."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Return how many processes train together, 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """Return how many of them this machine has."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def several_machines() -> bool:
    """Return whether other machines than this one train too, False where the launcher says not."""
    return "LOCAL_WORLD_SIZE" in os.environ and local_processes() < processes()


def speaks() -> bool:
    """Return whether this process is the one that prints for all."""
    return process() == 0


def engine() -> Literal["DeepSpeed", "FSDP2", "DDP", "one device"]:
    """Return what lets the processes train together."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        return "DeepSpeed"
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        return "FSDP2"
    return "DDP" if processes() > 1 else "one device"


def shards() -> bool:
    """Return whether the engine gives each device a part of the weights or of their states."""
    return engine() in ("DeepSpeed", "FSDP2")
