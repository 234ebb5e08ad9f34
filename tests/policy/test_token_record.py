"""What is taken down of draws: log-probabilities and entropies, and nothing that a draw sees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from vrft.config.rollout import SamplingConfig
from vrft.engines.distance import logprob_differences
from vrft.models.loaded import LoadedModel
from vrft.policy import ModelPolicy
from vrft.policy.token_record import TokenRecord
from vrft.types import Prompt

SAMPLING = SamplingConfig(max_completion_length=8, temperature=0.7)


def note(
    record: TokenRecord, active: list[int], step: int, logits: torch.Tensor, tokens: list[int]
) -> None:
    record.note(torch.tensor(active), step, logits, logits.softmax(-1), torch.tensor(tokens))


def test_log_probability_and_entropy_of_each_draw_are_taken_down() -> None:
    record = TokenRecord(2)
    half = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]).log()
    sure = torch.tensor([[0.0, -math.inf, -math.inf]])
    # logits are log-probabilities but for a constant of each row
    note(record, [0, 1], 0, half + torch.tensor([[7.0], [-3.0]]), [0, 2])
    note(record, [1], 1, sure, [0])
    (first, one_bit), (second, mean) = record.of([1, 2])
    assert first == pytest.approx((math.log(0.5),)) and one_bit == pytest.approx(math.log(2))
    assert second == pytest.approx((math.log(0.5), 0.0), abs=1e-6)
    # 2 * 0.25 log 4 + 0.5 log 2 = 1.5 log 2 at the first draw, 0 at the second
    assert mean == pytest.approx(0.75 * math.log(2))


def test_recorded_rollouts_are_the_others_with_the_policys_own_log_probabilities(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    policy = ModelPolicy(load_tiny("qwen2"))
    encoded = policy.encode([Prompt("Where is the key?"), Prompt("Find the owl.")])
    plain = policy.sample(encoded, 3, SAMPLING, [0, 1])
    recorded = policy.sample(encoded, 3, SAMPLING, [0, 1], record=True)
    assert all(rollout.drawn_logprobs is None for group in plain for rollout in group)
    assert [[r.tokens for r in g] for g in plain] == [[r.tokens for r in g] for g in recorded]
    # The distance of another engine's log-probabilities, of which these are none: rounding.
    given = [[replace(r, logprobs=r.drawn_logprobs) for r in group] for group in recorded]
    assert float(logprob_differences(policy.loaded, encoded, given, SAMPLING).max()) < 1e-5
    assert all(r.entropy is not None and r.entropy > 0 for group in recorded for r in group)
