"""Learning per second: a held-out measure over the processor time of training, ours and TRL's.

Both sides take the steps of a bed's configuration: the same prompts in the same order, rewards,
optimizer and schedule, and the same update, as GPG on fresh samples is GRPO without a KL term.
They take their steps in turns in one process, and each has a clock of its own, which stands still
while the other steps and while greedy answers to held-out questions are judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks import publishing
from benchmarks.speed import theirs
from benchmarks.speed.beds import Bed
from vrft import paths, policy, registry
from vrft.config.schema import Config
from vrft.evaluation.scoring import read_samples
from vrft.processes import distributed
from vrft.rewards import rewards_of, to_trl
from vrft.task import Task
from vrft.training import train
from vrft.training.run import Run
from vrft.training.step import step
from vrft.training.stream import shuffled_index
from vrft.types import Rollout, Sample

SHARE = 0.8
"""The share of TRL's whole gain that is the goal; the times until it is reached are compared."""

CLOCK = "processor"
"""What the seconds of a comparison are of: time that others' processes take does not count."""

Weights = Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Point:
    """The mean held-out measure of greedy answers after ``seconds`` of training."""

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
    """The curves of both sides with one seed, and the commit with which they were measured.

    ``clock`` names what their seconds are of: "processor", or "wall" in older measurements.
    """

    ours: Curve
    theirs: Curve
    clock: str = "wall"
    commit: str = ""

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


class Examination:
    """Held-out questions, a model of its own that answers them, and the clock of a learner.

    With a model apart, both sides are examined by the same code, and no learner has to leave its
    training mode.
    """

    def __init__(self, bed: Bed, settings: Config, task: Task[Any]) -> None:
        self.bed, self.task, self.last = bed, task, settings.train.max_steps
        self.samples = read_samples(task, bed.held_out, settings.eval.limit)
        self.policy = policy.load(settings.model, device="cpu")
        self.greedy = replace(settings.sampling, temperature=0.0)
        self.points: list[Point] = []
        self.trained = 0.0  # seconds
        self.resumed = 0.0

    def resume(self) -> None:
        """Let the learner's clock run."""
        self.resumed = time.process_time()

    def pause(self) -> None:
        """Stop the learner's clock."""
        self.trained += time.process_time() - self.resumed

    def take(self, step: int, weights: Weights) -> None:
        """Add a point where an examination is due."""
        if step % self.bed.every and step != self.last:
            return
        self.policy.loaded.core.load_state_dict(weights())
        measures = []
        for first in range(0, len(self.samples), self.bed.batch):
            measures += self.measures(self.samples[first : first + self.bed.batch])
        self.points.append(Point(step, self.trained, fmean(measures)))

    def measures(self, samples: Sequence[Sample[Any]]) -> list[float]:
        """Return the measure of each sample's greedy answer."""
        prompts = [self.task.prompt(sample) for sample in samples]
        # greedy answers need no seeds
        answers = self.policy.generate(prompts, 1, self.greedy, [0] * len(samples))
        return [
            self.measure(sample, answer) for sample, (answer,) in zip(samples, answers, strict=True)
        ]

    def measure(self, sample: Sample[Any], answer: Rollout) -> float:
        """Return the bed's metric of an answer, or the sum of its rewards."""
        if self.bed.metric:
            return self.task.score(sample, answer.completion).metrics[self.bed.metric]
        rewards = rewards_of(self.task, sample, answer.completion)
        return sum(value or 0.0 for value in rewards.values())


class Ours:
    """Our side: the steps of ``vrft train``, one at a time."""

    def __init__(self, bed: Bed, settings: Config, task: Task[Any]) -> None:
        self.exam = Examination(bed, settings, task)
        samples = read_samples(task, "train")
        accelerator = distributed.accelerator(settings.model)
        self.run: Run = train.prepare(settings, task, samples, accelerator)
        self.weights: Weights = self.run.policy.loaded.core.state_dict  # type: ignore[attr-defined]

    def take(self, number: int) -> None:
        """Take a step, and the examination that is due after it; 0 is the untrained model's."""
        # The other side's draws must not depend on ours: both use torch's global generator.
        with torch.random.fork_rng(devices=[]):
            if number:
                self.exam.resume()
                step(self.run)
                self.exam.pause()
            self.exam.take(number, self.weights)

    def close(self) -> None:
        """End the threads that read ahead."""
        self.run.reader.close()


class Turns(TrainerCallback):
    """TRL's own loop, after each of whose steps our side takes one."""

    def __init__(self, exam: Examination, weights: Weights, ours: Ours) -> None:
        self.exam, self.weights, self.ours = exam, weights, ours

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Examine both untrained models."""
        self.exam.take(0, self.weights)
        self.ours.take(0)
        self.exam.resume()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Examine TRL's model where it is due, and take our step."""
        self.exam.pause()
        self.exam.take(state.global_step, self.weights)
        self.ours.take(state.global_step)
        self.exam.resume()


def compare(bed: Bed, seed: int, settings: Sequence[str] = ()) -> Comparison:
    """Return both curves of one seed; ``settings`` are laid over the bed's.

    Raises RuntimeError if the two sides would read different prompts.
    """
    chosen = bed.configuration(seed, settings)
    task: Task[Any] = registry.build(chosen.task)
    exam = Examination(bed, chosen, task)
    ours = Ours(bed, chosen, task)
    model, trainer = trl_trainer(chosen, task, exam)
    trainer.add_callback(Turns(exam, model.state_dict, ours))
    try:
        trainer.train()
    finally:
        ours.close()
    own, other = (Curve(side, seed, tuple(done.points))
                  for side, done in (("ours", ours.exam), ("theirs", exam)))  # fmt: skip
    return Comparison(own, other, clock=CLOCK, commit=publishing.commit())


def trl_trainer(chosen: Config, task: Task[Any], exam: Examination) -> tuple[Any, Any]:
    """Return a model and TRL's GRPOTrainer of it, without activation checkpointing."""
    method, training, sampling = chosen.algorithm, chosen.train, chosen.sampling
    samples = read_samples(task, "train")
    source = paths.model(chosen.model.name)
    has_vision = exam.policy.loaded.family.has_vision
    auto: Any = AutoModelForImageTextToText if has_vision else AutoModelForCausalLM
    model = auto.from_pretrained(source)
    processor, encode = theirs.load_processor(source), exam.policy.encode
    # the samples in the order in which our run draws them
    order = [
        shuffled_index(len(samples), training.seed, place)
        for place in range(training.max_steps * training.per_device_train_batch_size)
    ]
    data = theirs.dataset(task, [samples[index] for index in order])
    if not has_vision:
        require_same_prompt(processor, data[0]["prompt"], encode([task.prompt(samples[order[0]])]))
    trainer = theirs.make_trainer(
        GRPOTrainer,
        model=model,
        processor=processor,
        rewards=[
            # a box is read in the space of the picture as the model sees it
            to_trl(name, reward, samples, lambda sample: encode([task.prompt(sample)])[0].views)
            for name, reward in task.rewards().items()
        ],
        data=data,
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
        seed=training.seed,
    )
    return model, trainer


def require_same_prompt(processor: Any, messages: Any, encoded: Sequence[Any]) -> None:
    """Raise RuntimeError if TRL's template makes other tokens of a prompt than our encoder."""
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    tokens = processor(text)["input_ids"]
    if tokens != encoded[0].tokens.tolist():
        raise RuntimeError(f"TRL reads {tokens}, we read {encoded[0].tokens.tolist()}")
