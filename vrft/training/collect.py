"""From samples to graded groups: what one step of training learns from."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.policy.policy import Policy
from vrft.rewards import rewards_of
from vrft.task import Task
from vrft.training import algorithms, distributed
from vrft.training.checkpoint import Progress
from vrft.training.read_ahead import ReadAhead
from vrft.types import Group, Prompt, Rollout, Sample


@dataclass(frozen=True)
class Source:
    """What groups are sampled from: the task's samples, the policy, and how far the stream is.

    ``reference`` is the policy that training began with, where the method holds on to it.
    """

    config: Config
    task: Task[Any]
    samples: Sequence[Sample[Any]]
    policy: Policy
    accelerator: Accelerator
    progress: Progress
    reference: Policy | None = None

    @property
    def local_prompts(self) -> int:
        """Prompts of one step on this device."""
        train = self.config.train
        return train.per_device_train_batch_size * train.gradient_accumulation_steps

    @property
    def prompts(self) -> int:
        """Prompts of one step on all devices: the paper's B."""
        return self.local_prompts * int(self.accelerator.num_processes)

    @functools.cached_property
    def ahead(self) -> ReadAhead[Sample[Any], tuple[Prompt, Any]]:
        """Samples' prompts and what the model reads of them, read while a step computes."""
        return ReadAhead(self.read, lambda one: one.id, self.config.train.dataloader_num_workers)

    def read(self, sample: Sample[Any]) -> tuple[Prompt, Any]:
        """A sample's prompt, and what the model reads of it."""
        prompt = self.task.prompt(sample)
        (encoded,) = self.policy.encode([prompt], self.config.sampling.max_prompt_length)
        return prompt, encoded


@dataclass(frozen=True)
class RewardedGroup:
    """A group with what the model read, its rewards by name [G] each, and their weighted sum.

    ``greedy`` is the reward of the greedy completion, where that is the baseline.
    """

    group: Group[Any]
    encoded: Any
    rewards: dict[str, list[float | None]]
    total: Tensor
    greedy: float | None = None

    @property
    def has_signal(self) -> bool:
        """Whether the rewards differ within the group."""
        return bool(algorithms.has_signal(self.total.unsqueeze(0)))


@dataclass(frozen=True)
class Batch:
    """This device's groups of one step, and the rounds of sampling that they took."""

    groups: Sequence[RewardedGroup]
    rounds: int
    exhausted: bool = False

    @property
    def rewards(self) -> Tensor:
        """The weighted sums of rewards [b, G]."""
        return torch.stack([graded.total for graded in self.groups])

    @property
    def lengths(self) -> Tensor:
        """Tokens of each completion [b, G], the end token included."""
        rows = [[float(len(r.tokens)) for r in g.group.rollouts] for g in self.groups]
        return torch.tensor(rows)

    @property
    def greedy(self) -> Tensor | None:
        """The rewards of greedy completions [b], where they are the baseline."""
        found = [graded.greedy for graded in self.groups]
        return None if None in found else torch.tensor(found)

    def inputs(self, rows: Sequence[int]) -> tuple[list[Any], list[tuple[Rollout, ...]]]:
        """What ``Policy.logps`` reads of some groups."""
        chosen = [self.groups[row] for row in rows]
        return [one.encoded for one in chosen], [one.group.rollouts for one in chosen]

    def mask(self, rows: Sequence[int], like: Tensor | None = None) -> Tensor:
        """1 for every token of some groups' completions, 0 beyond: [b', G, C] float32."""
        lengths = self.lengths[list(rows)]
        mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(-1)).float()
        return mask if like is None else mask.to(like, non_blocking=True)

    @property
    def cut(self) -> Tensor:
        """1 for each completion [b, G] that reached the length limit without ending."""
        rows = [[float(not r.finished) for r in g.group.rollouts] for g in self.groups]
        return torch.tensor(rows)


def collect(source: Source) -> Batch:
    """The step's groups: sampled, graded, and sampled again while too few of them have signal.

    Groups with signal are kept, oldest first, and the rest is filled with the newest groups
    without; alpha and every metric are those of the groups that are kept. Raises UserError where
    ``max_resample_rounds`` is not enough and ``on_exhausted`` is "error".
    """
    config, size = source.config.algorithm, source.local_prompts
    kept: list[RewardedGroup] = []
    for rounds in range(1, config.max_resample_rounds + 2):
        fresh = sample_groups(source, next_samples(source))
        informative = [graded for graded in kept + fresh if graded.has_signal]
        rest = [graded for graded in fresh + kept if not graded.has_signal]
        kept = (informative + rest)[:size]
        mine = torch.tensor([[sum(graded.has_signal for graded in kept), size]])
        found, wanted = distributed.gather(source.accelerator, mine).sum(0).tolist()
        if found >= config.min_informative * wanted:
            return Batch(kept, rounds)
    if config.on_exhausted == "error":
        raise UserError(
            f"after {rounds} rounds of sampling {found} of {wanted} groups have signal, fewer than "
            f"algorithm.min_informative={config.min_informative}; lower it, or set "
            "algorithm.on_exhausted=train"
        )
    return Batch(kept, rounds, exhausted=True)


Drawn = Sequence[tuple[Sample[Any], int]]
"""Samples of the shuffled stream, each with the seed of its rollouts."""


