"""Policies whose forward also gives entropies or values of the tokens, beside log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vrft.models.encoding import Encoded
from vrft.policy import ModelPolicy, logprobs
from vrft.types import Rollout


class GroupMeasures(logprobs.GroupLogps):
    """The module of log-probabilities, with K measures of each token from one forward."""

    def forward(
        self,
        prompts: Sequence[Encoded],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float = 1.0,
    ) -> Tensor:
        """Return the measures, stacked: [K, B, G, C] float32, 0 beyond a completion's end."""
        hidden, targets, mask = self.predictions(prompts, completions)
        logps_N, entropies_N = logprobs.token_logps(
            hidden, targets, self.loaded.head, temperature, entropy=True
        ).unbind(1)
        by_token = self.measures(hidden, logps_N, entropies_N)
        zeros = torch.zeros(len(by_token), *mask.shape, device=mask.device)
        return zeros.masked_scatter(mask, torch.stack(by_token))

    def measures(self, hidden: Tensor, logps_N: Tensor, entropies_N: Tensor) -> tuple[Tensor, ...]:
        """Return the K measures [N] of all N tokens, log-probabilities first.

        ``hidden`` [N, D] are the states before each token; entropies are in nats.
        """
        return logps_N, entropies_N


class MeasuringPolicy(ModelPolicy):
    """A policy over a model whose ``module`` is one of ``GroupMeasures``, or wraps one."""

    def measured(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, ...]:
        """Return the module's K measures of the groups' tokens: [B, G, C] each."""
        tokens = [[rollout.tokens for rollout in group] for group in groups]
        return tuple(self.module(encoded, tokens, temperature))

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Return the log-probabilities alone: [B, G, C]."""
        return self.measured(encoded, groups, temperature)[0]
