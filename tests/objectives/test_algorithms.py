"""Advantages, weights and loss against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vrft.config.methods import AlgorithmConfig, CriticConfig, method
from vrft.objectives import algorithms
from vrft.objectives.algorithms import Outcome
from vrft.objectives.surrogates import Tokens, surrogate

EQ_5_AND_6 = AlgorithmConfig()
NO_NORM = replace(EQ_5_AND_6, f_norm="none")
LIMIT = 5
"""The longest that a completion may be, in tokens."""


def total(logps: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """Eq. 5 of log-probabilities [B, G, C], 0 beyond a completion's end."""
    losses = surrogate(
        Tokens(logps, logps.detach(), advantages.unsqueeze(-1), logps.ne(0).float()), EQ_5_AND_6
    )
    return (losses * weights.unsqueeze(-1)).sum()


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
        # each of 4 completions has 1 / 4, shared as if by 5 tokens
        "constant": [[0.05, 0.05], [0.05, 0.05]],
        # each of 4 completions counts with all its tokens
        "sum": [[0.25, 0.25], [0.25, 0.25]],
    }
    for mean, expected in table.items():
        weights = algorithms.token_weights(lengths, replace(EQ_5_AND_6, token_mean=mean), LIMIT)
        assert torch.allclose(weights, torch.tensor(expected)), mean
    uneven = torch.tensor([[1.0, 1.0], [4.0, 2.0]])
    by_group = algorithms.token_weights(uneven, EQ_5_AND_6, LIMIT)
    assert torch.allclose(by_group, torch.tensor([[0.25, 0.25], [1 / 12, 1 / 12]]))
    by_batch = algorithms.token_weights(uneven, replace(EQ_5_AND_6, token_mean="global"), LIMIT)
    assert torch.allclose(by_batch, torch.full((2, 2), 1 / 8))


def test_the_loss_and_gradient_of_equation_5_by_hand() -> None:
    logps = torch.tensor([[[-1.0, -2.0], [-3.0, 0.0]]], requires_grad=True)
    advantages = torch.tensor([[0.5, -0.5]])
    weights = torch.tensor([[1 / 3, 1 / 3]])  # lengths 2 and 1
    loss = total(logps, advantages, weights)
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
    scaled = total(
        logps,
        advantages * algorithms.alpha(rewards, config),
        algorithms.token_weights(lengths, config, LIMIT),
    )
    kept = [0, 2]
    alone = total(
        logps[kept], advantages[kept], algorithms.token_weights(lengths[kept], config, LIMIT)
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
    weights = algorithms.token_weights(lengths, replace(EQ_5_AND_6, token_mean=mean), LIMIT)
    assert (weights * lengths).sum().item() == pytest.approx(1.0, abs=1e-5)


# The other methods' parts


def test_leave_one_out_compares_with_the_other_completions() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.5]])
    config = method("rloo")
    # the means of the others are 0.25, 0.75 and 0.5: G / (G - 1) = 1.5 times r - mean
    expected = torch.tensor([[0.75, -0.75, 0.0]])
    assert torch.allclose(algorithms.advantages(rewards, config), expected)


def test_a_greedy_baseline_is_the_reward_of_the_greedy_completion() -> None:
    rewards, greedy = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0.25, 0.5])
    found = algorithms.advantages(rewards, method("remax"), greedy)
    # the second group has no better and no worse completion than the greedy one
    assert torch.allclose(found, torch.tensor([[0.75, -0.25], [0.0, 0.0]]))


def test_a_group_of_equal_rewards_teaches_where_the_greedy_completion_did_worse() -> None:
    found = algorithms.advantages(torch.ones(1, 2), method("remax"), torch.zeros(1))
    assert found.tolist() == [[1.0, 1.0]]


def test_a_baseline_says_which_groups_have_signal() -> None:
    rewards, greedy = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, 1, 1])
    lost = torch.tensor([False, False, True])
    expected = {
        "group_mean": [False, True, False],
        "leave_one_out": [False, True, False],
        "batch_mean": [True, True, False],
        "greedy": [True, True, False],
        "critic": [True, True, False],
    }
    for name, baseline in algorithms.BASELINES.items():
        assert baseline.signal(rewards, greedy, lost).tolist() == expected[name], name


def test_the_deviation_of_a_batch_leaves_out_groups_that_have_lost_a_reward() -> None:
    config = method("gpg", f_norm="batch_std")
    rewards = torch.tensor([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0]])
    own = outcome(rewards[:2], torch.zeros(2, 2, 1), torch.ones(2, 2, 1))
    alone, _ = algorithms.group_advantages(own, config)
    masked = torch.tensor([False, False, True])
    beside = outcome(rewards, torch.zeros(3, 2, 1), torch.ones(3, 2, 1), lost=masked)
    found, _ = algorithms.group_advantages(beside, config)
    assert found[:2].tolist() == alone.tolist() and not found[2].any()
    of_all = algorithms.advantages(rewards, config, None, torch.ones(3, dtype=torch.bool))
    assert bool(of_all.isfinite().all())


