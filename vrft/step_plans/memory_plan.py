"""The memory that a run holds on each device, as its plan tells it before the first step."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from vrft.config.schema import Config
from vrft.models import vision_graphs
from vrft.models.loading import weight_dtype
from vrft.models.vision_features import is_fixed, is_whole
from vrft.policy import ModelPolicy
from vrft.policy.decode_step import weight_copies
from vrft.step_plans import budget


def text(actor: ModelPolicy, config: Config, accelerator: Accelerator) -> str:
    """Return what one device holds without activations, in GB, in a line of the plan."""
    states = held_bytes(actor, config, accelerator)
    held = [f"{states / 1e9:.2f} GB a device for weights, gradients and optimizer"]
    if copies := copied_weights(actor, config, accelerator):
        held.append(f"{copies / 1e9:.2f} GB for copies of weights in rollouts")
    if kept := kept_passes(actor, config, accelerator):
        held.append(
            f"at most {kept / 1e9:.2f} GB for vision passes from a rollout to its update "
            "(model.vision_graph_mib)"
        )
    return ", ".join([*held, "activations not counted"])


def shares_prompts(config: Config) -> bool:
    """Return whether the model samples by its own decoding, which shares prompts."""
    return config.samples_itself and config.model.shared_prefix


def copied_weights(actor: ModelPolicy, config: Config, accelerator: Accelerator) -> int:
    """Return the bytes of weights that a rollout on a CPU lays out anew, and drops at its end."""
    if accelerator.device.type != "cpu" or not shares_prompts(config):
        return 0
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
    return sum(weight_copies(actor.loaded, half))


def kept_passes(actor: ModelPolicy, config: Config, accelerator: Accelerator) -> int:
    """Return the bytes that vision passes may take which a step keeps; 0 where it keeps none."""
    tower = actor.loaded.vision_tower
    if tower is None or not shares_prompts(config) or is_fixed(tower) or not is_whole(tower):
        return 0
    serves = vision_graphs.may_serve(config.algorithm, accelerator.num_processes)
    limit: int = actor.loaded.feature_cache.graphs.limit
    return limit if serves and vision_graphs.is_worth_keeping(tower) else 0


def held_bytes(actor: ModelPolicy, config: Config, accelerator: Accelerator) -> float:
    """Return the bytes that one device holds from its first step to its last, in any launch.

    They are those of weights, gradients, AdamW's two moments, and a reference model; activations,
    the rollout's cache and what a sharded pass gathers for a moment come on top.
    """
    half = accelerator.mixed_precision in ("bf16", "fp16")
    held = budget.states(
        actor.module.parameters(), launch_of(accelerator), config.train.optim, half=half
    )
    if not config.algorithm.beta:
        return held.total
    dtype = weight_dtype(config.model, accelerator.device.type, train=False)
    return held.total + budget.reference(actor.loaded.core.parameters(), config, dtype)


def launch_of(accelerator: Accelerator) -> budget.Devices:
    """Return the devices of a launch and how they share what is held, for a plan."""
    plugin, fsdp = accelerator.state.deepspeed_plugin, DistributedType.FSDP
    if plugin is None:
        sharded = accelerator.distributed_type == fsdp
        return budget.Devices(accelerator.num_processes, fsdp=sharded)
    settings = getattr(plugin, "deepspeed_config", {}).get("zero_optimization", {})
    offload = settings.get("offload_optimizer", {}).get("device", "none") != "none"
    return budget.Devices(accelerator.num_processes, plugin.zero_stage, offload=offload)
