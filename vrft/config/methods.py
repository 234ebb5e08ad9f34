"""The training methods: each is a row of settings, with the defaults of its paper.

A row chooses the advantage of a completion, the level of the ratio to the policy that sampled it,
the bound on that ratio, the mean over tokens, and whether a KL penalty holds the policy near the
model that training began with; the functions are in ``vrft.objectives``, algorithms and surrogates.
A new method is a new row of METHODS. Where it needs an advantage, a surrogate or a mean of its own,
that is one more name in a ``Literal`` of ``vrft.config.algorithm``, and a function there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vrft import paths
from vrft.config.algorithm import AlgorithmConfig, CriticConfig
from vrft.errors import UserError

__all__ = [
    "COMMON",
    "METHODS",
    "AlgorithmConfig",
    "CriticConfig",
    "Method",
    "method",
    "settings",
]

COMMON = ("num_generations", "reward_weights", "rewards", "missing_rewards")
"""Settings of a file that stay when another algorithm is chosen over the file's own."""


@dataclass(frozen=True)
class Method:
    """A row: the source of the method, and the settings in which it differs from the defaults."""

    source: str
    differs: Mapping[str, Any] = field(default_factory=dict)


METHODS: Mapping[str, Method] = {
    "gpg": Method("Chu et al. 2025, arXiv:2504.02546, Eq. 5 and 6"),
    "grpo": Method(
        "Shao et al. 2024, arXiv:2402.03300, Eq. 3 and 4",
        # The paper's KL weight; TRL's GRPO trainer has none by default.
        {"surrogate": "clipped", "beta": 0.04, "token_mean": "sequence"},
    ),
    "dr_grpo": Method(
        "Liu et al. 2025, arXiv:2503.20783",
        # Neither the spread of a group's rewards nor a completion's own length weighs its tokens.
        {"f_norm": "none", "surrogate": "clipped", "token_mean": "constant"},
    ),
    "dapo": Method(
        "Yu et al. 2025, arXiv:2503.14476",
        {
            # Every group has signal: those without are sampled again.
            "min_informative": 1.0,
            "surrogate": "clipped",
            "epsilon_high": 0.28,
            "token_mean": "global",
            "overlong_cache": 0.2,
        },
    ),
    "rloo": Method(
        "Ahmadian et al. 2024, arXiv:2402.14740; KL weight as in TRL",
        {
            "baseline": "leave_one_out",  # unbiased: a reward is no part of its own baseline
            "f_norm": "none",
            "beta": 0.05,
            "kl_in": "reward",
            "token_mean": "sum",
        },
    ),
    "reinforce_pp": Method(
        "Hu et al. 2025, arXiv:2501.03262; KL weight as for mathematics",
        {
            "baseline": "batch_mean",  # of returns token by token, KL included, as in PPO
            "f_norm": "batch_std",
            "surrogate": "clipped",
            "beta": 0.001,
            "kl_in": "reward",
            "token_mean": "global",
        },
    ),
    "remax": Method(
        "Li et al. 2023, arXiv:2310.10505; without its optional KL",
        # REINFORCE of whole completions: the sum of their tokens is log pi(completion).
        {"baseline": "greedy", "f_norm": "none", "token_mean": "sum"},
    ),
    "ppo": Method(
        "Schulman et al. 2017, arXiv:1707.06347; defaults as in TRL",
        {
            "baseline": "critic",
            "f_norm": "batch_std",
            "surrogate": "clipped",
            "beta": 0.05,
            "kl_in": "reward",
            "token_mean": "global",
            "num_iterations": 4,  # TRL's num_ppo_epochs
        },
    ),
    "gspo": Method(
        "Zheng et al. 2025, arXiv:2507.18071, Eq. 5; bounds as there and in TRL's recipe",
        {
            "importance_sampling_level": "sequence",
            "surrogate": "clipped",
            "epsilon": 3e-4,  # a mean over tokens moves far less than one of them
            "epsilon_high": 4e-4,
            "token_mean": "sequence",
        },
    ),
    "cispo": Method(
        "MiniMax 2025, arXiv:2506.13585, Eq. 4; the cap of ScaleRL, arXiv:2510.13786, as in TRL",
        {"surrogate": "capped", "epsilon_high": 5.0, "token_mean": "global"},
    ),
    "sapo": Method(
        "Gao et al. 2025, arXiv:2511.20347; temperatures as there and in TRL",
        {"surrogate": "sigmoid", "token_mean": "sequence"},
    ),
    "gmpo": Method(
        "Zhao et al. 2025, arXiv:2507.20673; bounds as there and in TRL",
        {
            "importance_sampling_level": "sequence",
            "surrogate": "clipped_log",
            "epsilon": 0.4,  # of log r
            "token_mean": "sequence",
        },
    ),
    "dppo": Method(
        "Qi et al. 2026, arXiv:2602.04879, Binary-TV; bound, advantage and mean as in prime-rl",
        {"f_norm": "none", "surrogate": "masked", "token_mean": "global"},
    ),
    "sft": Method("supervised fine-tuning on reference answers, through TRL's SFTTrainer"),
}


def settings(name: str) -> dict[str, Any]:
    """Return a method's name and its differences from the defaults; UserError if it is unknown."""
    if name not in METHODS:
        raise UserError(f"algorithm.name: {name!r}: {paths.suggest(name, list(METHODS))}")
    return {"name": name, **METHODS[name].differs}


def method(name: str, **changes: Any) -> AlgorithmConfig:
    """Return the settings of a method's row, some of them changed."""
    return dataclasses.replace(AlgorithmConfig(**settings(name)), **changes)
