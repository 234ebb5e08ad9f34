"""The objective, as pure functions of rewards, lengths and log-probabilities.

    A = (r - mean(r)) / F_norm                       within each group            Eq. 6
    loss = mean over tokens of -log pi(o_t) * A      of each group, then prompts  Eq. 5
    alpha = B / (B - M)                              M of B groups have no signal

All take the whole batch of the step, gathered over devices, so that accumulating micro-batches on
any number of devices gives the update of one big batch.
"""

from __future__ import annotations

from torch import Tensor

from vrft.config import AlgorithmConfig

TOLERANCE = 1e-6
"""Rewards of a group that differ by less are equal: rounding must not pass for signal."""

STD_EPSILON = 1e-4
"""Added to a standard deviation before dividing, as in the published code and in TRL."""


def has_signal(rewards: Tensor) -> Tensor:
    """Which groups [B] of rewards [B, G] teach anything: those whose rewards differ.

    Judged by the range: the standard deviation of equal floats is often not exactly 0.
    """
    return rewards.amax(1) - rewards.amin(1) > TOLERANCE


def advantages(rewards: Tensor, config: AlgorithmConfig) -> Tensor:
    """Eq. 6: rewards [B, G] centred in their group and divided by F_norm; 0 without signal."""
    centred = rewards - rewards.mean(1, keepdim=True)
    if config.f_norm == "group_std":
        centred = centred / (rewards.std(1, keepdim=True) + STD_EPSILON)
    elif config.f_norm == "batch_std":
        centred = centred / (rewards.std() + STD_EPSILON)
    return centred * has_signal(rewards).unsqueeze(1)


def alpha(rewards: Tensor, config: AlgorithmConfig) -> float:
    """B / (B - M), with M of the B groups of rewards [B, G] without signal; 1 if switched off."""
    informative = int(has_signal(rewards).sum())
    return len(rewards) / informative if config.alpha and informative else 1.0


def token_weights(lengths: Tensor, config: AlgorithmConfig) -> Tensor:
    """The share [B, G] of each completion's tokens in the mean, given lengths [B, G] in tokens.

    The weights of all tokens of the batch add up to 1.
    """
    groups, generations = lengths.shape
    if config.token_mean == "group":
        return (1 / lengths.sum(1, keepdim=True) / groups).expand_as(lengths)
    if config.token_mean == "global":
        return (1 / lengths.sum()).expand_as(lengths)
    return 1 / lengths / (groups * generations)


def policy_gradient(logps: Tensor, advantages: Tensor) -> Tensor:
    """Algorithm 1, line 3: -log pi(o) * A of every token; [B, G, C], [B, G] -> [B, G, C]."""
    return -logps * advantages.unsqueeze(-1)


def loss(logps: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """Eq. 5 of the rows given: their part of the batch's loss, to be summed over micro-batches.

    ``logps`` [B, G, C] are 0 beyond a completion's end; ``advantages`` and ``weights`` [B, G].
    """
    return (policy_gradient(logps, advantages) * weights.unsqueeze(-1)).sum()
