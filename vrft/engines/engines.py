"""Engines that sample completions in training: this toolkit's own decoding, or a vLLM server.

Both take encoded prompts and return rollouts. Those of a server carry its log-probabilities, as its
arithmetic is not the trainer's, and its weights have to be brought up to date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config
from vrft.engines import server_check
from vrft.engines.vllm import VllmEngine
from vrft.policy.policy import ModelPolicy, Policy
from vrft.types import Rollout


class Engine(Protocol):
    """A sampler of rollouts for training, from the weights that it has."""

    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return G rollouts of each encoded prompt; one seed per prompt makes them repeatable.

        Raises UserError for a server that fails. Threads may call it, but not while a server is
        given weights.
        """
        ...

    def close(self) -> None:
        """End all that the engine has started; a second call does nothing."""
        ...


class OwnEngine:
    """The policy's own decoding, which always has its weights.

    With ``record``, a model's rollouts bear the probabilities that their tokens were drawn with.
    """

    def __init__(self, policy: Policy, *, record: bool = False) -> None:
        self.policy, self.record = policy, record

    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return G rollouts of each encoded prompt, without log-probabilities of another engine."""
        if self.record and isinstance(self.policy, ModelPolicy):
            return self.policy.sample(encoded, num_generations, sampling, seeds, record=True)
        return self.policy.sample(encoded, num_generations, sampling, seeds)

    def close(self) -> None:
        """Return at once: nothing was started."""


def check(config: Config) -> None:
    """Raise UserError for settings and models with which ``rollout.engine`` cannot run.

    Nothing is started; of vLLM's environment only the versions are asked for.
    """
    if config.rollout.engine == "vllm":
        server_check.check(config)


def start(
    config: Config, policy: Policy, folder: Path, weights: Mapping[str, Tensor] | None = None
) -> Engine:
    """Return the engine of ``rollout.engine``, up and with the policy's weights.

    A server writes its log, vllm.log, to the run's ``folder``. ``weights`` are those of
    ``policy.module``, gathered where devices hold only parts of them. Raises UserError for a server
    that does not start, or does not answer a first prompt with a picture.
    """
    if config.rollout.engine == "vrft":
        return OwnEngine(policy, record=config.train.logs_token_logprobs)
    if not isinstance(policy, ModelPolicy):
        raise TypeError("a server samples for models only")
    return VllmEngine(config, policy, folder, weights)
