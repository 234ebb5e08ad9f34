"""The places of the elements of sharded weights in the tensors that each device steps.

One device and DDP step each weight as it is. ZeRO and FSDP2 deal the elements out, each in a way of
its own: a checkpoint that moves between launches asks here which elements are whose.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, compare_versions
from torch import Tensor
from torch.distributed.tensor import DTensor

from vrft.errors import UserError

OLDEST_DEEPSPEED = "0.19.2"
"""The first that casts parameters alone to half precision, and leaves rotary frequencies."""


def check_deepspeed() -> None:
    """Raise UserError for a DeepSpeed that would round the frequencies of rotary positions.

    In bfloat16 they have 8 bits: tokens and patches would stand elsewhere than in the model as it
    is evaluated, and nothing would say so.
    """
    if compare_versions("deepspeed", "<", OLDEST_DEEPSPEED):
        raise UserError(
            f"DeepSpeed {version('deepspeed')} rounds rotary positions in half precision; install "
            f"deepspeed>={OLDEST_DEEPSPEED}, or use configs/accelerate/fsdp2.yaml"
        )


def shards_optimizer(accelerator: Accelerator) -> bool:
    """Return whether each process holds a part of the optimizer's state, and not a copy of it."""
    return accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)


@dataclass(frozen=True)
class Place:
    """Elements of a weight that this device steps, and their place in the tensor that it steps.

    ``weight`` is the weight's number in the order of the optimizer's groups. The elements are
    ``count`` from ``start`` on in the flattened weight, and from ``offset`` on in this device's
    flat ``tensor``.
    """

    weight: int
    shape: tuple[int, ...]
    start: int
    count: int
    tensor: Tensor
    offset: int = 0


def places(accelerator: Accelerator, optimizer: Any) -> list[Place]:
    """Return the places of all elements that this device steps, in the order of the weights."""
    if accelerator.state.deepspeed_plugin is not None:
        return deepspeed_places(optimizer)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    made = []
    for number, weight in enumerate(weights):
        start, count = 0, weight.numel()
        if isinstance(weight, DTensor):
            # FSDP2 deals the rows out as torch.chunk does.
            rows, processes = weight.shape[0], weight.device_mesh.size()
            first = weight.device_mesh.get_local_rank() * math.ceil(rows / processes)
            start, count = min(first, rows) * (count // rows), weight.to_local().numel()
        made.append(Place(number, tuple(weight.shape), start, count, weight))
    return made


def deepspeed_places(optimizer: Any) -> list[Place]:
    """Return the places of the weights in the flat tensors that DeepSpeed steps on this device.

    Raises UserError for a DeepSpeed that does not tell them.
    """
    zero = optimizer.optimizer
    _, parts = master_weights(optimizer)
    made = []
    try:
        if hasattr(zero, "fp16_groups"):  # stage 3, which cuts each weight by itself
            for number, weight in enumerate(itertools.chain(*zero.fp16_groups)):
                part, offset, size = zero.grad_position[zero.get_param_id(weight)]
                start = size * torch.distributed.get_rank()
                count = min(size, weight.ds_numel - start)  # behind the last element is padding
                shape = tuple(weight.ds_shape)
                if count > 0:
                    made.append(Place(number, shape, start, count, parts[part], offset))
            return made
        # Stages 1 and 2 cut a group's weights as one long tensor.
        groups = [(weight, part) for group, part in zip(zero.bit16_groups, parts, strict=True)
                  for weight in group]  # fmt: skip
        for number, (weight, part) in enumerate(groups):
            if weight._hp_mapping is not None:  # else other devices step all of it
                inner = weight._hp_mapping.lp_fragment_address
                outer = weight._hp_mapping.hp_fragment_address
                shape = tuple(weight.shape)
                made.append(Place(number, shape, inner.start, inner.numel, part, outer.start))
    except AttributeError as error:
        raise UserError(
            f"this DeepSpeed's {type(zero).__name__} does not tell where its weights are "
            f"({error}); use deepspeed>={OLDEST_DEEPSPEED}, or configs/accelerate/fsdp2.yaml"
        ) from error
    return made


def stepped(accelerator: Accelerator, optimizer: Any) -> Any:
    """Return the torch optimizer that holds the state, which DeepSpeed and its ZeRO wrap twice."""
    if accelerator.state.deepspeed_plugin is None:
        return optimizer
    return master_weights(optimizer)[0]


def master_weights(optimizer: Any) -> tuple[Any, Sequence[Tensor]]:
    """Return the optimizer that DeepSpeed wraps and this process's part of the weights it steps.

    The weights are flat float32 tensors, one a parameter group. Raises UserError for a DeepSpeed
    that keeps them elsewhere.
    """
    zero = optimizer.optimizer
    # ZeRO-3's name, then that of stages 1 and 2.
    for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups"):
        if hasattr(zero, name):
            return zero.optimizer, getattr(zero, name)
    raise UserError(
        f"this DeepSpeed's {type(zero).__name__} has no float32 weights that a checkpoint could "
        f"hold; use ZeRO stage 2 or 3 and deepspeed>={OLDEST_DEEPSPEED}, or "
        "configs/accelerate/fsdp2.yaml"
    )
