"""From a rewarded batch to a loss: its experience, and the loss of some of its groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vrft.policy import Policy
from vrft.training import algorithms, distributed
from vrft.training.micro_batches import passes
from vrft.training.ppo import ActorCritic
from vrft.training.types import Batch, Experience, Run, TokenStats

LOGP_DIFFERENCE = "sampling/sampling_logp_difference"
"""TRL's name for the distance of the policy's log-probabilities from the sampling engine's."""


def make_experience(run: Run, batch: Batch) -> Experience:
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
    elif kl_in_reward or (config.surrogate == "clipped" and config.reuses_batches):
        # Else every update is on the policy that sampled: its log-probabilities are the loss's own.
        (old,) = without_gradient(run, run.policy, run.policy.logps, batch)
    if config.beta:
        assert run.reference is not None
        (reference,) = without_gradient(run, run.reference, run.reference.logps, batch)
    kl_costs = torch.zeros(*batch.rewards.shape, 1)
    if kl_in_reward:
        assert old is not None and reference is not None
        kl_costs = config.beta * (old - reference)  # the k1 estimate of every token
    outcome = algorithms.Outcome(
        batch.rewards,
        kl_costs,
        batch.mask,
        gather=partial(distributed.gather, run.accelerator),
        local=partial(distributed.local_rows, run.accelerator),
        greedy=batch.greedy,
        values=values,
    )
    advantages, returns = baseline.advantages(outcome, config)
    informative, alpha = advantages.ne(0).any(2).any(1), 1.0
    if baseline.needs_critic or (config.beta and config.kl_in == "loss"):
        # The critic learns from every completion, and every completion owes its KL.
        informative = torch.ones_like(informative)
    if not baseline.needs_critic:
        alpha = algorithms.alpha(outcome.gather(batch.rewards - kl_costs.sum(-1)), config)
    return Experience(advantages * alpha, informative, alpha, old, reference, values, returns)


def loss(
    run: Run, batch: Batch, experience: Experience, rows: Sequence[int], weights: Tensor
) -> tuple[Tensor, TokenStats]:
    """Return the loss of some groups as a scalar, and statistics of their tokens for the log.

    ``weights`` [b', G] are those of a token of each completion: the loss is a weighted sum over
    tokens, so that micro-batches add up to the loss of the whole update. One loss serves GPG and
    its relatives, with or without a clip, a KL penalty and a critic. Where another engine sampled,
    each token's loss is multiplied by its importance weight.
    """
    config, critic = run.config.algorithm, run.config.algorithm.critic
    encoded = [batch.groups[row].encoded for row in rows]
    rollouts = [batch.groups[row].group.rollouts for row in rows]
    temperature = run.config.sampling.temperature
    if experience.values is None:
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

    mask, advantages = at(batch.mask), at(experience.advantages)
    old = logps_BGC.detach() if experience.old_logps is None else at(experience.old_logps)
    losses = algorithms.surrogate(logps_BGC, old, advantages, config)
    # The mean over sampled tokens is an estimate of the policy's entropy that costs nothing.
    measured = {"tokens": torch.ones_like(mask), "surprisal": -logps_BGC}
    largest: dict[str, Tensor] = {}
    if batch.sampled_logps is not None:
        sampled = at(batch.sampled_logps)
        ratios = algorithms.importance_weights(old, sampled, mask, config)
        losses = losses * ratios
        difference = (old - sampled).abs() * mask
        measured[LOGP_DIFFERENCE + "/mean"] = difference
        largest[LOGP_DIFFERENCE + "/max"] = difference.max()
        measured["sampling/importance_sampling_ratio/mean"] = ratios.expand_as(mask)
    if config.surrogate == "clipped":
        measured["clip_ratio"] = algorithms.is_clipped(logps_BGC.detach(), old, advantages, config)
    if experience.reference_logps is not None:
        reference = at(experience.reference_logps)
        if config.kl_in == "loss":
            measured["kl"] = algorithms.kl(logps_BGC, reference)
            losses = losses + config.beta * measured["kl"]
        else:
            measured["kl"] = old - reference
    if experience.values is not None:
        assert experience.returns is not None
        errors = algorithms.value_loss(
            values_BGC, at(experience.values), at(experience.returns), critic.cliprange_value
        )
        losses = losses + critic.vf_coef * errors - critic.entropy_coef * entropies_BGC
        measured |= {"value_loss": errors, "entropy": entropies_BGC}
    sums = {name: (values.detach() * mask).sum() for name, values in measured.items()}
    stats = TokenStats(sums, largest)
    token_weights = weights.to(logps_BGC, non_blocking=True).unsqueeze(-1)
    return (losses * mask * token_weights).sum(), stats


Measure = Callable[..., Tensor | Sequence[Tensor]]
"""A policy's log-probabilities [b', G, C] of some groups, or several such tensors."""


@torch.no_grad()
def without_gradient(run: Run, policy: Policy, measure: Measure, batch: Batch) -> list[Tensor]:
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
