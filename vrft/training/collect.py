"""From samples to a batch: rollouts of a policy, rewarded by the task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.rewards import rewards_of
from vrft.task import Task
from vrft.training import algorithms, distributed
from vrft.training.stream import next_prompts
from vrft.training.types import Batch, RewardedGroup, Run
from vrft.types import Group


def collect(run: Run) -> Batch:
    """Return the step's groups: sampled, rewarded, and resampled while too few have signal.

    Groups with signal are held on to, oldest first, and the batch is filled up with the newest
    groups without; alpha and every metric are those of the groups in the batch. Raises UserError
    where ``max_resample_rounds`` are not enough and ``on_exhausted`` is "error".
    """
    config, size = run.config.algorithm, run.local_prompts
    groups: list[RewardedGroup] = []
    for rounds in range(1, config.max_resample_rounds + 2):
        fresh = rewarded_groups(run)
        informative = [rewarded for rewarded in groups + fresh if rewarded.has_signal]
        without_signal = [rewarded for rewarded in fresh + groups if not rewarded.has_signal]
        groups = (informative + without_signal)[:size]
        # Counted over all devices, so that all of them stop after the same round: one that went
        # on alone would wait for the others in its next exchange.
        counts = torch.tensor([[sum(rewarded.has_signal for rewarded in groups), size]])
        with_signal, total = distributed.gather(run.accelerator, counts).sum(0).tolist()
        if with_signal >= config.min_informative * total:
            return Batch.of(groups, rounds)
    if config.on_exhausted == "error":
        raise UserError(
            f"after {rounds} rounds of sampling {with_signal} of {total} groups have signal, fewer "
            f"than algorithm.min_informative={config.min_informative}; lower it, or set "
            "algorithm.on_exhausted=train"
        )
    return Batch.of(groups, rounds, exhausted=True)


def rewarded_groups(run: Run) -> list[RewardedGroup]:
    """Sample G rollouts of each of this device's next prompts, and reward them."""
    config, drawn = run.config, next_prompts(run)
    encoded = [draw.encoded for draw in drawn]
    seeds = [draw.seed for draw in drawn]
    with run.accelerator.autocast():
        rollouts = run.policy.sample(
            encoded, config.algorithm.num_generations, config.sampling, seeds
        )
    groups = [
        reward_group(config, run.task, Group(draw.sample, draw.prompt, group), draw.encoded)
        for draw, group in zip(drawn, rollouts, strict=True)
    ]
    if not algorithms.BASELINES[config.algorithm.baseline].needs_greedy:
        return groups
    with run.accelerator.autocast():
        answers = run.policy.sample(encoded, 1, replace(config.sampling, temperature=0.0), seeds)
    greedy = [
        reward_group(config, run.task, replace(rewarded.group, rollouts=answer), rewarded.encoded)
        for rewarded, answer in zip(groups, answers, strict=True)
    ]
    return [
        replace(rewarded, greedy=float(best.total))
        for rewarded, best in zip(groups, greedy, strict=True)
    ]


def reward_group(config: Config, task: Task[Any], group: Group[Any], encoded: Any) -> RewardedGroup:
    """Return a group with its rewards and their weighted sum; a reward of None adds nothing.

    DAPO's punishment of overlong completions, where it is on, is taken off the sum.
    """
    by_rollout = [rewards_of(task, group.sample, r.completion) for r in group.rollouts]
    rewards = {name: [row[name] for row in by_rollout] for name in by_rollout[0]}
    lengths_G = torch.tensor([float(len(r.tokens)) for r in group.rollouts])
    limit = config.sampling.max_completion_length
    total_G = -algorithms.overlong(lengths_G, limit, config.algorithm.overlong_cache)
    for name, values in rewards.items():
        weight = config.algorithm.reward_weights.get(name, 1.0)
        total_G += weight * torch.tensor([value or 0.0 for value in values])
    has_signal = bool(algorithms.has_signal(total_G.unsqueeze(0)))
    return RewardedGroup(group, encoded, rewards, total_G, has_signal)
