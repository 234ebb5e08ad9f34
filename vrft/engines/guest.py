"""The engine of a trainer's further processes, which share the server of the main one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from vrft.config.schema import Config
from vrft.engines.client import Client
from vrft.engines.vllm import VllmEngine
from vrft.policy.policy import ModelPolicy

T = TypeVar("T")


class Address(NamedTuple):
    """The server of the main process: its URL, the model's name there, and its precision."""

    url: str
    model: str
    dtype: torch.dtype

    @classmethod
    def of(cls, engine: VllmEngine) -> Address:
        """Return the address of an engine's server, which changes when it is started again."""
        return cls(engine.url, engine.model, engine.dtype)


class VllmGuest(VllmEngine):
    """An engine that samples from the main process's server, and neither starts nor ends it.

    A server that fails is the main process's to start again: here it raises ServerFailure.
    """

    def __init__(self, config: Config, policy: ModelPolicy, address: Address) -> None:
        """Attach to a server that has the policy's weights already."""
        self.config, self.policy, self.settings = config, policy, config.rollout.vllm
        self.version, self.restarts, self.sync_seconds = 0, 0, 0.0
        self.differences, self.ban_differences, self.compared = torch.zeros(0), torch.zeros(0), -1
        self.server = None
        self.visit(address)

    def visit(self, address: Address) -> None:
        """Sample from the server at an address from now on."""
        self.client, self.model, self.dtype = Client(address.url), address.model, address.dtype

    def attempt(self, action: Callable[[], T]) -> T:
        """Return an action's result; raise ServerFailure where the server fails."""
        return action()

    def sync(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Count the weights, which the main process has sent."""
        self.version += 1

    def close(self) -> None:
        """Break off the requests that are under way."""
        self.client.abandon()
