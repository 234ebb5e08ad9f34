"""Advantages and means over tokens, as pure functions of rewards and lengths.

    A = (r - mean(r)) / F_norm                       within each group            Eq. 6
    loss = mean over tokens of a surrogate           of each group, then prompts  Eq. 5
    alpha = B / (B - M)                              M of B groups have no signal

and the advantages and means that other algorithms put in their place; the rows of
``vrft.config.methods`` say which algorithm takes which. All functions see the whole batch of an
update, gathered over devices: accumulating micro-batches on any number of devices gives the update
of one big batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vrft.config.methods import AlgorithmConfig, CriticConfig

TOLERANCE = 1e-6
"""The range within which the rewards of a group count as equal: rounding is no signal."""

STD_EPSILON = 1e-4
"""The number added to a standard deviation before dividing, as in the published code and in TRL."""


@dataclass(frozen=True)
class Outcome:
    """The tensors from which a baseline computes advantages: those of this device's b groups.

    ``rewards`` [b, G]; ``kl_costs`` [b, G, C], what the KL of each token takes off the reward, or
    zeros [b, G, 1]; ``mask`` [b, G, C], 0 also at all tokens of a group that has lost a reward,
    which must not count in the batch's mean, and ``lost`` [b] marks such a group; ``greedy`` [b]
    and ``values`` [b, G, C] for the baselines that need them. ``gather`` turns [b, ...] into
    [B, ...] of all devices, ``local`` goes back.
    """

    rewards: Tensor
    kl_costs: Tensor
    mask: Tensor
    lost: Tensor
    gather: Callable[[Tensor], Tensor]
    local: Callable[[Tensor], Tensor]
    greedy: Tensor | None = None
    values: Tensor | None = None


Advantages = tuple[Tensor, Tensor | None]
"""Advantages [b, G, C], or [b, G, 1] shared by a completion's tokens; and a critic's returns."""


@dataclass(frozen=True)
class Baseline:
    """The term subtracted from a reward: all that an algorithm's baseline needs, in one object.

    ``words`` describe it in the table of algorithms. ``advantages`` computes A; ``subtrahend``, for
    the baselines that compare within a group, gives [B, 1] or [B, G] from rewards [B, G] and the
    greedy rewards [B]. ``needs_siblings``: one completion of a prompt has nothing to compare with.
    """

    words: str
    advantages: Callable[[Outcome, AlgorithmConfig], Advantages]
    subtrahend: Callable[[Tensor, Tensor | None], Tensor] | None = None
    needs_siblings: bool = False
    needs_greedy: bool = False
    needs_critic: bool = False

    def signal(self, rewards: Tensor, greedy: Tensor | None, lost: Tensor) -> Tensor:
        """Return which groups [B] of rewards [B, G] teach anything, by what they are compared with.

        ``greedy`` [B] are greedy rewards. ``lost`` [B] marks groups without values of some reward:
        their totals are lower for that alone, so a baseline across prompts must leave them out.
        """
        if self.subtrahend is None:
            return ~lost
        if self.needs_greedy:
            assert greedy is not None
            return (rewards - greedy.unsqueeze(1)).abs().amax(1) > TOLERANCE
        return has_signal(rewards)


def has_signal(rewards: Tensor) -> Tensor:
    """Return which groups [B] of rewards [B, G] have rewards that differ."""
    # By the range: the standard deviation of equal floats is often not exactly 0.
    return rewards.amax(1) - rewards.amin(1) > TOLERANCE


def advantages(
    rewards: Tensor,
    config: AlgorithmConfig,
    greedy: Tensor | None = None,
    lost: Tensor | None = None,
) -> Tensor:
    """Return Eq. 6: rewards [B, G] less their baseline, divided by F_norm; [B, G].

    ``greedy`` [B] are the rewards of greedy completions, for the baseline that needs them. A group
    of equal rewards has exactly no advantage over its own mean. ``lost`` [B] marks groups that have
    lost a reward, which the deviation of the batch leaves out unless all have.
    """
    baseline = BASELINES[config.baseline]
    assert baseline.subtrahend is not None
    centred = rewards - baseline.subtrahend(rewards, greedy)
    if config.f_norm == "group_std":
        centred = centred / (rewards.std(1, keepdim=True) + STD_EPSILON)
    elif config.f_norm == "batch_std":
        counted = rewards if lost is None or bool(lost.all()) else rewards[~lost]
        centred = centred / (counted.std() + STD_EPSILON)
    if baseline.needs_greedy:
        # Equal rewards teach here too, where the greedy completion earned another.
        return centred * (centred.abs() > TOLERANCE)
    # r - mean(r) of equal rewards may be 1e-8; exactly 0, the group need not be forwarded.
    return centred * has_signal(rewards).unsqueeze(1)


def group_advantages(outcome: Outcome, config: AlgorithmConfig) -> Advantages:
    """Return one advantage for all tokens of a completion: [b, G, 1]."""
    rewards_BG = outcome.gather(outcome.rewards - outcome.kl_costs.sum(-1))
    greedy_B = None if outcome.greedy is None else outcome.gather(outcome.greedy)
    lost_B = outcome.gather(outcome.lost.float()).bool()
    advantages_BG = advantages(rewards_BG, config, greedy_B, lost_B)
    return outcome.local(advantages_BG).unsqueeze(-1), None


def token_advantages(outcome: Outcome, config: AlgorithmConfig) -> Advantages:
    """Return REINFORCE++'s: rewards to go less the mean of the batch's tokens; [b, G, C].

    With ``f_norm`` "batch_std" they are divided by the deviation of the batch's tokens.
    """
    kl_costs = outcome.kl_costs.expand_as(outcome.mask)
    # The reward comes with the last token; each token costs its KL from there on.
    returns = outcome.rewards.unsqueeze(-1) - kl_costs.flip(-1).cumsum(-1).flip(-1)
    return standardised(returns, outcome, divide=config.f_norm == "batch_std"), None


def critic_advantages(outcome: Outcome, config: AlgorithmConfig) -> Advantages:
    """Return PPO's: generalised advantage estimates [b, G, C], and the critic's returns.

    With ``f_norm`` "batch_std" the estimates are standardised over the batch's tokens.
    """
    assert outcome.values is not None
    rewards = torch.zeros_like(outcome.mask) - outcome.kl_costs
    last = (outcome.mask.sum(-1).long() - 1).clamp(min=0).unsqueeze(-1)
    rewards.scatter_add_(2, last, outcome.rewards.unsqueeze(-1))
    estimates = generalised_advantages(rewards, outcome.values, outcome.mask, config.critic)
    returns = estimates + outcome.values
    if config.f_norm == "batch_std":
        estimates = standardised(estimates, outcome, divide=True)
    return estimates, returns


BASELINES = {
    "group_mean": Baseline(
        "r - mean of group",
        group_advantages,
        subtrahend=lambda rewards, greedy: rewards.mean(1, keepdim=True),
        needs_siblings=True,
    ),
    "leave_one_out": Baseline(
        "r - mean of others",
        group_advantages,
        subtrahend=lambda rewards, greedy: (
            (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
        ),
        needs_siblings=True,
    ),
    "batch_mean": Baseline("r - mean of batch", token_advantages),
    "greedy": Baseline(
        "r - r(greedy)",
        group_advantages,
        subtrahend=lambda rewards, greedy: greedy.unsqueeze(1),  # type: ignore[union-attr]
        needs_greedy=True,
    ),
    "critic": Baseline("GAE", critic_advantages, needs_critic=True),
}
"""The choices of ``algorithm.baseline``: a new one is a new object here."""


def standardised(values: Tensor, outcome: Outcome, *, divide: bool) -> Tensor:
    """Return values [b, G, C] less the mean of all devices' tokens; ``divide``: by their std."""
    mask = outcome.mask
    masked = values * mask
    # [b, 3] of each group: the number of its tokens, their sum, and the sum of their squares.
    sums = [mask.sum((1, 2)), masked.sum((1, 2)), (masked * values).sum((1, 2))]
    # In float64 from here on: the variance is a small difference of large sums.
    count, total, squares = outcome.gather(torch.stack(sums, dim=1)).double().sum(0)
    mean = total / count.clamp(min=1)
    centred = values - mean
    if divide:
        variance = (squares - count * mean**2) / (count - 1).clamp(min=1)
        centred = centred / (variance.clamp(min=0).sqrt() + STD_EPSILON)
    standard: Tensor = (centred * mask).to(values.dtype)
    return standard


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, config: CriticConfig
) -> Tensor:
    """Return A_t = sum over l of (gamma lam)^l d_{t+l}, d_t = r_t + gamma V_{t+1} - V_t.

    All are [b, G, C]; nothing more is expected after a completion's last token. Schulman et al.
    2016, arXiv:1506.02438, Eq. 16.
    """
    estimates = torch.zeros_like(rewards)
    next_estimate = next_value = torch.zeros_like(rewards[..., 0])
    # Backwards, as each estimate holds the discounted one of the token behind it.
    for t in range(rewards.shape[-1] - 1, -1, -1):
        surprise = rewards[..., t] + config.gamma * next_value - values[..., t]
        next_estimate = mask[..., t] * (surprise + config.gamma * config.lam * next_estimate)
        next_value = mask[..., t] * values[..., t]
        estimates[..., t] = next_estimate
    return estimates


