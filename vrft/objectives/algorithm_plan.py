"""What can be known of a run's objective before its first step: settings that do not go together.

A setting that would be ignored is refused: its run would be taken for one that has it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.objectives.algorithms import BASELINES
from vrft.objectives.surrogates import SURROGATES


def check(config: Config) -> None:
    """Raise UserError for settings of the algorithm that contradict or ignore each other."""
    algorithm, foreign = config.algorithm, config.rollout.engine != "vrft"
    for line in (
        *ratio_mistakes(algorithm),
        *reward_mistakes(algorithm),
        *entropy_mistakes(algorithm),
        *engine_mistakes(algorithm, foreign=foreign),
        *curriculum_mistakes(algorithm, ahead=bool(config.rollout.ahead)),
    ):
        raise UserError(line)


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
        if config.surrogate != "clipped":
            yield "algorithm.delta: only algorithm.surrogate=clipped has a dual clip; leave it out"
        elif config.delta <= highest:
            yield (
                f"algorithm.delta={config.delta:g}: the clip ends at {highest:g} already; give a "
                "larger one, such as 3.0"
            )
    plain = AlgorithmConfig()
    for name in ("sapo_temperature_pos", "sapo_temperature_neg"):
        if config.surrogate != "sigmoid" and getattr(config, name) != getattr(plain, name):
            yield f"algorithm.{name}: only algorithm.surrogate=sigmoid has it; leave it out"


def reward_mistakes(config: AlgorithmConfig) -> Iterator[str]:
    """Yield a line for each setting with which rewards cannot become advantages."""
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
    """Yield a line for each bound of importance weights that has no weights or no room."""
    least, cap = config.importance_sampling_clip_min, config.importance_sampling_cap
    if least is None:
        return
    if not foreign or config.importance_sampling == "off":
        yield (
            f"algorithm.importance_sampling_clip_min={least:g}: there are no importance weights "
            "without rollout.engine=vllm and algorithm.importance_sampling; leave it out"
        )
    elif least >= cap:
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
