"""The engines of a launch through accelerate: DDP, DeepSpeed's ZeRO and PyTorch's FSDP2.

Each process holds whole groups. Data parallelism exchanges gradients only; ZeRO-2 also shards the
optimizer's state, ZeRO-3 and FSDP2 the weights too. Every function here that communicates must be
called by all processes, and equally often: a process that leaves a call out makes the others wait
forever.

The engines are driven past what they do for an ordinary loop of forwards and backwards. Where that
takes a private name of theirs, the name is looked for before the first step (``check_engine``), and
a version that lacks it is refused in one line.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from vrft import launched
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.models.loading import precision
from vrft.processes import shards
from vrft.system.waiting import waiting


def accelerator(config: ModelConfig, ddp_timeout: int = 1800) -> Accelerator:
    """Return the accelerator of this process, which computes in the precision of ``model.dtype``.

    ``ddp_timeout`` are the seconds after which an exchange with the other processes fails. A script
    that trains twice keeps the limit of its first run.
    """
    patience = InitProcessGroupKwargs(timeout=timedelta(seconds=ddp_timeout))
    if not torch.cuda.is_available():
        start_on_cpu(patience.timeout)
    names = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
    # accelerate fixes the precision of a process with its first Accelerator, and refuses another
    # one, which a second run of a script may have. Without the private method, so does this.
    getattr(AcceleratorState, "_reset_state", lambda: None)()
    made = Accelerator(
        mixed_precision=names[trainers_precision(config)], kwargs_handlers=[patience]
    )
    # accelerate has told transformers of the ZeRO-3 launch, which would then load every model in
    # parts. The policy is sharded by `prepare`; a reference model stays whole on every device.
    unset_hf_deepspeed_config()
    return made


def trainers_precision(config: ModelConfig) -> str:
    """Return the dtype in which a model computes in training, on CUDA where there is any."""
    return precision(config, "cuda" if torch.cuda.is_available() else "cpu")


def start_on_cpu(timeout: timedelta) -> None:
    """Join the other processes over gloo, before accelerate looks for a device.

    Told to use the CPU, accelerate would leave DeepSpeed and FSDP out without a word. It keeps them
    where the processes are joined already and, for FSDP, where their kind is that of GPUs.
    """
    state = PartialState(cpu=True, timeout=timeout)
    if launched.engine() == "FSDP2":
        state.distributed_type = DistributedType.MULTI_GPU
    if launched.engine() == "DeepSpeed":
        from deepspeed import ops

        # DeepSpeed would compile its own shared-memory communication for more than a minute. Where
        # a version has no such table it does so, and nothing else changes.
        getattr(ops, "__compatible_ops__", {})["deepspeed_shm_comm"] = False


@waiting()
def prepare(
    accelerator: Accelerator, module: nn.Module, optimizer: Any, max_grad_norm: float
) -> tuple[nn.Module, Any]:
    """Return the module and its optimizer, wrapped for the engine that the launch asked for.

    ``max_grad_norm`` is for DeepSpeed, which clips gradients itself; 0 is no limit. Raises
    UserError for a version of an engine that cannot be driven.
    """
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None:
        shards.check_deepspeed()
        plugin.deepspeed_config |= {
            "gradient_clipping": max_grad_norm,
            # DeepSpeed would divide each loss by the number of passes. Ours are sums whose tokens
            # are weighted already, and `accumulation` says when an update is complete.
            "gradient_accumulation_steps": 1,
            "train_micro_batch_size_per_gpu": 1,  # without effect here, but DeepSpeed asks for it
        }
    keep_float32(accelerator)
    module, optimizer = accelerator.prepare(module, optimizer)
    check_engine(accelerator, module, optimizer)
    if isinstance(module, FSDPModule):
        # The module that FSDP2 sees called first becomes the root of all. Sampling calls the parts
        # alone, so the whole module is made the root before anything is called.
        module._get_fsdp_state()._lazy_init()
    return module, optimizer


def keep_float32(accelerator: Accelerator) -> None:
    """Let FSDP2 compute in half precision, but return and exchange float32.

    accelerate would have it cast whatever the whole module returns, which are log-probabilities,
    and add up gradients in half precision, over passes and over devices.
    """
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    plugin = getattr(accelerator.state, "fsdp_plugin", None)  # only a launch of FSDP has one
    if plugin is not None and half is not None:
        plugin.mixed_precision_policy = MixedPrecisionPolicy(half, reduce_dtype=torch.float32)


def check_engine(accelerator: Accelerator, module: nn.Module, optimizer: Any) -> None:
    """Raise UserError where an engine lacks a private name by which this module drives it.

    Better before the first step than at the first checkpoint, hours later.
    """
    plugin = accelerator.state.deepspeed_plugin
    if isinstance(module, FSDPModule):
        state = getattr(module, "_get_fsdp_state", lambda: None)()
        if not hasattr(state, "_lazy_init"):
            raise UserError(
                f"FSDP2 of torch {torch.__version__} cannot be told which module is the root; "
                "install the torch that the Makefile names, or use configs/accelerate/zero3.yaml"
            )
    if plugin is not None:
        shards.deepspeed_places(optimizer)
        if plugin.zero_stage == 3:
            zero3_hooks()


@contextmanager
def accumulation(accelerator: Accelerator, module: nn.Module, *, last: bool) -> Iterator[None]:
    """Accumulate gradients within the block; only an update's ``last`` pass exchanges them.

    DeepSpeed takes its step within the last pass.
    """
    accelerator.sync_gradients = last  # which DeepSpeed asks at each backward
    with nullcontext() if last else accelerator.no_sync(module):
        yield


def clip(accelerator: Accelerator, module: nn.Module, limit: float) -> float:
    """Scale the gradients to a norm of at most ``limit`` (0: no limit); return their norm before.

    A weight that no pass has reached, such as those of the vision tower in an update without
    pictures, gets a gradient of zero: so AdamW treats it on one device as DeepSpeed does, which
    keeps all gradients in one tensor and knows no missing ones.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if accelerator.distributed_type != DistributedType.DEEPSPEED:
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
    norm = accelerator.clip_grad_norm_(parameters, limit or math.inf)
    # FSDP2 returns each device's part of the norm.
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


