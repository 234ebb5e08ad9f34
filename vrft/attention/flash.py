"""The kernel of attention over packed sequences that is fastest on a device.

There is a flash kernel for NVIDIA's GPUs and one for CPUs, and plain products for the rest. The
CPU's operators have private names: this module alone calls them, after it has tried whether they
take and return what is expected here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from vrft.attention import cuda_flash
from vrft.attention.cuda_flash import MISFITS, FlashOnCuda
from vrft.attention.packed_attention import PLAIN_ATTENTION, PerSequence

CPU_OPERATORS = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
)
"""Forward and backward in torch.ops.aten."""

Kernel = FlashOnCuda | PerSequence
"""An implementation of attention over packed sequences."""

ON_META: ContextVar[Callable[[Tensor], Any] | None] = ContextVar("ON_META", default=None)
"""The choice of a kernel for queries on "meta", where a device's step is rehearsed."""


def kernel_for(query: Tensor) -> Kernel:
    """Return the fastest kernel for queries [T, H, D] of this device, type and head size."""
    if query.device.type == "meta" and (choose := ON_META.get()) is not None:
        return choose(query)  # type: ignore[no-any-return]
    if query.device.type == "cpu":
        return FLASH_ON_CPU
    return flash_on_cuda() if cuda_flash.serves(query) else PLAIN_ATTENTION


def flash_on_cuda() -> Kernel:
    """Return torch's flash attention for NVIDIA's GPUs, or plain products where it has none."""
    return cuda_flash.chosen() or PLAIN_ATTENTION


def flash_on_cpu() -> PerSequence:
    """Return torch's flash attention on a CPU, or plain products where this torch has none."""
    probe = torch.zeros(1, 1, 1, 8)  # one query and key of one head
    try:
        attend: Any = getattr(torch.ops.aten, CPU_OPERATORS[0])
        attend_backward: Any = getattr(torch.ops.aten, CPU_OPERATORS[1])
        out, lse = attend(probe, probe, probe, 0.0, True, scale=1.0)
        of_query, _, _ = attend_backward(probe, probe, probe, probe, out, lse, 0.0, True, scale=1.0)
    except MISFITS:
        return PLAIN_ATTENTION
    if (lse.shape, of_query.shape) != ((1, 1, 1), probe.shape):
        return PLAIN_ATTENTION
    return PerSequence(attend, attend_backward)


FLASH_ON_CPU = flash_on_cpu()
