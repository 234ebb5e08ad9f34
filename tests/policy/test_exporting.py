from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from vrft.config.schema import LoraConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy import exporting
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

Load = Callable[..., LoadedModel]


@pytest.fixture
def adapted(load_tiny: Load) -> Callable[[str], ModelPolicy]:
    """Load a tiny model with an adapter that says something: at first its B is 0."""

    def load(family: str) -> ModelPolicy:
        loaded = load_tiny(family, train=True, lora=LoraConfig(r=4, target_modules=("all-linear",)))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in loaded.model.parameters():
                if weight.requires_grad:
                    weight += 0.05 * torch.randn(weight.shape, generator=generator)
        loaded.model.eval().requires_grad_(False)
        return ModelPolicy(loaded)

    return load


@pytest.mark.parametrize(
    ("family", "plain"),
    [("qwen2_5_vl", AutoModelForImageTextToText), ("qwen3", AutoModelForCausalLM)],
)
def test_a_merged_model_gives_plain_transformers_the_adapters_logits(
    family: str, plain: Any, adapted: Callable[[str], ModelPolicy], tmp_path: Path
) -> None:
    policy = adapted(family)
    tokens = torch.tensor([[5, 9, 11, 7]])
    with torch.no_grad():
        before = policy.loaded.model(input_ids=tokens).logits
        below = policy.loaded.adapter
        assert below is not None
        with below.disable_adapter():
            without = policy.loaded.model(input_ids=tokens).logits
    exporting.write(policy, tmp_path / "out", merge=True, dtype="float32")
    assert not (tmp_path / "out" / "adapter_config.json").exists()
    with torch.no_grad():
        after = plain.from_pretrained(tmp_path / "out")(input_ids=tokens).logits
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-5)
    assert (after - without).abs().max() > 1e-3  # the adapter is in it


def test_a_merged_model_answers_as_before(
    adapted: Callable[[str], ModelPolicy], tmp_path: Path, picture: Callable[..., Any]
) -> None:
    policy = adapted("qwen2_vl")
    prompts = [Prompt("Where?", (picture(56, 84),)), Prompt("And now?")]
    before = exporting.answers(policy, prompts)
    exporting.write(policy, tmp_path / "out", merge=True, dtype="float32")
    assert exporting.changed(before, tmp_path / "out", prompts, "float32") == 0
    assert exporting.changed(["x", before[1]], tmp_path / "out", prompts, "float32") == 1


def test_weights_are_written_in_the_precision_asked_for(load_tiny: Load, tmp_path: Path) -> None:
    exporting.write(ModelPolicy(load_tiny("qwen2_vl")), tmp_path, merge=False, dtype="bfloat16")
    dtypes = {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()}
    assert dtypes == {torch.bfloat16}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_a_model_without_adapter_is_not_merged(load_tiny: Load, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no adapter"):
        exporting.write(
            ModelPolicy(load_tiny("qwen3")), tmp_path / "out", merge=True, dtype="float32"
        )
    assert not (tmp_path / "out").exists()