def next_samples(source: Source) -> Drawn:
    """This device's next samples of the stream, which is then one step further."""
    drawn = coming(source)
    source.progress.cursor += source.prompts
    return drawn


def coming(source: Source) -> Drawn:
    """This device's samples of the stream that are next to be drawn."""
    count, seed = source.local_prompts, source.config.train.seed
    first = source.progress.cursor + source.accelerator.process_index * count
    return [
        (source.samples[shuffled(len(source.samples), seed, place)], rollout_seed(seed, place))
        for place in range(first, first + count)
    ]


def shuffled(size: int, seed: int, place: int) -> int:
    """The index at a place of an endless stream that shuffles ``size`` samples anew each epoch."""
    epoch, offset = divmod(place, size)
    return int(permutation(size, seed, epoch)[offset])


@functools.lru_cache(maxsize=2)
def permutation(size: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """The order of the samples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def rollout_seed(seed: int, place: int) -> int:
    """The seed of the rollouts at a place of the stream: the same on any number of devices."""
    return int(np.random.SeedSequence([seed, place]).generate_state(1, np.uint32)[0])


def sample_groups(source: Source, drawn: Drawn) -> list[RewardedGroup]:
    """Rollouts of the drawn samples, graded by the task's rewards.

    Meanwhile the samples that come next are read.
    """
    config = source.config
    samples, seeds = zip(*drawn, strict=True)
    after = [sample for sample, _ in coming(source)]
    prompts, encoded = zip(*source.ahead.take(samples, after), strict=True)
    with source.accelerator.autocast():
        rollouts = source.policy.sample(
            encoded, config.algorithm.num_generations, config.sampling, seeds
        )
    graded = [
        reward_group(config, source.task, Group(sample, prompt, group), one)
        for sample, prompt, group, one in zip(samples, prompts, rollouts, encoded, strict=True)
    ]
    return with_greedy(source, graded, seeds) if config.algorithm.baseline == "greedy" else graded


def with_greedy(
    source: Source, graded: Sequence[RewardedGroup], seeds: Sequence[int]
) -> list[RewardedGroup]:
    """The groups with the rewards of their prompts' greedy completions."""
    greedy = replace(source.config.sampling, temperature=0.0)
    with source.accelerator.autocast():
        rollouts = source.policy.sample([one.encoded for one in graded], 1, greedy, seeds)
    alone = (
        reward_group(source.config, source.task, replace(one.group, rollouts=group), one.encoded)
        for one, group in zip(graded, rollouts, strict=True)
    )
    return [replace(one, greedy=float(best.total)) for one, best in zip(graded, alone, strict=True)]


def reward_group(config: Config, task: Task[Any], group: Group[Any], encoded: Any) -> RewardedGroup:
    """A group with its rewards; a reward that does not apply (None) adds nothing."""
    rows = [rewards_of(task, group.sample, r.completion) for r in group.rollouts]
    rewards = {name: [row[name] for row in rows] for name in rows[0]}
    lengths = torch.tensor([float(len(r.tokens)) for r in group.rollouts])
    limit = config.sampling.max_completion_length
    total = -algorithms.overlong(lengths, limit, config.algorithm.overlong_cache)
    for name, values in rewards.items():
        weight = config.algorithm.reward_weights.get(name, 1.0)
        total += weight * torch.tensor([value or 0.0 for value in values])
    return RewardedGroup(group, encoded, rewards, total)


def reward_metrics(accelerator: Accelerator, batch: Batch, rewards: Tensor) -> dict[str, float]:
    """Means and spreads of the rewards over all devices, by TRL's names."""
    metrics = {
        "reward": float(rewards.mean()),
        "reward_std": float(rewards.std(1, correction=min(1, rewards.shape[1] - 1)).mean()),
        "frac_reward_zero_std": 1 - float(algorithms.has_signal(rewards).float().mean()),
    }
    for name in batch.groups[0].rewards:
        rows = [[math.nan if v is None else v for v in g.rewards[name]] for g in batch.groups]
        values = distributed.gather(accelerator, torch.tensor(rows))
        given = values[~values.isnan()]
        metrics[f"rewards/{name}/mean"] = float(given.mean())
        metrics[f"rewards/{name}/std"] = float(given.std()) if len(given) > 1 else math.nan
    return metrics


def length_metrics(accelerator: Accelerator, batch: Batch, lengths: Tensor) -> dict[str, float]:
    """Completion lengths in tokens, and the share that was cut, by TRL's names."""
    return {
        "completions/mean_length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/clipped_ratio": float(distributed.gather(accelerator, batch.cut).mean()),
    }


def rows(batch: Batch, advantages: Tensor, task: Task[Any]) -> list[dict[str, Any]]:
    """One row per completion for the log: text, what was read of it, rewards and advantage.

    ``advantages`` [b, G, C]; of a method whose tokens differ, the first token's is shown.
    """
    return [
        {
            "sample_id": graded.group.sample.id,
            "text": rollout.completion.text,
            "parsed": task.score(graded.group.sample, rollout.completion).parsed,
            "finished": rollout.finished,
            "tokens": len(rollout.tokens),
            "rewards": {name: values[g] for name, values in graded.rewards.items()},
            "reward": float(graded.total[g]),
            "advantage": float(advantages[b, g, 0]),
        }
        for b, graded in enumerate(batch.groups)
        for g, rollout in enumerate(graded.group.rollouts)
    ]
