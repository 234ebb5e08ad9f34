"""The check of a run's objective before its first step: settings that do not go together.

A setting that would be ignored is refused: its run would be taken for one that has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from vrft import launched
from vrft.config.methods import COMMON, AlgorithmConfig, CriticConfig, method
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.objectives.algorithms import BASELINES
from vrft.objectives.surrogates import SURROGATES


def check(config: Config) -> None:
    """Raise UserError for settings of the algorithm that contradict or ignore each other."""
    algorithm, foreign = config.algorithm, config.rollout.engine != "vrft"
    for line in (
        *ratio_mistakes(algorithm),
        *bound_mistakes(algorithm),
        *baseline_mistakes(algorithm),
        *batch_mistakes(config),
        *reward_mistakes(algorithm),
        *resampling_mistakes(algorithm),
        *entropy_mistakes(algorithm),
        *engine_mistakes(algorithm, foreign=foreign),
        *curriculum_mistakes(algorithm, ahead=bool(config.rollout.ahead)),
    ):
        raise UserError(line)


def check_sft(config: AlgorithmConfig) -> None:
    """Raise UserError for a setting that supervised fine-tuning would ignore.

    Those that are COMMON to all rows may stand in a file of whichever row.
    """
    for name in [field.name for field in fields(config) if field.name not in COMMON]:
        if chosen(config, name):
            raise UserError(
                f"algorithm.{name}: algorithm=sft learns from reference answers, without it; leave "
                "it out"
            )


def chosen(config: AlgorithmConfig, name: str) -> bool:
    """Return whether a setting has another value than in its method's row."""
    return bool(getattr(config, name) != getattr(method(config.name), name))


def ratio_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting of the ratio and its bound that the surrogate cannot use."""
    bound, level = SURROGATES[config.surrogate], config.importance_sampling_level
    if level not in bound.levels:
        why = "knows the ratio of a token only" if bound.ratio else "has no ratio"
        yield (
            f"algorithm.importance_sampling_level={level}: the surrogate {config.surrogate} {why}; "
            "leave it out"
        )
    if level == "sequence" and not BASELINES[config.baseline].subtrahend:
        yield (
            f"algorithm.importance_sampling_level=sequence: the baseline {config.baseline} gives "
            "the tokens of a completion different advantages, which one ratio cannot weigh; leave "
            "it out, or set algorithm.baseline=group_mean"
        )
    if config.surrogate == "capped" and config.epsilon_high is None:
        yield (
            "algorithm.surrogate=capped: give algorithm.epsilon_high, the largest ratio, such as "
            "5.0; or take the row algorithm=cispo"
        )
    if config.delta is not None:
        highest = 1 + config.clip_range[1]
        if "delta" in bound.settings and config.delta <= highest:
            yield (
                f"algorithm.delta={config.delta:g}: the clip ends at {highest:g} already; give a "
                "larger one, such as 3.0"
            )


def bound_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each bound or temperature that the surrogate does not read."""
    own = SURROGATES[config.surrogate].settings
    for name in dict.fromkeys(name for bound in SURROGATES.values() for name in bound.settings):
        if name not in own and chosen(config, name):
            having = [key for key, bound in SURROGATES.items() if name in bound.settings]
            yield (
                f"algorithm.{name}: only algorithm.surrogate={' or '.join(having)} has it; leave "
                "it out"
            )


def baseline_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting of an advantage that the baseline cannot use."""
    baseline = BASELINES[config.baseline]
    if config.f_norm == "group_std" and not baseline.subtrahend:
        yield (
            f"algorithm.f_norm=group_std: the baseline {config.baseline} compares the tokens of "
            "the batch; set algorithm.f_norm=batch_std, or none"
        )
    # Those that compare siblings are refused for want of any.
    alone = config.num_generations == 1 and not baseline.needs_siblings
    if config.f_norm == "group_std" and alone and baseline.subtrahend:
        yield (
            "algorithm.f_norm=group_std: one completion of a prompt has no deviation; set "
            "algorithm.f_norm=none, or give algorithm.num_generations of at least 2"
        )
    if baseline.needs_critic:
        if config.alpha:
            yield (
                "algorithm.alpha=true: every completion teaches the baseline critic, and none is "
                "made up for; leave it out"
            )
        return
    for field in fields(CriticConfig):
        if getattr(config.critic, field.name) != getattr(CriticConfig(), field.name):
            name = f"algorithm.critic.{field.name}"
            yield f"{name}: only algorithm.baseline=critic has it; leave it out"


def batch_mistakes(config: Config) -> Iterator[str]:
    """Yield a line for a batch too small for its deviation."""
    algorithm, train = config.algorithm, config.train
    completions = train.prompts_per_device * algorithm.num_generations * launched.processes()
    compared = BASELINES[algorithm.baseline].subtrahend
    if algorithm.f_norm == "batch_std" and compared and completions < 2:
        yield (
            "algorithm.f_norm=batch_std: the one completion of a step has no deviation; raise "
            "train.per_device_train_batch_size, or set algorithm.f_norm=none"
        )


def resampling_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting of sampling again where nothing asks for it."""
    if config.min_informative:
        return
    for name in ("max_resample_rounds", "on_exhausted"):
        if chosen(config, name):
            yield f"algorithm.{name}: nothing is sampled again; set algorithm.min_informative too"


