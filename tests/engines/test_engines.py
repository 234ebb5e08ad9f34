"""The engines of rollouts behind one face."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes.bigram import BigramPolicy

from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config
from vrft.engines import engines
from vrft.engines.client import ServerFailure
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError


def test_our_own_engine_samples_what_the_policy_samples(tmp_path: Path) -> None:
    policy = BigramPolicy()
    engine = engines.start(Config(), policy, tmp_path)
    sampling = SamplingConfig(max_completion_length=6)
    assert engine.sample([0, 1], 3, sampling, [5, 6]) == policy.sample([0, 1], 3, sampling, [5, 6])
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_a_server_is_checked_before_anything_is_started() -> None:
    engines.check(Config())
    with pytest.raises(UserError, match="give either"):
        engines.check(Config(rollout=RolloutConfig("vllm")))


def test_a_card_that_is_shared_gets_freed_memory_back_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there is no card there is none to give: whether a server then fits is not seen here."""
    events = []

    class Unstarted(Exception):
        pass

    def unstarted(*args: Any, **kwargs: Any) -> None:
        events.append("server")
        raise Unstarted

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: events.append("given back"))
    monkeypatch.setattr("vrft.engines.server.Server", unstarted)
    files = SimpleNamespace(model=None, folder=None)
    engine: Any = SimpleNamespace(config=None, files=files, log=None, cpu=False)
    with pytest.raises(Unstarted):
        VllmEngine.launch(engine)
    assert events == ["given back", "server"]


@pytest.mark.parametrize(("version", "advice"), [(0, "mend what it says of"), (1, "checkpoint")])
def test_a_checkpoint_is_advised_only_after_a_step(version: int, advice: str) -> None:
    died = SimpleNamespace(close=lambda: None, last_words=lambda: "ValueError: no room")
    engine: Any = SimpleNamespace(
        server=died, settings=VllmConfig(python="p"), restarts=0, log="vllm.log", version=version
    )
    with pytest.raises(UserError, match=rf"no room \(vllm\.log\); .*{advice}"):
        VllmEngine.end_server(engine, ServerFailure("it has ended"))
