"""The nouns of an update: a batch's tensors are those of its groups."""

from __future__ import annotations

from dataclasses import replace

import torch

from vrft.objectives.types import Batch, RewardedGroup
from vrft.types import Completion, Group, Prompt, Rollout, Sample


def rewarded(lengths: tuple[int, int], totals: tuple[float, float], greedy: float | None = None):  # type: ignore[no-untyped-def]
    """A group of two completions, of which the second was cut at the length limit."""
    rollouts = tuple(
        Rollout(Completion("a"), tuple(range(length)), finished=g == 0)
        for g, length in enumerate(lengths)
    )
    group = Group(Sample("s", "?", None), Prompt("?"), rollouts)
    return RewardedGroup(group, None, {}, torch.tensor(totals), totals[0] != totals[1], greedy)


def test_the_tensors_of_a_batch() -> None:
    batch = Batch.of([rewarded((1, 3), (1.0, 0.0)), rewarded((2, 2), (0.5, 0.5))], rounds=2)
    assert batch.rewards.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert batch.lengths.tolist() == [[1.0, 3.0], [2.0, 2.0]]
    assert batch.truncated.tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert batch.mask.tolist() == [[[1, 0, 0], [1, 1, 1]], [[1, 1, 0], [1, 1, 0]]]
    assert batch.greedy is None and batch.rounds == 2 and not batch.exhausted


def test_log_probabilities_of_another_engine_stand_at_their_tokens() -> None:
    plain = rewarded((1, 3), (1.0, 0.0))
    logprobs = ((-0.5,), (-0.25, -1.0, -2.0))
    rollouts = tuple(
        replace(rollout, logprobs=values)
        for rollout, values in zip(plain.group.rollouts, logprobs, strict=True)
    )
    batch = Batch.of([replace(plain, group=replace(plain.group, rollouts=rollouts))])
    assert batch.sampled_logps is not None
    assert batch.sampled_logps.tolist() == [[[-0.5, 0.0, 0.0], [-0.25, -1.0, -2.0]]]
    assert Batch.of([plain]).sampled_logps is None


def test_greedy_rewards_are_those_of_the_prompts() -> None:
    batch = Batch.of([rewarded((1, 1), (1.0, 0.0), 0.25), rewarded((1, 1), (0.0, 0.0), 0.0)])
    assert batch.greedy is not None and batch.greedy.tolist() == [0.25, 0.0]
