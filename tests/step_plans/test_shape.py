"""Shapes of models by folder and by hub id, without weights and without the net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.step_plans import shape


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


def test_experts_are_counted(model_folder: Callable[[str], Path]) -> None:
    model = shape.read(str(model_folder("qwen3_vl_moe")))
    loaded = shape.build(model, ModelConfig(), torch.float32)
    experts = loaded.core.get_submodule("model.language_model.layers.0.mlp.experts")
    assert experts.gate_up_proj.shape[0] == model.text.num_experts == 4
    with pytest.raises(UserError, match="has experts, which bitsandbytes would leave"):
        shape.build(model, ModelConfig(quantization="nf4"), torch.float32)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_5", "qwen3"])
def test_an_adapters_folder_has_the_shape_of_its_base_and_the_adapter(
    family: str, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loaded = load_tiny(family, train=True, lora=LoraConfig(r=3))
    models.save_model(loaded, tmp_path)
    model = shape.read(str(tmp_path))
    assert model.name == str(tmp_path) and model.config.model_type == family
    again = shape.build(model, ModelConfig(name=str(tmp_path)), torch.float32)
    expected = {name: (p.shape, p.requires_grad) for name, p in loaded.model.named_parameters()}
    assert {n: (p.shape, p.requires_grad) for n, p in again.model.named_parameters()} == expected
    assert any(trained for _, trained in expected.values())


def test_an_adapter_of_another_kind_is_refused(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = {"peft_type": "IA3", "base_model_name_or_path": str(model_folder("qwen2"))}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="of the kind 'IA3', and only LORA is read"):
        shape.read(str(tmp_path))


def test_layers_of_four_bits_are_those_that_are_quantised(
    model_folder: Callable[[str], Path],
) -> None:
    model = shape.read(str(model_folder("qwen3_5")))
    plain = shape.build(model, ModelConfig(), torch.float32, train=False)
    settings = ModelConfig(quantization="nf4", lora=LoraConfig(r=2))
    packed = shape.build(model, settings, torch.float32)
    layers = [p for p, m in packed.core.named_modules() if isinstance(m, shape.FourBitLinear)]
    assert layers and all(".layers." in path and "visual" not in path for path in layers)
    # What a weight stands for stays the same, the adapter aside.
    adapter = sum(p.numel() for n, p in packed.model.named_parameters() if "lora_" in n)
    total = sum(all_ for all_, _ in shape.parameters(packed).values())
    assert total - adapter == sum(all_ for all_, _ in shape.parameters(plain).values())


def test_a_layer_of_four_bits_gives_gradients_to_what_it_is_given() -> None:
    layer = shape.FourBitLinear(torch.nn.Linear(8, 6, device="meta"), torch.bfloat16)
    values = torch.empty(2, 3, 8, device="meta", requires_grad=True)
    out = layer(values)
    assert (out.shape, out.dtype) == ((2, 3, 6), torch.float32)
    out.sum().backward()
    assert values.grad is not None and values.grad.shape == values.shape
    assert layer.weight.grad is None


def test_a_plan_holds_a_frozen_part_in_the_type_that_the_model_computes_in() -> None:
    """Published weights are numbers of bfloat16, of which none is rounded."""
    settings = ModelConfig(freeze_language_model=True)
    loaded = shape.build(
        shape.read("Qwen/Qwen2-VL-2B-Instruct"), settings, torch.float32, half=torch.bfloat16
    )
    held = {weight.requires_grad: weight.dtype for weight in loaded.model.parameters()}
    assert held == {True: torch.float32, False: torch.bfloat16}
