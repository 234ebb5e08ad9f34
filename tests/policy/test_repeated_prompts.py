"""The plain way against the shared one: the same log-probabilities, gradients and greedy tokens."""

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
from vrft.policy import sampling
from vrft.policy.logprobs import GroupLogps
from vrft.types import Prompt, Turn

# of different lengths: the plain way pads them, and hides the padding
COMPLETIONS = [[[5, 6, 7, 8, 9], [10]], [[13, 14, 15], [16, 17]]]
SAMPLING = SamplingConfig(max_completion_length=8)


def both(
    load_tiny: Callable[..., LoadedModel], family: str, picture: Callable[..., Image.Image]
) -> tuple[LoadedModel, LoadedModel, list[encoding.Encoded]]:
    """Load the same model for both ways, and encode prompts for it."""
    shared = load_tiny(family, train=True)
    plain = load_tiny(family, train=True, shared_prefix=False)
    prompts = [Prompt("Where is the key?"), Prompt("Find it.", system="Be brief.")]
    if shared.family.has_vision:
        pictures = (picture(56, 84), picture(84, 28, 1))
        turns = (Turn("user", "This is <image>the owl."), Turn("assistant", "Yes."))
        talk = replace(prompts[1], text="Find it in <image>.", images=pictures, turns=turns)
        prompts = [replace(prompts[0], images=pictures), talk]
    return shared, plain, [encoding.encode(shared, prompt) for prompt in prompts]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_log_probabilities_and_gradients_are_those_of_the_shared_way(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    shared, plain, prompts = both(load_tiny, family, picture)
    weights = torch.randn(2, 2, 5, generator=torch.Generator().manual_seed(0))
    found = []
    for loaded in (shared, plain):
        logps = GroupLogps(loaded)(prompts, COMPLETIONS, 0.7)
        (logps * weights).sum().backward()
        gradients = [p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None]
        found.append((logps.detach(), torch.cat(gradients)))
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm() and other.norm() > 1e-3


@pytest.mark.parametrize("family", list(FAMILIES))
def test_greedy_tokens_are_those_of_the_shared_way(
    family: str, load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    shared, plain, prompts = both(load_tiny, family, picture)
    # the penalty reads the prompt as well, which the two ways hold differently
    greedy = replace(SAMPLING, temperature=0.0, repetition_penalty=1.2)
    found = [sampling.sample(loaded, prompts, 2, greedy, [0, 1]) for loaded in (shared, plain)]
    assert found[0] == found[1]


def test_a_seed_repeats_its_draws_whatever_is_drawn_beside(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    _, plain, prompts = both(load_tiny, "qwen2_vl", picture)
    first = sampling.sample(plain, prompts, 3, SAMPLING, [0, 1])
    torch.rand(1)  # the global generator has moved on meanwhile
    assert sampling.sample(plain, prompts[1:], 3, SAMPLING, [1]) == first[1:]
    assert sampling.sample(plain, prompts[1:], 3, SAMPLING, [2]) != first[1:]


def test_the_checkpoints_own_generation_config_decides_nothing(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    _, plain, prompts = both(load_tiny, "qwen2_vl", picture)
    free = sampling.sample(plain, prompts, 3, SAMPLING, [0, 1])
    published = plain.core.generation_config
    published.min_p, published.no_repeat_ngram_size = 1.0, 1
    assert sampling.sample(plain, prompts, 3, SAMPLING, [0, 1]) == free
    assert plain.core.generation_config is published and published.min_p == 1.0


def test_an_end_token_is_kept_and_what_follows_it_is_not(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    _, plain, prompts = both(load_tiny, "qwen2_vl", picture)
    plain.end_ids = frozenset(range(300, 500))
    hot = replace(SAMPLING, temperature=50.0)  # all tokens about as likely
    rows = [row for group in sampling.sample(plain, prompts, 8, hot, [0, 1]) for row in group]
    assert len({len(row) for row in rows}) > 2
    for row in rows:
        assert not set(row[:-1]) & plain.end_ids
        assert row[-1] in plain.end_ids or len(row) == 8
