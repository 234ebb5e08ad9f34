"""The objectives, as pure functions of rewards, lengths and log-probabilities.

    A = (r - mean(r)) / F_norm                       within each group            Eq. 6
    loss = mean over tokens of -log pi(o_t) * A      of each group, then prompts  Eq. 5
    alpha = B / (B - M)                              M of B groups have no signal

and what other methods put in the place of these; ``vrft.methods`` says which method takes what. All
take the whole batch of the update, gathered over devices, so that accumulating micro-batches on any
number of devices gives the update of one big batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vrft.config.methods import AlgorithmConfig

TOLERANCE = 1e-6
"""Rewards of a group that differ by less are equal: rounding must not pass for signal."""

STD_EPSILON = 1e-4
"""Added to a standard deviation before dividing, as in the published code and in TRL."""


def has_signal(rewards: Tensor) -> Tensor:
    """Which groups [B] of rewards [B, G] teach anything: those whose rewards differ.

    Judged by the range: the standard deviation of equal floats is often not exactly 0.
    """
    return rewards.amax(1) - rewards.amin(1) > TOLERANCE


def advantages(rewards: Tensor, config: AlgorithmConfig, greedy: Tensor | None = None) -> Tensor:
    """Eq. 6: rewards [B, G] less their baseline, divided by F_norm; [B, G].

    ``greedy`` [B] are the rewards of greedy completions, where they are the baseline. A group of
    equal rewards has exactly no advantage over its own mean.
    """
    centred = rewards - baseline(rewards, config, greedy)
    if config.f_norm == "group_std":
        centred = centred / (rewards.std(1, keepdim=True) + STD_EPSILON)
    elif config.f_norm == "batch_std":
        centred = centred / (rewards.std() + STD_EPSILON)
    if config.baseline == "greedy":
        return centred * (centred.abs() > TOLERANCE)
    return centred * has_signal(rewards).unsqueeze(1)


def baseline(rewards: Tensor, config: AlgorithmConfig, greedy: Tensor | None = None) -> Tensor:
    """What is taken off rewards [B, G]: [B, 1], or [B, G] for the mean of a group's others."""
    if config.baseline == "leave_one_out":
        return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    if config.baseline == "greedy":
        assert greedy is not None
        return greedy.unsqueeze(1)
    return rewards.mean(1, keepdim=True)


def moments(values: Tensor, mask: Tensor) -> Tensor:
    """Count, sum and sum of squares [b, 3] of each group's tokens [b, G, C] within the mask.

    Those of several devices can be gathered and added up.
    """
    kept = values * mask
    return torch.stack([mask.sum((1, 2)), kept.sum((1, 2)), (kept * values).sum((1, 2))], dim=1)


def standardised(values: Tensor, mask: Tensor, moments: Tensor, norm: str) -> Tensor:
    """Values [b, G, C] less the mean of the batch's tokens, and over their deviation if it is
    ``batch_std``; ``moments`` [B, 3] are those of all groups of the batch."""
    count, total, squares = moments.double().sum(0)
    mean = total / count
    centred = values - mean
    if norm == "batch_std":
        variance = (squares - count * mean**2) / (count - 1).clamp(min=1)
        centred = centred / (variance.clamp(min=0).sqrt() + STD_EPSILON)
    found: Tensor = (centred * mask).to(values.dtype)
    return found


def rewards_to_go(rewards: Tensor, kl: Tensor) -> Tensor:
    """From each token on, the reward that is still to come: [b, G], [b, G, C] -> [b, G, C].

    Rewards come with the last token; each token costs its ``kl``, already weighted.
    """
    return rewards.unsqueeze(-1) - kl.flip(-1).cumsum(-1).flip(-1)


def alpha(rewards: Tensor, config: AlgorithmConfig) -> float:
    """B / (B - M), with M of the B groups of rewards [B, G] without signal; 1 if switched off."""
    informative = int(has_signal(rewards).sum())
    return len(rewards) / informative if config.alpha and informative else 1.0


def overlong(lengths: Tensor, limit: int, cache: float) -> Tensor:
    """What a completion of so many tokens loses: 0 to 1 over the last ``cache`` share of the limit.

    DAPO's soft punishment, Eq. 13 there.
    """
    if cache == 0:
        return torch.zeros_like(lengths)
    return ((lengths - (1 - cache) * limit) / (cache * limit)).clamp(0, 1)


def token_weights(lengths: Tensor, config: AlgorithmConfig, limit: int) -> Tensor:
    """The weight [B, G] of each token of a completion, given lengths [B, G] in tokens.

    The weights of all tokens of the batch add up to 1, but for "constant", where ``limit`` stands
    for every length, and "sum".
    """
    groups, generations = lengths.shape
    if config.token_mean == "group":
        return (1 / lengths.sum(1, keepdim=True) / groups).expand_as(lengths)
    if config.token_mean == "global":
        return (1 / lengths.sum()).expand_as(lengths)
    if config.token_mean == "sequence":
        return 1 / lengths / (groups * generations)
    each = limit if config.token_mean == "constant" else 1
    return torch.full_like(lengths, 1 / (each * groups * generations))


def surrogate(logps: Tensor, old: Tensor, advantages: Tensor, config: AlgorithmConfig) -> Tensor:
    """The loss of every token [B, G, C], from log-probabilities now and when it was sampled."""
    if config.surrogate == "policy_gradient":
        return policy_gradient(logps, advantages)
    high = config.epsilon if config.epsilon_high is None else config.epsilon_high
    return clipped(logps, old, advantages, config.epsilon, high)


def policy_gradient(logps: Tensor, advantages: Tensor) -> Tensor:
    """Algorithm 1, line 3: -log pi(o) * A of every token; [B, G, C] and what broadcasts to it."""
    return -logps * advantages


def clipped(logps: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """PPO's pessimistic surrogate: -min(r A, clip(r, 1 - low, 1 + high) A), r = pi / pi_old."""
    ratio = (logps - old).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def is_clipped(logps: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """Which tokens [B, G, C] the clip keeps from any further push."""
    ratio = (logps - old).exp()
    return ((ratio < 1 - low) & (advantages < 0)) | ((ratio > 1 + high) & (advantages > 0))


def kl(logps: Tensor, reference: Tensor) -> Tensor:
    """The k3 estimate of KL(pi || reference) at every token: Eq. 16, at least 0, low variance."""
    difference = reference - logps
    return difference.exp() - difference - 1
