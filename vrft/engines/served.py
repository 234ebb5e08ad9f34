"""The base of engines with a vLLM server: asking for rollouts, and measuring their distance."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config
from vrft.engines import requests as vllm_requests
from vrft.engines import waiting
from vrft.engines.client import Client
from vrft.engines.distance import distances
from vrft.engines.waiting import Patience
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.policy.policy import ModelPolicy
from vrft.types import Rollout

T = TypeVar("T")

COMPARED = 512
"""Completion tokens after each sync whose log-probabilities are compared; at least one rollout."""

FLOAT32_LIMIT, MEAN_LIMIT = 1e-4, 0.05
"""The largest difference in float32, and the mean one in half precision, that rounding explains."""


class Address(NamedTuple):
    """The server of an engine: its URL, the model's name there, and its precision."""

    url: str
    model: str
    dtype: torch.dtype


class ServedEngine(ABC):
    """An engine that samples for a policy from a vLLM server: that of ``client``.

    ``model`` is the policy's name there, and ``dtype`` the server's precision. ``version`` counts
    the exchanges of weights, and ``restarts`` are left. ``differences`` and ``ban_differences`` are
    the ``distances`` of the tokens that were compared last.
    """

    client: Client
    model: str
    dtype: torch.dtype

    def __init__(self, config: Config, policy: ModelPolicy) -> None:
        self.config, self.policy, self.settings = config, policy, config.rollout.vllm
        self.version, self.restarts = 0, 0
        self.differences, self.ban_differences, self.compared = torch.zeros(0), torch.zeros(0), -1

    @property
    def address(self) -> Address:
        """Return the address of the server, which changes when it is started again."""
        return Address(self.client.url, self.model, self.dtype)

    @abstractmethod
    def attempt(self, action: Callable[[], T]) -> T:
        """Return an action's result; if the server fails, start it again or raise its failure."""

    @abstractmethod
    def check_alive(self) -> None:
        """Raise ServerFailure where the engine can tell that its server has ended."""

    @abstractmethod
    def sync(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Sample from the policy's weights as they are now.

        ``weights`` are those of ``policy.module``, gathered where devices hold only parts.
        """

    @abstractmethod
    def close(self) -> None:
        """End all that the engine has started; a second call does nothing."""

    # --- rollouts

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return G rollouts of each prompt with the server's log-probabilities.

        Those of the first call after a sync are compared with the model's own.
        """
        groups = self.attempt(
            lambda: self.answers(
                encoded, num_generations, sampling, seeds, Patience(self.settings.timeout)
            )
        )
        if self.compared != self.version:
            self.compared = self.version
            self.compare(encoded, groups, sampling)
        return groups

    def answers(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
        patience: Patience,
    ) -> list[tuple[Rollout, ...]]:
        """Ask the server for G rollouts of each prompt; raise ServerFailure if it fails."""
        loaded = self.policy.loaded
        requests = [
            vllm_requests.generate_request(
                loaded, self.model, prompt, num_generations, sampling, seed
            )
            for prompt, seed in zip(encoded, seeds, strict=True)
        ]
        answers = waiting.answers(self.client, requests, patience, self.check_alive)
        groups = []
        for prompt, answer in zip(encoded, answers, strict=True):
            choices = vllm_requests.read_choices(
                answer, loaded, prompt, num_generations, sampling.max_completion_length
            )
            rollouts = [self.policy.rollout(choice.tokens, prompt) for choice in choices]
            groups.append(
                tuple(
                    replace(rollout, logprobs=choice.logprobs)
                    for rollout, choice in zip(rollouts, choices, strict=True)
                )
            )
        return groups

    # --- the distance from the model

    def excess(self) -> str:
        """Return by how much ``differences`` exceed what rounding explains, "" for nothing.

        In half precision a logit between 16 and 32 has steps of 0.125, so that single tokens of
        equal engines differ by as much: without a setting, their mean is judged there.
        """
        largest, mean = float(self.differences.max()), float(self.differences.mean())
        limit = self.settings.max_logprob_difference
        if limit is None and self.dtype != torch.float32:
            said = f"{mean:.2g} on average (at most {largest:.2g}), more than the {MEAN_LIMIT:g} "
            return f"{said}that rounding explains" if mean > MEAN_LIMIT else ""
        limit = FLOAT32_LIMIT if limit is None else limit
        said = f"{largest:.2g} (mean {mean:.2g}), more than "
        return f"{said}rollout.vllm.max_logprob_difference={limit:g}" if largest > limit else ""

    def compare(
        self,
        encoded: Sequence[Encoded],
        groups: Sequence[Sequence[Rollout]],
        sampling: SamplingConfig,
    ) -> None:
        """Measure ``differences`` on the first rollouts; warn, or raise UserError where strict.

        Old weights, old caches and other pictures show in them, and in nothing else.
        """
        prompts, rows, tokens = [], [], 0
        for prompt, group in zip(encoded, groups, strict=True):
            if tokens >= COMPARED:
                break
            taken = max(1, COMPARED // sampling.max_completion_length)
            prompts.append(prompt)
            rows.append(group[:taken])
            tokens += sum(len(rollout.tokens) for rollout in group[:taken])
        self.differences, self.ban_differences = distances(
            self.policy.loaded, prompts, rows, sampling
        )
        excess = self.excess()
        if not excess:
            return
        said = "rollout.engine=vllm: the server's log-probabilities differ from the model's by"
        line = f"{said} {excess}"
        if self.settings.strict:
            raise UserError(
                f"{line}; compare the precision of both, or leave rollout.vllm.strict out"
            )
        print(f"warning: {line}", file=sys.stderr)
