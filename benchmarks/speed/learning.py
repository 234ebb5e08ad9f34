"""Learning per second: the held-out reward over the time spent on training, ours and TRL's.

Both sides take the steps of the demo's configuration: the same prompts in the same order, rewards,
optimizer and schedule, and the same update, as GPG on fresh samples is GRPO without a KL term.
Between steps the clock stands still while greedy answers to held-out questions are rewarded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any

from torch import Tensor
from transformers import AutoModelForImageTextToText, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.speed import theirs
from vrft import config, paths, policy, registry
from vrft.config.schema import Config
from vrft.evaluation.scoring import read_samples
from vrft.processes import distributed
from vrft.rewards import rewards_of, to_trl
from vrft.task import Task
from vrft.training import train
from vrft.training.step import step
from vrft.training.stream import shuffled_index
from vrft.types import Sample

CONFIG = "demo/lisa_grounding"
HELD_OUT = "val"
EVERY = 25
"""Steps between two examinations."""

BATCH = 20
"""Held-out questions that are answered together."""

SHARE = 0.8
"""The share of TRL's whole gain that is the goal; the times until it is reached are compared."""


@dataclass(frozen=True)
class Point:
    """The mean held-out reward of greedy answers after ``seconds`` of training."""

    step: int
    seconds: float
    reward: float


@dataclass(frozen=True)
class Curve:
    """The examinations of one side with one seed; the first point is the untrained model."""

    side: str
    seed: int
    points: tuple[Point, ...]

    def seconds_to(self, reward: float) -> float | None:
        """Return when the line through the points first reaches a reward; None if it never does."""
        if self.points[0].reward >= reward:
            return 0.0
        for before, after in pairwise(self.points):
            if after.reward >= reward:
                share = (reward - before.reward) / (after.reward - before.reward)
                return before.seconds + share * (after.seconds - before.seconds)
        return None


@dataclass(frozen=True)
class Comparison:
    """The curves of both sides with one seed."""

    ours: Curve
    theirs: Curve

    @property
    def goal(self) -> float:
        """Return the reward whose time is compared."""
        first, last = self.theirs.points[0].reward, self.theirs.points[-1].reward
        return first + SHARE * (last - first)

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """Return when TRL and we reached the goal."""
        return self.theirs.seconds_to(self.goal), self.ours.seconds_to(self.goal)

    @property
    def ratio(self) -> float | None:
        """Return TRL's time to the goal over ours; None if one of both never reached it."""
        of_trl, of_ours = self.seconds
        # a goal that was reached untrained, after 0 seconds, says nothing about speed either
        return of_trl / of_ours if of_trl and of_ours else None


def compare(
    pool: Executor, seeds: Sequence[int], settings: Sequence[str] = (), every: int = EVERY
) -> Iterator[Comparison]:
    """Yield both curves of each seed; ``settings`` are laid over the demo's configuration."""
    # all are submitted before the first is waited for
    curves = [
        [pool.submit(side, seed, settings, every) for side in (learn, learn_with_trl)]
        for seed in seeds
    ]
    for pair in curves:
        yield Comparison(*(curve.result() for curve in pair))


def configuration(seed: int, settings: Sequence[str]) -> Config:
    """Return the demo's configuration, tokens averaged as TRL does and without alpha."""
    same = ("algorithm.alpha=false", "algorithm.token_mean=global", f"train.seed={seed}")
    return config.load(CONFIG, [*same, *settings])