def reward_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting with which rewards cannot become advantages."""
    if config.kl_in == "reward" and not config.beta and chosen(config, "kl_in"):
        yield "algorithm.kl_in=reward: there is no KL; set algorithm.beta too"
    if config.alpha_counts != "groups_with_signal" and not config.alpha:
        yield f"algorithm.alpha_counts={config.alpha_counts}: set algorithm.alpha=true too"
    if config.multi_objective_aggregation == "sum_then_normalize":
        return
    needs = {
        "baseline=group_mean": config.baseline == "group_mean",
        "f_norm=batch_std": config.f_norm == "batch_std",
        "overlong_cache=0": config.overlong_cache == 0,
        "kl_in=loss": config.beta == 0 or config.kl_in == "loss",
    }
    missing = [f"algorithm.{setting}" for setting, holds in needs.items() if not holds]
    if missing:
        yield (
            "algorithm.multi_objective_aggregation=normalize_then_sum: each reward is normalised "
            f"within its group, and their sum over the batch; set {' and '.join(missing)}"
        )


def entropy_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting of the entropy bonus's control that cannot be obeyed."""
    plain = AlgorithmConfig()
    if not config.use_adaptive_entropy:
        for name in ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta"):
            if getattr(config, name) != getattr(plain, name):
                yield f"algorithm.{name}: set algorithm.use_adaptive_entropy=true too"
        if config.entropy_target != plain.entropy_target:
            yield "algorithm.entropy_target: set algorithm.use_adaptive_entropy=true too"
    elif not config.entropy_coef_min <= config.entropy_coef <= config.entropy_coef_max:
        yield (
            f"algorithm.entropy_coef={config.entropy_coef:g}: the control begins with it, and "
            f"algorithm.entropy_coef_min={config.entropy_coef_min:g} and "
            f"algorithm.entropy_coef_max={config.entropy_coef_max:g} leave it out"
        )


def engine_mistakes(config: AlgorithmConfig, *, foreign: bool) -> Iterator[str]:
    """Yield a line for each setting of another policy's samples that has none, or no room."""
    if config.off_policy_mask_threshold is not None and not (foreign or config.reuses_batches):
        yield (
            f"algorithm.off_policy_mask_threshold={config.off_policy_mask_threshold:g}: one update "
            "of a batch that the policy itself has sampled is never off-policy; leave it out, or "
            "set algorithm.num_mini_batches or num_iterations"
        )
    least, cap = config.importance_sampling_clip_min, config.importance_sampling_cap
    if not foreign or config.importance_sampling == "off":
        for name in ("importance_sampling_cap", "importance_sampling_clip_min"):
            if chosen(config, name):
                yield (
                    f"algorithm.{name}={getattr(config, name):g}: there are no importance weights "
                    "without rollout.engine=vllm and algorithm.importance_sampling; leave it out"
                )
    elif least is not None and least >= cap:
        yield (
            f"algorithm.importance_sampling_clip_min={least:g}: it is not below "
            f"algorithm.importance_sampling_cap={cap:g}"
        )


def curriculum_mistakes(config: AlgorithmConfig, *, ahead: bool) -> Iterator[str]:
    """Yield a line for each setting of a curriculum that leaves no prompts or cannot know them."""
    if not config.has_curriculum:
        if config.rest_epochs != AlgorithmConfig().rest_epochs:
            yield "algorithm.rest_epochs: set algorithm.min_pass_rate or max_pass_rate too"
        return
    low, high = config.min_pass_rate, config.max_pass_rate
    if low > high:
        yield (
            f"algorithm.min_pass_rate={low:g}: it is above algorithm.max_pass_rate={high:g}, so "
            "that every prompt would rest"
        )
    if ahead:
        yield (
            "rollout.ahead=1: the prompts of a step are drawn before the ledger knows the answers "
            "of the one before; leave it out, or algorithm.min_pass_rate and max_pass_rate"
        )
