"""From a rewarded batch to a loss: its experience, and the loss of some of its groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vrft.config.methods import AlgorithmConfig
from vrft.objectives import algorithms, surrogates
from vrft.objectives.entropy import EntropyPolicy
from vrft.objectives.micro_batches import passes
from vrft.objectives.ppo import ActorCritic
from vrft.objectives.surrogates import SURROGATES, Tokens
from vrft.objectives.types import Batch, Experience, Learner, TokenStats
from vrft.policy import Policy
from vrft.processes import distributed

LOGP_DIFFERENCE = "sampling/sampling_logp_difference"
"""TRL's name for the distance of the policy's log-probabilities from the sampling engine's."""


def make_experience(run: Learner, batch: Batch) -> Experience:
    """Return the advantages of a batch, and the log-probabilities that its loss compares with.

    They are computed once, before the first update, and hold for all updates of the batch.
    """
    config = run.config.algorithm
    baseline = algorithms.BASELINES[config.baseline]
    kl_in_reward = bool(config.beta) and config.kl_in == "reward"
    old: Tensor | None = None
    values: Tensor | None = None
    reference: Tensor | None = None
    if baseline.needs_critic:
        actor_critic = cast(ActorCritic, run.policy)
        old, values, _ = without_gradient(
            run, actor_critic, actor_critic.logps_values_entropies, batch
        )
    elif kl_in_reward or (compares(config) and config.reuses_batches):
        # Else every update is on the policy that sampled: its log-probabilities are the loss's own.
        (old,) = without_gradient(run, run.policy, run.policy.logps, batch)
    if config.beta:
        assert run.reference is not None
        (reference,) = without_gradient(run, run.reference, run.reference.logps, batch)
    rewards = batch.compared
    kl_costs = torch.zeros(*rewards.shape, 1)
    if kl_in_reward:
        assert old is not None and reference is not None
        kl_costs = config.beta * (old - reference)  # the k1 estimate of every token
    outcome = algorithms.Outcome(
        rewards,
        kl_costs,
        batch.mask,
        gather=partial(distributed.gather, run.accelerator),
        local=partial(distributed.local_rows, run.accelerator),
        greedy=batch.greedy,
        values=values,
    )
    advantages, returns = baseline.advantages(outcome, config)
    informative, alpha = advantages.ne(0).any(2).any(1), 1.0
    owes_kl = config.beta > 0 and config.kl_in == "loss"
    if baseline.needs_critic or owes_kl or config.has_entropy_bonus:
        # The critic learns from every completion, and every one owes its KL and its entropy.
        informative = torch.ones_like(informative)
    if not baseline.needs_critic:
        alpha = algorithms.alpha(outcome.gather(rewards - kl_costs.sum(-1)), config)
    return Experience(advantages * alpha, informative, alpha, old, reference, values, returns)


def compares(config: AlgorithmConfig) -> bool:
    """Return whether the loss compares the policy with the one that sampled."""
    return SURROGATES[config.surrogate].ratio or config.off_policy_mask_threshold is not None


