"""An update's own layers against torch's: the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from vrft.config.schema import LoraConfig
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy import onednn, recomputed_mlp, update_layers
from vrft.policy.logprobs import GroupLogps
from vrft.policy.update_layers import UpdateLayers
from vrft.types import Prompt

Load = Callable[..., LoadedModel]
Draw = Callable[..., Image.Image]

PLAIN = UpdateLayers(products=False, activations=False, head=False)
COMPLETIONS = [[[5, 6, 7, 8, 9], [10], [11, 12]], [[13, 14, 15], [16, 17], [23]]]


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny models be computed as large ones are."""
    monkeypatch.setattr(update_layers, "MIN_MODEL", 0)
    monkeypatch.setattr(update_layers, "MIN_LAYER", 0)
    monkeypatch.setattr(recomputed_mlp, "WIDE", 100)  # so that both ways are taken
    monkeypatch.setattr(recomputed_mlp, "BLOCK", 1000)  # no divisor of any width


def measured(
    loaded: LoadedModel, layers: UpdateLayers, prompts: list[encoding.Encoded]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probabilities, and the gradient of a weighted sum of them."""
    loaded.model.zero_grad()
    logps = GroupLogps(loaded, layers)(prompts, COMPLETIONS, 0.7)
    weights = torch.randn(logps.shape, generator=torch.Generator().manual_seed(0))
    (logps * weights).sum().backward()
    gradient = [w.grad.flatten() for w in loaded.model.parameters() if w.grad is not None]
    return logps.detach(), torch.cat(gradient)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def encoded(loaded: LoadedModel, picture: Draw) -> list[encoding.Encoded]:
    pictures = (picture(56, 84),) if loaded.family.has_vision else ()
    prompts = [Prompt("Where is the key?", pictures), Prompt("Find it, briefly.")]
    return [encoding.encode(loaded, prompt) for prompt in prompts]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"lora": LoraConfig(r=4)},
    {"freeze_vision_tower": True},
    {"gradient_checkpointing": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["all", "lora", "frozen", "checkpointed"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_values_and_gradients_are_those_of_torch_s_layers(
    family: str, settings: dict[str, Any], load_tiny: Load, picture: Draw, small_is_large: None
) -> None:
    if family in ("qwen2", "qwen3") and "freeze_vision_tower" in settings:
        settings = {}
    loaded = load_tiny(family, train=True, **settings)
    prompts = encoded(loaded, picture)
    plain, expected = measured(loaded, PLAIN, prompts)
    values, gradient = measured(loaded, UpdateLayers(), prompts)
    assert relative(values, plain) < 2e-6
    assert relative(gradient, expected) < 2e-6
    assert float(expected.norm()) > 0.1


def test_a_model_s_own_layers_compute_so_and_are_themselves_again(
    load_tiny: Load, small_is_large: None
) -> None:
    model = load_tiny("qwen2_vl", train=True).model
    with UpdateLayers().of(model, model):
        changed = [module for module in model.modules() if "forward" in vars(module)]
    kinds = {type(module).__name__ for module in changed}
    assert {"Qwen2MLP", "VisionMlp"} <= kinds
    assert ("Linear" in kinds) == onednn.reads_in_place(torch.float32)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_rollout_s_layout_is_set_aside_and_put_back(load_tiny: Load) -> None:
    model = load_tiny("qwen2_vl", train=True).model
    layer: Any = model.get_submodule("model.visual.merger.mlp.0")
    laid_out = onednn.packed_product(layer.weight.detach(), layer.bias.detach(), torch.float32)
    if not onednn.supports(torch.float32):
        pytest.skip("oneDNN has no layout here")
    layer.forward = laid_out
    hidden = torch.randn(3, layer.in_features)
    assert not layer(hidden).requires_grad
    with UpdateLayers().of(model, model):
        assert layer(hidden).requires_grad
    assert layer.forward is laid_out


def test_small_models_autocast_and_checkpointing_keep_torch_s_layers(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_tiny("qwen2_vl", train=True).model
    assert not update_layers.fits(model)  # the demo computes as it always has
    monkeypatch.setattr(update_layers, "MIN_MODEL", 0)
    assert update_layers.fits(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert not update_layers.fits(model)
    checkpointed = load_tiny("qwen2_vl", train=True, gradient_checkpointing=True).model
    assert not update_layers.fits(checkpointed)


def test_a_forward_of_another_s_is_left_alone(load_tiny: Load, small_is_large: None) -> None:
    model = load_tiny("qwen2_vl", train=True).model
    mlp: Any = next(part for part in model.modules() if type(part).__name__ == "Qwen2MLP")
    own = mlp.down_proj.forward = lambda hidden: nn.functional.linear(hidden, mlp.down_proj.weight)
    with UpdateLayers().of(model, model):
        assert mlp.down_proj.forward is own
        assert "forward" not in vars(mlp)
