"""An engine that repeats recorded rollouts, as if the policy had sampled them itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vrft.config.rollout import SamplingConfig
from vrft.engines.engines import OwnEngine
from vrft.policy import Policy
from vrft.types import Rollout


class Recorded(OwnEngine):
    """The groups of each call, in order, without the log-probabilities of who sampled them."""

    def __init__(self, policy: Policy, groups: Sequence[Sequence[tuple[Rollout, ...]]]) -> None:
        super().__init__(policy)
        self.groups = iter(groups)

    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return the next call's groups."""
        return [
            tuple(replace(rollout, logprobs=None) for rollout in group)
            for group in next(self.groups)
        ]
