"""Adapters that were made elsewhere are read as peft reads them, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models import adapters, folders
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

MadeElsewhere = Callable[..., PeftModel]


@pytest.fixture
def made_elsewhere(model_folder: Callable[[str], Path], tmp_path: Path) -> MadeElsewhere:
    """Save an adapter of plain peft that says something to tmp_path, and return its model."""

    def make(family: str = "qwen2_vl", **settings: Any) -> PeftModel:
        base = AutoModelForImageTextToText.from_pretrained(model_folder(family))
        adapted = get_peft_model(base, PeftLoraConfig(r=4, **settings))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in adapted.parameters():
                if weight.requires_grad:
                    weight += 0.1 * torch.randn(weight.shape, generator=generator)
        adapted.save_pretrained(tmp_path)
        return adapted.eval()

    return make


def load(folder: Path, *, train: bool = False, **settings: Any) -> LoadedModel:
    config = ModelConfig(name=str(folder), **settings)
    return models.load_model(config, train=train, device="cpu")


def change_settings(folder: Path, **settings: Any) -> None:
    path = folder / folders.ADAPTER
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    "kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "IA3", "LOHA", "ADALORA", "LN_TUNING", 3]
)
@pytest.mark.parametrize("train", [False, True])
def test_an_adapter_of_another_kind_is_refused_before_its_base_is_loaded(
    kind: object, train: bool, made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj"])
    change_settings(tmp_path, peft_type=kind)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=rf"adapter_config\.json: .* kind {kind!r}, and only LORA"):
        load(tmp_path, train=train)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # act in peft's wrapper, on tokens of their own, or on layers that the model does not have
        ("alora_invocation_tokens", [5, 6]),
        ("trainable_token_indices", [5, 6, 7]),
        ("layer_replication", [[0, 1], [0, 2]]),
        ("use_qalora", True),
    ],
)
def test_a_lora_that_does_more_than_change_modules_is_refused(
    name: str, value: object, made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj"])
    change_settings(tmp_path, **{name: value})
    with pytest.raises(UserError, match=rf"adapter_config\.json: {name} makes it another kind"):
        load(tmp_path)


def test_settings_that_peft_writes_by_default_are_read(
    made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj"])
    written = json.loads((tmp_path / folders.ADAPTER).read_text())
    assert adapters.read_settings(tmp_path).r == written["r"] == 4


def test_an_adapter_of_the_output_layer_is_read_and_not_trained(
    made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made = made_elsewhere(target_modules=["q_proj", "lm_head"])
    tokens = torch.tensor([[5, 9, 11, 7]])
    loaded = load(tmp_path)
    with torch.no_grad():
        hidden = loaded.model(input_ids=tokens, output_hidden_states=True).hidden_states[-1]
        torch.testing.assert_close(loaded.head(hidden), made(input_ids=tokens).logits)
    with pytest.raises(UserError, match=r"changes the output layer, .* merge it by `vrft export"):
        load(tmp_path, train=True)


@pytest.mark.parametrize(
    ("frozen", "learns"),
    [
        ({}, {"language_model", "visual"}),
        ({"freeze_language_model": True}, {"visual"}),
        ({"freeze_vision_tower": True}, {"language_model"}),
    ],
)
def test_a_part_is_frozen_with_the_adapter_in_it(
    frozen: dict[str, bool], learns: set[str], made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj", "qkv"])
    loaded = load(tmp_path, train=True, **frozen)
    trained = [name for name, p in loaded.model.named_parameters() if p.requires_grad]
    assert {part for part in ("language_model", "visual") for n in trained if part in n} == learns
    assert all("lora_" in name for name in trained)


def test_an_adapter_that_would_be_frozen_is_refused(
    made_elsewhere: MadeElsewhere, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"freeze_language_model=true: the adapter of model\.lora"):
        load(model_folder("qwen2_vl"), train=True, freeze_language_model=True, lora=LoraConfig(r=4))
    made_elsewhere(target_modules=["q_proj"])
    with pytest.raises(UserError, match=r"everything is frozen; unfreeze a part$"):
        load(tmp_path, train=True, freeze_language_model=True)


def with_former_names(folder: Path) -> list[str]:
    """Rename an adapter's weights as transformers before 4.52 called them; return the names."""
    path = folder / "adapter_model.safetensors"
    former = {
        name.replace("model.model.language_model.", "model.model.")
        .replace("model.model.visual.", "model.visual."): weight
        for name, weight in load_file(path).items()
    }  # fmt: skip
    save_file(former, path)
    return sorted(former)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
