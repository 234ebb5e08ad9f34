"""The server of several devices, one at a time; test_rollouts_together.py launches real ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vrft.config.rollout import RolloutConfig
from vrft.config.schema import Config
from vrft.engines import engines
from vrft.engines.client import Client, ServerFailure
from vrft.engines.guest import VllmGuest
from vrft.engines.served import Address, ServedEngine
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.rollouts import shared_server
from vrft.rollouts.shared_server import SharedServer

FIRST = Address("http://first:1", "served", torch.float32)
SECOND = Address("http://second:2", "served", torch.float32)

POLICY: Any = None
"""Nothing is sampled here."""


class Owner(VllmEngine):
    """The main process's engine, which starts its server again at another address."""

    def __init__(self) -> None:
        ServedEngine.__init__(self, Config(), POLICY)
        self.client, self.model, self.dtype = Client(FIRST.url), FIRST.model, FIRST.dtype
        self.failures: list[str] = []

    def launch(self) -> None:
        self.client = Client(SECOND.url)

    def end_server(self, failure: ServerFailure) -> None:
        self.failures.append(str(failure))


def device(*, main: bool) -> Any:
    """Return the accelerator of one of two processes."""
    return SimpleNamespace(num_processes=2, is_main_process=main)


def main_says(monkeypatch: pytest.MonkeyPatch, *said: Any) -> None:
    monkeypatch.setattr(shared_server.exchange, "from_main", lambda accelerator, own: said)


def test_a_guest_does_not_act_and_visits_the_address_that_the_main_process_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SharedServer(VllmGuest(Config(), POLICY, FIRST), device(main=False))
    assert server.shared and server.address == FIRST
    main_says(monkeypatch, SECOND, None)
    server.together(lambda: pytest.fail("this is not the main process"))
    assert server.engine.address == server.address == SECOND


def test_all_devices_raise_the_error_of_the_main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SharedServer(VllmGuest(Config(), POLICY, FIRST), device(main=False))
    main_says(monkeypatch, FIRST, "no memory")
    with pytest.raises(UserError, match=r"^no memory$"):
        server.together(lambda: None)


def test_a_server_that_has_failed_several_devices_is_started_again_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_server.exchange, "from_main", lambda accelerator, own: own)
    engine = Owner()
    server = SharedServer(engine, device(main=True))
    server.recover("no answer", None)
    assert engine.failures == ["no answer"] and server.address == SECOND
    # Its own rollouts have failed meanwhile: it has started the server again for these already.
    engine.client = Client(FIRST.url)
    server.recover("no answer", None)
    assert engine.failures == ["no answer"] and server.address == FIRST


def test_an_error_of_the_main_process_is_no_reason_to_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_server.exchange, "from_main", lambda accelerator, own: own)
    engine = Owner()
    with pytest.raises(UserError, match="the run is strict"):
        SharedServer(engine, device(main=True)).recover("no answer", UserError("the run is strict"))
    assert engine.failures == []


def test_a_server_that_does_not_start_is_an_error_of_all_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*given: Any) -> None:
        raise UserError("no such Python")

    monkeypatch.setattr(shared_server, "gathered", lambda accelerator, module: None)
    monkeypatch.setattr(engines, "start", refuse)
    config, actor = Config(rollout=RolloutConfig("vllm")), SimpleNamespace(module=None)
    monkeypatch.setattr(shared_server.exchange, "from_main", lambda accelerator, own: own)
    with pytest.raises(UserError, match=r"^no such Python$"):
        shared_server.start(config, actor, device(main=True), None)  # type: ignore[arg-type]
    main_says(monkeypatch, "no such Python", None)
    with pytest.raises(UserError, match=r"^no such Python$"):
        shared_server.start(config, actor, device(main=False), None)  # type: ignore[arg-type]
