"""The table of algorithms in words: the parts of each row, and where it is not GPG."""

from __future__ import annotations

from vrft.config.methods import AlgorithmConfig, method
from vrft.objectives.algorithms import BASELINES, models_held
from vrft.objectives.surrogates import SURROGATES

LEVELS = {"token": "token", "sequence": "completion"}
F_NORMS = {"group_std": " / std of group", "none": "", "batch_std": " / std of batch"}
TOKEN_MEANS = {
    "group": "tokens of a group",
    "global": "tokens of the batch",
    "sequence": "tokens, then completions",
    "constant": "longest length",
    "sum": "sum of tokens",
}


def table_row(name: str) -> dict[str, str]:
    """Describe an algorithm for the table of all of them: the paper's Tables 1 and 11."""
    columns = ["method", "advantage", "ratio of", "surrogate", "mean over", "KL", "models"]
    row = dict.fromkeys([*columns, "differs from GPG in"], "") | {"method": name}
    if name == "sft":
        reference = {"surrogate": "-log pi(reference answer)", "mean over": "tokens of the batch"}
        return row | reference | {"models": "policy", "differs from GPG in": "everything"}
    config = method(name)
    bound = SURROGATES[config.surrogate]
    return row | {
        "advantage": BASELINES[config.baseline].words + F_NORMS[config.f_norm],
        "ratio of": LEVELS[config.importance_sampling_level] if bound.ratio else "",
        "surrogate": bound.words(config),
        "mean over": TOKEN_MEANS[config.token_mean],
        "KL": f"{config.beta:g} in {config.kl_in}" if config.beta else "",
        "models": ", ".join(models_held(config)),
        "differs from GPG in": ", ".join(differences(config)),
    }


def differences(config: AlgorithmConfig) -> list[str]:
    """Name the parts of the gradient in which an algorithm differs from GPG's row.

    With one update a batch a ratio is 1, and its bound makes no difference: it comes last.
    """
    gpg, bound = method("gpg"), SURROGATES[config.surrogate]
    parts = {
        "advantage": (config.baseline, config.f_norm) != (gpg.baseline, gpg.f_norm),
        "mean": config.token_mean != gpg.token_mean,
        "KL": config.beta > 0,
        "rewards": config.overlong_cache > 0,
        "prompts": config.min_informative > 0,
        "value loss": BASELINES[config.baseline].needs_critic,
    }
    named = [name for name, differs in parts.items() if differs]
    return [*named, *(["ratio after update 1"] if bound.ratio else [])]