@pytest.mark.parametrize(
    ("modules", "written"),
    [
        (["q_proj", "v_proj"], ["q_proj", "v_proj"]),
        (["q_proj", "qkv"], ["q_proj", "qkv"]),
        # a pattern that left the vision tower out, which is now below "model" too
        (r".*language_model.*(q_proj|up_proj)", r"^(model)(?!.*lm_head).*(q_proj|up_proj|qkv)"),
    ],
)
def test_an_adapter_from_before_transformers_4_52_is_read(
    family: str,
    modules: list[str] | str,
    written: list[str] | str,
    made_elsewhere: MadeElsewhere,
    tmp_path: Path,
) -> None:
    made = made_elsewhere(family, target_modules=modules)
    names = with_former_names(tmp_path)
    assert names[0].startswith("base_model.model.model.layers.0.")
    change_settings(tmp_path, target_modules=written)
    expected = {name: p for name, p in made.named_parameters() if "lora_" in name}
    loaded = dict(load(tmp_path, train=True).model.named_parameters())
    assert {name for name in loaded if "lora_" in name} == {*expected}
    assert all(torch.equal(loaded[name], weight) for name, weight in expected.items())
    # saved again, it has the names of today
    models.save_model(load(tmp_path), tmp_path / "further")
    again = dict(load(tmp_path / "further").model.named_parameters())
    assert all(torch.equal(again[name], weight) for name, weight in expected.items())


def test_a_scale_that_an_old_adapter_gives_by_a_former_name_is_refused(
    made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj"], alpha_pattern={"q_proj": 16})
    with_former_names(tmp_path)
    assert load(tmp_path).adapter is not None
    change_settings(tmp_path, alpha_pattern={"model.layers.0.self_attn.q_proj": 16})
    with pytest.raises(UserError, match=r"alpha_pattern has .*before transformers 4"):
        load(tmp_path)


def test_former_names_are_renamed_as_transformers_renames_a_checkpoint() -> None:
    """Its own table is private: [(former, present)], in the order of the row's."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    for family in ("qwen2_vl", "qwen2_5_vl"):
        row = FAMILIES[family]
        kind = row.processor.replace("Processor", "ForConditionalGeneration")
        stock = get_checkpoint_conversion_mapping(kind)
        assert len(stock) == len(row.former_names) == 2
        for name in (
            "visual.merger.mlp.0.weight",
            "model.layers.0.mlp.up_proj.weight",
            "model.language_model.norm.weight",
            "model.visual.a",
            "lm_head.weight",
        ):
            renamed = name
            for one in stock:
                renamed, _ = one.rename_source_key(renamed)
            assert adapters.present_name(name, row) == renamed


def test_weights_that_the_settings_do_not_ask_for_are_refused(
    made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    made_elsewhere(target_modules=["q_proj", "v_proj"])
    change_settings(tmp_path, target_modules=["q_proj"])
    with pytest.raises(UserError, match=r"has 4 tensor\(s\) that adapter_config.json does not ask"):
        load(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "embed_tokens"]},  # peft writes the embeddings beside it
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj", "qkv"], "lora_bias": True},
        {"target_modules": ["q_proj"], "init_lora_weights": "pissa"},  # changes its base too
        {"target_modules": ["q_proj", "up_proj"], "rank_pattern": {"up_proj": 2}, "bias": "all"},
        {"target_modules": ["q_proj", "qkv", "proj"], "use_rslora": True},
    ],
)
def test_other_adapters_of_modules_compute_as_in_peft(
    settings: dict[str, Any], made_elsewhere: MadeElsewhere, tmp_path: Path
) -> None:
    tokens = torch.tensor([[5, 9, 11, 7]])
    made = made_elsewhere(**settings)
    loaded = load(tmp_path)
    with torch.no_grad():
        expected, logits = (model(input_ids=tokens).logits for model in (made, loaded.model))
    torch.testing.assert_close(logits, expected)
