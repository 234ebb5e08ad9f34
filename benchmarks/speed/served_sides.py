"""The sides of ``served_peer``: TRL with vLLM in its process, and ours with a server of vLLM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import publishing
from benchmarks.speed.contestant import Record, TokenIds, now
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.theirs import Theirs, TimedTrainer
from vrft import models
from vrft.config.rollout import RolloutConfig, SamplingConfig, VllmConfig
from vrft.config.schema import Config
from vrft.engines.requests import BAN
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.models.encoding import Encoded
from vrft.rollouts.rollouts import Rollouts
from vrft.types import Rollout

SERVER = publishing.ROOT / ".venv-vllm/bin/python"
"""The Python in which our server is started."""

PRECISION = "float16"
"""The precision of both engines."""

LENGTH = 512
"""Tokens of a prompt and its completion together that both engines take."""

DISTANCE = 0.01
"""The difference of a log-probability that float16 may have."""


class LogprobTrainer(TimedTrainer):
    """TRL's trainer that also records the log-probabilities of its engine."""

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        sampled = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        if self.side.record is not None and isinstance(self.side, Colocated):
            tokens, logps = sampled
            self.side.sampled |= {tuple(t): tuple(p) for t, p in zip(tokens, logps, strict=True)}
        return sampled


class Colocated(Theirs):
    """TRL's trainer with vLLM in its process.

    ``sampled`` are the engine's log-probabilities of recorded completions by their token ids,
    ``exchange`` the seconds of the last exchange of weights.
    """

    trainer_type = LogprobTrainer

    def __init__(self, questions: Questions, folder: Path) -> None:
        self.sampled: dict[TokenIds, tuple[float, ...]] = {}
        self.exchange = 0.0
        super().__init__(questions, folder, "cpu")
        generation = self.trainer.vllm_generation
        require_weights(generation.llm.llm_engine.model_executor.driver_worker.model_runner.model)
        send = generation.sync_weights

        def timed_send() -> None:
            began = now()
            send()
            self.exchange = now() - began

        generation.sync_weights = timed_send

    def sampling(self, setting: Setting, loaded: models.LoadedModel) -> dict[str, Any]:
        """Return the settings of the engine, by which no completion ends early."""
        return {
            "banned": (),
            "generation_kwargs": {"logit_bias": dict.fromkeys(never_sampled(loaded), BAN)},
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_max_model_length": LENGTH,
        }


class TimedEngine(VllmEngine):
    """Our engine that tells its contestant what it does.

    ``given`` are completions with an engine's log-probabilities, by the token ids of their prompt,
    which are returned instead of sampled ones.
    """

    def __init__(self, config: Config, side: Served, folder: Path) -> None:
        self.side = side
        self.given: dict[TokenIds, list[tuple[TokenIds, tuple[float, ...]]]] = {}
        super().__init__(config, side.policy, folder)

    def sync(self, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        """Exchange weights, timed as a part of the rollout."""
        with self.side.clock.during("rollout"):
            super().sync(weights)

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        """Sample, timed as the rollout, also where the given completions are returned."""
        with self.side.clock.during("rollout"):
            sampled = super().sample(encoded, num_generations, sampling, seeds)
        if not self.given:
            return sampled
        return [
            tuple(
                replace(self.policy.rollout(tokens, prompt), logprobs=logps)
                for tokens, logps in self.given[tuple(prompt.tokens.tolist())]
            )
            for prompt in encoded
        ]


class Served(Ours):
    """Our run with a server of vLLM."""

    def __init__(self, questions: Questions, folder: Path, scratch: Path) -> None:
        super().__init__(questions, folder, "cpu")
        loaded, setting = self.policy.loaded, questions.setting
        # Ends that cannot be sampled: a server that met one would end the completion by itself.
        plain = models.LoadedModel(loaded.model, loaded.processor, loaded.family)
        loaded.banned_ids, loaded.end_ids = never_sampled(plain), plain.end_ids
        vllm = VllmConfig(
            python=str(SERVER),
            arguments=("--dtype", PRECISION),
            max_model_length=LENGTH,
            max_num_seqs=setting.prompts * setting.generations,
            max_logprob_difference=DISTANCE,
            strict=True,
        )
        config = replace(self.run.config, rollout=RolloutConfig("vllm", vllm))
        self.engine = TimedEngine(config, self, scratch)
        made = Rollouts(self.engine, config, self.run.accelerator)
        self.run = replace(self.run, config=config, rollouts=made)

    @property
    def exchange(self) -> float:
        """Return the seconds of the last exchange of weights."""
        return self.engine.sync_seconds


def never_sampled(loaded: models.LoadedModel) -> tuple[int, ...]:
    """Return the tokens that neither side samples: those that are banned, and all ends."""
    return tuple(sorted({*loaded.banned_ids, *loaded.end_ids}))


def require_weights(model: nn.Module) -> None:
    """Raise UserError where vLLM has freed weights, as TRL can then exchange none."""
    freed = [name for name, weight in model.named_parameters() if not weight.numel()]
    if freed:
        raise UserError(
            f"vLLM has packed {freed[0]} and {len(freed) - 1} more weights in {PRECISION}, and TRL "
            "has none to load new ones into; take a processor without float16 arithmetic"
        )


def distance(record: Record, sampled: Mapping[TokenIds, Sequence[float]]) -> float:
    """Return the largest difference of an engine's log-probabilities from the trainer's."""
    return max(
        float((record.logps[tokens] - torch.tensor(logps)).abs().max())
        for tokens, logps in sampled.items()
    )


def declared(folder: Path, copy: Path) -> Path:
    """Return a copy of a model's folder whose configuration declares the engines' precision.

    TRL has no setting for it: vLLM takes the one that the configuration names.
    """
    shutil.copytree(folder, copy)
    file = copy / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"dtype": PRECISION}
    file.write_text(json.dumps(config), encoding="utf-8")
    return copy
