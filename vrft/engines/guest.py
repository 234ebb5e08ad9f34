"""The engine of a trainer's further processes, which share the server of the main one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from vrft.config.schema import Config
from vrft.engines.client import Client
from vrft.engines.served import Address, ServedEngine
from vrft.policy.policy import ModelPolicy

T = TypeVar("T")


class VllmGuest(ServedEngine):
    """An engine that samples from the main process's server, and neither starts nor ends it.

    A server that fails is the main process's to start again: here it raises ServerFailure.
    """

    def __init__(self, config: Config, policy: ModelPolicy, address: Address) -> None:
        """Attach to a server that has the policy's weights already."""
        super().__init__(config, policy)
        self.visit(address)

    def visit(self, address: Address) -> None:
        """Sample from the server at an address from now on."""
        self.client, self.model, self.dtype = Client(address.url), address.model, address.dtype

    def attempt(self, action: Callable[[], T]) -> T:
        """Return an action's result; raise ServerFailure where the server fails."""
        return action()

    def check_alive(self) -> None:
        """Return at once: the main process looks after the server."""

    def sync(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Count the weights, which the main process has sent."""
        self.version += 1

    def close(self) -> None:
        """Break off the requests that are under way."""
        self.client.abandon()
