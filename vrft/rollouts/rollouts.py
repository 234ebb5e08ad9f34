"""Rollouts for training: from the policy itself, or from a server that all devices share.

With ``rollout.ahead`` a server samples for the next step while this one trains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vrft.config.schema import Config
from vrft.engines import engines
from vrft.engines.client import ServerFailure
from vrft.engines.engines import Engine
from vrft.engines.served import ServedEngine
from vrft.errors import UserError
from vrft.objectives import algorithms
from vrft.policy import Policy
from vrft.processes import exchange
from vrft.rollouts import rollout_rows, shared_server
from vrft.rollouts.rollout_rows import Drawn, Sampled
from vrft.rollouts.shared_server import SharedServer, gathered
from vrft.system.waiting import waiting

PROBED = (4, 32)
"""Prompts, and tokens of a completion of each, whose log-probabilities are compared before the
server samples ahead: when the rollouts have come, the policy has moved on."""


@dataclass(frozen=True)
class InFlight:
    """Prompts of the next step, and their rollouts once the server has made them."""

    drawn: Sequence[Drawn]
    sampled: Future[list[Sampled]]


class Rollouts:
    """The engine of a run on all its devices, and the rollouts that are under way.

    ``step`` is that of the weights which the engine has, and ``server`` is None for the policy's
    own decoding. All devices call each method equally often, but for ``close``.
    """

    def __init__(
        self, engine: Engine, config: Config, accelerator: Accelerator, step: int = 0
    ) -> None:
        self.engine, self.config, self.accelerator, self.step = engine, config, accelerator, step
        self.server: SharedServer | None = None
        if isinstance(engine, ServedEngine):
            self.server = SharedServer(engine, accelerator)
        self.in_flight: InFlight | None = None
        self.pool = ThreadPoolExecutor(1, "rollouts") if config.rollout.ahead else None
        self.compared = False  # since the engine's weights are those it has
        self.sampling_time = self.sync_time = 0.0

    @property
    def served(self) -> bool:
        """Return whether a server samples, and not the policy itself."""
        return self.server is not None

    # --- weights

    def follow(self, module: nn.Module, step: int) -> None:
        """Send the engine the policy's weights after ``step`` steps, unless it has them already.

        Rollouts under way are waited for. Raises UserError, on all devices, for a server that
        fails and may not be started again.
        """
        server = self.server
        if server is None or self.step == step:
            return
        with waiting():  # for the server, which has limits of its own
            error = None if self.in_flight is None else self.in_flight.sampled.exception()
        began = time.monotonic()
        weights = gathered(self.accelerator, module)
        # Another device's requests must not meet the new weights, nor this one's the old.
        exchange.wait_for_everyone(self.accelerator)

        def send() -> None:
            if isinstance(error, UserError):
                raise error
            server.engine.sync(weights)

        try:
            server.together(send)
        except UserError as failure:
            raise UserError(f"step {step + 1}: {failure}") from failure
        if not self.accelerator.is_main_process:
            server.engine.sync()
        self.step, self.compared = step, False
        self.sync_time = time.monotonic() - began

    # --- sampling

    def sample(self, drawn: Sequence[Drawn]) -> list[Sampled]:
        """Return the rollouts of prompts, which may be under way already.

        Every device calls this, also one without prompts: they find out together whether the
        server has failed. Raises UserError for a server that fails and may not be started again.
        """
        began = time.monotonic()
        flight, self.in_flight = self.in_flight, None
        ask = partial(self.ask_now, drawn)
        sampled, error = tried(ask if flight is None else waiting()(flight.sampled.result))
        while self.server is not None and self.server.shared:
            failed = str(error) if isinstance(error, ServerFailure) else ""
            failures = exchange.gather_objects(self.accelerator, [failed])
            if not any(failures):
                break
            self.server.recover(next(filter(None, failures)), error)
            if isinstance(error, ServerFailure):
                sampled, error = tried(ask)
        self.sampling_time += time.monotonic() - began
        if error is not None:
            raise error
        return sampled

    def ask_now(self, drawn: Sequence[Drawn]) -> list[Sampled]:
        """Let the engine sample as ``ask`` does, and compare while the policy has its weights."""
        sampled = self.ask(drawn)
        self.compared = self.compared or bool(drawn)
        return sampled

    def ask(self, drawn: Sequence[Drawn]) -> list[Sampled]:
        """Let the engine sample G rollouts of each prompt, and greedy ones if they are needed."""
        if not drawn:
            return []
        config, encoded = self.config, [draw.encoded for draw in drawn]
        seeds = [draw.seed for draw in drawn]
        with self.accelerator.autocast():
            groups = self.engine.sample(
                encoded, config.algorithm.num_generations, config.sampling, seeds
            )
            if not algorithms.BASELINES[config.algorithm.baseline].needs_greedy:
                return [Sampled(group) for group in groups]
            cold = replace(config.sampling, temperature=0.0)
            best = self.engine.sample(encoded, 1, cold, seeds)
        return [Sampled(group, greedy) for group, greedy in zip(groups, best, strict=True)]

    def begin(self, drawn: Sequence[Drawn]) -> None:
        """Let the server begin with the rollouts of the next step's prompts.

        A failure is raised where they are taken.
        """
        assert self.pool is not None
        if not drawn:
            return
        _, error = tried(partial(self.probe, drawn))
        if error is None:
            self.in_flight = InFlight(drawn, self.pool.submit(self.ask, drawn))
        else:
            self.in_flight = InFlight(drawn, Future())
            self.in_flight.sampled.set_exception(error)

    def probe(self, drawn: Sequence[Drawn]) -> list[Sampled]:
        """Let the engine compare some log-probabilities while the policy has the same weights."""
        if not self.compared:
            prompts, tokens = PROBED
            length = min(tokens, self.config.sampling.max_completion_length)
            short = replace(self.config.sampling, max_completion_length=length)
            some = drawn[:prompts]
            with self.accelerator.autocast():
                self.engine.sample([d.encoded for d in some], 1, short, [d.seed for d in some])
            self.compared = True
        return []

    # --- records, checkpoints, the end

    def metrics(self) -> dict[str, float]:
        """Return the times of the step and the engine's distance; nothing for our own decoding.

        ``rollout/time`` are the seconds in which the main process waited for rollouts.
        """
        if self.server is None:
            return {}
        engine = self.server.engine
        mean, most = self.mean_and_largest(engine.differences)
        ban_mean, ban_most = self.mean_and_largest(engine.ban_differences)
        measured = {
            "rollout/time": self.sampling_time,
            "rollout/sync_time": self.sync_time,
            "rollout/logp_difference/mean": mean,
            "rollout/logp_difference/max": most,
            "rollout/ban_difference/mean": ban_mean,
            "rollout/ban_difference/max": ban_most,
            "rollout/restarts": float(self.config.rollout.vllm.restarts - engine.restarts),
        }
        self.sampling_time = self.sync_time = 0.0
        return measured

    def mean_and_largest(self, values: Tensor) -> tuple[float, float]:
        """Return the mean and the largest of all devices' values [N], 0 where there are none."""
        largest = values.double().max() if len(values) else torch.zeros((), dtype=torch.double)
        total = torch.stack([values.double().sum(), torch.tensor(float(len(values))).double()])
        sums = exchange.gather(self.accelerator, total[None]).sum(0)
        most = exchange.gather(self.accelerator, largest[None]).max()
        return float(sums[0] / sums[1].clamp(min=1)), float(most)

    def rows(self) -> list[dict[str, Any]]:
        """Wait for the rollouts under way, and return a row for each prompt of all devices.

        Rollouts that have failed have no rows: a resumed run samples them anew.
        """
        if self.pool is None:
            return []
        own: list[dict[str, Any]] = []
        flight = self.in_flight
        if flight is not None and flight.sampled.exception() is None:
            own = rollout_rows.rows_of(flight.drawn, flight.sampled.result())
        return exchange.gather_objects(self.accelerator, own)

    def restore(self, folder: Path, coming: Callable[[], Sequence[Drawn]]) -> None:
        """Take over a checkpoint's rollouts of the ``coming`` prompts of this device."""
        path = folder / rollout_rows.ROLLOUTS
        if self.pool is None or not path.is_file():
            return
        try:
            drawn = coming()
        except UserError:
            return  # the next step meets the same error, as all devices do
        sampled = rollout_rows.read(path, drawn)
        if drawn and len(sampled) == len(drawn):
            self.in_flight = InFlight(drawn, Future())
            self.in_flight.sampled.set_result(sampled)

    def close(self) -> None:
        """End the engine, also within a step, and the thread that waits for it."""
        self.engine.close()
        if self.pool is not None:
            if self.server is not None:
                self.server.engine.client.abandon()  # requests to a server that runs on
            if self.in_flight is not None:
                with suppress(UserError, ServerFailure):
                    self.in_flight.sampled.result()
            self.pool.shutdown()
            self.engine.close()  # the thread may have started a server meanwhile


def start(
    config: Config, actor: Policy, accelerator: Accelerator, folder: Path, step: int
) -> Rollouts:
    """Return the rollouts of a run, whose engine has the weights after ``step`` steps.

    Raises UserError, on all devices, for a server that does not start.
    """
    engine: Engine
    if config.rollout.engine == "vrft":
        engine = engines.start(config, actor, folder)
    else:
        engine = shared_server.start(config, actor, accelerator, folder)
    return Rollouts(engine, config, accelerator, step)


def tried(
    action: Callable[[], list[Sampled]],
) -> tuple[list[Sampled], UserError | ServerFailure | None]:
    """Return an action's rollouts, or none and the error that it raised."""
    try:
        return action(), None
    except (UserError, ServerFailure) as error:
        return [], error
