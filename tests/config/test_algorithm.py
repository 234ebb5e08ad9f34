"""The settings of the objective: TRL's names and defaults, and what follows from several."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from vrft.config import remarks
from vrft.config.algorithm import AlgorithmConfig, CriticConfig
from vrft.config.methods import method

OF_TRL = {
    *("num_generations", "num_iterations", "beta", "epsilon", "epsilon_high", "delta"),
    *("importance_sampling_level", "sapo_temperature_pos", "sapo_temperature_neg"),
    *("off_policy_mask_threshold", "mask_truncated_completions", "multi_objective_aggregation"),
    *("entropy_coef", "use_adaptive_entropy", "entropy_coef_min", "entropy_coef_max"),
    *("entropy_coef_delta", "entropy_target"),
}
"""The settings that TRL's GRPO trainer has too."""


def defaults(settings: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(settings)}


def test_settings_that_trl_has_too_bear_its_names_and_have_its_defaults() -> None:
    from trl import GRPOConfig  # type: ignore[attr-defined]

    theirs, ours = defaults(GRPOConfig), defaults(AlgorithmConfig)
    # GPG's reward weights are by name, and its rows have rewards of a file.
    assert {*ours} & {*theirs} == OF_TRL | {"reward_weights"}
    assert {name: ours[name] for name in OF_TRL} == {name: theirs[name] for name in OF_TRL}


def test_bounds_of_importance_weights_are_trls_without_its_prefix() -> None:
    from trl import GRPOConfig  # type: ignore[attr-defined]

    theirs, ours = defaults(GRPOConfig), defaults(AlgorithmConfig)
    prefix = "vllm_importance_sampling_clip"
    assert ours["importance_sampling_cap"] == theirs[f"{prefix}_max"]
    assert ours["importance_sampling_clip_min"] == theirs[f"{prefix}_min"]


@pytest.mark.parametrize("name", ["gspo", "gmpo", "sapo"])
def test_rows_that_trl_has_as_recipes_have_its_numbers(name: str) -> None:
    from trl.experimental.gmpo import GMPOConfig

    numbers = {
        # TRL's paper index gives GSPO's bounds
        "gspo": {"epsilon": 3e-4, "epsilon_high": 4e-4, "importance_sampling_level": "sequence"},
        "gmpo": {"epsilon": defaults(GMPOConfig)["epsilon"], "epsilon_high": None},
        "sapo": {"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05, "beta": 0.0},
    }
    row = method(name)
    assert {key: getattr(row, key) for key in numbers[name]} == numbers[name]


@pytest.mark.parametrize("section", [AlgorithmConfig, CriticConfig])
def test_every_setting_of_more_than_a_name_is_explained(section: type) -> None:
    explained = remarks.remarks(section)
    alone = {"importance_sampling_cap", "critic", "entropy_coef_min", "entropy_coef_max"}
    assert defaults(section).keys() - explained.keys() <= alone


def test_a_bonus_of_entropy_is_on_by_its_weight_or_its_control() -> None:
    assert not method("gpg").has_entropy_bonus
    assert method("gpg", entropy_coef=0.01).has_entropy_bonus
    assert method("gpg", use_adaptive_entropy=True).has_entropy_bonus


def test_the_bounds_of_the_ratio_are_two_or_one() -> None:
    assert method("dapo").clip_range == (0.2, 0.28)
    assert method("gmpo").clip_range == (0.4, 0.4)
