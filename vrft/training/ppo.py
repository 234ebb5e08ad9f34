"""PPO: a critic on the policy's own backbone, and advantages from what it expected.

The critic is one linear layer on the hidden states that also predict the tokens, so that values
come with the log-probabilities in one forward; it is trained together with the policy. Advantages
are generalised advantage estimates (Schulman et al. 2016, arXiv:1506.02438, Eq. 16).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vrft.config.methods import CriticConfig
from vrft.models.encoding import Encoded
from vrft.policy import logprobs
from vrft.policy.policy import ModelPolicy, below
from vrft.training import algorithms, distributed
from vrft.training.collect import Batch, Source
from vrft.training.objective import Signal, Sums, counts, cut, fixed, reference_logps
from vrft.types import Rollout

CRITIC = "critic.safetensors"


class Critical(Protocol):
    """A policy that also tells what it expects."""

    def judged(
        self, encoded: Sequence[Any], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values before each token, and entropies, [B, G, C] each."""
        ...


class GroupValues(logprobs.GroupLogps):
    """Log-probabilities, values and entropies in one forward."""

    def __init__(self, plain: logprobs.GroupLogps) -> None:
        super().__init__(plain.loaded)
        width = plain.loaded.core.get_output_embeddings().weight.shape[1]
        self.critic = nn.Linear(width, 1).to(plain.loaded.device)
        nn.init.zeros_(self.critic.weight)
        nn.init.zeros_(self.critic.bias)

    def forward(
        self,
        prompts: Sequence[Encoded],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float = 1.0,
    ) -> Tensor:
        """Stacked log-probabilities, values and entropies: [3, B, G, C] float32."""
        hidden, targets, mask = self.predictions(prompts, completions)
        measured = logprobs.token_logps(hidden, targets, self.head(), temperature, with_entropy)
        # In the weights' own precision, which DeepSpeed lowers.
        values = self.critic(hidden.to(self.critic.weight.dtype)).float().squeeze(-1)
        rows = (measured[:, 0], values, measured[:, 1])
        return torch.stack([logprobs.spread(row, mask) for row in rows])


def with_entropy(
    hidden: Tensor, targets: Tensor, head: logprobs.Head, temperature: float
) -> Tensor:
    """Log-probability and entropy [N, 2] of one chunk."""
    logps = logprobs.chunk_logits(hidden, head, temperature).log_softmax(-1)
    chosen = logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return torch.stack([chosen, -(logps.exp() * logps).sum(-1)], dim=1)


class CriticPolicy(ModelPolicy):
    """A policy with a critic, which is saved beside it."""

    def __init__(self, plain: ModelPolicy, folder: Path | None = None) -> None:
        super().__init__(plain.loaded)
        module = GroupValues(logprobs.GroupLogps(plain.loaded))
        if folder is not None:
            module.critic.load_state_dict(load_file(folder / CRITIC))
        self.module, self.critic = module, module.critic

    def judged(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities, values before each token, and entropies, [B, G, C] each."""
        tokens = [[rollout.tokens for rollout in group] for group in groups]
        logps, values, entropies = self.module(encoded, tokens, temperature)
        return logps, values, entropies

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """The log-probabilities alone."""
        return self.judged(encoded, groups, temperature)[0]

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """What every policy writes, and the critic."""
        super().save(folder, weights)
        critic = self.critic.state_dict() if weights is None else below(weights, "critic.")
        save_file(critic, folder / CRITIC)


class Ppo:
    """The objective of PPO; the source's policy is Critical."""

    def judge(self, source: Source, batch: Batch) -> Signal:
        config = source.config.algorithm
        mask = batch.mask(range(len(batch.groups)))
        policy: Any = source.policy
        old, values, _ = fixed(source, policy.module, batch, policy.judged)
        reference = reference_logps(source, batch) if config.beta else None
        rewards = torch.zeros_like(mask)
        if reference is not None and config.kl_in == "reward":
            rewards -= config.beta * (old - reference)
        last = (batch.lengths.long() - 1).unsqueeze(-1)
        rewards.scatter_add_(2, last, batch.rewards.unsqueeze(-1))
        estimates = generalised_advantages(rewards, values, mask, config.critic)
        advantages = estimates
        if config.f_norm == "batch_std":
            moments = distributed.gather(source.accelerator, algorithms.moments(estimates, mask))
            advantages = algorithms.standardised(estimates, mask, moments, "batch_std")
        return Signal(
            advantages,
            torch.ones(len(mask), dtype=torch.bool),
            old=old,
            reference=reference,
            values=values,
            returns=estimates + values,
        )

    def loss(
        self, source: Source, batch: Batch, signal: Signal, rows: Sequence[int], weights: Tensor
    ) -> tuple[Tensor, Sums]:
        config, critic = source.config.algorithm, source.config.algorithm.critic
        policy: Any = source.policy
        temperature = source.config.sampling.temperature
        logps, values, entropies = policy.judged(*batch.inputs(rows), temperature=temperature)
        mask = batch.mask(rows, logps)
        assert signal.old is not None and signal.values is not None and signal.returns is not None
        now = partial(cut, rows=rows, like=logps)
        old, advantages = now(signal.old), now(signal.advantages)
        losses = algorithms.surrogate(logps, old, advantages, config)
        misses = value_loss(values, now(signal.values), now(signal.returns), critic.cliprange_value)
        sums = counts(logps, old, advantages, mask, config)
        sums["value_loss"] = (misses.detach() * mask).sum()
        sums["entropy"] = (entropies.detach() * mask).sum()
        if signal.reference is not None:
            sums["kl"] = ((old - now(signal.reference)) * mask).sum()
            if config.kl_in == "loss":
                losses = losses + config.beta * algorithms.kl(logps, now(signal.reference))
        losses = losses + critic.vf_coef * misses - critic.entropy_coef * entropies
        return (losses * mask * weights.to(logps, non_blocking=True).unsqueeze(-1)).sum(), sums


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, config: CriticConfig
) -> Tensor:
    """A_t = sum over l of (gamma lam)^l d_{t+l}, d_t = r_t + gamma V_{t+1} - V_t; [b, G, C].

    After the last token nothing more is expected.
    """
    found = torch.zeros_like(rewards)
    following = next_value = torch.zeros_like(rewards[..., 0])
    for t in range(rewards.shape[-1] - 1, -1, -1):
        missed = rewards[..., t] + config.gamma * next_value - values[..., t]
        following = mask[..., t] * (missed + config.gamma * config.lam * following)
        next_value = mask[..., t] * values[..., t]
        found[..., t] = following
    return found


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error of each value, or of the value kept near the old one, if larger."""
    near = torch.clamp(values, old - clip, old + clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)
