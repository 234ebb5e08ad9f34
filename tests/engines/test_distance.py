"""Log-probabilities of the distribution that is sampled from, beside those of the policy itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vrft.config.rollout import SamplingConfig
from vrft.engines.distance import distances, logprob_differences, preceding
from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.policy.logprobs import GroupLogps
from vrft.policy.policy import ModelPolicy
from vrft.types import Prompt, Rollout

PLAIN = SamplingConfig(max_completion_length=5)


@pytest.fixture
def loaded(load_tiny: Callable[..., LoadedModel]) -> LoadedModel:
    return load_tiny("qwen2_vl")


def asked(loaded: LoadedModel, picture: Image.Image) -> list[encoding.Encoded]:
    return [encoding.encode(loaded, Prompt("Where?", (picture,))),
            encoding.encode(loaded, Prompt("What?"))]  # fmt: skip


def with_logprobs(
    groups: list[tuple[Rollout, ...]], values: torch.Tensor
) -> list[tuple[Rollout, ...]]:
    """Return the rollouts with the values [N] in their order."""
    left = iter(values.tolist())
    return [
        tuple(replace(r, logprobs=tuple(next(left) for _ in r.tokens)) for r in group)
        for group in groups
    ]


def test_tokens_that_are_never_sampled_have_no_share(
    loaded: LoadedModel, picture: Callable[..., Image.Image]
) -> None:
    prompts = asked(loaded, picture(56, 84))
    groups = ModelPolicy(loaded).sample(prompts, 3, PLAIN, [1, 2])
    tokens = [[r.tokens for r in group] for group in groups]
    with torch.no_grad():
        hidden, targets, _ = GroupLogps(loaded).predictions(prompts, tokens)
        probabilities = loaded.head(hidden).softmax(-1)
    banned = probabilities[:, list(loaded.banned_ids)].sum(-1)
    chosen = probabilities.gather(1, targets[:, None]).squeeze(1)
    expected = (chosen / (1 - banned)).log()
    assert float(banned.min()) > 1e-4  # otherwise nothing is tested
    compared = logprob_differences(loaded, prompts, with_logprobs(groups, expected), PLAIN)
    assert compared.shape == targets.shape
    assert float(compared.max()) < 1e-5


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_ban_makes_the_difference_between_the_loss_and_who_samples(
    temperature: float, loaded: LoadedModel, picture: Callable[..., Image.Image]
) -> None:
    """An engine with the model's weights is as far from the log-probabilities of the loss."""
    prompts, sampling = asked(loaded, picture(56, 84)), replace(PLAIN, temperature=temperature)
    policy = ModelPolicy(loaded)
    groups = policy.sample(prompts, 3, sampling, [1, 2])
    tokens = [[r.tokens for r in group] for group in groups]
    with torch.no_grad():
        hidden, targets, mask = GroupLogps(loaded).predictions(prompts, tokens)
        logits = loaded.head(hidden) / temperature
        logits[:, list(loaded.banned_ids)] = -torch.inf
        sampled = logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
        own = policy.logps(prompts, groups, temperature)[mask]
    told = with_logprobs(groups, sampled)
    engine, ban = distances(loaded, prompts, told, sampling)
    assert float(engine.max()) < 1e-5
    assert float(ban.min()) > 1e-5  # otherwise nothing is tested
    torch.testing.assert_close(ban, sampled - own, atol=1e-5, rtol=0)


def test_a_difference_is_that_of_its_token(
    loaded: LoadedModel, picture: Callable[..., Image.Image]
) -> None:
    prompts = asked(loaded, picture(56, 84))
    groups = ModelPolicy(loaded).sample(prompts, 3, PLAIN, [1, 2])
    count = sum(len(r.tokens) for group in groups for r in group)
    zero = logprob_differences(loaded, prompts, with_logprobs(groups, torch.zeros(count)), PLAIN)
    moved = torch.zeros(count)
    moved[3] = 0.25
    other = logprob_differences(loaded, prompts, with_logprobs(groups, moved), PLAIN)
    # log-probabilities are below 0, so those that are said to be 0.25 higher are further away
    torch.testing.assert_close(other - zero, moved, atol=1e-5, rtol=0)


def test_a_narrower_distribution_gives_its_tokens_more(
    loaded: LoadedModel, picture: Callable[..., Image.Image]
) -> None:
    prompts = asked(loaded, picture(56, 84))
    narrow = replace(PLAIN, top_k=1)  # the one token that is left has the probability 1
    groups = ModelPolicy(loaded).sample(prompts, 1, narrow, [1, 2])
    count = sum(len(r.tokens) for group in groups for r in group)
    sure = with_logprobs(groups, torch.zeros(count))
    assert float(logprob_differences(loaded, prompts, sure, narrow).max()) == 0.0
    assert float(logprob_differences(loaded, prompts, sure, PLAIN).max()) > 0.1


def test_dropout_is_off_and_the_mode_is_put_back(
    load_tiny: Callable[..., LoadedModel], picture: Callable[..., Image.Image]
) -> None:
    from vrft.config.schema import LoraConfig

    loaded = load_tiny("qwen2_vl", train=True, lora=LoraConfig(r=4, lora_dropout=0.5))
    prompts = asked(loaded, picture(56, 84))
    groups = with_logprobs(ModelPolicy(loaded).sample(prompts, 1, PLAIN, [1, 2]), torch.zeros(99))
    first, second = (logprob_differences(loaded, prompts, groups, PLAIN) for _ in range(2))
    assert torch.equal(first, second)
    assert loaded.model.training


def test_the_tokens_before_each_are_filled_up_by_repeated_ones(
    loaded: LoadedModel,
) -> None:
    prompts = [encoding.encode(loaded, Prompt("What?"))]
    texts = preceding(prompts, [[[5, 6, 7], [8]]])
    tokens = prompts[0].tokens.tolist()
    fill = tokens[:1]
    assert texts.tolist() == [
        fill * 2 + tokens,
        [*fill, *tokens, 5],
        [*tokens, 5, 6],
        fill * 2 + tokens,
    ]
