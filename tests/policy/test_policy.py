"""The policy's face: rollouts, modes of the model, references, and weights written to a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from vrft import policy
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.errors import UserError
from vrft.models.loaded import LoadedModel
from vrft.policy import Generator, ModelPolicy, Policy
from vrft.policy.policy import AdapterOff, strip_prefix
from vrft.types import Completion, Prompt, Rollout, View

Load = Callable[..., LoadedModel]

SAMPLING = SamplingConfig(max_completion_length=6)
PROMPTS = [Prompt("Where is the key?"), Prompt("Find the owl.")]


def test_a_model_policy_is_a_policy_and_a_generator(load_tiny: Load) -> None:
    trained: Policy = ModelPolicy(load_tiny("qwen2"))
    sampler: Generator = trained  # as the evaluation takes it
    groups = sampler.generate(PROMPTS, 3, SAMPLING, [0, 1])
    assert [len(group) for group in groups] == [3, 3]
    assert groups == trained.sample(trained.encode(PROMPTS), 3, SAMPLING, [0, 1])


def test_a_rollout_tells_its_text_its_length_and_whether_it_ended(load_tiny: Load) -> None:
    made = ModelPolicy(load_tiny("qwen2"))
    tokenizer = made.loaded.tokenizer
    words = tokenizer("the key")["input_ids"]
    end = tokenizer.eos_token_id
    views = (View(56, 28),)
    (prompt,) = made.encode([Prompt("Where?")])
    # the end token is counted, and is no part of the text
    assert made.rollout([*words, end], replace(prompt, views=views)) == Rollout(
        Completion("the key", views, len(words) + 1), (*words, end), True
    )
    assert made.rollout(words, prompt) == Rollout(
        Completion("the key", (), len(words)), tuple(words), False
    )


def test_a_rollout_is_read_behind_the_thoughts_that_the_chat_template_opens(
    load_tiny: Load,
) -> None:
    made = ModelPolicy(load_tiny("qwen3_5"))
    (prompt,) = made.encode([Prompt("Where?")])
    words = made.loaded.tokenizer("the key</think><answer>4</answer>")["input_ids"]
    rollout = made.rollout(words, prompt)
    assert rollout.completion.text == "<think>\nthe key</think><answer>4</answer>"
    assert rollout.tokens == tuple(words)  # the prompt's part is no token of the completion


def test_a_rollout_has_the_tags_that_are_special_tokens_of_the_checkpoint(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    # As a cold start leaves them that adds its tags by `additional_special_tokens`.
    folder = shutil.copytree(model_folder("qwen2"), tmp_path / "model")
    words: Any = AutoTokenizer.from_pretrained(folder)
    tags = ["<think>", "</think>", "<answer>", "</answer>"]
    words.add_special_tokens({"additional_special_tokens": tags})
    words.save_pretrained(folder)
    made = policy.load(ModelConfig(str(folder)), device="cpu")
    assert {*tags} <= {*made.loaded.tokenizer.all_special_tokens}
    answer = "<think>it is</think>\n<answer>4</answer>"
    pad = made.loaded.tokenizer.pad_token_id
    tokens = [*words(answer)["input_ids"], words.eos_token_id]
    (prompt,) = made.encode([Prompt("Where?")])
    assert made.rollout(tokens, prompt).completion.text == answer
    # A base model's pad token, where its generation config does not name it as an end.
    assert made.rollout([pad, *tokens], prompt).completion.text == answer
    # Marks of objects are left out, as transformers and TRL leave them out.
    marks = words("<|object_ref_start|>4<|object_ref_end|>")["input_ids"]
    assert made.rollout([*marks, *tokens], prompt).completion.text == f"4{answer}"


@pytest.mark.parametrize("training", [True, False])
def test_it_samples_without_dropout_and_leaves_the_model_in_its_mode(
    training: bool, load_tiny: Load
) -> None:
    # a dropout of 0.9 would change every token
    lora = LoraConfig(r=4, lora_dropout=0.9)
    made = ModelPolicy(load_tiny("qwen2", train=True, lora=lora))
    model = made.loaded.model
    with torch.no_grad():  # an adapter that says something: at first its B is 0
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    encoded = made.encode(PROMPTS)
    model.train(training)
    first = made.sample(encoded, 2, SAMPLING, [0, 1])
    assert model.training == training
    assert made.sample(encoded, 2, SAMPLING, [0, 1]) == first


def test_a_prompt_over_the_limit_is_refused_when_generating(load_tiny: Load) -> None:
    made = ModelPolicy(load_tiny("qwen2"))
    (encoded,) = made.encode(PROMPTS[:1])
    length = made.length(encoded)
    limited = SamplingConfig(max_completion_length=2, max_prompt_length=length - 1)
    with pytest.raises(UserError, match=rf"has {length} tokens"):
        made.generate(PROMPTS[:1], 1, limited, [0])


def test_only_names_with_the_prefix_are_kept_and_lose_it() -> None:
    ones = torch.ones(1)
    weights = {"model.a.model.b": ones, "critic.bias": ones, "models.c": ones}
    assert list(strip_prefix(weights, "model.")) == ["a.model.b"]


def test_gathered_weights_are_written_in_the_place_of_the_models_own(
    load_tiny: Load, tmp_path: Path
) -> None:
    made = ModelPolicy(load_tiny("qwen2"))
    gathered = {name: weight + 1 for name, weight in made.module.state_dict().items()}
    made.save(tmp_path, gathered)
    again = policy.load(ModelConfig(name=str(tmp_path)), device="cpu")
    pairs = zip(again.module.parameters(), made.module.parameters(), strict=True)
    assert all(torch.equal(new, old + 1) for new, old in pairs)
    # tied weights are written once
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")


def test_a_policy_that_is_not_to_train_learns_nothing(model_folder: Callable[[str], Path]) -> None:
    config = ModelConfig(name=str(model_folder("qwen2")))
    assert not any(w.requires_grad for w in policy.load(config, device="cpu").module.parameters())
    assert all(
        w.requires_grad for w in policy.load(config, train=True, device="cpu").module.parameters()
    )


def test_the_reference_under_lora_is_the_model_below_the_adapter(
    model_folder: Callable[[str], Path],
) -> None:
    config = ModelConfig(name=str(model_folder("qwen2")), lora=LoraConfig(r=4))
    trained = policy.load(config, train=True, device="cpu")
    reference = policy.reference(trained, config, "cpu")
    assert isinstance(reference, AdapterOff) and reference.loaded is trained.loaded
    encoded = trained.encode(PROMPTS)
    groups = [[Rollout(Completion(""), (5, 6, 7), True)]] * 2
    with torch.no_grad():
        before = trained.logps(encoded, groups, 1.0)
        for name, weight in trained.loaded.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
        assert not torch.allclose(trained.logps(encoded, groups, 1.0), before, atol=1e-3)
        assert torch.equal(reference.logps(encoded, groups, 1.0), before)


def stirred_adapter(model_folder: Callable[[str], Path], family: str, folder: Path) -> Path:
    """Write an adapter that says something, and return its folder."""
    config = ModelConfig(name=str(model_folder(family)), lora=LoraConfig(r=4, lora_alpha=8))
    start = policy.load(config, train=True, device="cpu")
    with torch.no_grad():
        for name, weight in start.loaded.model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    start.save(folder)
    return folder


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen2"])
def test_the_reference_of_an_adapter_that_is_trained_on_is_that_adapter(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    start = stirred_adapter(model_folder, family, tmp_path / "start")
    config = ModelConfig(name=str(start))
    trained = policy.load(config, train=True, device="cpu")
    reference = policy.reference(trained, config, "cpu")
    encoded = trained.encode(PROMPTS)
    groups = [[Rollout(Completion(""), (5, 6, 7), True)]] * 2
    with torch.no_grad():
        before = trained.logps(encoded, groups, 1.0)
        base = AdapterOff(trained).logps(encoded, groups, 1.0)
        assert not torch.allclose(before, base, atol=1e-3)
        # the KL of the first step is 0
        assert torch.equal(reference.logps(encoded, groups, 1.0), before)
        for name, weight in trained.loaded.model.named_parameters():
            if "lora_A" in name:
                weight.mul_(2)
        assert not torch.allclose(trained.logps(encoded, groups, 1.0), before, atol=1e-3)
        assert torch.equal(reference.logps(encoded, groups, 1.0), before)
    assert not any(weight.requires_grad for weight in reference.module.parameters())
    # a resumed run loads a checkpoint, and has the reference that it began with
    trained.save(tmp_path / "checkpoint-1")
    resumed = policy.load(replace(config, name=str(tmp_path / "checkpoint-1")), train=True,
                          device="cpu")  # fmt: skip
    with torch.no_grad():
        again = policy.reference(resumed, config, "cpu").logps(encoded, groups, 1.0)
    assert torch.equal(again, before)


def test_the_reference_of_a_fully_trained_model_is_a_frozen_copy(
    model_folder: Callable[[str], Path],
) -> None:
    config = ModelConfig(name=str(model_folder("qwen2")))
    trained = policy.load(config, train=True, device="cpu")
    reference = policy.reference(trained, config, "cpu")
    assert reference.loaded is not trained.loaded
    assert not any(weight.requires_grad for weight in reference.module.parameters())