def alpha(rewards: Tensor, config: AlgorithmConfig, signal: Tensor | None = None) -> float:
    """Return B / (B - M), with M of the B groups of rewards [B, G] without signal; 1 if off.

    Groups without signal count in the mean of Eq. 5 but add nothing to it; alpha makes up for them.
    ``signal`` [B] says which have it, None: those whose rewards differ. With ``alpha_counts``
    "nonzero_rewards" it is verl's: all B G completions over those whose reward is not 0, whether
    their group has signal or not.
    """
    signal = has_signal(rewards) if signal is None else signal
    every, counted = len(rewards), int(signal.sum())
    if config.alpha_counts == "nonzero_rewards":
        every, counted = rewards.numel(), int(rewards.count_nonzero())
    return every / counted if config.alpha and counted else 1.0


def normalised_sum(
    rewards: Mapping[str, Sequence[float | None]], weights: Mapping[str, float]
) -> Tensor:
    """Return GDPO's sum [G] of a group's rewards, each first normalised within the group.

    Each is (r - mean) / (std + 1e-4) over the completions to which it applies, times its weight;
    one that is equal for all of them adds exactly nothing. Liu et al. 2026, arXiv:2601.05242.
    """
    total = torch.zeros(len(next(iter(rewards.values()))))
    for name, values in rewards.items():
        applies = torch.tensor([value is not None for value in values])
        given = torch.tensor([value for value in values if value is not None])
        if len(given) < 2 or not has_signal(given.unsqueeze(0)):
            continue
        normalised = (given - given.mean()) / (given.std() + STD_EPSILON)
        total[applies] += weights.get(name, 1.0) * normalised
    return total


