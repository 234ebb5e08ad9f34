"""The training methods: each is a row of settings, with the defaults of its paper.

A row chooses the advantage of a completion, the surrogate through which the advantage changes the
policy, the mean over tokens, and whether a KL penalty holds the policy near the model that training
began with; the functions are in ``vrft.training.algorithms``. A new method is a new row of METHODS.
Where it needs an advantage, a surrogate or a mean of its own, that is one more name in a
``Literal`` here, and a function there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vrft import paths
from vrft.config.coercion import Above0, Amount, Count, Fraction, Range, Size
from vrft.errors import UserError


@dataclass(frozen=True)
class CriticConfig:
    """The settings of a method with a critic; names and defaults are those of TRL's PPO."""

    gamma: Fraction = 1.0
    """Discount of rewards from one token to the next."""
    lam: Fraction = 0.95
    """Generalised advantage estimation: 0 trusts the critic, 1 the rewards."""
    vf_coef: Amount = 0.1
    """Weight of the value loss."""
    cliprange_value: Amount = 0.2
    """Clip range of the value loss: a value gains nothing by moving further than this from the one
    at sampling."""
    entropy_coef: Amount = 0.0
    """Weight of the entropy bonus."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """The training objective; the defaults are Eq. 5 and 6 of the paper."""

    name: str = "gpg"
    """A row of METHODS: its settings are the defaults of all the others here."""
    num_generations: Count = 8
    """G, the size of a group: completions sampled for each prompt."""
    baseline: Literal["group_mean", "leave_one_out", "batch_mean", "greedy", "critic"] = (
        "group_mean"
    )
    """The value that is subtracted from a reward: the mean of its group (Eq. 6), of the group's
    other completions, or of the batch; the reward of the prompt's greedy completion; or the return
    that a critic predicts."""
    f_norm: Literal["group_std", "none", "batch_std"] = "group_std"
    """F_norm, the divisor of r - mean(r) in Eq. 6."""
    alpha: bool = False
    """Multiply the loss by B / (B - M), where M of the B groups have equal rewards: no signal."""
    min_informative: Fraction = 0.0
    """beta_th: resample until this share of the groups has signal. 1 is DAPO's dynamic sampling."""
    max_resample_rounds: Size = 20
    """Rounds of resampling after which ``on_exhausted`` decides."""
    on_exhausted: Literal["train", "skip", "error"] = "train"
    """Where ``min_informative`` is not reached: train on the groups with signal, skip the step, or
    stop the run."""
    surrogate: Literal["policy_gradient", "clipped"] = "policy_gradient"
    """-log pi * A, or PPO's clipped ratio to the policy that sampled the completion."""
    epsilon: Annotated[float, Range(0, 1)] = 0.2
    """The clipped ratio's distance from 1, downwards and, without ``epsilon_high``, upwards."""
    epsilon_high: Amount | None = None
    """The clipped ratio's distance from 1 upwards, DAPO's clip-higher; None: ``epsilon``."""
    beta: Amount = 0.0
    """Weight of the KL divergence from the model that training began with; 0: that model is not
    held in memory."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Add the KL to the loss (k3 estimate), or subtract it from the reward token by token (k1)."""
    token_mean: Literal["group", "global", "sequence", "constant", "sum"] = "group"
    """Mean over tokens: of each group (Eq. 5), of the whole batch, of each completion, or of
    completions as if each had ``max_completion_length`` tokens; ``sum``: each completion's sum."""
    num_iterations: Count = 1
    """Passes over a sampled batch."""
    num_mini_batches: Count = 1
    """Updates that each pass is cut into, by groups."""
    overlong_cache: Fraction = 0.0
    """DAPO's soft overlong punishment: over this last share of ``max_completion_length`` a reward
    falls linearly, by 1 at the end; 0: it does not."""
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each reward by name; 1 where none is given."""
    rewards: tuple[str, ...] = ()
    """Reward functions beside the task's own, ``file.py:function`` or ``file.py:function=weight``,
    with TRL's signature; ``--reward`` adds one."""
    missing_rewards: Literal["error", "none"] = "error"
    """A reward that is NaN or infinite stops the run, or counts as None: it adds nothing, and the
    metric rewards/NAME/missing is the share of such values."""
    importance_sampling: Literal[
        "auto", "off", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"
    ] = "auto"
    """Weigh the completions of another engine by pi / pi_engine, of each token or of the whole
    completion; a ratio above ``importance_sampling_cap`` is lowered to it (truncate) or counts as
    0 (mask). auto: sequence_mask, TRL's default. Completions of the policy itself need none."""
    importance_sampling_cap: Above0 = 3.0
    critic: CriticConfig = CriticConfig()

    @property
    def clip_range(self) -> tuple[float, float]:
        """Return how far the clipped ratio may lie below 1 and above 1."""
        return self.epsilon, self.epsilon if self.epsilon_high is None else self.epsilon_high

    @property
    def weights(self) -> Mapping[str, float]:
        """Return the weights that are given, by the reward's name."""
        return {reward.name: reward.weight for reward in map(reward_source, self.rewards)} | dict(
            self.reward_weights
        )

    @property
    def reuses_batches(self) -> bool:
        """Return whether the policy changes between sampling a batch and its last update."""
        return self.num_iterations * self.num_mini_batches > 1


COMMON = ("num_generations", "reward_weights", "rewards", "missing_rewards")
"""Settings of a file that stay when another algorithm is chosen over the file's own."""


PYTHON = "python"
"""The file in the names of rewards that ``vrft.train`` was given as functions in memory."""


@dataclass(frozen=True)
class RewardSource:
    """A reward function by its file, or PYTHON, and its name there, and its weight."""

    file: str
    name: str
    weight: float


REWARD_SOURCE = re.compile(
    rf"(?P<file>.+\.py|{PYTHON}):(?P<name>[^\W\d]\w*)(?:=(?P<weight>[^=]+))?"
)


def reward_source(text: str) -> RewardSource:
    """Return what ``file.py:function`` or ``file.py:function=weight`` names.

    Raises UserError for any other form, and for a weight that is no finite number.
    """
    match = REWARD_SOURCE.fullmatch(text)
    try:
        weight = float((match and match["weight"]) or 1)
    except ValueError:
        weight = math.nan
    if match is None or not math.isfinite(weight):
        raise UserError(
            f"reward {text!r}: expected file.py:function or file.py:function=weight, such as "
            "my_rewards.py:brevity=0.5"
        )
    return RewardSource(match["file"], match["name"], weight)


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
