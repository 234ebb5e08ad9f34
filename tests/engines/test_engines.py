"""The engines of rollouts behind one face."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.bigram import BigramPolicy

from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config
from vrft.engines import engines
from vrft.errors import UserError


def test_our_own_engine_samples_what_the_policy_samples(tmp_path: Path) -> None:
    policy = BigramPolicy()
    engine = engines.start(Config(), policy, tmp_path)
    sampling = SamplingConfig(max_completion_length=6)
    assert engine.sample([0, 1], 3, sampling, [5, 6]) == policy.sample([0, 1], 3, sampling, [5, 6])
    engine.close()
    assert list(tmp_path.iterdir()) == []


def test_settings_of_a_server_without_one_are_refused() -> None:
    engines.check(Config())
    for settings in (VllmConfig(url="http://127.0.0.1:1"), VllmConfig(python="p")):
        with pytest.raises(UserError, match=r"are for rollout\.engine=vllm"):
            engines.check(Config(rollout=RolloutConfig("vrft", settings)))


def test_a_server_is_checked_before_anything_is_started() -> None:
    with pytest.raises(UserError, match="give either"):
        engines.check(Config(rollout=RolloutConfig("vllm")))
