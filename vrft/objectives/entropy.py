"""The entropy bonus: the policy's entropies, and the control of the bonus's weight.

    loss = policy loss - c * mean over tokens of H(pi(. | prompt, o_<t))

c is ``entropy_coef``, or moves with ``use_adaptive_entropy`` as in Skywork-OR1 (arXiv:2505.22312)
and in TRL: after an update whose mean entropy is at most ``entropy_target`` it grows by
``entropy_coef_delta``, and the next update has the bonus; after any other it shrinks by as much,
and the next update has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from vrft.config.methods import AlgorithmConfig
from vrft.models.encoding import Encoded
from vrft.objectives.algorithms import BASELINES
from vrft.objectives.measures import GroupMeasures, MeasuringPolicy
from vrft.policy import ModelPolicy
from vrft.policy.policy import Policy
from vrft.types import Rollout


class BonusState(Protocol):
    """The memory of the control of the bonus's weight, in a run's progress.

    ``entropy_coef`` is the weight, ``entropy`` the mean entropy of the last update in nats; both
    are None before the first.
    """

    entropy_coef: float | None
    entropy: float | None


class EntropyPolicy(Policy, Protocol):
    """A policy that also gives the entropies of the distributions it samples tokens from."""

    def logps_entropies(
        self, encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities, and entropies in nats before each token: [B, G, C] each."""
        ...


class ModelEntropyPolicy(MeasuringPolicy):
    """A policy over a model, with entropies."""

    def __init__(self, actor: ModelPolicy) -> None:
        super().__init__(actor.loaded)
        self.module = GroupMeasures(actor.loaded)

    def logps_entropies(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities, and entropies in nats before each token: [B, G, C] each."""
        logps_BGC, entropies_BGC = self.measured(encoded, groups, temperature)
        return logps_BGC, entropies_BGC


def with_entropies(actor: ModelPolicy, config: AlgorithmConfig) -> ModelPolicy:
    """Return a policy with entropies where the loss has a bonus; one with a critic has them."""
    has_them = BASELINES[config.baseline].needs_critic
    return ModelEntropyPolicy(actor) if config.has_entropy_bonus and not has_them else actor


def coefficient(config: AlgorithmConfig, done: BonusState) -> float:
    """Return c, the weight of the bonus in the coming update; 0 where the control gives none."""
    if not config.use_adaptive_entropy:
        return config.entropy_coef
    if done.entropy is None or done.entropy > config.entropy_target:
        return 0.0
    return controlled(config, done)


def controlled(config: AlgorithmConfig, done: BonusState) -> float:
    """Return the weight that the control holds at present, applied or not."""
    return config.entropy_coef if done.entropy_coef is None else done.entropy_coef


def metrics(config: AlgorithmConfig, done: BonusState) -> dict[str, float]:
    """Return TRL's metric of the bonus, its weight; {} without a bonus."""
    return {"entropy_coef": controlled(config, done)} if config.has_entropy_bonus else {}


def control(config: AlgorithmConfig, done: BonusState, metrics: Mapping[str, float]) -> None:
    """Move the weight by the mean entropy of an update's tokens, that of all devices.

    An update without any tokens moves nothing.
    """
    if not config.use_adaptive_entropy or "entropy" not in metrics:
        return
    done.entropy = metrics["entropy"]
    scarce = done.entropy <= config.entropy_target
    moved = controlled(config, done) + config.entropy_coef_delta * (1 if scarce else -1)
    done.entropy_coef = min(max(moved, config.entropy_coef_min), config.entropy_coef_max)
