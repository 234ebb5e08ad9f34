"""A run's rollouts are refused or described before anything is started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.bigram import CONFIG, with_algorithm

from vrft.config.rollout import RolloutConfig, VllmConfig
from vrft.config.schema import Config
from vrft.engines import engines
from vrft.errors import UserError
from vrft.rollouts import rollout_plan


def vllm(**settings: Any) -> Config:
    return replace(CONFIG, rollout=RolloutConfig("vllm", **settings))


def sampling(**settings: Any) -> Config:
    given = vllm()
    return replace(given, sampling=replace(given.sampling, **settings))


REFUSED = [
    (replace(CONFIG, rollout=RolloutConfig(ahead=1)), r"rollout\.ahead=1: only a server"),
    (with_algorithm(CONFIG, importance_sampling="token_mask"), "every weight would be 1"),
    (with_algorithm(vllm(), name="sft"), "algorithm=sft samples nothing"),
    (sampling(top_p=0.9), r"sampling\.top_p=0\.9: .* biased; set sampling\.top_p=1, or algorithm"),
    (sampling(top_k=50), r"sampling\.top_k=50: .* set sampling\.top_k=0"),
    (sampling(repetition_penalty=1.1), r"set sampling\.repetition_penalty=1"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings_with_which_rollouts_mislead_are_refused(settings: Config, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rollout_plan.check(settings)


def test_a_changed_distribution_is_taken_without_importance_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked: list[Config] = []
    monkeypatch.setattr(engines, "check", checked.append)
    for settings in (sampling(top_p=0.9), vllm(ahead=1), sampling(temperature=0.7)):
        rollout_plan.check(with_algorithm(settings, importance_sampling="off"))
    rollout_plan.check(CONFIG)
    rollout_plan.check(with_algorithm(CONFIG, importance_sampling="off"))
    assert len(checked) == 5


def test_the_plan_says_where_when_and_how_it_is_corrected() -> None:
    server = VllmConfig(url="http://127.0.0.1:8000")
    given = replace(CONFIG, rollout=RolloutConfig("vllm", server, ahead=1))
    assert rollout_plan.rollout_line(given) == (
        "by a vLLM server at http://127.0.0.1:8000, a step ahead of the update; importance "
        "weights: sequence_mask above 3"
    )
    off = with_algorithm(vllm(vllm=VllmConfig(python="py")), importance_sampling="off")
    assert rollout_plan.rollout_line(off) == (
        "by a vLLM server started by py; importance weights: none"
    )
