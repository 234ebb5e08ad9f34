"""One step of Group Policy Gradient as in the paper's Algorithm 1, and of its relatives."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor

from vrft.config.schema import Config
from vrft.training import algorithms, collect, distributed, objective
from vrft.training.collect import Batch, Source
from vrft.training.objective import Objective, Pass, Signal, Sums


@dataclass(frozen=True)
class Run:
    """What the steps of a run read and change."""

    source: Source
    objective: Objective
    optimizer: Any
    scheduler: Any

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.source.config


def step(run: Run) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """One batch: sample groups, score them, push up the better ones.

    Returns the metrics of the whole batch, and this device's completions for the log. A method
    that uses a batch several times makes several updates of it.
    """
    accelerator, done = run.source.accelerator, run.source.progress
    started = time.monotonic()
    seed_step(run)
    with distributed.gathered_weights(accelerator, run.source.policy.module):
        batch = collect.collect(run.source)
    signal = run.objective.judge(run.source, batch)
    updates = [update(run, batch, signal, part) for part in parts(run, batch)]
    learning_rate = run.scheduler.get_last_lr()[0]
    run.scheduler.step()
    rewards = distributed.gather(accelerator, batch.rewards)
    lengths = distributed.gather(accelerator, batch.lengths)
    done.step += 1
    done.num_tokens += int(lengths.sum())
    metrics = {
        **means(updates),
        "learning_rate": learning_rate,
        "alpha": signal.alpha,
        "resample_rounds": float(batch.rounds),
        **collect.reward_metrics(accelerator, batch, rewards),
        **collect.length_metrics(accelerator, batch, lengths),
        "num_tokens": float(done.num_tokens),
        "epoch": done.cursor / len(run.source.samples),
        "step_time": time.monotonic() - started,
    }
    return metrics, collect.rows(batch, signal.advantages, run.source.task)


def seed_step(run: Run) -> None:
    """Seed what draws of its own accord, such as dropout, so that a resumed run draws the same.

    Answers do not depend on it: each prompt has a seed of its own.
    """
    accelerator, done = run.source.accelerator, run.source.progress
    place = done.step * accelerator.num_processes + accelerator.process_index
    set_seed(collect.rollout_seed(run.config.train.seed, place))


def parts(run: Run, batch: Batch) -> list[range]:
    """Which of this device's groups each update takes; none at all where the step is skipped."""
    config, size = run.config.algorithm, len(batch.groups)
    if batch.exhausted and config.on_exhausted == "skip":
        return [range(0)]
    cuts = [size * i // config.num_mini_batches for i in range(config.num_mini_batches + 1)]
    once = [range(first, last) for first, last in pairwise(cuts)]
    return once * config.num_iterations


def update(run: Run, batch: Batch, signal: Signal, part: range) -> dict[str, float]:
    """One optimizer step on some of the groups, and its metrics.

    Groups that teach nothing are never forwarded.
    """
    passes = objective.passes(run.source, batch, [row for row in part if signal.teaches[row]])
    metrics = backward(run, batch, signal, passes, token_weights(run, batch, part))
    if passes:  # else there are no gradients at all, and AdamW leaves the weights alone
        accelerator, limit = run.source.accelerator, run.config.train.max_grad_norm
        norm = distributed.clip(accelerator, run.source.policy.module, limit)
    else:
        norm = 0.0
    run.optimizer.step()
    run.optimizer.zero_grad()
    return metrics | {"grad_norm": norm}


def token_weights(run: Run, batch: Batch, part: range) -> Tensor:
    """What a token of each completion weighs in an update of a part of the groups: [b, G]."""
    weights = torch.zeros_like(batch.lengths)
    if part:
        own = batch.lengths[part.start : part.stop]
        lengths = distributed.gather(run.source.accelerator, own)
        limit = run.config.sampling.max_completion_length
        whole = algorithms.token_weights(lengths, run.config.algorithm, limit)
        weights[part.start : part.stop] = distributed.local_rows(run.source.accelerator, whole)
    return weights


def means(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric over the updates that have it."""
    names = dict.fromkeys(name for one in updates for name in one)
    return {name: fmean(one[name] for one in updates if name in one) for name in names}


def backward(
    run: Run, batch: Batch, signal: Signal, passes: Sequence[Pass], weights: Tensor
) -> dict[str, float]:
    """Accumulate the gradient of an update, and return its loss and what else was measured."""
    accelerator, module = run.source.accelerator, run.source.policy.module
    total = torch.zeros(1, device=accelerator.device)
    sums: list[Sums] = []
    for number, (rows, scale) in enumerate(passes, 1):
        with distributed.accumulation(accelerator, module, last=number == len(passes)):
            loss, measured = run.objective.loss(
                run.source, batch, signal, rows, scale * weights[rows]
            )
            # Data parallelism averages gradients over devices; the loss is a sum over them.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
        sums += [{name: scale * value for name, value in measured.items()}]
    return {
        "loss": float(distributed.gather(accelerator, total).sum()),
        **token_means(accelerator, sums),
    }


def token_means(accelerator: Accelerator, sums: Sequence[Sums]) -> dict[str, float]:
    """Means over all devices' tokens of what was summed over them."""
    if not sums:
        return {}
    names = sorted(sums[0])
    mine = torch.stack([sum((one[name] for one in sums), torch.zeros(())) for name in names])
    total = dict(zip(names, distributed.gather(accelerator, mine.cpu()[None]).sum(0), strict=True))
    tokens = total.pop("tokens")
    return {name: float(value / tokens.clamp(min=1)) for name, value in total.items()}
