"""A policy of one table and a task that it must learn: the whole training step without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from vrft.config.methods import AlgorithmConfig
from vrft.config.rollout import SamplingConfig
from vrft.config.schema import Config, TrainConfig
from vrft.rewards import rewards_of
from vrft.task import Reward, Task
from vrft.training import train
from vrft.training.run import Run
from vrft.training.step import step
from vrft.training.trainer_state import Progress
from vrft.types import Completion, Prompt, Rollout, Sample, Score, View

LETTERS = "abcdef"
END = len(LETTERS)

CONFIG = Config(
    algorithm=AlgorithmConfig(num_generations=4),
    sampling=SamplingConfig(max_completion_length=6),
    train=TrainConfig(
        per_device_train_batch_size=6,
        learning_rate=0.2,
        lr_scheduler_type="constant",
        max_steps=40,
        max_grad_norm=0.0,
    ),
)


@dataclass(frozen=True)
class Echo(Task[str]):
    """Asked for a letter, write nothing but that letter: the reward is its share of the answer."""

    count: int = 24
    primary = "share"
    data = "none"

    def samples(self, split: str) -> Sequence[Sample[str]]:
        return [
            Sample(f"{split}-{i}", LETTERS[i % len(LETTERS)], LETTERS[i % len(LETTERS)])
            for i in range(self.count)
        ]

    def prompt(self, sample: Sample[str]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return sample.answer * 3

    def rewards(self) -> Mapping[str, Reward[str]]:
        return {"share": share}

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        return Score({"share": share(sample, completion)}, completion.text or None)


def share(sample: Sample[str], completion: Completion) -> float:
    """The share of the asked letter in the completion."""
    return completion.text.count(sample.answer) / max(len(completion.text), 1)


@dataclass(frozen=True)
class SameForAll(Echo):
    """A task whose reward is the same for every answer to some of the letters."""

    dead: str = "abc"

    def rewards(self):  # type: ignore[no-untyped-def]
        return {"share": lambda s, c: 0.7 if s.answer in self.dead else share(s, c)}


class Bigram(nn.Module):
    """Next-token logits by asked letter and last token: a table [letters, tokens, tokens]."""

    def __init__(self) -> None:
        super().__init__()
        size = len(LETTERS)
        self.table = nn.Parameter(torch.zeros(size, size + 1, size + 1))
        self.rows = 0

    def forward(self, prompts: Sequence[int], completions: list[list[list[int]]]) -> Tensor:
        longest = max(len(c) for group in completions for c in group)
        out = []
        for asked, group in zip(prompts, completions, strict=True):
            for tokens in group:
                before = torch.tensor([END, *tokens[:-1]])
                logps = self.table[asked][before].log_softmax(-1)
                chosen = logps.gather(1, torch.tensor(tokens).unsqueeze(1)).squeeze(1)
                out.append(nn.functional.pad(chosen, (0, longest - len(tokens))))
            self.rows += 1
        return torch.stack(out).unflatten(0, (len(prompts), -1))


class BigramPolicy:
    """The policy protocol over a Bigram."""

    def __init__(self) -> None:
        self.module: nn.Module = Bigram()

    def encode(self, prompts: Sequence[Prompt], max_length: int | None = None) -> list[int]:
        return [LETTERS.index(prompt.text) for prompt in prompts]

    @torch.no_grad()
    def sample(
        self, encoded: Sequence[int], num: int, sampling: SamplingConfig, seeds: Sequence[int]
    ) -> list[tuple[Rollout, ...]]:
        table = next(self.module.parameters())
        out = []
        for asked, seed in zip(encoded, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            group = []
            for _ in range(num):
                tokens = [END]
                while len(tokens) <= sampling.max_completion_length:
                    probabilities = table[asked][tokens[-1]].softmax(-1)
                    tokens.append(int(torch.multinomial(probabilities, 1, generator=generator)))
                    if tokens[-1] == END:
                        break
                text = "".join(LETTERS[t] for t in tokens[1:] if t != END)
                group.append(Rollout(Completion(text), tuple(tokens[1:]), tokens[-1] == END))
            out.append(tuple(group))
        return out

    def logps(
        self, encoded: Sequence[int], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        tokens = [[list(rollout.tokens) for rollout in group] for group in groups]
        out: Tensor = self.module(encoded, tokens)
        return out

    def generate(
        self, prompts: Sequence[Prompt], num: int, sampling: SamplingConfig, seeds: Sequence[int]
    ) -> list[tuple[Rollout, ...]]:
        return self.sample(self.encode(prompts), num, sampling, seeds)

    def length(self, encoded: int) -> int:
        return 1

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        torch.save(self.module.state_dict(), folder / "table.pt")


def on_cpu() -> Accelerator:
    """Return an accelerator of the CPU in float32, whatever a run before it has computed in."""
    AcceleratorState._reset_state()
    return Accelerator(cpu=True)


def run(
    config: Config,
    task: Task[str] | None = None,
    policy: Any = None,
    reference: Any = None,
) -> Run:
    """Return a run of the bigram policy on the echo task, ready for ``step``."""
    task = task or Echo()
    return train.make_run(
        config,
        task,
        task.samples("train"),
        policy or BigramPolicy(),
        on_cpu(),
        Progress(),
        reference,
    )


def take_step(made: Run) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Take one step, and return its metrics and the log's rows of its completions."""
    metrics, rows = step(made)
    return metrics, rows()


def with_train(config: Config, **settings: object) -> Config:
    return replace(config, train=replace(config.train, **settings))  # type: ignore[arg-type]


def with_algorithm(config: Config, **settings: object) -> Config:
    return replace(config, algorithm=replace(config.algorithm, **settings))  # type: ignore[arg-type]


def mean_reward(made: Run) -> float:
    """Return the mean reward of eight sampled answers to each of the samples."""
    encoded = made.policy.encode([made.task.prompt(sample) for sample in made.samples])
    answers = made.policy.sample(encoded, 8, made.config.sampling, range(len(encoded)))
    rewards = [
        rewards_of(made.task, sample, rollout.completion)["share"]
        for sample, group in zip(made.samples, answers, strict=True)
        for rollout in group
    ]
    return sum(reward or 0.0 for reward in rewards) / len(rewards)
