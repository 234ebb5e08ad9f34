"""The server that all devices sample their rollouts from.

It is started, given weights and started again by the main process alone; the others sample from it
by its address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor, nn

from vrft.config.schema import Config
from vrft.engines import engines
from vrft.engines.client import ServerFailure
from vrft.engines.engines import Engine
from vrft.engines.guest import VllmGuest
from vrft.engines.served import ServedEngine
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.policy import ModelPolicy, Policy
from vrft.processes import distributed, exchange


class SharedServer:
    """The server of a run's engine, which is the main process's own, and a guest in the others.

    All devices call each method equally often, also where none of them shares it (``shared``).
    """

    def __init__(self, engine: ServedEngine, accelerator: Accelerator) -> None:
        self.engine, self.accelerator = engine, accelerator
        self.shared = accelerator.num_processes > 1
        self.address = engine.address

    def together(self, action: Callable[[], None]) -> None:
        """Act on the server in the main process; all devices learn of its error and address."""
        mistake: UserError | None = None
        if self.accelerator.is_main_process:
            try:
                action()
            except UserError as error:
                mistake = error
        if self.shared:
            known = (self.engine.address, None if mistake is None else str(mistake))
            self.address, line = exchange.from_main(self.accelerator, known)
            if line is not None and mistake is None:
                mistake = UserError(line)
        if mistake is not None:
            raise mistake
        if isinstance(self.engine, VllmGuest):
            self.engine.visit(self.address)

    def recover(self, failure: str, error: Exception | None) -> None:
        """Start a server again that has failed another device.

        ``error`` is this device's own. Raises UserError where the server may not be started again.
        """

        def again() -> None:
            if isinstance(error, UserError):
                raise error
            engine = self.engine
            assert isinstance(engine, VllmEngine)  # as this is the main process
            if engine.address == self.address:  # else it has been started again already
                engine.end_server(ServerFailure(failure))
                engine.attempt(engine.launch)

        self.together(again)


def start(config: Config, actor: Policy, accelerator: Accelerator, folder: Path) -> ServedEngine:
    """Return the engine of this device, beside a server that has the policy's weights.

    Raises UserError, on all devices, for a server that does not start.
    """
    weights = gathered(accelerator, actor.module)
    own: Engine | None = None
    line, address = "", None
    if accelerator.is_main_process:
        try:
            own = engines.start(config, actor, folder, weights)
            assert isinstance(own, ServedEngine)
            address = own.address
        except UserError as error:
            line = str(error)
    line, address = exchange.from_main(accelerator, (line, address))
    if line:
        raise UserError(line)
    if isinstance(own, ServedEngine):
        return own
    assert isinstance(actor, ModelPolicy) and address is not None
    return VllmGuest(config, actor, address)


def gathered(accelerator: Accelerator, module: nn.Module) -> Mapping[str, Tensor] | None:
    """Return a module's weights, gathered on the main process; None where it has them anyway."""
    return None if accelerator.num_processes == 1 else distributed.state_dict(accelerator, module)
