"""Measures of completion tokens lie at the places of their tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vrft.models import encoding
from vrft.models.loaded import LoadedModel
from vrft.objectives.measures import GroupMeasures, MeasuringPolicy
from vrft.policy.logprobs import GroupLogps
from vrft.types import Completion, Prompt, Rollout

COMPLETIONS = ((5, 6, 7), (8,))


class Numbered(GroupMeasures):
    """A module whose last measure of a token is its place among all tokens."""

    def measures(self, hidden: Tensor, logps_N: Tensor, entropies_N: Tensor) -> tuple[Tensor, ...]:
        return logps_N, entropies_N, torch.arange(1.0, len(logps_N) + 1)


def test_every_measure_lies_at_its_token_and_nothing_behind_an_end(
    load_tiny: Callable[..., LoadedModel],
) -> None:
    loaded = load_tiny("qwen2_vl")
    policy = MeasuringPolicy(loaded)
    policy.module = Numbered(loaded)
    prompts = [encoding.encode(loaded, Prompt("What?"))]
    group = tuple(Rollout(Completion("?"), tokens, finished=False) for tokens in COMPLETIONS)
    logps, entropies, numbers = policy.measured(prompts, [group], 0.7)
    # three tokens of the first completion, one of the second
    assert numbers.tolist() == [[[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]]]
    assert entropies.gt(0).tolist() == [[[True, True, True], [True, False, False]]]
    plain = GroupLogps(loaded)(prompts, [COMPLETIONS], 0.7)
    torch.testing.assert_close(logps, plain, rtol=1e-5, atol=1e-6)
    assert torch.equal(policy.logps(prompts, [group], 0.7), logps)
