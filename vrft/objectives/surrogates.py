"""Surrogates: how the advantage of a token changes the policy, and what bounds the change.

    r = pi / pi_old                          of each token, or
    s = exp(mean over tokens of log r)       of the completion

is 1 at the first update of a batch that the policy itself has sampled: there every surrogate has
the gradient of -log pi A, and they differ from GPG by the advantage and the mean alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vrft.config.methods import AlgorithmConfig


@dataclass(frozen=True)
class Tokens:
    """The tokens of completions: log-probabilities now and at sampling, advantages and mask.

    All are [B, G, C]; ``advantages`` may be [B, G, 1], shared by the tokens of a completion.
    """

    logps: Tensor
    old: Tensor
    advantages: Tensor
    mask: Tensor


Formula = Callable[[Tokens, AlgorithmConfig], Tensor]


@dataclass(frozen=True)
class Surrogate:
    """A choice of ``algorithm.surrogate``: all that is asked of it, in one object.

    ``words`` describe it in the table of algorithms. ``losses`` gives the loss of every token
    before its weight: [B, G, C], or [B, G, 1] where all tokens of a completion share one.
    ``clipped``, for those with a bound, says at which tokens it acts. ``ratio``: it compares with
    the policy that sampled. ``levels`` of the ratio are those that it can take; ``settings`` names
    the settings of the algorithm that it reads.
    """

    words: Callable[[AlgorithmConfig], str]
    losses: Formula
    clipped: Formula | None = None
    ratio: bool = True
    levels: tuple[str, ...] = ("token", "sequence")
    settings: tuple[str, ...] = ("epsilon", "epsilon_high")


def mean_of_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values [B, G, C] over each completion's tokens: [B, G, 1]."""
    return (values * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)


def at_level(log_ratio: Tensor, mask: Tensor, config: AlgorithmConfig) -> Tensor:
    """Return log-ratios of tokens [B, G, C] as they are, or their mean: [B, G, 1] (GSPO, Eq. 7)."""
    if config.importance_sampling_level == "token":
        return log_ratio
    return mean_of_tokens(log_ratio, mask)


