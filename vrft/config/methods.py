"""The methods: each is a row of settings, with the defaults of its paper.

A row says what the advantage of a completion is, which surrogate carries it to the policy, how
tokens are averaged, and whether a KL penalty holds the policy near the model that it began as; the
functions themselves are in ``vrft.algorithms``. A new method is a new row of METHODS; where it
needs an advantage, a surrogate or a mean of its own, that is one more name in a ``Literal`` here,
and the function for it there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vrft import paths
from vrft.config.coercion import Amount, Count, Fraction, Range, Size
from vrft.errors import UserError


@dataclass(frozen=True)
class CriticConfig:
    """What only a method with a critic needs; names and defaults are those of TRL's PPO."""

    gamma: Fraction = 1.0
    """Discount of rewards from one token to the next."""
    lam: Fraction = 0.95
    """Generalised advantage estimation: 0 trusts the critic, 1 the rewards."""
    vf_coef: Amount = 0.1
    """Weight of the value loss."""
    cliprange_value: Amount = 0.2
    """How far a value may move in one batch before its loss stops growing."""
    entropy_coef: Amount = 0.0
    """Weight of the bonus for entropy."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """Which objective; the defaults are Eq. 5 and 6 of the paper."""

    name: str = "gpg"
    """A row of METHODS, whose settings are the defaults of all others here."""
    num_generations: Count = 8
    """G: completions sampled of each prompt."""
    baseline: Literal["group_mean", "leave_one_out", "batch_mean", "greedy", "critic"] = (
        "group_mean"
    )
    """What is taken off a reward: the mean of its group (Eq. 6), of the group's other completions,
    or of the batch; the reward of the prompt's greedy completion; or what a critic expects."""
    f_norm: Literal["group_std", "none", "batch_std"] = "group_std"
    """What divides r - mean(r) in Eq. 6."""
    alpha: bool = False
    """Multiply the loss by B / (B - M), M of B groups being without signal."""
    min_informative: Fraction = 0.0
    """beta_th: resample until this share of the groups has signal."""
    max_resample_rounds: Size = 20
    on_exhausted: Literal["train", "skip", "error"] = "train"
    """When ``min_informative`` is not reached: train on what there is, skip the step, or stop."""
    surrogate: Literal["policy_gradient", "clipped"] = "policy_gradient"
    """-log pi * A, or PPO's clipped ratio to the policy that sampled."""
    epsilon: Annotated[float, Range(0, 1)] = 0.2
    """The clipped ratio's distance from 1 downwards, and upwards unless ``epsilon_high`` is set."""
    epsilon_high: Amount | None = None
    beta: Amount = 0.0
    """Weight of the KL divergence from the model that training began with; 0: no such model."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Where the KL goes: into the loss (k3 estimate), or, token by token, off the reward (k1)."""
    token_mean: Literal["group", "global", "sequence", "constant", "sum"] = "group"
    """Mean over tokens: of each group (Eq. 5), of the whole batch, of each completion, of
    completions as if each had ``max_completion_length``; or no mean but each completion's sum."""
    num_iterations: Count = 1
    """Passes over a sampled batch."""
    num_mini_batches: Count = 1
    """Updates that each pass is cut into."""
    overlong_cache: Fraction = 0.0
    """The last share of ``max_completion_length`` in which reward falls by up to 1."""
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each reward by name; 1 where none is given."""
    critic: CriticConfig = CriticConfig()

    @property
    def clip_range(self) -> tuple[float, float]:
        """Return how far the clipped ratio may lie below 1 and above 1."""
        return self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high

    @property
    def reuses_batches(self) -> bool:
        """Whether the policy changes between sampling a batch and its last update."""
        return self.num_iterations * self.num_mini_batches > 1


COMMON = ("num_generations", "reward_weights")
"""Settings that a file keeps when another algorithm is chosen over its own."""


@dataclass(frozen=True)
class Method:
    """A row: where the method is from, and how its settings differ from the defaults."""

    source: str
    differs: Mapping[str, Any] = field(default_factory=dict)


METHODS: Mapping[str, Method] = {
    "gpg": Method("Chu et al. 2025, arXiv:2504.02546, Eq. 5 and 6"),
    "grpo": Method(
        "Shao et al. 2024, arXiv:2402.03300, Eq. 3 and 4",
        {"surrogate": "clipped", "beta": 0.04, "token_mean": "sequence"},
    ),
    "dr_grpo": Method(
        "Liu et al. 2025, arXiv:2503.20783",
        {"f_norm": "none", "surrogate": "clipped", "token_mean": "constant"},
    ),
    "dapo": Method(
        "Yu et al. 2025, arXiv:2503.14476",
        {
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
            "baseline": "leave_one_out",
            "f_norm": "none",
            "beta": 0.05,
            "kl_in": "reward",
            "token_mean": "sum",
        },
    ),
    "reinforce_pp": Method(
        "Hu et al. 2025, arXiv:2501.03262; KL weight as for mathematics",
        {
            "baseline": "batch_mean",
            "f_norm": "batch_std",
            "surrogate": "clipped",
            "beta": 0.001,
            "kl_in": "reward",
            "token_mean": "global",
        },
    ),
    "remax": Method(
        "Li et al. 2023, arXiv:2310.10505; without its optional KL",
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
            "num_iterations": 4,
        },
    ),
    "sft": Method("supervised fine-tuning on reference answers, through TRL's SFTTrainer"),
}


def settings(name: str) -> dict[str, Any]:
    """How a method's settings differ from the defaults, its name included; UserError if unknown."""
    if name not in METHODS:
        raise UserError(f"algorithm.name: {name!r}: {paths.suggest(name, list(METHODS))}")
    return {"name": name, **METHODS[name].differs}


def method(name: str, **changes: Any) -> AlgorithmConfig:
    """A method's row as settings, with some of them changed."""
    return dataclasses.replace(AlgorithmConfig(**settings(name)), **changes)