def outcome(rewards: Tensor, kl_costs: Tensor, mask: Tensor, **others: Tensor) -> Outcome:
    """The outcome on one device."""
    lost = others.pop("lost", torch.zeros(len(rewards), dtype=torch.bool))
    return Outcome(rewards, kl_costs, mask, lost, gather=same, local=same, **others)


def same(rows: Tensor) -> Tensor:
    return rows


def test_rewards_to_go_cost_the_tokens_still_to_come() -> None:
    costs = torch.tensor([[[0.1, 0.2, 0.3]]])
    given = outcome(torch.tensor([[1.0]]), costs, torch.ones(1, 1, 3))
    found, returns = algorithms.token_advantages(given, method("reinforce_pp", f_norm="none"))
    # to go: 1 - 0.6, 1 - 0.5, 1 - 0.3, whose mean is 1.6 / 3
    expected = torch.tensor([[[0.4, 0.5, 0.7]]]) - 1.6 / 3
    assert torch.allclose(found, expected, atol=1e-6) and returns is None


def test_standardised_values_have_the_mean_and_deviation_of_the_tokens_that_count() -> None:
    values, mask = torch.tensor([[[1.0, 3.0, 99.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    given = outcome(torch.zeros(1, 1), torch.zeros(1, 1, 1), mask)
    centred = algorithms.standardised(values, given, divide=False)
    assert centred.tolist() == [[[-1.0, 1.0, 0.0]]]
    # two tokens, sum 4, squares 10: variance (10 - 2 * 4) / 1 = 2
    found = algorithms.standardised(values, given, divide=True)
    expected = torch.tensor([[[-1.0, 1.0, 0.0]]]) / (2**0.5 + 1e-4)
    assert torch.allclose(found, expected)


def test_the_reward_comes_with_the_last_token_and_every_token_costs_its_kl() -> None:
    """A critic's returns with lambda 1: the reward less the KL still to be paid."""
    mask = torch.tensor([[[1.0, 1.0, 0.0]]])
    given = outcome(
        torch.tensor([[1.0]]), torch.tensor([[[0.1, 0.2, 0.0]]]), mask, values=torch.zeros(1, 1, 3)
    )
    config = method("ppo", f_norm="none", critic=CriticConfig(lam=1.0))
    found, returns = algorithms.critic_advantages(given, config)
    assert returns is not None
    assert torch.allclose(found, torch.tensor([[[0.7, 0.8, 0.0]]]), atol=1e-6)
    assert torch.allclose(returns, found)


def test_a_group_whose_tokens_do_not_count_has_no_advantage_and_the_values_for_returns() -> None:
    mask = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    values = torch.full((2, 1, 2), 0.25)
    given = outcome(torch.tensor([[1.0], [9.0]]), torch.zeros(2, 1, 1), mask, values=values)
    for f_norm in ("none", "batch_std"):
        found, returns = algorithms.critic_advantages(given, method("ppo", f_norm=f_norm))
        assert returns is not None
        assert found[0].any() and not found[1].any() and returns[1].equal(values[1])
    none = replace(given, mask=torch.zeros_like(mask))
    assert not algorithms.token_advantages(none, method("reinforce_pp"))[0].any()


@pytest.mark.parametrize(
    ("length", "loses"),
    [
        (1, 0.0),
        (80, 0.0),  # of 100, the last 20 are punished
        (85, 0.25),
        (100, 1.0),
    ],
)
def test_an_overlong_completion_loses_more_the_longer_it_is(length: int, loses: float) -> None:
    found = algorithms.overlong(torch.tensor([float(length)]), 100, 0.2)
    assert found.item() == pytest.approx(loses, abs=1e-6)
    assert algorithms.overlong(torch.tensor([float(length)]), 100, 0.0).item() == 0.0


@given(rewards_of_groups, st.randoms(use_true_random=False))
def test_the_order_of_prompts_changes_nothing(rows: list[list[float]], random: Random) -> None:
    order = random.sample(range(len(rows)), len(rows))
    rewards = torch.tensor(rows)
    for name in ("gpg", "grpo", "dr_grpo", "rloo"):
        found = algorithms.advantages(rewards, method(name))[order]
        assert torch.allclose(found, algorithms.advantages(rewards[order], method(name)), atol=1e-5)


def test_generalised_advantages_by_hand() -> None:
    rewards = torch.tensor([[[0.0, 1.0, 0.0]]])
    values, mask = torch.tensor([[[0.5, 0.25, 9.0]]]), torch.tensor([[[1.0, 1.0, 0.0]]])
    found = algorithms.generalised_advantages(
        rewards, values, mask, CriticConfig(gamma=0.5, lam=0.5)
    )
    # the last token: 1 - 0.25 = 0.75; the first: 0 + 0.5 * 0.25 - 0.5 = -0.375, + 0.25 * 0.75
    assert torch.allclose(found, torch.tensor([[[-0.1875, 0.75, 0.0]]]))


def test_with_lambda_1_an_advantage_is_the_reward_to_come_less_the_value() -> None:
    rewards, values = torch.rand(2, 3, 5), torch.rand(2, 3, 5)
    found = algorithms.generalised_advantages(
        rewards, values, torch.ones(2, 3, 5), CriticConfig(gamma=1.0, lam=1.0)
    )
    assert torch.allclose(found, rewards.flip(-1).cumsum(-1).flip(-1) - values, atol=1e-5)


def test_every_choice_of_baseline_is_one_object() -> None:
    choices = get_args(get_type_hints(AlgorithmConfig)["baseline"])
    assert list(algorithms.BASELINES) == list(choices)
    needs = {name: (b.needs_greedy, b.needs_critic) for name, b in algorithms.BASELINES.items()}
    assert [name for name, (greedy, _) in needs.items() if greedy] == ["greedy"]
    assert [name for name, (_, critic) in needs.items() if critic] == ["critic"]
    for name in algorithms.BASELINES:
        settings: Any = {"baseline": name}
        assert AlgorithmConfig(**settings).needs_old_logps is needs[name][1]


# The choices beside the paper's


def test_verls_alpha_counts_completions_whose_reward_is_not_0() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.5]])
    theirs = replace(EQ_5_AND_6, alpha=True, alpha_counts="nonzero_rewards")
    assert algorithms.alpha(rewards, theirs) == 6 / 2  # two of six
    assert (
        algorithms.alpha(rewards, replace(EQ_5_AND_6, alpha=True)) == 3 / 2
    )  # two groups of three
    assert algorithms.alpha(torch.zeros(3, 2), theirs) == 1.0
    assert algorithms.alpha(rewards, replace(theirs, alpha=False)) == 1.0


def test_gdpo_normalises_each_reward_within_the_group_before_it_adds() -> None:
    rewards = {"right": [1.0, 0.0, 0.0], "brief": [10.0, 30.0, 20.0], "same": [0.1, 0.1, 0.1]}
    # right: mean 1/3, std sqrt(((2/3)^2 + 2 (1/3)^2) / 2) = 0.57735; brief: mean 20, std 10
    right = torch.tensor([2 / 3, -1 / 3, -1 / 3]) / 0.57745
    brief = torch.tensor([-10.0, 10.0, 0.0]) / 10.0001
    found = algorithms.normalised_sum(rewards, {"brief": 0.5})
    assert torch.allclose(found, right + 0.5 * brief, atol=1e-4)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1.1, 2.3])
