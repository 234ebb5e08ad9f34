"""The workers of a run's rewards: their limits by the run's settings, their logs, their end."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from vrft import launched
from vrft.config.schema import Config, TrainConfig
from vrft.reward_workers import isolation
from vrft.reward_workers.worker_process import GIB, Limits
from vrft.runs import fresh_folder
from vrft.task import Task, samples_of
from vrft.training.stream import step_seed
from vrft.types import A, Sample


def isolated(config: Config, task: Task[A], sample: Sample[A]) -> Task[A]:
    """Return the task with the rewards of a user's own in workers, within the run's limits.

    The task stays as it is where ``train.reward_timeout`` is 0. ``sample`` is one of its samples.
    """
    train = config.train
    if not train.reward_timeout:
        return task
    limits = Limits(
        seconds=train.reward_timeout,
        start=max(Limits.start, train.reward_timeout),  # a first call may take what any other may
        memory=int(train.reward_memory * GIB),
    )
    return isolation.isolated(
        task, sample, limits, train.max_missing_rewards, partial(seed_of_step, train)
    )


def isolated_for_check(config: Config, task: Task[A], split: str) -> Task[A]:
    """Return the task as ``isolated`` does, with the first sample of a split.

    Nothing is read for a task that has no rewards of a user's own.
    """
    first = samples_of(task, split)[:1] if isolation.of_user(task) else ()
    return isolated(config, task, first[0]) if first else task


def seed_of_step(train: TrainConfig, step: int) -> int:
    """Return the seed of a step's random numbers on this device, as ``step.step`` sets it."""
    return step_seed(train.seed, step, launched.processes(), launched.process())


def begin(config: Config, task: Task[Any], folder: Path) -> None:
    """Keep what the workers print in a run's folder, and name the rewards that have no worker."""
    process = launched.process()
    for worker in isolation.workers_of(task):
        name = worker.name if process == 0 else f"{worker.name}-{process}"
        worker.output.keep_in(folder / fresh_folder.REWARDS / f"{name}.log")
    free = isolation.in_process(task)
    if free and config.train.reward_timeout and launched.speaks():
        print(
            f"note: {', '.join(free)}: computed in this process, without limits of time and "
            "memory, as no file names the function; give it as file.py:function for a worker",
            file=sys.stderr,
        )


def close(task: Task[Any]) -> None:
    """End the workers of a task; one that is asked again starts anew."""
    for worker in isolation.workers_of(task):
        worker.close()
