"""Settings of the objective that contradict or ignore each other are refused in one line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes.bigram import CONFIG

from vrft.config.methods import METHODS, AlgorithmConfig, CriticConfig, method
from vrft.config.rollout import RolloutConfig
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.objectives import algorithm_plan
from vrft.training import plan

GDPO = {"multi_objective_aggregation": "normalize_then_sum"}


def with_row(name: str, **settings: Any) -> Config:
    return replace(CONFIG, algorithm=method(name, **settings))


def served(**settings: Any) -> Config:
    return replace(with_row("gpg", **settings), rollout=RolloutConfig("vllm"))


def one_completion() -> Config:
    settings = replace(CONFIG.train, per_device_train_batch_size=1)
    row = method("remax", f_norm="batch_std", num_generations=1)
    return replace(CONFIG, algorithm=row, train=settings)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "sft"])
def test_every_row_goes_together(name: str) -> None:
    algorithm_plan.check(with_row(name))


REFUSED = [
    (with_row("gpg", importance_sampling_level="sequence"), "policy_gradient has no ratio"),
    (with_row("dppo", importance_sampling_level="sequence"), "knows the ratio of a token only"),
    (with_row("reinforce_pp", importance_sampling_level="sequence"), "different advantages"),
    (with_row("ppo", importance_sampling_level="sequence"), r"set algorithm\.baseline=group_mean"),
    (with_row("grpo", surrogate="capped"), r"give algorithm\.epsilon_high, the largest ratio"),
    (with_row("sapo", delta=3.0), r"algorithm\.delta: only algorithm\.surrogate=clipped"),
    (with_row("dapo", delta=1.28), r"algorithm\.delta=1\.28: the clip ends at 1\.28 already"),
    (with_row("grpo", sapo_temperature_pos=2.0), r"sapo_temperature_pos: only .*=sigmoid has it"),
    (with_row("gpg", sapo_temperature_neg=2.0), r"sapo_temperature_neg: only .*=sigmoid has it"),
    (with_row("gpg", epsilon=0.1), r"epsilon: only .*=clipped or clipped_log or masked has it"),
    (with_row("gpg", epsilon_high=0.3), r"epsilon_high: only .*clipped or capped or clipped_log"),
    (with_row("sapo", epsilon=0.1), r"algorithm\.epsilon: only algorithm\.surrogate=clipped"),
    (with_row("cispo", epsilon=0.1), r"algorithm\.epsilon: only algorithm\.surrogate=clipped"),
    (with_row("ppo", f_norm="group_std"), "critic compares the tokens of the batch; set"),
    (with_row("gpg", baseline="batch_mean"), r"batch_mean compares .*f_norm=batch_std, or none"),
    (with_row("ppo", alpha=True), r"algorithm\.alpha=true: every completion teaches"),
    (with_row("gpg", critic=CriticConfig(lam=0.5)), r"critic\.lam: only .*baseline=critic has it"),
    (with_row("gpg", kl_in="reward"), r"there is no KL; set algorithm\.beta too"),
    (with_row("gpg", on_exhausted="skip"), r"on_exhausted: .*set algorithm\.min_informative too"),
    (with_row("gpg", max_resample_rounds=3), r"rounds: .*set algorithm\.min_informative too"),
    (with_row("remax", f_norm="group_std", num_generations=1), "one completion of a prompt has no"),
    (one_completion(), r"batch_std: the one completion of a step has no deviation"),
    (with_row("gpg", importance_sampling_cap=2.0), r"cap=2: there are no importance weights"),
    (with_row("sft", beta=0.1), r"algorithm\.beta: algorithm=sft learns from reference answers"),
    (with_row("gpg", alpha_counts="nonzero_rewards"), r"set algorithm\.alpha=true too"),
    (with_row("gpg", **GDPO), r"over the batch; set algorithm\.f_norm=batch_std$"),
    (with_row("rloo", **GDPO), r"baseline=group_mean and algorithm\.f_norm=.* and .*kl_in=loss$"),
    (with_row("dapo", f_norm="batch_std", **GDPO), r"set algorithm\.overlong_cache=0$"),
    (with_row("gpg", entropy_coef_delta=0.1), r"set algorithm\.use_adaptive_entropy=true too"),
    (with_row("gpg", entropy_coef_min=0.1), r"entropy_coef_min: set .*use_adaptive_entropy=true"),
    (with_row("gpg", entropy_coef_max=0.1), r"entropy_coef_max: set .*use_adaptive_entropy=true"),
    (with_row("gpg", entropy_target=0.1), r"entropy_target: set .*use_adaptive_entropy=true"),
    (
        with_row("gpg", use_adaptive_entropy=True, entropy_coef=2.0),
        r"entropy_coef=2: the control begins with it, and .*_min=0 and .*_max=1 leave it out",
    ),
    (with_row("gpg", importance_sampling_clip_min=0.5), "there are no importance weights"),
    (served(importance_sampling_clip_min=0.5, importance_sampling="off"), "no importance weights"),
    (
        with_row("gpg", off_policy_mask_threshold=0.5),
        r"_threshold=0\.5: one update of a batch that",
    ),
    (with_row("gpg", rest_epochs=2), r"rest_epochs: set algorithm\.min_pass_rate or"),
    (with_row("gpg", min_pass_rate=0.9, max_pass_rate=0.1), "so that every prompt would rest"),
    (
        replace(with_row("gpg", max_pass_rate=0.9), rollout=RolloutConfig("vllm", ahead=1)),
        r"rollout\.ahead=1: the prompts of a step are drawn before the ledger knows",
    ),
    (served(importance_sampling_clip_min=3.0), r"not below algorithm\.importance_sampling_cap=3"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_what_would_be_ignored_or_contradicted_is_refused(config: Config, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        plan.check_settings(config, {"share": None})  # what a run and --dry-run ask
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        with_row("gpg", alpha=True, alpha_counts="nonzero_rewards"),
        with_row("gpg", f_norm="batch_std", **GDPO),
        with_row("grpo", delta=3.0),
        with_row("cispo", importance_sampling_level="sequence"),
        with_row("sapo", sapo_temperature_pos=2.0),
        with_row("ppo", entropy_coef=0.01, critic=CriticConfig(lam=0.5)),
        with_row("ppo", f_norm="none"),
        with_row("rloo", beta=0.0),  # what the row says of its KL is no mistake of the user's
        with_row("gspo", surrogate="policy_gradient", importance_sampling_level="token"),
        with_row("dapo", on_exhausted="skip", max_resample_rounds=3),
        with_row("remax", f_norm="batch_std", num_generations=1),
        with_row("gpg", importance_sampling="off"),
        served(importance_sampling="token_mask", importance_sampling_cap=5.0),
        with_row("gpg", use_adaptive_entropy=True, entropy_coef=0.1, entropy_target=1.0),
        served(importance_sampling_clip_min=0.5),
        served(off_policy_mask_threshold=0.5),
        with_row("gpg", off_policy_mask_threshold=0.5, num_iterations=2),
    ],
)
def test_what_goes_together_passes(config: Config) -> None:
    algorithm_plan.check(config)


def test_settings_that_no_row_had_before_leave_the_defaults_alone() -> None:
    assert AlgorithmConfig() == method("gpg")
