"""The table of algorithms says what each is, and where its gradient is not GPG's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vrft.config.methods import METHODS, AlgorithmConfig, method
from vrft.objectives import algorithms
from vrft.objectives.algorithm_table import differences, table_row
from vrft.objectives.surrogates import Tokens, surrogate


@pytest.mark.parametrize("name", METHODS)
def test_every_algorithm_has_a_row_in_words(name: str) -> None:
    row = table_row(name)
    assert row["method"] == name and row["models"].startswith("policy")
    assert list(row) == list(table_row("gpg"))


def test_the_ratio_is_that_of_a_token_or_of_a_completion() -> None:
    levels = {name: table_row(name)["ratio of"] for name in METHODS}
    assert [name for name in METHODS if levels[name] == "completion"] == ["gspo", "gmpo"]
    assert [name for name in METHODS if not levels[name]] == ["gpg", "rloo", "remax", "sft"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("gpg", ""),
        ("grpo", "mean, KL, ratio after update 1"),
        ("dapo", "mean, rewards, prompts, ratio after update 1"),
        ("rloo", "advantage, mean, KL"),
        ("ppo", "advantage, mean, KL, value loss, ratio after update 1"),
        ("gspo", "mean, ratio after update 1"),
        ("cispo", "mean, ratio after update 1"),
        ("sapo", "mean, ratio after update 1"),
        ("gmpo", "mean, ratio after update 1"),
        ("dppo", "advantage, mean, ratio after update 1"),
    ],
)
def test_the_table_names_the_parts_in_which_a_gradient_is_not_that_of_gpg(
    name: str, parts: str
) -> None:
    assert table_row(name)["differs from GPG in"] == parts


def gradient(config: AlgorithmConfig, drift: float) -> Tensor:
    """The gradient of a batch's loss, without KL, on the policy that sampled or off it."""
    random = torch.Generator().manual_seed(1)
    before = -torch.rand(3, 4, 5, generator=random)
    lengths = torch.tensor([[5, 1, 3, 2], [4, 4, 1, 5], [2, 5, 3, 1]])
    mask = (torch.arange(5) < lengths.unsqueeze(-1)).float()
    rewards = torch.rand(3, 4, generator=random)
    now = (before + drift * torch.randn(3, 4, 5, generator=random)).requires_grad_()
    advantages = algorithms.advantages(rewards, config).unsqueeze(-1)
    weights = algorithms.token_weights(lengths.float(), config, 5).unsqueeze(-1)
    losses = surrogate(Tokens(now, before, advantages, mask), config)
    (found,) = torch.autograd.grad((losses * mask * weights).sum(), now)
    return found


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "gspo", "cispo", "sapo", "gmpo", "dppo"])
def test_without_the_parts_that_the_table_names_the_gradient_is_that_of_gpg(name: str) -> None:
    gpg, config = method("gpg"), method(name)
    named = differences(config)
    alike = replace(
        config,
        token_mean=gpg.token_mean if "mean" in named else config.token_mean,
        f_norm=gpg.f_norm if "advantage" in named else config.f_norm,
    )
    if config.importance_sampling_level == "sequence":
        # The slope of a completion's ratio is spread over its tokens by whatever weighs them.
        gpg = replace(gpg, token_mean="sequence")
        alike = replace(alike, token_mean="sequence")
    assert torch.allclose(gradient(alike, 0.0), gradient(gpg, 0.0), atol=1e-7)
    assert not torch.allclose(gradient(alike, 0.5), gradient(gpg, 0.5), atol=1e-3)
    assert not torch.allclose(gradient(config, 0.0), gradient(method("gpg"), 0.0), atol=1e-5)
