"""The memory that a plan tells is what a run holds, in every kind of launch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from fakes.bigram import CONFIG
from fakes.folders import FAKES
from torch import nn

from vrft import config, policy
from vrft.models import vision_graphs
from vrft.policy import onednn
from vrft.processes import distributed
from vrft.step_plans import memory_plan
from vrft.training import plan, train
from vrft.training.step import step

LETTERS = FAKES / "letters_task.py"


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["algorithm=grpo"],
        ["model.lora.r=4"],
        ["model.freeze_vision_tower=true"],
        ["model.lora.r=4", "model.quantization=nf4"],
    ],
)
def test_the_plans_memory_is_what_a_run_holds_after_a_step(
    settings: list[str], model_folder: Callable[[str], Path]
) -> None:
    if "model.quantization=nf4" in settings:
        pytest.importorskip("bitsandbytes")
    wanted = [f"task={LETTERS}", f"model={model_folder('qwen2_vl')}", "train.max_steps=1"]
    configured = config.load(None, [*wanted, "sampling.max_completion_length=4", *settings])
    accelerator = distributed.accelerator(configured.model)
    made = train.prepare(configured, *plan.check(configured), accelerator)
    step(made)
    tensors = [*made.policy.module.parameters()]
    if made.reference is not None and made.reference.module is not made.policy.module:
        tensors += made.reference.module.parameters()
    for state in [p.quant_state for p in tensors if hasattr(p, "quant_state")]:
        tensors += [state.absmax, state.code, state.offset]
        tensors += [state.state2.absmax, state.state2.code]
    held = sum(tensor.nbytes for tensor in tensors)
    # zero_grad has let go of the gradients, which are as large as the weights they are of
    held += sum(p.nbytes for p in made.policy.module.parameters() if p.requires_grad)
    moments = [v for state in made.optimizer.state.values() for v in state.values()]
    held += sum(moment.nbytes for moment in moments if moment.ndim > 0)
    assert memory_plan.held_bytes(made.policy, configured, accelerator) == held


def test_the_plans_memory_has_a_second_model_where_an_adapter_is_trained_on(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    start = [f"task={LETTERS}", f"model={model_folder('qwen2')}"]
    fresh = config.load(None, [*start, "model.lora.r=4", "algorithm.beta=0.1"])
    accelerator = distributed.accelerator(fresh.model)
    actor = policy.load(fresh.model, train=True, device="cpu")
    actor.save(tmp_path)
    further = config.load(None, [*start[:1], f"model={tmp_path}", "algorithm.beta=0.1"])
    one, both = (memory_plan.held_bytes(actor, run, accelerator) for run in (fresh, further))
    assert both - one == sum(weight.nbytes for weight in actor.module.parameters())


def launched(engine: DistributedType, stage: int = 0, precision: str = "no") -> Any:
    """An accelerator of four processes of an engine."""
    deepspeed = SimpleNamespace(zero_stage=stage) if engine == DistributedType.DEEPSPEED else None
    return SimpleNamespace(
        state=SimpleNamespace(deepspeed_plugin=deepspeed),
        num_processes=4,
        distributed_type=engine,
        mixed_precision=precision,
        device=SimpleNamespace(type="cpu"),
    )


@pytest.mark.parametrize(
    ("accelerator", "bytes_a_weight"),
    [
        # weight and gradient, two moments, all on every device
        (launched(DistributedType.MULTI_GPU), 16.0),
        # a quarter of the four
        (launched(DistributedType.FSDP), 4.0),
        # the weight, and a quarter of gradient, float32 copy and moments
        (launched(DistributedType.DEEPSPEED, 2), 4 + (4 + 4 + 8) / 4),
        (launched(DistributedType.DEEPSPEED, 3), (4 + 4 + 4 + 8) / 4),
        # the weight in two bytes, the gradient added up in four
        (launched(DistributedType.DEEPSPEED, 2, "bf16"), 2 + (4 + 4 + 8) / 4),
    ],
)
def test_the_plans_memory_knows_what_a_launch_shards(
    accelerator: Any, bytes_a_weight: float
) -> None:
    actor: Any = SimpleNamespace(module=nn.Linear(10, 10, bias=False))
    assert memory_plan.held_bytes(actor, CONFIG, accelerator) == 100 * bytes_a_weight


@pytest.mark.parametrize(("place", "bytes_a_weight"), [("cpu", 4 + 4 / 4), ("none", 4 + 16 / 4)])
def test_an_offloaded_optimizer_is_in_no_devices_memory(place: str, bytes_a_weight: float) -> None:
    accelerator = launched(DistributedType.DEEPSPEED, 2)
    settings = {"zero_optimization": {"offload_optimizer": {"device": place}}}
    accelerator.state.deepspeed_plugin.deepspeed_config = settings
    actor: Any = SimpleNamespace(module=nn.Linear(10, 10, bias=False))
    # a float32 copy and two moments of a quarter of the weights move to the machine
    assert memory_plan.held_bytes(actor, CONFIG, accelerator) == 100 * bytes_a_weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_weights_take_two_bytes_in_half_precision_however_they_were_loaded(
    dtype: torch.dtype,
) -> None:
    frozen = nn.Linear(10, 10, bias=False).to(dtype).requires_grad_(False)
    actor: Any = SimpleNamespace(module=frozen)
    accelerator = launched(DistributedType.DEEPSPEED, 2, "bf16")
    assert memory_plan.held_bytes(actor, CONFIG, accelerator) == 100 * 2


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ([], 512 * 2**20),
        (["model.vision_graph_mib=3"], 3 * 2**20),
        (["model.freeze_vision_tower=true"], 0),
        (["algorithm.num_iterations=2"], 0),
        (["algorithm=sft"], 0),
        (["rollout.engine=vllm", "rollout.vllm.url=http://127.0.0.1:1"], 0),
    ],
)
def test_the_plan_says_what_a_step_may_keep_of_its_rollouts_vision_passes(
    settings: list[str],
    kept: int,
    model_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 0)
    wanted = [f"task={LETTERS}", f"model={model_folder('qwen2_vl')}", *settings]
    configured = config.load(None, wanted)
    accelerator = distributed.accelerator(configured.model)
    actor = policy.load(configured.model, train=True, device="cpu")
    assert memory_plan.kept_passes(actor, configured, accelerator) == kept
    line = memory_plan.text(actor, configured, accelerator)
    assert ("model.vision_graph_mib" in line) is (kept > 0)
    monkeypatch.setattr(vision_graphs, "MIN_TOWER", 2**20)  # a tiny tower keeps nothing
    assert memory_plan.kept_passes(actor, configured, accelerator) == 0


@pytest.mark.skipif(not onednn.supports(torch.float32), reason="needs oneDNN on an x86 processor")
def test_the_plan_says_what_a_rollout_on_a_cpu_copies(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = config.load(None, [f"task={LETTERS}", f"model={model_folder('qwen2')}"])
    accelerator = distributed.accelerator(configured.model)
    actor = policy.load(configured.model, train=True, device="cpu")
    assert memory_plan.copied_weights(actor, configured, accelerator) == 0  # too small to gain
    monkeypatch.setattr(onednn, "MIN_LAYER", 1)
    linear = [m.weight for m in actor.module.modules() if isinstance(m, nn.Linear)]
    joined = [
        part.weight
        for layer in actor.loaded.language_model.layers
        for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
    ]
    copies = memory_plan.copied_weights(actor, configured, accelerator)
    assert copies == sum(weight.nbytes for weight in [*linear, *joined])
    assert "for copies of weights in rollouts" in memory_plan.text(actor, configured, accelerator)
    monkeypatch.setattr(onednn, "MAX_MODEL", 0)
    assert memory_plan.copied_weights(actor, configured, accelerator) == 0