def ratios(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return r [B, G, C] of tokens, or s [B, G, 1] of completions."""
    return at_level(tokens.logps - tokens.old, tokens.mask, config).exp()


# --- -log pi A: Algorithm 1, line 3


def policy_gradient(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return GPG's loss of every token: -log pi(o) A."""
    return -tokens.logps * tokens.advantages


# --- clipped: PPO, GRPO, DAPO, and GSPO at the level of completions


def clipped(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return -min(r A, clip(r, 1 - epsilon, 1 + epsilon_high) A): the more pessimistic of the two.

    Where ``delta`` is set, r is at most ``delta`` in the first term: a token of negative advantage
    costs no more than delta |A| (the dual clip, Ye et al. 2020; two-sided in INTELLECT-2).
    """
    low, high = config.clip_range
    ratio, advantages = ratios(tokens, config), tokens.advantages
    free = ratio if config.delta is None else ratio.clamp(max=config.delta)
    return -torch.minimum(free * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def clipped_tokens(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return which tokens the clip keeps from any further push."""
    low, high = config.clip_range
    ratio, advantages = ratios(tokens, config), tokens.advantages
    held = ((ratio < 1 - low) & (advantages < 0)) | ((ratio > 1 + high) & (advantages > 0))
    if config.delta is not None:
        held |= (ratio > config.delta) & (advantages < 0)
    return held


# --- capped: CISPO


def capped(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return -min(r, epsilon_high) A log pi with r a constant: every token keeps its gradient."""
    weight = ratios(tokens, config).clamp(max=config.clip_range[1]).detach()
    return -weight * tokens.advantages * tokens.logps


def capped_tokens(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return which tokens of positive advantage have a lower weight than their ratio."""
    return (ratios(tokens, config) > config.clip_range[1]) & (tokens.advantages > 0)


# --- sigmoid: SAPO


def sigmoid(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return -(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of the advantage.

    Its slope is that of -r A at r = 1 and falls on both sides of it.
    """
    ratio, advantages = ratios(tokens, config), tokens.advantages
    tau = torch.where(advantages > 0, config.sapo_temperature_pos, config.sapo_temperature_neg)
    return -torch.sigmoid(tau * (ratio - 1)) * 4 / tau * advantages


# --- clipped_log: GMPO


def clipped_log(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return -r A with log r of each token clipped to [-epsilon, epsilon_high] before its mean.

    As in PPO the clip acts on the side only to which the advantage pushes.
    """
    low, high = config.clip_range
    log_ratio, advantages = tokens.logps - tokens.old, tokens.advantages
    near = log_ratio.clamp(-low, high)
    pessimistic = torch.where(
        advantages > 0, torch.minimum(log_ratio, near), torch.maximum(log_ratio, near)
    )
    return -at_level(pessimistic, tokens.mask, config).exp() * advantages


def clipped_log_tokens(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return which tokens the clip of log r keeps from any further push."""
    low, high = config.clip_range
    log_ratio, advantages = tokens.logps - tokens.old, tokens.advantages
    return ((log_ratio < -low) & (advantages < 0)) | ((log_ratio > high) & (advantages > 0))


# --- masked: DPPO


def masked(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return -r A, and 0 for tokens whose probability has moved too far to where A pushes."""
    losses = -ratios(tokens, config) * tokens.advantages
    return losses.masked_fill(masked_tokens(tokens, config), 0.0)


def masked_tokens(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return where pi - pi_old > epsilon_high and A > 0, or < -epsilon and A < 0.

    |pi - pi_old| is the total variation of the distributions as seen from the sampled token: that
    token, or any other.
    """
    low, high = config.clip_range
    moved = tokens.logps.exp() - tokens.old.exp()
    return ((moved > high) & (tokens.advantages > 0)) | ((moved < -low) & (tokens.advantages < 0))


def in_words(text: str) -> Callable[[AlgorithmConfig], str]:
    """Return a function that fills a text's places with the bounds of the settings."""

    def words(config: AlgorithmConfig) -> str:
        low, high = config.clip_range
        numbers = {
            "least": 1 - low,
            "most": 1 + high,
            "low": -low,
            "high": high,
            "pos": config.sapo_temperature_pos,
            "neg": config.sapo_temperature_neg,
        }
        return text.format(**{name: f"{value:g}" for name, value in numbers.items()})

    return words


SURROGATES = {
    "policy_gradient": Surrogate(
        in_words("-log pi A"), policy_gradient, ratio=False, levels=("token",), settings=()
    ),
    "clipped": Surrogate(
        in_words("clip(ratio, {least}, {most}) A"),
        clipped,
        clipped_tokens,
        settings=("epsilon", "epsilon_high", "delta"),
    ),
    "capped": Surrogate(
        in_words("min(ratio, {high}) log pi A"), capped, capped_tokens, settings=("epsilon_high",)
    ),
    "sigmoid": Surrogate(
        in_words("sigmoid(ratio - 1) A, tau {pos}, {neg}"),
        sigmoid,
        settings=("sapo_temperature_pos", "sapo_temperature_neg"),
    ),
    "clipped_log": Surrogate(
        in_words("clip(log ratio, {low}, {high}) A"), clipped_log, clipped_log_tokens
    ),
    "masked": Surrogate(
        in_words("ratio A if pi - pi_old in {low}, {high}"),
        masked,
        masked_tokens,
        levels=("token",),
    ),
}
"""The choices of ``algorithm.surrogate``: a new one is a new object here."""


def surrogate(tokens: Tokens, config: AlgorithmConfig) -> Tensor:
    """Return the loss of every token, before its weight: [B, G, C], or [B, G, 1]."""
    return SURROGATES[config.surrogate].losses(tokens, config)


# --- completions of another policy, and distances from it


def off_policy_mask(
    logps: Tensor, sampled: Tensor, advantages: Tensor, mask: Tensor, threshold: float
) -> Tensor:
    """Return 0 for completions to leave out, else 1: [B, G, 1], or [B, G, C] as ``advantages``.

    A completion of negative advantage is left out where the mean of log(pi_sampled / pi) over its
    tokens is above the ``threshold`` (DeepSeek-V3.2, arXiv:2512.02556, Eq. 9): pushing down what
    the policy would no longer say teaches little and may ruin much.
    """
    distance = mean_of_tokens(sampled - logps, mask)
    return ((advantages >= 0) | (distance <= threshold)).to(mask.dtype)


def importance_weights(
    logps: Tensor, sampled: Tensor, mask: Tensor, config: AlgorithmConfig
) -> Tensor:
    """Return pi / pi_engine of tokens that another engine sampled: [B, G, C], or [B, G, 1].

    ``logps`` and ``sampled`` [B, G, C] are the policy's and the engine's log-probabilities. The
    ratio of a whole completion is the product over its tokens. A ratio above
    ``importance_sampling_cap`` becomes the cap (truncated importance sampling, Yao et al. 2025) or
    0 (masked, as in IcePop); likewise below ``importance_sampling_clip_min``, where that is set.
    """
    mode = config.importance_sampling
    if mode == "off":
        return torch.ones_like(mask)
    level, bound = ("sequence", "mask") if mode == "auto" else mode.split("_")
    difference = (logps - sampled) * mask
    if level == "sequence":
        difference = difference.sum(-1, keepdim=True)
    ratio = difference.exp()
    cap, least = config.importance_sampling_cap, config.importance_sampling_clip_min
    if bound == "truncate":
        return ratio.clamp(min=least, max=cap)
    outside = ratio > cap
    if least is not None:
        outside |= ratio < least
    # Filled and not multiplied by 0: an overflowed ratio is inf, and inf * 0 is NaN.
    return ratio.masked_fill(outside, 0.0)


def kl(logps: Tensor, reference: Tensor) -> Tensor:
    """Return the k3 estimate of KL(pi || reference) at every token: Eq. 16, at least 0."""
    difference = reference - logps
    return difference.exp() - difference - 1


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Return half the squared error of each value [B, G, C], pessimistic like PPO's ratio.

    The error is that of the value itself or of the value held within ``clip`` of the ``old`` one,
    whichever is larger, so that a critic does not run away from one batch.
    """
    near = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)
