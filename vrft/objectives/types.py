"""The nouns of an update, in the order in which a step makes them.

Axes: B prompts on all devices, b of them on this one, G completions of each prompt, C tokens of the
longest completion. Row ``b`` of a tensor belongs to group ``b`` of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from vrft.config.schema import Config
from vrft.policy import Policy
from vrft.rewards.trl import RewardLog
from vrft.types import Group


class Learner(Protocol):
    """The four parts of a training run that an objective reads.

    ``reference`` is the policy that training began with, None unless the algorithm penalises the
    KL divergence from it.
    """

    @property
    def config(self) -> Config:
        """Return the run's settings."""
        ...

    @property
    def policy(self) -> Policy:
        """Return the policy that is trained."""
        ...

    @property
    def reference(self) -> Policy | None:
        """Return the policy that training began with, where the algorithm needs it."""
        ...

    @property
    def accelerator(self) -> Accelerator:
        """Return what knows of the other processes."""
        ...


@dataclass(frozen=True)
class RewardedGroup:
    """A group with its encoded prompt and its rewards.

    ``rewards`` holds the G values of each reward by name, None where a reward does not apply;
    ``total`` [G] is their weighted sum; ``has_signal`` says whether it teaches anything, by the
    algorithm's baseline; ``normalised`` [G], of GDPO, is the sum of rewards that are first
    normalised; ``greedy`` is the total of the prompt's greedy completion, where the baseline needs
    it; ``log`` holds what the rewards logged of the group, and ``seconds`` the time that each
    reward took for it. ``lost`` are the rewards whose worker ended without values: no total has
    them, that of the greedy completion neither. ``missing`` tells by reward which of the G answers
    it has no value for though it applies, as one that is lost or NaN.
    """

    group: Group[Any]
    encoded: Any
    rewards: dict[str, list[float | None]]
    total: Tensor
    has_signal: bool
    greedy: float | None = None
    log: RewardLog = field(default_factory=lambda: RewardLog(0))
    seconds: Mapping[str, float] = field(default_factory=dict)
    normalised: Tensor | None = None
    lost: frozenset[str] = frozenset()
    missing: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def compared(self) -> Tensor:
        """Return the sums [G] that advantages compare: the totals, or GDPO's."""
        return self.total if self.normalised is None else self.normalised


@dataclass(frozen=True)
class Batch:
    """This device's groups of one step, with what the objective reads of them as tensors.

    ``rewards`` [b, G] are weighted sums; ``compared`` [b, G] are those whose differences become
    advantages, the same or GDPO's; ``lengths`` [b, G] count a completion's tokens, the end
    token included; ``truncated`` [b, G] is 1 where a completion was cut at the length limit;
    ``mask`` [b, G, C] is 1 at every token of a completion and 0 behind it; ``greedy`` [b] are
    rewards of greedy completions; ``sampled_logps`` [b, G, C] are the log-probabilities of another
    engine that sampled, 0 behind a completion. ``rounds`` of sampling were needed; ``exhausted``
    says that even the last left fewer groups with signal than ``min_informative`` asks for.
    ``dropped`` are the groups that were sampled and have no place in the batch.
    """

    groups: Sequence[RewardedGroup]
    rewards: Tensor
    compared: Tensor
    lengths: Tensor
    truncated: Tensor
    mask: Tensor
    greedy: Tensor | None
    rounds: int
    exhausted: bool = False
    sampled_logps: Tensor | None = None
    dropped: Sequence[RewardedGroup] = ()

    @property
    def lost(self) -> Tensor:
        """Return which groups [b] have lost a reward of all their completions."""
        return torch.tensor([bool(rewarded.lost) for rewarded in self.groups])

    @classmethod
    def of(
        cls,
        groups: Sequence[RewardedGroup],
        rounds: int = 1,
        *,
        exhausted: bool = False,
        dropped: Sequence[RewardedGroup] = (),
    ) -> Batch:
        """Return the batch of some groups, their tensors on the CPU."""
        rollouts = [rewarded.group.rollouts for rewarded in groups]
        lengths = torch.tensor([[float(len(r.tokens)) for r in group] for group in rollouts])
        greedy = [rewarded.greedy for rewarded in groups if rewarded.greedy is not None]
        logprobs = [r.logprobs for group in rollouts for r in group if r.logprobs is not None]
        mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(-1)).float()
        sampled: Tensor | None = None
        if logprobs:  # of all rollouts: one engine sampled them
            tokens = torch.tensor([value for row in logprobs for value in row])
            sampled = torch.zeros_like(mask).masked_scatter(mask.bool(), tokens)
        return cls(
            groups,
            rewards=torch.stack([rewarded.total for rewarded in groups]),
            compared=torch.stack([rewarded.compared for rewarded in groups]),
            lengths=lengths,
            truncated=torch.tensor([[float(not r.finished) for r in group] for group in rollouts]),
            mask=mask,
            greedy=torch.tensor(greedy) if greedy else None,
            rounds=rounds,
            exhausted=exhausted,
            sampled_logps=sampled,
            dropped=dropped,
        )


@dataclass(frozen=True)
class Experience:
    """Everything that the loss of a batch needs besides the policy as it stands at an update.

    ``advantages`` [b, G, C], or [b, G, 1] where all tokens of a completion share one, alpha
    included; ``informative`` [b] marks the groups that must be forwarded; ``old_logps`` and
    ``reference_logps`` [b, G, C] are log-probabilities under the policy that sampled and under
    the one that training began with; ``values`` and ``returns`` [b, G, C] are a critic's
    predictions and the returns that it should have predicted. None: the algorithm does without.
    """

    advantages: Tensor
    informative: Tensor
    alpha: float = 1.0
    old_logps: Tensor | None = None
    reference_logps: Tensor | None = None
    values: Tensor | None = None
    returns: Tensor | None = None


@dataclass(frozen=True)
class TokenStats:
    """Statistics over completion tokens, by the metric's name.

    ``sums`` become means, "tokens" being the number of tokens; ``largest`` are largest values.
    """

    sums: dict[str, Tensor]
    largest: dict[str, Tensor] = field(default_factory=dict)
