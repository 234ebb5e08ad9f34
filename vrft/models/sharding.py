"""Sharded weights, each device with its part: no other module asks whether a weight is sharded.

DeepSpeed's ZeRO-3 and FSDP2 cut every weight up, and gather it again while a module computes. To
gather, all devices must call the same modules in the same order: one that leaves a module out
makes the others wait forever.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def is_part(weight: Tensor) -> bool:
    """Return whether this device now holds only a part of the weight.

    DeepSpeed's weights count as parts also while they are gathered.
    """
    # DeepSpeed has no class for such weights; it numbers them.
    return hasattr(weight, "ds_id") or isinstance(weight, DTensor)


def is_sharded(module: nn.Module) -> bool:
    """Return whether ZeRO-3 or FSDP2 shards the module's weights, gathered at this moment or not.

    Such a module gathers in hooks around every forward, which run on other CUDA streams.
    """
    if any(isinstance(part, FSDPModule) for part in module.modules()):
        return True  # gathered weights are plain tensors again, but the hooks are still there
    return any(is_part(weight) for weight in module.parameters())


def layers_to_shard(model: Any) -> set[str]:
    """Return the names of the layer classes that FSDP should gather one by one.

    Where transformers does not name them, the empty set: all weights are gathered at once.
    """
    # A private name of transformers, which accelerate reads as well.
    return set(getattr(model, "_no_split_modules", None) or ())
