"""Several devices through accelerate: set up, gather, and whole groups on each rank."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, broadcast_object_list
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from vrft.config.schema import ModelConfig

T = TypeVar("T")


def accelerator(config: ModelConfig) -> Accelerator:
    """The accelerator of this process: on CUDA it computes in bfloat16 unless told otherwise."""
    cuda = torch.cuda.is_available()
    if not cuda:
        start_on_cpu()
    if config.dtype == "auto":
        precision = "bf16" if cuda else "no"
    else:
        precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[config.dtype]
    made = Accelerator(mixed_precision=precision)
    # Or transformers would load every model in ZeRO-3's parts: a reference too, which stays whole.
    unset_hf_deepspeed_config()
    return made


def start_on_cpu() -> None:
    """Meet the other processes over gloo, before accelerate looks for a device."""
    # Told to use the CPU, accelerate would leave out DeepSpeed and FSDP and go on without a word;
    # it does not if it finds the processes started, and for FSDP their kind to be a GPU's.
    state = PartialState(cpu=True)
    if launched_with("FSDP"):
        state.distributed_type = DistributedType.MULTI_GPU
    if launched_with("DEEPSPEED"):
        from deepspeed import ops

        # Compiled at its first use, for more than a minute; gloo does the same.
        ops.__compatible_ops__["deepspeed_shm_comm"] = False


def launched_with(engine: str) -> bool:
    """Whether ``accelerate launch`` asked for an engine, "DEEPSPEED" or "FSDP"."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "").lower() == "true"


def prepare(
    accelerator: Accelerator, module: nn.Module, optimizer: Any, max_grad_norm: float
) -> tuple[nn.Module, Any]:
    """The module and its optimizer as the launch wants them: copied, or shared out in parts.

    Gradients are clipped by DeepSpeed itself; 0 is no limit.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        plugin.deepspeed_config |= {
            "gradient_clipping": max_grad_norm,
            "gradient_accumulation_steps": 1,  # the loss has the weight of its tokens already
            "train_micro_batch_size_per_gpu": 1,  # of no effect, but DeepSpeed asks for it
        }
    module, optimizer = accelerator.prepare(module, optimizer)
    if isinstance(module, FSDPModule):
        # The module that is called first becomes the root, and sampling calls its parts alone.
        module._get_fsdp_state()._lazy_init()
    return module, optimizer


@contextmanager
def accumulation(accelerator: Accelerator, module: nn.Module, *, last: bool) -> Iterator[None]:
    """One of an update's passes: only the last exchanges gradients, and lets DeepSpeed step."""
    accelerator.sync_gradients = last
    with nullcontext() if last else accelerator.no_sync(module):
        yield


def clip(accelerator: Accelerator, module: nn.Module, limit: float) -> float:
    """Scale the gradients down to a norm of ``limit`` (0: none); returns their norm before.

    A weight that no pass reached, as those of the vision tower where there was no picture, has a
    gradient of zero: DeepSpeed, which keeps all gradients in one tensor, knows no other.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if accelerator.distributed_type != DistributedType.DEEPSPEED:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
    norm = accelerator.clip_grad_norm_(parameters, limit or math.inf)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


@contextmanager
def gathered_weights(accelerator: Accelerator, module: nn.Module) -> Iterator[None]:
    """The weights whole on every device meanwhile, gathered once, to be read in any order.

    Within, ranks need not call the same parts of the module equally often.
    """
    plugin = accelerator.state.deepspeed_plugin
    if isinstance(module, FSDPModule):
        shards = [part for part in module.modules() if isinstance(part, FSDPModule)]
        module.set_reshard_after_forward(False)
        for part in shards:
            part.unshard()
        yield
        for part in shards:
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()
    elif plugin is not None and plugin.zero_stage == 3:
        from deepspeed.runtime.zero import GatheredParameters
        from trl.models.utils import add_hooks, remove_hooks

        with GatheredParameters(list(module.parameters())):
            remove_hooks(module)  # they would put each part away again after its first call
            yield
            add_hooks(module)
    else:
        yield


def shards_optimizer(accelerator: Accelerator) -> bool:
    """Whether each process holds a share of the optimizer's state, and not a copy."""
    return accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.FSDP)


def optimizer_state(accelerator: Accelerator, optimizer: Any) -> Any:
    """The optimizer's state, or this process's share of it, as tensors and plain values."""
    if accelerator.state.deepspeed_plugin is None:
        return optimizer.state_dict()
    inner, flat = master_weights(optimizer)
    return [{"weights": part.detach(), **inner.state[part]} for part in flat]


def restore_optimizer(accelerator: Accelerator, optimizer: Any, state: Any) -> None:
    """Put back what ``optimizer_state`` gave this process."""
    if accelerator.state.deepspeed_plugin is None:
        optimizer.load_state_dict(state)
        return
    inner, flat = master_weights(optimizer)
    for part, saved in zip(flat, state, strict=True):
        part.data.copy_(saved.pop("weights"))
        inner.state[part] = {name: value.to(part.device) for name, value in saved.items()}


def master_weights(optimizer: Any) -> tuple[Any, Sequence[Tensor]]:
    """The optimizer that DeepSpeed wraps, and this process's share of the weights it steps."""
    zero = optimizer.optimizer
    stage3 = hasattr(zero, "fp32_partitioned_groups_flat")
    return zero.optimizer, (
        zero.fp32_partitioned_groups_flat if stage3 else zero.single_partition_of_fp32_groups
    )


def gather(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """Rows [b, ...] of every rank, in rank order: [b * world, ...]; b is the same on all."""
    if accelerator.num_processes == 1:
        return rows
    out: Tensor = accelerator.gather(rows.to(accelerator.device))
    return out.to(rows.device)


def local_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
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


def max_over_ranks(accelerator: Accelerator, number: int) -> int:
    """The largest of a number over all ranks."""
    return int(gather(accelerator, torch.tensor([number])).max())
