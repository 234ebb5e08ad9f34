"""The settings of a rollout: TRL's names and defaults, and no server unless it is asked for."""

from __future__ import annotations

import dataclasses

from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig


def test_sampling_has_trls_names_and_defaults() -> None:
    from trl import GRPOConfig  # type: ignore[attr-defined]

    theirs = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    names = {field.name for field in dataclasses.fields(SamplingConfig)}
    # The limit of prompts is a name that TRL had until its newest releases.
    assert names - {"cuda_graphs", "max_prompt_length"} <= theirs.keys()
    same = ("temperature", "top_p", "top_k", "repetition_penalty")
    assert {name: getattr(SamplingConfig(), name) for name in same} == {n: theirs[n] for n in same}


def test_a_server_samples_only_where_it_is_asked_for() -> None:
    assert RolloutConfig() == RolloutConfig("vrft", VllmConfig(url="", python=""), ahead=0)