class Examination:
    """Held-out questions, and a model of its own that answers them with a learner's weights.

    With a model apart, both sides are examined by the same code, and no learner has to leave its
    training mode.
    """

    def __init__(self, settings: Config, task: Task[Any], every: int) -> None:
        self.task, self.every, self.last = task, every, settings.train.max_steps
        self.samples = read_samples(task, HELD_OUT, settings.eval.limit)
        self.policy = policy.load(settings.model, device="cpu")
        self.greedy = replace(settings.sampling, temperature=0.0)
        self.points: list[Point] = []
        self.trained = 0.0  # seconds
        self.resumed = 0.0

    def take(self, step: int, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Add a point where an examination is due; the time that it takes does not count."""
        if step % self.every and step != self.last:
            return
        # before the first step nothing was trained
        if step:
            self.trained += time.perf_counter() - self.resumed
        self.policy.loaded.core.load_state_dict(weights())
        rewards = []
        for first in range(0, len(self.samples), BATCH):
            rewards += self.rewards(self.samples[first : first + BATCH])
        self.points.append(Point(step, self.trained, fmean(rewards)))
        self.resumed = time.perf_counter()

    def rewards(self, samples: Sequence[Sample[Any]]) -> list[float]:
        """Return the sum of all rewards of each sample's greedy answer."""
        prompts = [self.task.prompt(sample) for sample in samples]
        # greedy answers need no seeds
        answers = self.policy.generate(prompts, 1, self.greedy, [0] * len(samples))
        return [
            sum(value or 0.0 for value in rewards_of(self.task, sample, answer.completion).values())
            for sample, (answer,) in zip(samples, answers, strict=True)
        ]


def learn(seed: int, settings: Sequence[str], every: int) -> Curve:
    """Return our curve: the steps of ``vrft train``."""
    chosen = configuration(seed, settings)
    task: Task[Any] = registry.build(chosen.task)
    samples = read_samples(task, "train")
    run = train.prepare(chosen, task, samples, distributed.accelerator(chosen.model))
    exam = Examination(chosen, task, every)
    weights = run.policy.loaded.core.state_dict  # type: ignore[attr-defined]
    exam.take(0, weights)
    for number in range(1, chosen.train.max_steps + 1):
        step(run)
        exam.take(number, weights)
    run.reader.close()  # the lane goes on, and its threads would stay
    return Curve("ours", seed, tuple(exam.points))


class Examined(TrainerCallback):
    """A callback that examines TRL's model between its steps."""

    def __init__(self, exam: Examination, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        self.exam, self.weights = exam, weights

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Examine the untrained model."""
        self.exam.take(0, self.weights)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Examine the model where it is due."""
        self.exam.take(state.global_step, self.weights)


def learn_with_trl(seed: int, settings: Sequence[str], every: int) -> Curve:
    """Return TRL's curve: its GRPOTrainer in its own loop, without activation checkpointing."""
    chosen = configuration(seed, settings)
    method, training, sampling = chosen.algorithm, chosen.train, chosen.sampling
    task: Task[Any] = registry.build(chosen.task)
    exam = Examination(chosen, task, every)
    samples = read_samples(task, "train")
    source = paths.model(chosen.model.name)
    model = AutoModelForImageTextToText.from_pretrained(source)
    encode = exam.policy.encode
    # the samples in the order in which our run draws them
    order = [
        shuffled_index(len(samples), seed, place)
        for place in range(training.max_steps * training.per_device_train_batch_size)
    ]
    trainer = theirs.make_trainer(
        GRPOTrainer,
        model=model,
        processor=theirs.load_processor(source),
        rewards=[
            # a box is read in the space of the picture as the model sees it
            to_trl(name, reward, samples, lambda sample: encode([task.prompt(sample)])[0].views)
            for name, reward in task.rewards().items()
        ],
        data=theirs.dataset(task, [samples[index] for index in order]),
        banned=exam.policy.loaded.banned_ids,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        # what TRL has no word for is a KeyError, and never another algorithm
        scale_rewards={"none": "none", "group_std": "group"}[method.f_norm],
        num_generations=method.num_generations,
        # TRL counts completions, we count prompts
        per_device_train_batch_size=training.per_device_train_batch_size * method.num_generations,
        max_completion_length=sampling.max_completion_length or 0,
        temperature=sampling.temperature,
        generation_kwargs={},
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        max_grad_norm=training.max_grad_norm,
        max_steps=training.max_steps,
        seed=seed,
    )
    trainer.add_callback(Examined(exam, model.state_dict))
    trainer.train()
    return Curve("theirs", seed, tuple(exam.points))
