"""PPO's critic: a value head on the policy's own backbone.

The critic is one linear layer on the hidden states that also predict the tokens, so that values
come with the log-probabilities in one forward; it is trained together with the policy. Advantages
are in ``vrft.objectives.algorithms``, losses in ``vrft.objectives.surrogates``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vrft.config.methods import AlgorithmConfig
from vrft.models.encoding import Encoded
from vrft.objectives.algorithms import BASELINES
from vrft.objectives.measures import GroupMeasures, MeasuringPolicy
from vrft.policy import ModelPolicy, logprobs
from vrft.policy.policy import Policy, strip_prefix
from vrft.types import Rollout

CRITIC = "critic.safetensors"
"""The file of the value head, beside the model's own."""


class ActorCritic(Policy, Protocol):
    """A policy that also predicts the return from each token on."""

    def logps_values_entropies(
        self, encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities, values before each token, and entropies: [B, G, C] each."""
        ...


class GroupValues(GroupMeasures):
    """The module of log-probabilities, with values and entropies from the same forward."""

    def __init__(self, actor: logprobs.GroupLogps) -> None:
        super().__init__(actor.loaded)
        width = actor.loaded.core.get_output_embeddings().weight.shape[1]
        self.critic = nn.Linear(width, 1).to(actor.loaded.device)
        # It predicts 0 at first: noise of random weights would be the first advantages.
        nn.init.zeros_(self.critic.weight)
        nn.init.zeros_(self.critic.bias)

    def measures(self, hidden: Tensor, logps_N: Tensor, entropies_N: Tensor) -> tuple[Tensor, ...]:
        """Return log-probabilities, values and entropies [N] of all N tokens."""
        # In the weights' own precision, which DeepSpeed lowers.
        values_N = self.critic(hidden.to(self.critic.weight.dtype)).float().squeeze(-1)
        return logps_N, values_N, entropies_N


class ActorCriticPolicy(MeasuringPolicy):
    """A policy over a model with a critic, which is saved beside it."""

    def __init__(self, actor: ModelPolicy, folder: Path | None = None) -> None:
        super().__init__(actor.loaded)
        module = GroupValues(logprobs.GroupLogps(actor.loaded))
        if folder is not None:
            module.critic.load_state_dict(load_file(folder / CRITIC))
        self.module, self.critic = module, module.critic

    def logps_values_entropies(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-probabilities, values before each token, and entropies: [B, G, C] each."""
        logps, values, entropies = self.measured(encoded, groups, temperature)
        return logps, values, entropies

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the policy's files and the critic's."""
        super().save(folder, weights)
        critic = self.critic.state_dict() if weights is None else strip_prefix(weights, "critic.")
        save_file(critic, folder / CRITIC)


def with_critic(
    actor: ModelPolicy, config: AlgorithmConfig, checkpoint: Path | None = None
) -> ModelPolicy:
    """Return the policy, with a critic where the algorithm's baseline needs one.

    The critic's weights are those of the ``checkpoint``, else zeros.
    """
    needs_critic = BASELINES[config.baseline].needs_critic
    return ActorCriticPolicy(actor, checkpoint) if needs_critic else actor
