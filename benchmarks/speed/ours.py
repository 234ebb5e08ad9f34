"""Our side: `vrft.update.step` as it is, on a run whose completions never end early."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from benchmarks.speed.questions import SEED, Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.watch import Clock, Step, Watched
from vrft import models
from vrft.config.methods import AlgorithmConfig
from vrft.config.schema import Config, ModelConfig, SamplingConfig, TrainConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.policy.policy import ModelPolicy
from vrft.training import distributed, train
from vrft.training import step as update
from vrft.training.checkpoint import Progress
from vrft.training.collect import Batch, Source
from vrft.training.objective import GroupObjective, Signal, Sums
from vrft.types import Rollout

Completions = dict[tuple[int, ...], list[tuple[int, ...]]]
"""Token ids of a prompt's completions, by the prompt's token ids."""


class Endless(LoadedModel):
    """A model whose completions end only at ``max_completion_length``."""

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """A token that is never sampled."""
        return frozenset(self.banned_ids[:1])


class TimedPolicy(ModelPolicy):
    """A policy that tells the clock what it does, and cuts completions as the setting has it.

    Where ``given`` is not empty its completions are returned in the place of what was sampled, and
    ``logps_of`` keeps the log-probabilities of each.
    """

    def __init__(self, loaded: LoadedModel, clock: Clock, setting: Setting) -> None:
        super().__init__(loaded)
        self.clock, self.setting = clock, setting
        self.given: Completions = {}
        self.logps_of: dict[tuple[int, ...], Tensor] = {}

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        with self.clock.during("rollout"):
            drawn = self.draw(encoded, num_generations, sampling, seeds)
        lengths = self.setting.lengths
        cut = [[one.tokens[:n] for one, n in zip(rows, lengths, strict=True)] for rows in drawn]
        if self.given:
            cut = [self.given[tuple(one.tokens.tolist())] for one in encoded]
        return [
            tuple(self.rollout(row, one.views) for row in rows)
            for rows, one in zip(cut, encoded, strict=True)
        ]

    def draw(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """What is sampled, of full length."""
        return super().sample(encoded, num_generations, sampling, seeds)

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        found = super().logps(encoded, groups, temperature)
        if self.given:
            rollouts = (rollout for group in groups for rollout in group)
            for one, row in zip(rollouts, found.detach().flatten(0, 1), strict=True):
                self.logps_of[one.tokens] = row[: len(one.tokens)]
        return found


@dataclass(frozen=True)
class TimedObjective(GroupObjective):
    """GPG's objective with its forward pass timed; ``skip``: tied groups are not forwarded."""

    clock: Clock
    skip: bool = True

    def judge(self, source: Source, batch: Batch) -> Signal:
        signal = super().judge(source, batch)
        return signal if self.skip else replace(signal, teaches=signal.teaches | True)

    def loss(
        self, source: Source, batch: Batch, signal: Signal, rows: Sequence[int], weights: Tensor
    ) -> tuple[Tensor, Sums]:
        with self.clock.during("forward"):
            return super().loss(source, batch, signal, rows, weights)


class Ours(Watched):
    """A run of the benchmark's task, one step at a time."""

    def __init__(
        self,
        questions: Questions,
        folder: Path,
        device: str,
        *,
        checkpointing: bool = False,
        skip: bool = True,
        shared: bool = True,
        policy: Callable[[LoadedModel, Clock, Setting], TimedPolicy] = TimedPolicy,
    ) -> None:
        config = configuration(questions, folder, checkpointing=checkpointing, shared=shared)
        loaded = models.load_model(config.model, train=True, device=device)
        fields = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
        super().__init__(loaded.core, loaded.processor)
        self.policy = policy(Endless(**fields), self.clock, questions.setting)
        accelerator = distributed.accelerator(config.model)
        samples = questions.samples("train")
        run = train.finish(Source(config, questions, samples, self.policy, accelerator, Progress()))
        self.run = replace(run, objective=TimedObjective(self.clock, skip))
        self.watch_backward(accelerator)
        self.watch_optimizer(self.run.optimizer.optimizer)

    def step(self) -> Step:
        """One optimizer step."""
        self.clock.start()
        update.step(self.run)
        return self.clock.stop()


def configuration(
    questions: Questions, folder: Path, *, checkpointing: bool, shared: bool
) -> Config:
    """GPG with what TRL does by default: the group's deviation, the mean over all tokens."""
    setting = questions.setting
    return Config(
        model=ModelConfig(
            name=str(folder), gradient_checkpointing=checkpointing, shared_prefix=shared
        ),
        algorithm=AlgorithmConfig(num_generations=setting.generations, token_mean="global"),
        sampling=SamplingConfig(max_completion_length=setting.completion, max_prompt_length=None),
        train=TrainConfig(
            per_device_train_batch_size=1,
            gradient_accumulation_steps=setting.prompts,
            max_steps=questions.steps,
            max_grad_norm=1e9,  # measured on both sides, never reached
            dataloader_num_workers=0,  # each side computes with one thread alone
            seed=SEED,
        ),
    )