def loss(
    run: Learner,
    batch: Batch,
    experience: Experience,
    rows: Sequence[int],
    weights: Tensor,
    entropy_weights: Tensor | None = None,
) -> tuple[Tensor, TokenStats]:
    """Return the loss of some groups as a scalar, and statistics of their tokens for the log.

    ``weights`` [b', G] are those of a token of each completion: the loss is a weighted sum over
    tokens, so that micro-batches add up to the loss of the whole update. One loss serves GPG and
    its relatives, with or without a bound, a KL penalty and a critic. Where another engine sampled,
    each token's loss is multiplied by its importance weight. ``entropy_weights`` [b', G] are those
    of each token's entropy, for the bonus.
    """
    config, critic = run.config.algorithm, run.config.algorithm.critic
    encoded = [batch.groups[row].encoded for row in rows]
    rollouts = [batch.groups[row].group.rollouts for row in rows]
    temperature = run.config.sampling.temperature
    entropies_BGC: Tensor | None = None
    if experience.values is None and entropy_weights is not None:
        actor = cast(EntropyPolicy, run.policy)
        logps_BGC, entropies_BGC = actor.logps_entropies(encoded, rollouts, temperature)
    elif experience.values is None:
        logps_BGC = run.policy.logps(encoded, rollouts, temperature)
    else:
        actor_critic = cast(ActorCritic, run.policy)
        logps_BGC, values_BGC, entropies_BGC = actor_critic.logps_values_entropies(
            encoded, rollouts, temperature
        )

    def at(tensor: Tensor) -> Tensor:
        """Take the rows of a tensor [b, G, C or 1], no longer than these completions."""
        part = tensor[list(rows), :, : logps_BGC.shape[2]]
        return part.to(logps_BGC.device, non_blocking=True)

    mask = at(algorithms.counted(batch.mask, batch.truncated, config))
    advantages = at(experience.advantages)
    old = logps_BGC.detach() if experience.old_logps is None else at(experience.old_logps)
    losses = surrogates.surrogate(Tokens(logps_BGC, old, advantages, mask), config)
    sampled = None if batch.sampled_logps is None else at(batch.sampled_logps)
    if config.off_policy_mask_threshold is not None:
        losses = losses * surrogates.off_policy_mask(
            logps_BGC.detach(),
            old if sampled is None else sampled,
            advantages,
            mask,
            config.off_policy_mask_threshold,
        )
    # The mean over sampled tokens is an estimate of the policy's entropy that costs nothing.
    measured = {"tokens": torch.ones_like(mask), "surprisal": -logps_BGC}
    largest: dict[str, Tensor] = {}
    if sampled is not None:
        ratios = surrogates.importance_weights(old, sampled, mask, config)
        losses = losses * ratios
        difference = (old - sampled).abs() * mask
        measured[LOGP_DIFFERENCE + "/mean"] = difference
        largest[LOGP_DIFFERENCE + "/max"] = difference.max()
        measured["sampling/importance_sampling_ratio/mean"] = ratios.expand_as(mask)
    clipped = SURROGATES[config.surrogate].clipped
    if clipped is not None:
        measured["clip_ratio"] = clipped(Tokens(logps_BGC.detach(), old, advantages, mask), config)
    if experience.reference_logps is not None:
        reference = at(experience.reference_logps)
        if config.kl_in == "loss":
            measured["kl"] = surrogates.kl(logps_BGC, reference)
            losses = losses + config.beta * measured["kl"]
        else:
            measured["kl"] = old - reference
    if experience.values is not None:
        assert experience.returns is not None and entropies_BGC is not None
        errors = surrogates.value_loss(
            values_BGC, at(experience.values), at(experience.returns), critic.cliprange_value
        )
        losses = losses + critic.vf_coef * errors - critic.entropy_coef * entropies_BGC
        measured["value_loss"] = errors
    if entropies_BGC is not None:
        measured["entropy"] = entropies_BGC
    sums = {name: (values.detach() * mask).sum() for name, values in measured.items()}
    stats = TokenStats(sums, largest)
    token_weights = weights.to(logps_BGC, non_blocking=True).unsqueeze(-1)
    total = (losses * mask * token_weights).sum()
    if entropy_weights is not None:
        assert entropies_BGC is not None
        bonus_weights = entropy_weights.to(logps_BGC, non_blocking=True).unsqueeze(-1)
        total = total - (entropies_BGC * mask * bonus_weights).sum()
    return total, stats


Measure = Callable[..., Tensor | Sequence[Tensor]]
"""A policy's log-probabilities [b', G, C] of some groups, or several such tensors."""


@torch.no_grad()
def without_gradient(run: Learner, policy: Policy, measure: Measure, batch: Batch) -> list[Tensor]:
    """Return what ``measure`` says of all groups, each tensor [b, G, C] on the CPU.

    The policy's module is in evaluation mode meanwhile; groups pass it in micro-batches.
    """
    training = policy.module.training
    policy.module.eval()
    order: list[int] = []
    parts: list[list[Tensor]] = []
    with run.accelerator.autocast():
        for rows, weight in passes(run, batch, range(len(batch.groups))):
            measured = measure(
                [batch.groups[row].encoded for row in rows],
                [batch.groups[row].group.rollouts for row in rows],
                run.config.sampling.temperature,
            )
            if not weight:  # this device has fewer micro-batches than another
                continue
            tensors = [measured] if isinstance(measured, Tensor) else list(measured)
            width = batch.mask.shape[2]
            parts.append([F.pad(tensor, (0, width - tensor.shape[2])) for tensor in tensors])
            order += rows
    policy.module.train(training)
    # A token budget packs groups in another order than the batch's: undo it.
    back = torch.tensor(order).argsort()
    return [torch.cat(pieces).cpu()[back] for pieces in zip(*parts, strict=True)]
