"""Whether a module's weights are held in parts by several devices (ZeRO-3, FSDP2)."""

from __future__ import annotations

from torch import nn
from torch.distributed.fsdp import FSDPModule


def is_sharded(module: nn.Module) -> bool:
    """Whether DeepSpeed or FSDP holds each of the module's weights in parts, here or not."""
    in_parts = any(hasattr(weight, "ds_id") for weight in module.parameters())
    return in_parts or any(isinstance(part, FSDPModule) for part in module.modules())