def test_a_reward_that_is_equal_for_all_adds_exactly_nothing_by_gdpo(value: float) -> None:
    assert not algorithms.normalised_sum({"same": [value] * 8}, {}).any()


def test_gdpo_leaves_out_completions_to_which_a_reward_does_not_apply() -> None:
    found = algorithms.normalised_sum({"a": [1.0, None, 3.0], "b": [None, None, 5.0]}, {})
    # of 1 and 3: mean 2, std 1.41421; one value alone has nothing to be compared with
    assert torch.allclose(found, torch.tensor([-1.0, 0.0, 1.0]) / 1.41431, atol=1e-4)


def test_opposed_rewards_teach_by_gdpo_where_their_sizes_would_drown_one() -> None:
    """Of a reward of 0 to 100 and one of 0 to 1, the sum has signal of the first alone."""
    rewards = {"large": [100.0, 100.0, 0.0, 0.0], "small": [1.0, 0.0, 1.0, 0.0]}
    found = algorithms.normalised_sum(rewards, {})
    assert found[1] - found[2] == pytest.approx(0.0, abs=1e-3)
    assert found[0] > found[1] + 1 > found[3] + 2


def test_completions_that_do_not_count_weigh_nothing_and_nothing_is_divided_by_0() -> None:
    config = replace(EQ_5_AND_6, mask_truncated_completions=True)
    truncated = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    lengths = algorithms.counted(torch.tensor([[2.0, 4.0], [3.0, 3.0]]), truncated, config)
    assert lengths.tolist() == [[2.0, 0.0], [0.0, 0.0]]
    by_group = algorithms.token_weights(lengths, config, LIMIT)
    assert by_group[0].tolist() == [0.25, 0.25] and by_group.isfinite().all()
    for mean, first in {"global": 0.5, "sequence": 0.125, "constant": 0.05, "sum": 0.25}.items():
        weights = algorithms.token_weights(lengths, replace(config, token_mean=mean), LIMIT)
        assert weights[0, 0] == first and weights.isfinite().all(), mean
    mask = algorithms.counted(torch.ones(2, 2, 3), truncated, config)
    assert mask.sum((1, 2)).tolist() == [3.0, 0.0]
    assert algorithms.counted(mask, truncated, EQ_5_AND_6) is mask
