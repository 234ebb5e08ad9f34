"""Learning per second: the held-out reward over the time spent on it, ours and TRL's.

Both sides take the steps of the demo's configuration: the same prompts in the same order, rewards,
optimizer and schedule, and the same update, as GPG on fresh samples is GRPO without a KL term.
Between steps the clock stands still while greedy answers to held-out questions are graded.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any

from datasets import Dataset
from torch import Tensor
from transformers import AutoModelForImageTextToText, PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.speed import theirs
from vrft import config, paths, policy, registry
from vrft.config.schema import Config
from vrft.evaluation.scoring import read_samples
from vrft.rewards import rewards_of, to_trl
from vrft.task import Task
from vrft.training import collect, distributed, train
from vrft.training import step as update
from vrft.types import Sample

CONFIG = "demo/lisa_grounding"
HELD_OUT = "val"
EVERY = 25
"""Steps between examinations."""

BATCH = 20
"""Held-out questions that are answered together."""

SHARE = 0.8
"""How much of what TRL gained by its end is the goal whose time is compared."""


@dataclass(frozen=True)
class Point:
    """The mean held-out reward of greedy answers after ``seconds`` of training."""

    step: int
    seconds: float
    reward: float


@dataclass(frozen=True)
class Curve:
    """How a side learned with a seed; its first point is the untrained model."""

    side: str
    seed: int
    points: tuple[Point, ...]

    def seconds_to(self, reward: float) -> float | None:
        """When the line through the points first reaches a reward; None where it never does."""
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
        """The reward whose time is compared."""
        first, last = self.theirs.points[0].reward, self.theirs.points[-1].reward
        return first + SHARE * (last - first)

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """When TRL and we reached the goal."""
        return self.theirs.seconds_to(self.goal), self.ours.seconds_to(self.goal)

    @property
    def ratio(self) -> float | None:
        """TRL's time to the goal over ours; None where one of both never reached it."""
        theirs, ours = self.seconds
        return theirs / ours if theirs and ours else None


def compare(
    pool: Executor, seeds: Sequence[int], settings: Sequence[str] = (), every: int = EVERY
) -> Iterator[Comparison]:
    """Both sides with each seed; ``settings`` are laid over the demo's configuration."""
    started = [
        [pool.submit(side, seed, settings, every) for side in (learn, learn_with_trl)]
        for seed in seeds
    ]
    for pair in started:
        yield Comparison(*(curve.result() for curve in pair))


def configuration(seed: int, settings: Sequence[str]) -> Config:
    """The demo's, with tokens averaged as TRL does and without what TRL has not."""
    same = ("algorithm.alpha=false", "algorithm.token_mean=global", f"train.seed={seed}")
    return config.load(CONFIG, [*same, *settings])


class Examination:
    """Held-out questions, and a model of its own that answers them with a learner's weights."""

    def __init__(self, settings: Config, task: Task[Any], every: int) -> None:
        self.settings, self.task, self.every = settings, task, every
        self.samples = read_samples(task, HELD_OUT, settings.eval.limit)
        self.policy = policy.load(settings.model, device="cpu")
        self.greedy = replace(settings.sampling, temperature=0.0)
        self.points: list[Point] = []
        self.started = time.perf_counter()
        self.stopped = 0.0

    def due(self, step: int) -> bool:
        """Whether there is one after this step."""
        return step % self.every == 0 or step == self.settings.train.max_steps

    def take(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Answer with these weights and add a point; the time that it takes does not count."""
        began = time.perf_counter()
        self.policy.loaded.core.load_state_dict(weights)
        rewards: list[float] = []
        for first in range(0, len(self.samples), BATCH):
            rewards += self.graded(self.samples[first : first + BATCH])
        self.points.append(Point(step, began - self.started - self.stopped, fmean(rewards)))
        self.stopped += time.perf_counter() - began

    def graded(self, samples: Sequence[Sample[Any]]) -> list[float]:
        """The sum of all rewards of each sample's greedy answer."""
        prompts = [self.task.prompt(sample) for sample in samples]
        answers = self.policy.generate(prompts, 1, self.greedy, [0] * len(samples))
        return [
            sum(value or 0.0 for value in rewards_of(self.task, sample, one.completion).values())
            for sample, (one,) in zip(samples, answers, strict=True)
        ]


def learn(seed: int, settings: Sequence[str], every: int) -> Curve:
    """Our curve: the steps of `vrft train`."""
    chosen = configuration(seed, settings)
    run = train.prepare(chosen, distributed.accelerator(chosen.model))
    exam = Examination(chosen, run.source.task, every)
    weights = run.source.policy.loaded.core.state_dict  # type: ignore[attr-defined]
    exam.started = time.perf_counter()
    exam.take(0, weights())
    for step in range(1, chosen.train.max_steps + 1):
        update.step(run)
        if exam.due(step):
            exam.take(step, weights())
    run.source.ahead.close()
    return Curve("ours", seed, tuple(exam.points))


class Examined(TrainerCallback):
    """Examines TRL's model between its steps."""

    def __init__(self, exam: Examination, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        self.exam, self.weights = exam, weights

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.exam.started = time.perf_counter()
        self.exam.take(0, self.weights())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.exam.due(state.global_step):
            self.exam.take(state.global_step, self.weights())


def learn_with_trl(seed: int, settings: Sequence[str], every: int) -> Curve:
    """TRL's curve: its GRPOTrainer in its own loop, all rows of a step at once, all activations
    kept."""
    theirs.score_completions_only()
    chosen = configuration(seed, settings)
    task: Task[Any] = registry.build(chosen.task)
    exam = Examination(chosen, task, every)
    model = AutoModelForImageTextToText.from_pretrained(paths.model(chosen.model.name))
    samples = read_samples(task, "train")
    encode = exam.policy.encode
    rewards: list[Any] = [
        to_trl(name, reward, samples, lambda one: encode([task.prompt(one)])[0].views)
        for name, reward in task.rewards().items()
    ]
    with tempfile.TemporaryDirectory() as unused:
        arguments = trl_arguments(chosen, unused, exam.policy.loaded.banned_ids)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=rewards,
        args=arguments,
        train_dataset=dataset(chosen, task, samples),
        processing_class=theirs.processor(paths.model(chosen.model.name)),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Examined(exam, model.state_dict))
    trainer.train()
    return Curve("theirs", seed, tuple(exam.points))


def dataset(chosen: Config, task: Task[Any], samples: Sequence[Sample[Any]]) -> Dataset:
    """The samples in the order in which our run draws them."""
    count = chosen.train.max_steps * chosen.train.per_device_train_batch_size
    seed = chosen.train.seed
    places = [collect.shuffled(len(samples), seed, place) for place in range(count)]
    return theirs.dataset(task, [samples[place] for place in places])


def trl_arguments(chosen: Config, folder: str, banned: Sequence[int]) -> Any:
    """The configuration by TRL's names; everything else is as TRL comes."""
    train, method = chosen.train, chosen.algorithm
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        gradient_checkpointing=None,  # type: ignore[arg-type]  # the old name of the line above
        beta=0.0,
        scale_rewards={"none": "none", "group_std": "group"}[method.f_norm],
        num_generations=method.num_generations,
        per_device_train_batch_size=train.per_device_train_batch_size * method.num_generations,
        max_completion_length=chosen.sampling.max_completion_length or 0,
        temperature=chosen.sampling.temperature,
        generation_kwargs={"suppress_tokens": list(banned)},
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.lr_scheduler_type,
        max_grad_norm=train.max_grad_norm,
        max_steps=train.max_steps,
        shuffle_dataset=False,
        seed=train.seed,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )
