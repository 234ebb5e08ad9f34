"""The shapes of published models: their sizes as published, and a step of each on "meta"."""

from __future__ import annotations

import pytest
import torch

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import ModelConfig
from vrft.step_plans import shape
from vrft.step_plans.rehearsal import Load, PromptShape, rehearse

TOTALS = {
    "Qwen/Qwen2-VL-2B-Instruct": 2_208_985_600,
    "Qwen/Qwen2-VL-7B-Instruct": 8_291_375_616,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen3-VL-2B-Instruct": 2_127_532_032,
    "Qwen/Qwen3-VL-4B-Instruct": 4_437_815_808,
    "Qwen/Qwen3-VL-8B-Instruct": 8_767_123_696,
}
"""Parameters in the index of each published checkpoint. No such total is at hand for Qwen3.5."""


@pytest.mark.parametrize("name", TOTALS)
def test_a_shape_has_the_published_number_of_parameters(name: str) -> None:
    loaded = shape.build(shape.read(name), ModelConfig(), torch.bfloat16)
    total = sum(weights for weights, _ in shape.parameters(loaded).values())
    assert total == TOTALS[name]


def test_every_shape_is_here_and_those_without_a_total_are_of_qwen3_5() -> None:
    others = shape.published().keys() - TOTALS.keys()
    assert len(others) == 3 and all(name.startswith("Qwen/Qwen3.5-") for name in others)


@pytest.mark.large
@pytest.mark.parametrize("name", shape.published())
def test_a_rollout_and_an_update_pass_through_the_engine_at_the_true_shape(name: str) -> None:
    model = shape.read(name)
    loaded = shape.build(model, ModelConfig(gradient_checkpointing=False), torch.bfloat16)
    side = model.factor
    # Two pictures of other sizes, two completions, three tokens.
    load = Load((PromptShape(12, ((4 * side, 6 * side), (3 * side, 2 * side))),), 1, 2, 3)
    account = rehearse(loaded, load, SamplingConfig(), "cuda")
    assert {*account.peaks} == {"prefill", "decode", "forward", "backward"}
    missing = [name for name, w in loaded.model.named_parameters() if w.grad is None]
    assert missing == []
    # Keys and values of all layers, or their states, of prompts and completions.
    held = account.peaks["decode"].by_place
    assert sum(size for place, size in held.items() if place.part == "cache") > 0
    for phase in ("prefill", "decode", "forward", "backward"):
        assert sum(w.flops for p, ws in account.work.items() if p.phase == phase for w in ws) > 1e9
