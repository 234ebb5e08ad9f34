"""Sampling groups on tiny models: shared prefill, ends, bans, seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vrft.config.rollout import SamplingConfig
from vrft.models import encoding
from vrft.models.families import FAMILIES
from vrft.models.loaded import LoadedModel
from vrft.policy import sampling as decoding
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=12)
GREEDY = replace(SAMPLING, temperature=0.0)


def prompts(picture: Callable[..., Image.Image]) -> list[Prompt]:
    """Return prompts with one picture, two of other sizes and none, and texts of other lengths."""
    return [
        Prompt("Where is the key?", (picture(56, 84),)),
        Prompt("Find the owl in one of these.", (picture(112, 56, 1), picture(84, 140, 2))),
        Prompt("No picture here.", system="Answer briefly."),
    ]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_greedy_tokens_are_those_of_transformers_generate(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny(family)
    asked = prompts(picture)
    if not loaded.family.has_vision:
        asked = [replace(prompt, images=()) for prompt in asked]
    encoded = [encoding.encode(loaded, prompt) for prompt in asked]
    ours = decoding.sample(loaded, encoded, 2, GREEDY, [0, 1, 2])
    for prompt, group in zip(encoded, ours, strict=True):
        tokens = prompt.tokens.unsqueeze(0)
        pictures = {}
        if prompt.pixels is not None:
            types = (tokens == loaded.core.config.image_token_id).int()
            pictures = {
                "pixel_values": prompt.pixels,
                "image_grid_thw": prompt.grids,
                "mm_token_type_ids": types,
            }
        expected = loaded.core.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            **pictures,
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=list(loaded.banned_ids),
            eos_token_id=sorted(loaded.end_ids),
            pad_token_id=loaded.tokenizer.pad_token_id,
        )[0, tokens.shape[1] :].tolist()
        assert group == [expected, expected]  # greedy: both completions are the same


def test_a_prompt_is_answered_alike_alone_and_in_a_batch(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    encoded = [encoding.encode(loaded, prompt) for prompt in prompts(picture)]
    together = decoding.sample(loaded, encoded, 4, SAMPLING, [7, 8, 9])
    alone = [
        decoding.sample(loaded, [one], 4, SAMPLING, [seed])[0]
        for one, seed in zip(encoded, [7, 8, 9], strict=True)
    ]
    assert together == alone


def test_the_same_seed_repeats_and_another_differs(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    encoded = [encoding.encode(loaded, prompts(picture)[0])]
    first = decoding.sample(loaded, encoded, 4, SAMPLING, [7])
    assert decoding.sample(loaded, encoded, 4, SAMPLING, [7]) == first
    assert decoding.sample(loaded, encoded, 4, SAMPLING, [8]) != first


def test_all_answers_of_a_group_differ_whatever_the_checkpoint_ships(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    # What every Qwen-VL checkpoint ships; taken over, it makes all G answers alike, and a group
    # of equal answers teaches nothing.
    loaded.core.generation_config.update(do_sample=True, temperature=0.01, top_k=1, top_p=0.001)
    encoded = [encoding.encode(loaded, prompts(picture)[0])]
    group = decoding.sample(loaded, encoded, 16, SAMPLING, [0])[0]
    assert len({tuple(tokens) for tokens in group}) == 16


def test_vision_tokens_are_never_sampled(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    known = loaded.tokenizer.get_vocab()
    banned = {known[name] for name in ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>")}
    with torch.no_grad():  # a model that wants to say nothing else
        loaded.core.lm_head.weight[list(banned)] *= 50
    encoded = [encoding.encode(loaded, prompts(picture)[0])]
    group = decoding.sample(loaded, encoded, 16, SAMPLING, [0])[0]
    assert not banned & {token for tokens in group for token in tokens}
    assert banned <= set(loaded.banned_ids)


def test_either_end_token_stops_a_row_and_is_counted_once(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    loaded = load_tiny("qwen2_vl")
    known = loaded.tokenizer.get_vocab()
    ends = {known["<|im_end|>"], known["<|endoftext|>"]}
    assert loaded.end_ids == ends
    policy = ModelPolicy(loaded)
    # hot and long enough that most of 24 rows meet one of the two end tokens, and not all
    sampling = replace(SAMPLING, max_completion_length=400, temperature=3.0)
    group = policy.generate(prompts(picture)[:1], 24, sampling, [0])[0]
    finished = [rollout for rollout in group if rollout.finished]
    assert {rollout.tokens[-1] for rollout in finished} == ends
    for rollout in group:
        assert not ends & set(rollout.tokens[:-1])
        assert rollout.finished == (rollout.tokens[-1] in ends)
        assert rollout.finished or len(rollout.tokens) == 400
        assert rollout.completion.tokens == len(rollout.tokens)


def test_each_prompt_draws_its_numbers_from_its_own_seed() -> None:
    uniforms = decoding.uniforms_of([7, 8], 2, 5)  # rows: two completions of each prompt
    assert torch.equal(uniforms[:2], torch.rand(2, 5, generator=torch.Generator().manual_seed(7)))
    assert torch.equal(uniforms[2:], decoding.uniforms_of([8], 2, 5))


def test_room_for_completions_is_filled_with_the_prompt_s_first_token(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2")
    long, short = (encoding.encode(loaded, Prompt(text)) for text in ("Find it there.", "Find"))
    batch = encoding.collate([long, short], loaded.device)
    texts = decoding.written_texts(batch, 2, 3)
    first = int(short.tokens[0])
    room = len(long.tokens) + 3  # P is the longer prompt's length, C is 3
    assert texts.shape == (4, room)
    assert torch.equal(texts[0], texts[1])
    assert texts[0].tolist() == [*long.tokens.tolist(), *[first] * 3]
    assert texts[2].tolist() == [*short.tokens.tolist(), *[first] * (room - len(short.tokens))]


def test_the_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(20_000, 4)
    uniforms = torch.rand(20_000, generator=torch.Generator().manual_seed(3))
    counts = torch.bincount(decoding.draw(logits.softmax(-1), uniforms), minlength=4) / 20_000
    # the standard error of a share is below 0.0035
    assert torch.allclose(counts, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.015)


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, 5)
    uniforms = torch.tensor([0.0, 0.5, 1 - 2**-24])  # the last is the largest below 1 in float32
    assert decoding.draw(logits.softmax(-1), uniforms).tolist() == [1, 3, 3]


def test_log_probabilities_of_sampled_tokens_are_those_they_were_drawn_with(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    """Draw at a low temperature: the drawn tokens are likely if it divides their logits too."""
    policy = ModelPolicy(load_tiny("qwen2_vl"))
    encoded = policy.encode(prompts(picture))
    cold = replace(SAMPLING, temperature=0.05)  # logits are divided by it, so multiplied by 20
    groups = policy.sample(encoded, 4, cold, [0, 1, 2])
    with torch.no_grad():
        at_cold = policy.logps(encoded, groups, 0.05).sum(-1)
        at_one = policy.logps(encoded, groups, 1.0).sum(-1)
    assert (at_cold > at_one).all()
