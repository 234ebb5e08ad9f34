"""The shared-prefix log-probabilities against the plain forward over repeated rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vrft import models
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.demo import tiny
from vrft.demo.course import Size
from vrft.demo.tiny_configs import Family
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import DeepStack
from vrft.policy import logprobs
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt

TEMPERATURE = 0.7


def plain_logps(loaded: LoadedModel, prompt: encoding.Encoded, tokens: list[int]) -> torch.Tensor:
    """Pass one unpadded row through the model, pictures and all, as the published code does."""
    ids = torch.cat([prompt.tokens, torch.tensor(tokens)]).unsqueeze(0)
    inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if prompt.pixels is not None:
        types = (ids == loaded.core.config.image_token_id).int()  # 1: picture
        inputs |= {
            "pixel_values": prompt.pixels,
            "image_grid_thw": prompt.grids,
            "mm_token_type_ids": types,
        }
    logits = loaded.core(**inputs).logits[0].float() / TEMPERATURE
    # The last token of the prompt predicts the first of the completion; the last one, nothing.
    logps = logits.log_softmax(-1)[len(prompt.tokens) - 1 : -1]
    return logps.gather(-1, torch.tensor(tokens).unsqueeze(-1)).squeeze(-1)


def gradients(loaded: LoadedModel) -> torch.Tensor:
    """Return all gradients as one vector."""
    return torch.cat(
        [
            torch.zeros(p.numel()) if p.grad is None else p.grad.flatten().clone()
            for p in loaded.model.parameters()
            if p.requires_grad
        ]
    )


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def batch(loaded: LoadedModel, picture: Callable[..., Image.Image]) -> list[Prompt]:
    """Return prompts with one picture, two of other sizes and none, and texts of other lengths."""
    if not loaded.family.has_vision:
        return [Prompt("Where is the key?"), Prompt("Find it."), Prompt("Which one flies, here?")]
    return [
        Prompt("Where is the key?", (picture(56, 84),)),
        Prompt("Find the owl in one of these.", (picture(112, 56, 1), picture(84, 140, 2))),
        Prompt("No picture here.", system="Answer briefly."),
    ]


# Three groups of three. A completion of a single token adds none to the packed row: the prompt
# predicts it.
COMPLETIONS = [
    [[5, 6, 7, 8, 9], [10], [11, 12]],
    [[13, 14, 15], [16, 17, 18, 19, 20, 21, 22], [23]],
    [[24, 25], [26, 27, 28], [29, 30, 31, 32]],
]


def both_ways(
    loaded: LoadedModel, prompts: list[encoding.Encoded]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return values and gradients: of plain rows, and of the packed row."""
    # A weight of its own for every token: errors of different tokens do not cancel out.
    weights = torch.randn(3, 3, 7, generator=torch.Generator().manual_seed(0))
    plain = torch.zeros(3, 3, 7)
    for b, group in enumerate(COMPLETIONS):
        for g, tokens in enumerate(group):
            plain[b, g, : len(tokens)] = plain_logps(loaded, prompts[b], tokens)
    measured = []
    for logps in (plain, GroupLogps(loaded)(prompts, COMPLETIONS, TEMPERATURE)):
        loaded.model.zero_grad()
        (logps * weights).sum().backward()
        measured.append((logps.detach(), gradients(loaded)))
    return measured


