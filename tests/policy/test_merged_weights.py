"""The weights of an adapted model as one plain model, as a server loads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from safetensors import safe_open

from vrft.config.schema import LoraConfig
from vrft.errors import UserError
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy.merged_weights import merged_weights


def stirred(loaded: LoadedModel) -> LoadedModel:
    """Give an adapter weights that say something: at first its B is 0."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return loaded


@pytest.mark.parametrize("family", list(FAMILIES))
def test_names_and_values_are_those_of_a_saved_folder(
    family: str, load_tiny: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loaded = load_tiny(family, train=True)
    loaded.model.save_pretrained(str(tmp_path))
    merged = merged_weights(loaded)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert set(merged) == set(file.keys())
        assert all(torch.equal(merged[name], file.get_tensor(name)) for name in merged)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_an_adapter_is_merged_as_peft_merges_it_and_the_model_stays(
    family: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    lora = LoraConfig(r=4, target_modules=("all-linear",))
    loaded = stirred(load_tiny(family, train=True, lora=lora))
    before = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    merged = merged_weights(loaded)
    after = loaded.model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert isinstance(loaded.model, PeftModel)
    plain = loaded.model.merge_and_unload()
    bare = LoadedModel(plain, loaded.processor, loaded.family)
    expected = merged_weights(bare)
    assert set(merged) == set(expected)
    for name, weight in merged.items():
        torch.testing.assert_close(weight, expected[name], atol=1e-6, rtol=0)
    assert not any("lora_" in name or "base_layer" in name for name in merged)


def test_gathered_weights_take_the_place_of_the_models_own(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = stirred(load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4)))
    expected = {name: weight.clone() for name, weight in merged_weights(loaded).items()}
    gathered = {name: weight.clone() for name, weight in loaded.model.state_dict().items()}
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.zero_()  # as where a device holds other parts
    merged = merged_weights(loaded, gathered)
    assert all(torch.equal(merged[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("family", "settings", "said"),
    [
        ("qwen2", {"target_modules": ["q_proj", "embed_tokens"]}, "a change of embed_tokens"),
        ("qwen2_vl", {"target_modules": ["q_proj", "patch_embed.proj"]}, "a change of proj"),
        ("qwen3_vl_moe", {"target_parameters": ["experts.down_proj"]}, "target_parameters"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_an_adapter_of_other_modules_than_linear_ones_is_refused(
    family: str, settings: dict[str, Any], said: str, load_tiny: Callable[..., LoadedModel]
) -> None:
    loaded = load_tiny(family)
    adapted: Any = get_peft_model(loaded.core, PeftLoraConfig(r=4, **settings))
    with pytest.raises(UserError, match=f"an adapter with {said} cannot be sent to a server"):
        merged_weights(LoadedModel(adapted, loaded.processor, loaded.family))


def test_an_adapter_that_is_no_plain_product_is_refused(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2", train=True, lora=LoraConfig(r=4))
    assert loaded.adapter is not None
    loaded.adapter.peft_config["default"].use_dora = True
    with pytest.raises(UserError, match="use_dora cannot be sent to a server"):
        merged_weights(loaded)
    loaded.adapter.peft_config["default"].use_dora = False
    loaded.adapter.peft_config["default"].bias = "all"
    with pytest.raises(UserError, match="bias=all cannot be sent to a server"):
        merged_weights(loaded)
