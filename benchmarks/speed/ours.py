"""Our side: ``vrft.training.step`` as it is, on a run whose completions never end early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from benchmarks.speed.contestant import Contestant, Step, TokenIds
from benchmarks.speed.questions import SEED, Questions
from vrft import models
from vrft.config.methods import AlgorithmConfig
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config, ModelConfig, TrainConfig
from vrft.models.encoding import Encoded
from vrft.policy.policy import ModelPolicy
from vrft.processes import distributed
from vrft.training import train
from vrft.training.step import step
from vrft.training.trainer_state import Progress
from vrft.types import Rollout

NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})


class TimedPolicy(ModelPolicy):
    """A policy that tells its contestant what it does.

    Where ``given`` has completions, by the token ids of their prompt, they replace those that were
    sampled: both sides then learn from the same texts.
    """

    def __init__(self, loaded: models.LoadedModel, side: Contestant) -> None:
        super().__init__(loaded)
        self.side = side
        self.given: dict[TokenIds, list[TokenIds]] = {}

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
        *,
        record: bool = False,
    ) -> list[tuple[Rollout, ...]]:
        """Sample, timed as the rollout, also where the given completions are returned."""
        with self.side.clock.during("rollout"):
            sampled = super().sample(encoded, num_generations, sampling, seeds, record=record)
        if not self.given:
            return sampled
        # Sampled all the same: what passed the weights in this step is counted.
        return [
            tuple(
                self.rollout(tokens, prompt) for tokens in self.given[tuple(prompt.tokens.tolist())]
            )
            for prompt in encoded
        ]

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        """Return log-probabilities [B, G, C], timed as the forward pass."""
        with self.side.clock.during("forward"):
            logps_BGC = super().logps(encoded, groups, temperature)
        if self.side.record is not None:
            for group, logps_GC in zip(groups, logps_BGC.detach(), strict=True):
                for rollout, logps_C in zip(group, logps_GC, strict=True):
                    # zeros stand behind the end of a shorter completion
                    own = logps_C[: len(rollout.tokens)].cpu()
                    self.side.record.logps[tuple(rollout.tokens)] = own
        return logps_BGC


class Ours(Contestant):
    """A run of the race's task, one step at a time."""

    def __init__(
        self,
        questions: Questions,
        folder: Path,
        device: str,
        *,
        checkpointing: bool = False,
        model: Mapping[str, Any] = NO_SETTINGS,
    ) -> None:
        """Load the model; ``model`` are settings of its ModelConfig beside those of the race."""
        config = configuration(questions, folder, checkpointing=checkpointing)
        config = replace(config, model=replace(config.model, **model))
        loaded = models.load_model(config.model, train=True, device=device)
        super().__init__(loaded.core, loaded.processor)
        # A completion ends only at its full length: no token that can be sampled is an end.
        loaded.end_ids = frozenset(loaded.banned_ids[:1])
        self.policy = TimedPolicy(loaded, self)
        accelerator = distributed.accelerator(config.model)
        samples = questions.samples("train")
        self.run = train.make_run(config, questions, samples, self.policy, accelerator, Progress())
        self.watch_backward(accelerator)
        self.watch_optimizer(self.run.optimizer.optimizer)

    def step(self) -> Step:
        """Take one optimizer step and return its times."""
        self.clock.start()
        step(self.run)
        return self.clock.stop()


def configuration(questions: Questions, folder: Path, *, checkpointing: bool) -> Config:
    """Return GPG with TRL's defaults: the group's deviation, and the mean over all tokens."""
    setting = questions.setting
    return Config(
        model=ModelConfig(name=str(folder), gradient_checkpointing=checkpointing),
        algorithm=AlgorithmConfig(num_generations=setting.generations, token_mean="global"),
        sampling=SamplingConfig(max_completion_length=setting.completion, max_prompt_length=None),
        train=TrainConfig(
            # a group a micro-batch, as TRL's side has it
            per_device_train_batch_size=1,
            gradient_accumulation_steps=setting.prompts,
            max_steps=questions.steps,
            max_grad_norm=1e9,  # the norm is computed on both sides, and nothing is clipped
            dataloader_num_workers=0,  # each side computes with one thread alone
            seed=SEED,
        ),
    )
