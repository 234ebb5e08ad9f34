"""Shapes of models by folder and by hub id, without weights and without the net."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vrft.checks import shape
from vrft.config.schema import ModelConfig
from vrft.errors import UserError


def test_a_folder_has_its_own_shape(model_folder: Callable[[str], Path]) -> None:
    folder = model_folder("qwen3_vl")
    model = shape.read(str(folder))
    assert model.source == f"{folder}/config.json"
    assert model.factor == 32
    loaded = shape.build(model, ModelConfig(), torch.float32)
    assert {weight.device.type for weight in loaded.model.parameters()} == {"meta"}
    parts = shape.parameters(loaded)
    assert sum(count for count, _ in parts.values()) == sum(
        weight.numel() for weight in loaded.model.parameters()
    )


def test_a_frozen_part_is_not_trained(model_folder: Callable[[str], Path]) -> None:
    model = shape.read(str(model_folder("qwen2_vl")))
    loaded = shape.build(model, ModelConfig(freeze_vision_tower=True), torch.float32)
    parts = shape.parameters(loaded)
    assert parts["vision"][1] == 0 < parts["vision"][0]
    assert parts["decoder"][1] == parts["decoder"][0] > 0


def test_an_unknown_model_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"not on this machine.*Qwen2\.5-VL-7B"):
        shape.read("nobody/no-model")


def test_experts_are_refused_in_a_line(model_folder: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="experts"):
        shape.read(str(model_folder("qwen3_vl_moe")))