def overlong(lengths: Tensor, limit: int, cache: float) -> Tensor:
    """Return what completions of these lengths lose: 0 to 1 over the last ``cache`` of the limit.

    DAPO's soft punishment of overlong completions (Eq. 13 there); lengths in tokens.
    """
    if cache == 0:
        return torch.zeros_like(lengths)
    return ((lengths - (1 - cache) * limit) / (cache * limit)).clamp(0, 1)


def counted(tokens: Tensor, truncated: Tensor, config: AlgorithmConfig) -> Tensor:
    """Return lengths [B, G] or a mask [B, G, C], 0 for completions that the loss leaves out.

    They are those that are ``truncated`` [B, G], where ``mask_truncated_completions`` is on.
    """
    if not config.mask_truncated_completions:
        return tokens
    return tokens * (1 - truncated).view(*truncated.shape, *[1] * (tokens.dim() - 2))


def token_weights(lengths: Tensor, config: AlgorithmConfig, limit: int) -> Tensor:
    """Return the weight [B, G] of each token of a completion, given lengths [B, G] in tokens.

    The weights of all tokens of the batch add up to 1, except for "constant", where ``limit``
    stands in for every length, and "sum". A completion whose length is given as 0 has no tokens
    that count, and still counts among the completions of a mean over completions.
    """
    groups, generations = lengths.shape
    if config.token_mean == "group":
        return (1 / lengths.sum(1, keepdim=True).clamp(min=1) / groups).expand_as(lengths)
    if config.token_mean == "global":
        return (1 / lengths.sum().clamp(min=1)).expand_as(lengths)
    if config.token_mean == "sequence":
        return 1 / lengths.clamp(min=1) / (groups * generations)
    divisor = limit if config.token_mean == "constant" else 1
    return torch.full_like(lengths, 1 / (divisor * groups * generations))


def models_held(config: AlgorithmConfig) -> list[str]:
    """Name the models that training holds at once."""
    held = {
        "policy": True,
        "reference": config.beta > 0,
        "critic (shared)": BASELINES[config.baseline].needs_critic,
    }
    return [name for name, holds in held.items() if holds]
