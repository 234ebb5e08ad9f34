"""From a rewarded batch to a loss: its experience, and the loss of some of its groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from vrft.processes import exchange

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
    elif config.needs_old_logps:
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
        batch.mask * ~batch.lost.view(-1, 1, 1),
        batch.lost,
        gather=partial(exchange.gather, run.accelerator),
        local=partial(exchange.local_rows, run.accelerator),
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
        signal = baseline.signal(rewards - kl_costs.sum(-1), batch.greedy, batch.lost)
        all_signal = outcome.gather(signal.float()).bool()
        alpha = algorithms.alpha(outcome.gather(batch.rewards), config, all_signal)
    return Experience(advantages * alpha, informative, alpha, old, reference, values, returns)


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
    its relatives, with or without a bound, a KL penalty and a critic. ``entropy_weights`` [b', G]
    are those of each token's entropy, for the bonus.
    """
    config = run.config.algorithm
    now = measure_policy(run, batch, experience, rows, entropy=entropy_weights is not None)
    fixed = TokenExperience.of(batch, experience, rows, now.logps, config)
    losses, measured = policy_losses(now, fixed, config)
    losses, seen = losses_with_kl(losses, now, fixed, config)
    measured |= seen
    losses, seen = losses_with_critic(losses, now, fixed, config)
    measured |= seen
    if now.entropies is not None:
        measured["entropy"] = now.entropies
    total = (losses * fixed.mask * at_tokens(weights, now.logps)).sum()
    if entropy_weights is not None:
        assert now.entropies is not None
        bonus = now.entropies * fixed.mask * at_tokens(entropy_weights, now.logps)
        total = total - bonus.sum()
    return total, statistics(measured, fixed.mask)


@dataclass(frozen=True)
class TokenMeasures:
    """The policy's present measures of the tokens of some groups: [b', G, C], with gradients."""

    logps: Tensor
    values: Tensor | None = None
    entropies: Tensor | None = None


def measure_policy(
    run: Learner, batch: Batch, experience: Experience, rows: Sequence[int], *, entropy: bool
) -> TokenMeasures:
    """Forward some groups once, for all that their loss needs of the policy."""
    encoded = [batch.groups[row].encoded for row in rows]
    rollouts = [batch.groups[row].group.rollouts for row in rows]
    temperature = run.config.sampling.temperature
    if experience.values is not None:
        critic = cast(ActorCritic, run.policy)
        return TokenMeasures(*critic.logps_values_entropies(encoded, rollouts, temperature))
    if entropy:
        actor = cast(EntropyPolicy, run.policy)
        logps, entropies = actor.logps_entropies(encoded, rollouts, temperature)
        return TokenMeasures(logps, entropies=entropies)
    return TokenMeasures(run.policy.logps(encoded, rollouts, temperature))


@dataclass(frozen=True)
class TokenExperience:
    """The constants of the loss of some groups, from when they were sampled: [b', G, C or 1] each.

    ``mask`` is 1 at every token that counts; ``old`` are log-probabilities under the policy that
    sampled, those of the policy itself where every update is on-policy; ``sampled`` are another
    engine's.
    """

    mask: Tensor
    advantages: Tensor
    old: Tensor
    sampled: Tensor | None
    reference: Tensor | None
    values: Tensor | None
    returns: Tensor | None

    @classmethod
    def of(
        cls,
        batch: Batch,
        experience: Experience,
        rows: Sequence[int],
        logps: Tensor,
        config: AlgorithmConfig,
    ) -> TokenExperience:
        """Take the rows of a batch, no longer than ``logps`` [b', G, C], to the same device."""

        def at(tensor: Tensor) -> Tensor:
            part = tensor[list(rows), :, : logps.shape[2]]
            return part.to(logps.device, non_blocking=True)

        def at_or_none(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else at(tensor)

        return cls(
            mask=at(algorithms.counted(batch.mask, batch.truncated, config)),
            advantages=at(experience.advantages),
            old=logps.detach() if experience.old_logps is None else at(experience.old_logps),
            sampled=at_or_none(batch.sampled_logps),
            reference=at_or_none(experience.reference_logps),
            values=at_or_none(experience.values),
            returns=at_or_none(experience.returns),
        )


def policy_losses(
    now: TokenMeasures, fixed: TokenExperience, config: AlgorithmConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each token's surrogate loss, and what is measured of the tokens: [b', G, C] each.

    Where another engine sampled, the loss is multiplied by the token's importance weight.
    """
    tokens = Tokens(now.logps, fixed.old, fixed.advantages, fixed.mask)
    losses = surrogates.surrogate(tokens, config)
    if config.off_policy_mask_threshold is not None:
        losses = losses * surrogates.off_policy_mask(
            now.logps.detach(),
            fixed.old if fixed.sampled is None else fixed.sampled,
            fixed.advantages,
            fixed.mask,
            config.off_policy_mask_threshold,
        )
    # The mean over sampled tokens is an estimate of the policy's entropy that costs nothing.
    measured = {"tokens": torch.ones_like(fixed.mask), "surprisal": -now.logps}
    if fixed.sampled is not None:
        ratios = surrogates.importance_weights(fixed.old, fixed.sampled, fixed.mask, config)
        losses = losses * ratios
        measured[LOGP_DIFFERENCE + "/mean"] = (fixed.old - fixed.sampled).abs() * fixed.mask
        measured["sampling/importance_sampling_ratio/mean"] = ratios.expand_as(fixed.mask)
    clipped = SURROGATES[config.surrogate].clipped
    if clipped is not None:
        measured["clip_ratio"] = clipped(replace(tokens, logps=now.logps.detach()), config)
    return losses, measured


def losses_with_kl(
    losses: Tensor, now: TokenMeasures, fixed: TokenExperience, config: AlgorithmConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each token's loss with its KL penalty, where the loss has one, and the measure "kl".

    There is no measure without a reference.
    """
    if fixed.reference is None:
        return losses, {}
    if config.kl_in != "loss":
        return losses, {"kl": fixed.old - fixed.reference}
    kl = surrogates.kl(now.logps, fixed.reference)
    return losses + config.beta * kl, {"kl": kl}


def losses_with_critic(
    losses: Tensor, now: TokenMeasures, fixed: TokenExperience, config: AlgorithmConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each token's loss with the critic's, where there is one, and the measure "value_loss".

    There is no measure without a critic.
    """
    if fixed.values is None:
        return losses, {}
    assert fixed.returns is not None and now.values is not None and now.entropies is not None
    critic = config.critic
    errors = surrogates.value_loss(now.values, fixed.values, fixed.returns, critic.cliprange_value)
    with_critic = losses + critic.vf_coef * errors - critic.entropy_coef * now.entropies
    return with_critic, {"value_loss": errors}


def at_tokens(weights: Tensor, logps: Tensor) -> Tensor:
    """Return weights [b', G] of completions as those of their tokens, [b', G, 1]."""
    return weights.to(logps, non_blocking=True).unsqueeze(-1)


def statistics(measured: Mapping[str, Tensor], mask: Tensor) -> TokenStats:
    """Return the sums over tokens of what was measured, and the largest distance of an engine."""
    sums = {name: (values.detach() * mask).sum() for name, values in measured.items()}
    distance = measured.get(LOGP_DIFFERENCE + "/mean")
    largest = {} if distance is None else {LOGP_DIFFERENCE + "/max": distance.max()}
    return TokenStats(sums, largest)


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