def stirred(loaded: LoadedModel) -> LoadedModel:
    """Draw the weights of an adapter, whose second half begins as zeros, from a seed."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.03, generator=generator)
    return loaded


DEEP = Size(128, 256, 4, 4, 2, 64, 3, 4)
"""Four layers: all levels of DeepStack are added before the last, and three layers in four of
Qwen3.5 are of linear attention."""

each_family = pytest.mark.parametrize("family", list(FAMILIES))


@pytest.mark.parametrize("lora", [LoraConfig(), LoraConfig(r=4)], ids=["all weights", "LoRA"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@each_family
def test_values_and_gradients_equal_the_plain_repeated_forward(
    family: str,
    checkpointing: bool,
    lora: LoraConfig,
    load_tiny: Callable[..., LoadedModel],
    picture: Callable[..., Image.Image],
) -> None:
    loaded = stirred(load_tiny(family, train=True, gradient_checkpointing=checkpointing, lora=lora))
    prompts = [encoding.encode(loaded, prompt) for prompt in batch(loaded, picture)]
    (plain, expected), (shared, gradient) = both_ways(loaded, prompts)
    assert relative(shared, plain) < 1e-5
    assert relative(gradient, expected) < 1e-5
    # The comparison has teeth: the gradient is not zero, nor that of another weighting.
    loaded.model.zero_grad()
    GroupLogps(loaded)(prompts, COMPLETIONS, TEMPERATURE).sum().backward()
    assert relative(gradients(loaded), expected) > 0.1


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_they_are_equal_through_layers_of_several_kinds(
    family: Family, picture: Callable[..., Image.Image], tmp_path: Path
) -> None:
    loaded = load_deep(family, tmp_path)
    prompts = [encoding.encode(loaded, prompt) for prompt in batch(loaded, picture)]
    (plain, expected), (shared, gradient) = both_ways(loaded, prompts)
    assert relative(shared, plain) < 1e-5
    assert relative(gradient, expected) < 1e-5


def load_deep(family: Family, folder: Path) -> LoadedModel:
    """Return a tiny model with more layers than that of other tests."""
    tiny.write(folder, family, DEEP)
    return models.load_model(ModelConfig(str(folder)), train=True, device="cpu")


def forget(stacked: DeepStack, tokens: int) -> dict[str, Any]:
    """Return no arguments: the levels are forgotten."""
    return {}


def swap(stacked: DeepStack, tokens: int) -> dict[str, Any]:
    """Return the levels in the wrong order."""
    return kept(replace(stacked, levels=stacked.levels[::-1]), tokens)


def shift(stacked: DeepStack, tokens: int) -> dict[str, Any]:
    """Return the levels for the tokens after the right ones."""
    return kept(replace(stacked, places=stacked.places.roll(1)), tokens)


kept = DeepStack.arguments


@pytest.mark.parametrize("wrong", [forget, swap, shift])
@pytest.mark.parametrize("family", [name for name, row in FAMILIES.items() if row.deepstack])
def test_deepstack_that_is_forgotten_or_misplaced_moves_values_and_gradients(
    wrong: Callable[[DeepStack, int], dict[str, Any]],
    family: Family,
    picture: Callable[..., Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    loaded = load_deep(family, tmp_path)
    prompts = [encoding.encode(loaded, prompt) for prompt in batch(loaded, picture)]
    monkeypatch.setattr(DeepStack, "arguments", wrong)
    (plain, expected), (shared, gradient) = both_ways(loaded, prompts)
    # With it, both differ by less than 1e-5.
    assert relative(shared, plain) > 1e-3
    assert relative(gradient, expected) > 1e-2


@pytest.mark.parametrize("family", [name for name, row in FAMILIES.items() if row.has_vision])
def test_a_process_without_pictures_has_gradients_of_zero_for_the_tower_and_changes_no_value(
    family: str, load_tiny: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny(family, train=True)
    prompts = [encoding.encode(loaded, Prompt(text)) for text in ("Where?", "Find the key.")]
    completions = [[[5, 6, 7], [8, 9]], [[10], [11, 12]]]
    alone = GroupLogps(loaded)(prompts, completions)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    among_others = GroupLogps(loaded)(prompts, completions)
    assert torch.equal(alone, among_others)
    among_others.sum().backward()
    assert loaded.vision_tower is not None
    for name, weight in loaded.vision_tower.named_parameters():
        # None would keep other processes waiting
        assert weight.grad is not None and not weight.grad.any(), name


def test_the_completions_of_a_group_do_not_see_each_other(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    prompts = [encoding.encode(loaded, Prompt("Where?", (picture(),)))]
    module = GroupLogps(loaded)
    with torch.no_grad():
        before = module(prompts, [[[5, 6, 7], [8, 9, 10]]])
        after = module(prompts, [[[5, 6, 7], [30, 31, 32]]])  # another second completion
    assert torch.allclose(before[0, 0], after[0, 0], atol=1e-6)
    assert not torch.allclose(before[0, 1], after[0, 1], atol=1e-3)


def test_chunks_of_the_head_give_the_same_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = torch.nn.Linear(8, 50, bias=False)
    hidden = torch.randn(17, 8, requires_grad=True)
    targets = torch.arange(17)
    whole = logprobs.token_logps(hidden, targets, head, 0.5)
    whole.square().sum().backward()
    expected = hidden.grad, head.weight.grad
    hidden.grad = head.weight.grad = None
    monkeypatch.setattr(logprobs, "CHUNK", 5)  # 17 = 5 + 5 + 5 + 2; the last is not recomputed
    chunked = logprobs.token_logps(hidden, targets, head, 0.5)
    chunked.square().sum().backward()
    assert torch.allclose(whole, chunked, atol=1e-6)
    assert torch.allclose(hidden.grad, expected[0], atol=1e-5)
    assert torch.allclose(head.weight.grad, expected[1], atol=1e-5)


def test_entropies_are_those_of_the_distributions_at_the_temperature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50)
    hidden, targets = torch.randn(7, 8), torch.arange(7)
    monkeypatch.setattr(logprobs, "CHUNK", 3)
    with torch.no_grad():
        both = logprobs.token_logps(hidden, targets, head, 0.5, entropy=True)
        alone = logprobs.token_logps(hidden, targets, head, 0.5)
        expected = torch.distributions.Categorical(logits=head(hidden) / 0.5).entropy()
    assert both.shape == (7, 2)
    assert torch.allclose(both[:, 0], alone, atol=1e-6)
    assert torch.allclose(both[:, 1], expected, atol=1e-6)
    # more than for a certain token, less than for 50 alike ones: ln 50 = 3.9
    assert both[:, 1].min() > 0 and both[:, 1].max() < 3.9


def test_a_single_token_completion_needs_no_completion_forward(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    prompt = encoding.encode(loaded, Prompt("Where?", (picture(),)))
    with torch.no_grad():
        # The packed row is the prompt alone, whose last token predicts both.
        logps = GroupLogps(loaded)([prompt], [[[5], [6]]], TEMPERATURE)
        assert logps.shape == (1, 2, 1)
        assert torch.allclose(logps[0, 0], plain_logps(loaded, prompt, [5]), atol=1e-5)
