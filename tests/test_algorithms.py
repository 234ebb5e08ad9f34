"""Advantages, weights and loss against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vrft import algorithms
from vrft.config import AlgorithmConfig

EQ_5_AND_6 = AlgorithmConfig()
NO_NORM = replace(EQ_5_AND_6, f_norm="none")


def test_the_advantages_of_two_right_and_two_wrong_answers() -> None:
    rewards = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    # mean 0.5; the unbiased deviation is sqrt(4 * 0.25 / 3) = 0.57735
    assert algorithms.advantages(rewards, NO_NORM).tolist() == [[0.5, 0.5, -0.5, -0.5]]
    # 0.5 / (0.57735 + 0.0001) = 0.86588, as in the published code
    expected = torch.tensor([[0.86588, 0.86588, -0.86588, -0.86588]])
    assert torch.allclose(algorithms.advantages(rewards, EQ_5_AND_6), expected, atol=1e-5)


def test_batch_normalisation_divides_by_the_deviation_of_all_rewards() -> None:
    rewards = torch.tensor([[1.0, 0.0], [3.0, 3.0]])
    # all four: mean 1.75, squares 0.5625 + 3.0625 + 1.5625 * 2 = 6.75, std sqrt(6.75 / 3) = 1.5
    config = replace(EQ_5_AND_6, f_norm="batch_std")
    expected = torch.tensor([[0.5, -0.5], [0.0, 0.0]]) / 1.5001
    assert torch.allclose(algorithms.advantages(rewards, config), expected)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1.1, 2.3])
def test_a_group_of_equal_rewards_has_exactly_no_advantage(value: float) -> None:
    rewards = torch.full((1, 8), value)
    assert not algorithms.has_signal(rewards).any()
    assert not algorithms.advantages(rewards, EQ_5_AND_6).any()


def test_rounding_noise_is_no_signal() -> None:
    assert not algorithms.has_signal(torch.tensor([[0.3, 0.3 + 1e-7]]))[0]
    assert algorithms.has_signal(torch.tensor([[0.3, 0.3001]]))[0]


def test_alpha_is_all_groups_over_those_with_signal() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [1.0, 1.0]])
    on = replace(EQ_5_AND_6, alpha=True)
    assert algorithms.alpha(rewards, on) == pytest.approx(4 / 3)  # B = 4, M = 1
    assert algorithms.alpha(rewards, EQ_5_AND_6) == 1.0
    assert algorithms.alpha(rewards[3:], on) == 1.0  # no signal at all: nothing to scale


def test_token_weights_of_each_mean() -> None:
    lengths = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
    table = {
        # each group's tokens share 1 / 2 equally: 4 tokens in both
        "group": [[0.125, 0.125], [0.125, 0.125]],
        # 8 tokens in all
        "global": [[0.125, 0.125], [0.125, 0.125]],
        # each of 4 completions has 1 / 4, shared by its tokens
        "sequence": [[0.25, 0.25 / 3], [0.125, 0.125]],
    }
    for mean, expected in table.items():
        weights = algorithms.token_weights(lengths, replace(EQ_5_AND_6, token_mean=mean))
        assert torch.allclose(weights, torch.tensor(expected)), mean
    uneven = torch.tensor([[1.0, 1.0], [4.0, 2.0]])
    by_group = algorithms.token_weights(uneven, EQ_5_AND_6)
    assert torch.allclose(by_group, torch.tensor([[0.25, 0.25], [1 / 12, 1 / 12]]))
    by_batch = algorithms.token_weights(uneven, replace(EQ_5_AND_6, token_mean="global"))
    assert torch.allclose(by_batch, torch.full((2, 2), 1 / 8))


def test_the_loss_and_gradient_of_equation_5_by_hand() -> None:
    logps = torch.tensor([[[-1.0, -2.0], [-3.0, 0.0]]], requires_grad=True)
    advantages = torch.tensor([[0.5, -0.5]])
    weights = torch.tensor([[1 / 3, 1 / 3]])  # lengths 2 and 1
    loss = algorithms.loss(logps, advantages, weights)
    # -( (-1 - 2) * 0.5 + (-3) * (-0.5) ) / 3 = -(-1.5 + 1.5) / 3 = 0
    assert loss.item() == pytest.approx(0.0)
    loss.backward()
    # d/dlogp = -A / 3: the better answer's log-probability is pushed up by descent
    expected = torch.tensor([[[-1 / 6, -1 / 6], [1 / 6, 1 / 6]]])
    assert torch.allclose(logps.grad, expected)


def test_the_published_order_of_means_is_kept_by_alpha() -> None:
    """alpha times the mean over all groups is the mean over groups with signal (equal lengths)."""
    rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.2, 0.8]])
    logps = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((3, 2), 4.0)
    config = replace(NO_NORM, alpha=True)
    advantages = algorithms.advantages(rewards, config)
    scaled = algorithms.loss(
        logps,
        advantages * algorithms.alpha(rewards, config),
        algorithms.token_weights(lengths, config),
    )
    kept = [0, 2]
    alone = algorithms.loss(
        logps[kept], advantages[kept], algorithms.token_weights(lengths[kept], config)
    )
    assert torch.allclose(scaled, alone)


rewards_of_groups = st.integers(2, 6).flatmap(
    lambda g: st.lists(
        st.lists(st.floats(0, 2, width=32), min_size=g, max_size=g), min_size=1, max_size=5
    )
)


@given(rewards_of_groups, st.sampled_from(["group_std", "none", "batch_std"]))
def test_advantages_of_a_group_add_up_to_nothing(rows: list[list[float]], f_norm: str) -> None:
    config = replace(EQ_5_AND_6, f_norm=f_norm)
    advantages = algorithms.advantages(torch.tensor(rows), config)
    assert advantages.sum(1).abs().max() < 1e-3
    assert advantages.isfinite().all()


@given(rewards_of_groups)
def test_a_better_answer_never_has_a_smaller_advantage(rows: list[list[float]]) -> None:
    rewards = torch.tensor(rows)
    advantages = algorithms.advantages(rewards, EQ_5_AND_6)
    order = rewards.argsort(1)
    assert (advantages.gather(1, order).diff(dim=1) >= -1e-6).all()


@given(rewards_of_groups, st.sampled_from(["group", "global", "sequence"]))
def test_weights_of_all_tokens_add_up_to_one(rows: list[list[float]], mean: str) -> None:
    lengths = (torch.tensor(rows) * 10).floor() + 1
    weights = algorithms.token_weights(lengths, replace(EQ_5_AND_6, token_mean=mean))
    assert (weights * lengths).sum().item() == pytest.approx(1.0, abs=1e-5)
