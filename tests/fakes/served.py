"""An engine like that of a server: it has a copy of the policy, as old as its last exchange."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config
from vrft.engines.client import Client
from vrft.engines.served import ServedEngine
from vrft.errors import UserError
from vrft.policy import Policy
from vrft.types import Rollout

T = TypeVar("T")


class Served(ServedEngine):
    """A server in memory: ``events`` tell what it did, in order, with the version of its weights.

    ``served`` is a policy of the same class as the ``trained`` one, whose weights it takes over.
    A cleared ``gate`` keeps it from answering; ``failure`` is called before each answer.
    """

    def __init__(self, trained: Policy, served: Policy) -> None:
        super().__init__(Config(), trained)  # type: ignore[arg-type]
        self.client, self.model, self.dtype = Client("http://nobody"), "policy", torch.float32
        self.trained, self.served = trained, served
        self.differences, self.ban_differences = torch.tensor([1e-6, 3e-6]), torch.zeros(2)
        self.events: list[str] = []
        self.given: list[dict[str, Tensor]] = []
        self.gate, self.closed = threading.Event(), threading.Event()
        self.gate.set()
        self.failure: Callable[[Served], None] = lambda served: None
        self.take_over()

    def take_over(self) -> None:
        """Serve the trained policy's weights as they are now."""
        state = {name: value.clone() for name, value in self.trained.module.state_dict().items()}
        served = self.served.module.state_dict()  # without a critic
        self.served.module.load_state_dict({name: state[name] for name in served})
        self.given.append(state)

    @torch.no_grad()
    def sample(
        self,
        encoded: Sequence[Any],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Return the copy's rollouts with its log-probabilities."""
        self.events.append(f"sample {len(encoded)} x {num_generations} by {self.version}")
        assert self.gate.wait(30)
        if self.closed.is_set():
            raise UserError("the server is gone")
        self.failure(self)
        groups = self.served.sample(encoded, num_generations, sampling, seeds)
        logps = self.served.logps(encoded, groups, sampling.temperature or 1.0)
        return [
            tuple(
                replace(rollout, logprobs=tuple(row[: len(rollout.tokens)].tolist()))
                for rollout, row in zip(group, rows, strict=True)
            )
            for group, rows in zip(groups, logps, strict=True)
        ]

    def attempt(self, action: Callable[[], T]) -> T:
        """Return an action's result."""
        return action()

    def check_alive(self) -> None:
        """Return at once: there is no process."""

    def sync(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Take over the weights."""
        assert self.gate.is_set() and not self.closed.is_set()
        self.version += 1
        self.events.append(f"sync {self.version}")
        self.take_over()

    def close(self) -> None:
        """Answer nobody any more."""
        self.events.append("close")
        self.closed.set()
        self.gate.set()
