"""An adapter as a folder, from which peft reads the same, and the rank that a server is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy.adapter_weights import RANKS, adapter_weights, served_rank, write_adapter
from vrft.policy.merged_weights import base_weights, merged_weights


def stirred(loaded: LoadedModel) -> LoadedModel:
    """Give an adapter weights that say something: at first its B is 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return loaded


@pytest.mark.parametrize("family", list(FAMILIES))
def test_base_and_adapter_are_together_the_merged_weights(
    family: str, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loaded = stirred(load_tiny(family, train=True, lora=LoraConfig(r=4, lora_alpha=12)))
    write_adapter(loaded, tmp_path / "adapter", adapter_weights(loaded))
    expected = merged_weights(loaded)
    bare = load_tiny(family)
    plain = {name: weight.clone() for name, weight in merged_weights(bare).items()}
    base = base_weights(loaded)
    assert set(base) == set(plain) == set(expected)
    assert all(torch.equal(base[name], plain[name]) for name in base)
    assert any(not torch.equal(expected[name], plain[name]) for name in base)
    read = PeftModel.from_pretrained(bare.model, str(tmp_path / "adapter"))
    merged = LoadedModel(read.merge_and_unload(), bare.processor, bare.family)
    for name, weight in merged_weights(merged).items():
        torch.testing.assert_close(weight, expected[name], atol=1e-6, rtol=0)


def test_an_adapters_folder_is_that_of_peft(
    load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loaded = stirred(load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4)))
    assert loaded.adapter is not None
    loaded.adapter.save_pretrained(str(tmp_path / "peft"))
    write_adapter(loaded, tmp_path / "own", adapter_weights(loaded))
    own, peft = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("own", "peft")
    )
    assert set(own) == set(peft) and all(torch.equal(own[name], peft[name]) for name in own)
    settings = json.loads((tmp_path / "own" / "adapter_config.json").read_text())
    assert (settings["r"], settings["peft_type"]) == (4, "LORA")


def test_gathered_weights_take_the_place_of_the_models_own(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = stirred(load_tiny("qwen2", train=True, lora=LoraConfig(r=4)))
    expected = {name: weight.clone() for name, weight in adapter_weights(loaded).items()}
    gathered = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.zero_()  # as where a device holds other parts
    given = adapter_weights(loaded, gathered)
    assert set(given) == set(expected)
    assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_an_adapter_that_is_no_plain_product_is_refused(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2", train=True, lora=LoraConfig(r=4))
    assert loaded.adapter is not None
    loaded.adapter.peft_config["default"].use_dora = True
    with pytest.raises(UserError, match="use_dora cannot be sent to a server"):
        adapter_weights(loaded)


@pytest.mark.parametrize("name", ["rank_pattern", "alpha_pattern"])
def test_an_adapter_of_several_ranks_or_scales_is_sent_merged_alone(
    name: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny("qwen2", train=True, lora=LoraConfig(r=4))
    assert loaded.adapter is not None
    setattr(loaded.adapter.peft_config["default"], name, {"q_proj": 2})
    assert merged_weights(loaded)
    with pytest.raises(UserError, match=f"has a {name}.*set rollout.vllm.lora=merged"):
        adapter_weights(loaded)


@pytest.mark.parametrize(
    ("rank", "served"), [(1, 1), (2, 8), (8, 8), (9, 16), (64, 64), (300, 320), (512, 512)]
)
def test_the_served_rank_is_the_next_that_vllm_knows(rank: int, served: int) -> None:
    assert served_rank(ModelConfig(lora=LoraConfig(r=rank))) == served


def test_a_rank_that_vllm_does_not_serve_is_refused() -> None:
    with pytest.raises(UserError, match="the adapter has rank 513, and vLLM serves 512 at most"):
        served_rank(ModelConfig(lora=LoraConfig(r=RANKS[-1] + 1)))


def test_an_adapters_folder_says_its_rank_and_a_model_without_one_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=r"the model has no LoRA adapter; set model\.lora\.r"):
        served_rank(ModelConfig(name=str(tmp_path)))
    (tmp_path / "adapter_config.json").write_text('{"r": 24}')
    assert served_rank(ModelConfig(name=str(tmp_path))) == 32
    (tmp_path / "adapter_config.json").write_text('{"r": "many"}')
    with pytest.raises(UserError, match="the model has no LoRA adapter"):
        served_rank(ModelConfig(name=str(tmp_path)))
