"""The settings of the training objective, whichever method's row they are the defaults of.

A setting that TRL's trainers have too bears its name there. ``vrft.config.methods`` has the rows;
what each choice computes is in ``vrft.objectives``: algorithms, surrogates and entropy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from vrft.config.coercion import Above0, Amount, Count, Fraction, Place, Range, Size
from vrft.config.reward_source import reward_source


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
    """Weight of the entropy bonus; that of ``algorithm.entropy_coef`` comes on top."""


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
    alpha_counts: Literal["groups_with_signal", "nonzero_rewards"] = "groups_with_signal"
    """What alpha counts: B over the groups with signal, or, as in verl, all B * G completions over
    those whose reward is not 0."""
    min_informative: Fraction = 0.0
    """beta_th: resample until this share of the groups has signal. 1 is DAPO's dynamic sampling."""
    min_pass_rate: Fraction = 0.0
    """The curriculum: a prompt whose share of answers of full reward, in the run's ledger so far,
    is below this rests, as too hard: the stream passes it over."""
    max_pass_rate: Fraction = 1.0
    """The same above this, as too easy. 0 and 1: no prompt rests."""
    rest_epochs: Count = 3
    """Epochs for which such prompts rest; then all are drawn for one epoch, and judged anew."""
    max_resample_rounds: Size = 20
    """Rounds of resampling after which ``on_exhausted`` decides."""
    on_exhausted: Literal["train", "skip", "error"] = "train"
    """Where ``min_informative`` is not reached: train on the groups with signal, skip the step, or
    stop the run."""
    surrogate: Literal[
        "policy_gradient", "clipped", "capped", "sigmoid", "clipped_log", "masked"
    ] = "policy_gradient"
    """-log pi * A, or the ratio r = pi / pi_old to the policy that sampled the completion, times A
    and bounded: clipped at 1 -+ epsilon (PPO); a constant weight of log pi, capped (CISPO); through
    a sigmoid (SAPO); clipped as log r (GMPO); masked where pi - pi_old is large (DPPO)."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """The ratio of each token, or that of the whole completion: the geometric mean of its tokens'
    ratios (GSPO)."""
    epsilon: Annotated[float, Range(0, 1)] = 0.2
    """The bound of the ratio downwards and, without ``epsilon_high``, upwards: its distance from 1
    (clipped), of log r from 0 (clipped_log), of pi from pi_old (masked)."""
    epsilon_high: Amount | None = None
    """The same upwards, DAPO's clip-higher; None: ``epsilon``. Of the capped surrogate the largest
    ratio itself, as in TRL."""
    delta: Above0 | None = None
    """The dual clip: the largest ratio of a token whose advantage is negative, which the clipped
    surrogate alone leaves without bound; more than 1 + ``epsilon_high``. None: no such bound."""
    sapo_temperature_pos: Above0 = 1.0
    """Temperature of the sigmoid for tokens of positive advantage: the larger, the nearer to 1 a
    ratio has to stay."""
    sapo_temperature_neg: Above0 = 1.05
    """Temperature of the sigmoid for the other tokens."""
    off_policy_mask_threshold: Above0 | None = None
    """Leave out completions of negative advantage whose mean log(pi_sampled / pi) over tokens is
    above this (DeepSeek-V3.2; TRL suggests 0.5). None: all count."""
    mask_truncated_completions: bool = False
    """Leave completions that were cut at ``max_completion_length`` out of the loss and of its means
    over tokens; their rewards still count in the mean of their group."""
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
    entropy_coef: Amount = 0.0
    """Weight of the entropy bonus: the loss less this times the mean entropy of all tokens in nats,
    whatever ``token_mean`` is. Where ``use_adaptive_entropy`` controls it, the first value."""
    use_adaptive_entropy: bool = False
    """Raise the weight after each update whose mean entropy is at most ``entropy_target``, lower it
    after each other one, and give no bonus after those (Skywork-OR1)."""
    entropy_coef_min: Amount = 0.0
    """The least that the controlled weight becomes."""
    entropy_coef_max: Amount = 1.0
    """The most that the controlled weight becomes."""
    entropy_coef_delta: Amount = 0.005
    """What is added to the controlled weight, or taken from it, after an update."""
    entropy_target: Amount = 0.2
    """Mean entropy of a token in nats that the control aims at; metrics have ``entropy``."""
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = (
        "sum_then_normalize"
    )
    """Advantages of the sum of the rewards, or (GDPO) the sum of the rewards after each has been
    normalised within its group, which ``f_norm=batch_std`` then normalises over the batch."""
    reward_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each reward by name; 1 where none is given."""
    rewards: tuple[Place, ...] = ()
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
    """The largest ratio of that correction that counts as it is."""
    importance_sampling_clip_min: Above0 | None = None
    """The same downwards: a ratio below it is raised to it or counts as 0, as in IcePop (0.5, with
    a cap of 5 and token_mask). None: no such bound."""
    critic: CriticConfig = CriticConfig()

    @property
    def by_reward(self) -> bool:
        """Return whether the method learns from rewards, as all but fine-tuning do."""
        return self.name != "sft"

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
    def has_entropy_bonus(self) -> bool:
        """Return whether the entropy of all tokens is part of the loss."""
        return self.entropy_coef > 0 or self.use_adaptive_entropy

    @property
    def has_curriculum(self) -> bool:
        """Return whether prompts may rest by their pass rate."""
        return self.min_pass_rate > 0 or self.max_pass_rate < 1

    @property
    def reuses_batches(self) -> bool:
        """Return whether the policy changes between sampling a batch and its last update."""
        return self.num_iterations * self.num_mini_batches > 1

    @property
    def compares_policies(self) -> bool:
        """Return whether the loss compares the policy with the one that sampled."""
        return self.surrogate != "policy_gradient" or self.off_policy_mask_threshold is not None

    @property
    def needs_old_logps(self) -> bool:
        """Return whether the log-probabilities at sampling take a pass of their own.

        An update of the very policy that sampled has them at hand: they are those of its loss. The
        critic's values and the KL in the reward are needed before it.
        """
        if self.baseline == "critic" or (self.beta and self.kl_in == "reward"):
            return True
        return self.compares_policies and self.reuses_batches