@contextmanager
def gathered_weights(accelerator: Accelerator, module: nn.Module) -> Iterator[None]:
    """Hold the weights whole on every device within the block, gathered once.

    Otherwise each forward of each layer would gather them again, once for every token that is
    sampled, and devices would wait for each other's answers: within the block they need not call
    the same parts of the module equally often.
    """
    plugin = accelerator.state.deepspeed_plugin
    if isinstance(module, FSDPModule):
        parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
        module.set_reshard_after_forward(False)
        with waiting():
            for part in parts:
                part.unshard()
        yield
        for part in parts:
            # As accelerate has set it up: the root stays whole between forward and backward.
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()
    elif plugin is not None and plugin.zero_stage == 3:
        from deepspeed.runtime.zero import GatheredParameters

        add_hooks, remove_hooks = zero3_hooks()
        with contextlib.ExitStack() as stack:
            with waiting():
                stack.enter_context(GatheredParameters(list(module.parameters())))
            # The hooks would put each layer's weights away again after its first call.
            remove_hooks(module)
            yield
            add_hooks(module)
    else:
        yield


def zero3_hooks() -> tuple[Callable[[nn.Module], None], Callable[[nn.Module], None]]:
    """Return TRL's functions that put ZeRO-3's hooks on a module, and that take them off.

    Raises UserError for a TRL that has them no more, or elsewhere.
    """
    try:
        from trl.models.utils import add_hooks, remove_hooks
    except ImportError as error:
        raise UserError(
            f"ZeRO-3 needs TRL's trl.models.utils.remove_hooks ({error}); install the TRL that "
            "pyproject.toml names, or use configs/accelerate/zero2.yaml"
        ) from error
    return add_hooks, remove_hooks


@waiting()
def state_dict(accelerator: Accelerator, module: nn.Module) -> Mapping[str, Tensor] | None:
    """Return a module's weights, whole; of DeepSpeed and FSDP2, None but on the main process."""
    if not shards.shards_optimizer(accelerator):
        # accelerate would import DeepSpeed, if it is installed, to see whether it wraps the module.
        return unwrapped(module).state_dict()
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None and plugin.zero_stage < 3 and not accelerator.is_main_process:
        # Each process has all weights, and accelerate would copy them to the CPU in all of them:
        # on a machine with eight cards, eight times. No other process has to take part.
        return None
    weights: Mapping[str, Tensor] | None = accelerator.get_state_dict(module)
    return weights


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module that DDP holds, or the one given."""
    return module.module if isinstance(module, DistributedDataParallel) else module
