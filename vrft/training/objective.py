"""From a graded batch to a loss: what each token gets, and what the policy owes for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vrft.config.methods import AlgorithmConfig
from vrft.policy.policy import Policy
from vrft.training import algorithms, distributed
from vrft.training.collect import Batch, Source
from vrft.training.micro_batches import by_prompts, by_tokens
from vrft.types import Rollout


@dataclass(frozen=True)
class Signal:
    """What this device's groups get; C is the length of their longest completion.

    ``advantages`` [b, G, C] or [b, G, 1], alpha included; ``teaches`` [b]: which groups must be
    forwarded; ``old`` and ``reference`` [b, G, C]: log-probabilities when the batch was sampled and
    of the model that training began with, where the method needs them; ``values`` and ``returns``
    [b, G, C]: what a critic expected, and what it should have.
    """

    advantages: Tensor
    teaches: Tensor
    alpha: float = 1.0
    old: Tensor | None = None
    reference: Tensor | None = None
    values: Tensor | None = None
    returns: Tensor | None = None


Sums = dict[str, Tensor]
"""Sums over tokens for the log, by name; "tokens" is how many there were."""


class Objective(Protocol):
    """What a method makes of a batch."""

    def judge(self, source: Source, batch: Batch) -> Signal:
        """What every token gets, the same for all updates of the batch."""
        ...

    def loss(
        self, source: Source, batch: Batch, signal: Signal, rows: Sequence[int], weights: Tensor
    ) -> tuple[Tensor, Sums]:
        """These groups' part of the update's loss, ``weights`` [b', G] being those of tokens."""
        ...


class GroupObjective:
    """The methods without a critic: GPG and its relatives."""

    def judge(self, source: Source, batch: Batch) -> Signal:
        config = source.config.algorithm
        reference = reference_logps(source, batch) if config.beta else None
        old = old_logps(source, batch) if needs_old(config) else None
        if old is not None and reference is not None and config.kl_in == "reward":
            cost = config.beta * (old - reference)
        else:
            cost = torch.zeros(*batch.lengths.shape, 1)
        rewards = distributed.gather(source.accelerator, batch.rewards - cost.sum(-1))
        alpha = algorithms.alpha(rewards, config)
        if config.baseline == "batch_mean":
            advantages = token_advantages(source, batch, cost)
        else:
            greedy = batch.greedy
            if greedy is not None:
                greedy = distributed.gather(source.accelerator, greedy)
            whole = algorithms.advantages(rewards, config, greedy)
            advantages = distributed.local_rows(source.accelerator, whole).unsqueeze(-1)
        teaches = advantages.ne(0).any(2).any(1)
        if config.beta and config.kl_in == "loss":
            teaches = torch.ones_like(teaches)
        return Signal(advantages * alpha, teaches, alpha, old, reference)

    def loss(
        self, source: Source, batch: Batch, signal: Signal, rows: Sequence[int], weights: Tensor
    ) -> tuple[Tensor, Sums]:
        config = source.config.algorithm
        logps = source.policy.logps(
            *batch.inputs(rows), temperature=source.config.sampling.temperature
        )
        mask = batch.mask(rows, logps)
        old = logps.detach() if signal.old is None else cut(signal.old, rows, logps)
        advantages = cut(signal.advantages, rows, logps)
        losses = algorithms.surrogate(logps, old, advantages, config)
        sums = counts(logps, old, advantages, mask, config)
        if config.beta and config.kl_in == "loss":
            assert signal.reference is not None
            kl = algorithms.kl(logps, cut(signal.reference, rows, logps))
            losses = losses + config.beta * kl
            sums["kl"] = (kl.detach() * mask).sum()
        elif signal.old is not None and signal.reference is not None:
            sums["kl"] = ((old - cut(signal.reference, rows, logps)) * mask).sum()
        return (losses * mask * weights.to(logps, non_blocking=True).unsqueeze(-1)).sum(), sums


def needs_old(config: AlgorithmConfig) -> bool:
    """Whether log-probabilities from before the first update must be computed.

    While the policy is the one that sampled, they are those of the update itself.
    """
    clips = config.surrogate == "clipped" and config.reuses_batches
    return clips or bool(config.beta and config.kl_in == "reward")


def token_advantages(source: Source, batch: Batch, cost: Tensor) -> Tensor:
    """Rewards to go less the mean of the whole batch's tokens: REINFORCE++'s advantages."""
    mask = batch.mask(range(len(batch.groups)))
    returns = algorithms.rewards_to_go(batch.rewards, cost.expand_as(mask))
    moments = distributed.gather(source.accelerator, algorithms.moments(returns, mask))
    return algorithms.standardised(returns, mask, moments, source.config.algorithm.f_norm)


def old_logps(source: Source, batch: Batch) -> Tensor:
    """Log-probabilities [b, G, C] under the policy as it is now, without gradients."""
    (found,) = fixed(source, source.policy.module, batch, alone(source.policy))
    return found


def reference_logps(source: Source, batch: Batch) -> Tensor:
    """Log-probabilities [b, G, C] under the model that training began with."""
    assert source.reference is not None
    (found,) = fixed(source, source.reference.module, batch, alone(source.reference))
    return found


Reading = Callable[[Sequence[Any], Sequence[Sequence[Rollout]], float], Sequence[Tensor]]
"""What is measured of some groups at a temperature: tensors [b', G, C]."""


def alone(policy: Policy) -> Reading:
    """The reading of a policy's log-probabilities and nothing else."""
    return lambda encoded, rollouts, temperature: [policy.logps(encoded, rollouts, temperature)]


Pass = tuple[list[int], float]
"""The rows of a micro-batch, and its weight."""


def passes(source: Source, batch: Batch, rows: Sequence[int]) -> list[Pass]:
    """Some of this device's groups in micro-batches of weight 1.

    Every device makes the same number of passes, or they would wait for each other: one that has
    fewer adds some of weight 0 with the group whose completions are shortest.
    """
    chunks = micro_batches(source, batch, rows)
    missing = distributed.max_over_ranks(source.accelerator, len(chunks)) - len(chunks)
    short = int(batch.lengths.amax(1).argmin())
    return [(chunk, 1.0) for chunk in chunks] + [([short], 0.0)] * missing


def micro_batches(source: Source, batch: Batch, rows: Sequence[int]) -> list[list[int]]:
    """Some groups as they pass the model together."""
    config = source.config.train
    if not config.max_tokens_per_micro_batch:
        return by_prompts(rows, config.per_device_train_batch_size)
    tokens = [
        source.policy.length(graded.encoded) + int(own.sum())
        for graded, own in zip(batch.groups, batch.lengths, strict=True)
    ]
    return by_tokens(rows, tokens, config.max_tokens_per_micro_batch)


@torch.no_grad()
def fixed(source: Source, module: nn.Module, batch: Batch, read: Reading) -> list[Tensor]:
    """What is read of all groups, [b, G, C] each on the CPU, with the module in evaluation mode.

    It is read micro-batch by micro-batch.
    """
    temperature = source.config.sampling.temperature
    training, longest = module.training, int(batch.lengths.max())
    module.eval()
    order: list[int] = []
    parts = []
    with source.accelerator.autocast():
        for rows, weight in passes(source, batch, range(len(batch.groups))):
            readings = read(*batch.inputs(rows), temperature)
            if weight:
                order += rows
                parts.append([F.pad(one, (0, longest - one.shape[2])) for one in readings])
    module.train(training)
    back = torch.tensor(order).argsort()
    return [torch.cat(pieces).cpu()[back] for pieces in zip(*parts, strict=True)]


def cut(values: Tensor, rows: Sequence[int], like: Tensor) -> Tensor:
    """The rows of values [b, G, C], as long and on the device as those of some groups."""
    return values[list(rows), :, : like.shape[2]].to(like.device, non_blocking=True)


def counts(
    logps: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, config: AlgorithmConfig
) -> Sums:
    """Tokens, and how many of them the clip holds."""
    sums = {"tokens": mask.sum()}
    if config.surrogate == "clipped":
        high = config.epsilon if config.epsilon_high is None else config.epsilon_high
        held = algorithms.is_clipped(logps.detach(), old, advantages, config.epsilon, high)
        sums["clip_ratio"] = (held * mask).sum()
    return sums
