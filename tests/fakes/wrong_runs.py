"""Runs that go wrong on purpose, each in another way: what they print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fakes.bigram import CONFIG, END, BigramPolicy, Echo, run, share, with_algorithm, with_train
from fakes.short_runs import ready
from vrft import config
from vrft.config.schema import Config
from vrft.models.loaded import LoadedModel
from vrft.policy.decode_step import Decoding
from vrft.policy.logprobs import GroupLogps
from vrft.task import Reward
from vrft.training import canary_trial, health
from vrft.training.run import Run
from vrft.training.step import step
from vrft.types import Completion, Sample, View

Wrong = Callable[[Path, pytest.MonkeyPatch], None]
"""A run in a folder that goes wrong: it prints its lines, or raises UserError."""


# --- faults of a model


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model look at a blank picture whatever it is shown."""
    embed = LoadedModel.embed

    def embed_blank(self: LoadedModel, tokens: Any, pictures: Any) -> Any:
        blank = [replace(p, key=b"0", patches=torch.zeros_like(p.patches)) for p in pictures]
        return embed(self, tokens, blank)

    monkeypatch.setattr(LoadedModel, "embed", embed_blank)


def displaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let decoding count positions on from another place than training does."""
    begin = Decoding.__init__

    def begin_later(self: Decoding, *given: Any) -> None:
        begin(self, *given)
        self.position += 3

    monkeypatch.setattr(Decoding, "__init__", begin_later)


def mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log-probabilities of a prompt depend on whether there are others."""
    forward = GroupLogps.forward

    def mixing(self: GroupLogps, prompts: Any, completions: Any, temperature: float = 1.0) -> Any:
        logps = forward(self, prompts, completions, temperature)
        return logps - 0.1 * (len(prompts) > 1)

    monkeypatch.setattr(GroupLogps, "forward", mixing)


def faulty(fault: Callable[[pytest.MonkeyPatch], None]) -> Wrong:
    """Return the demo with a fault in its model."""

    def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = ready(folder / "run")
        fault(monkeypatch)
        try:
            canary_trial.try_canaries(made, folder)
        finally:
            made.close()

    return wrong


def demo(*settings: str, count: int = 0) -> Wrong:
    """Return the demo with other settings: its canaries, and some steps."""

    def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = ready(folder / "run", f"train.max_steps={count}", *settings)
        canary_trial.try_canaries(made, folder)
        steps(made, folder, count)
        made.close()

    return wrong


# --- tasks that teach the wrong thing, or nothing


@dataclass(frozen=True)
class Rewarded(Echo):
    """The echo task with other rewards, and a gold answer."""

    given: Mapping[str, Any] = ()  # type: ignore[assignment]
    gold: str = "aaa"

    def rewards(self) -> Mapping[str, Reward[str]]:
        return self.given

    def reference(self, sample: Sample[str], views: tuple[View, ...]) -> str:
        return self.gold


class Fading:
    """A reward that is lost after a number of calls."""

    def __init__(self, good: int) -> None:
        self.good, self.calls = good, 0

    def __call__(self, sample: Sample[str], completion: Completion) -> float:
        self.calls += 1
        return (0.5 if self.calls <= self.good else 0.0) + 0.01 * len(completion.text)


def constant(value: float | None) -> Reward[str]:
    """Return a reward of one value."""
    return lambda sample, completion: value


def letters(sample: Sample[str], completion: Completion) -> float:
    """Return a reward of length."""
    return len(completion.text) / 10


def begins_with_a(sample: Sample[str], completion: Completion) -> float:
    """Return 1 for the right form."""
    return float(completion.text.startswith("a"))


SMALL = with_train(CONFIG, per_device_train_batch_size=2, learning_rate=1.0)


def toy(
    rewards: Mapping[str, Any],
    count: int,
    settings: Config = SMALL,
    bias: float = 0.0,
    canaries: bool = False,
    gold: str = "aaa",
) -> Wrong:
    """Return a run of the bigram policy, whose end token is likelier by ``bias``."""

    def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        policy = BigramPolicy()
        policy.module.table.data[:, :, END] += bias  # type: ignore[union-attr,operator]
        task = Rewarded(given=rewards, gold=gold)
        made = run(settings, task, policy, BigramPolicy() if settings.algorithm.beta else None)
        if canaries:
            canary_trial.try_canaries(made, folder)
        steps(made, folder, count)

    return wrong


def steps(made: Run, folder: Path, count: int) -> None:
    """Take steps with watchdogs, as the loop of a run does."""
    for _ in range(count):
        metrics, _ = step(made)
        health.report(made, folder, health.new_alarms(made, metrics))


def refused(setting: str) -> Wrong:
    """Return a run that its settings do not let begin."""

    def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config.load("demo/lisa_grounding", [setting])

    return wrong


SLOW = with_train(SMALL, learning_rate=0.05)
FAST = with_algorithm(with_train(SMALL, learning_rate=3.0), beta=1e-6)
LONG = replace(SMALL, sampling=replace(SMALL.sampling, max_completion_length=60))
STILL = with_train(with_algorithm(SMALL, num_generations=2), learning_rate=0.0)

RUNS: Mapping[str, tuple[str, Wrong]] = {
    "pictures_unseen": ("the model is shown blank pictures", faulty(blind)),
    "sampler_differs": ("decoding counts positions 3 too far", faulty(displaced)),
    "batch_differs": ("prompts of a batch touch each other", faulty(mixed)),
    "answers_alike": ("`sampling.top_k=1`", demo("sampling.top_k=1")),
    "answers_endless": (
        "`sampling.max_completion_length=3`",
        demo("sampling.max_completion_length=3"),
    ),
    "gold_answer": (
        "the gold answers are those of other questions",
        toy({"share": share}, 0, canaries=True, gold="zzz"),
    ),
    "coordinate_space": ("`task.coordinates=pixels`", demo("task.coordinates=pixels")),
    "other_frame": (
        "the same, for ten steps: boxes are read as pixels, and written in thousandths",
        demo("task.coordinates=pixels", "train.learning_rate=0", count=10),
    ),
    "no_rewards": ("the only reward is always None", toy({"right": constant(None)}, 3)),
    "no_signal": ("the only reward is always 0", toy({"right": constant(0.0)}, 10)),
    "all_cut": ("the end token is never sampled", toy({"share": share}, 5, bias=-99)),
    "answers_repeat": (
        "one answer is as good as certain",
        toy({"share": share}, 10, bias=9),
    ),
    "entropy_collapsed": (
        "a rate of 3, with a KL penalty that is too small to hold the policy",
        toy({"share": share}, 40, FAST),
    ),
    "lengths_explode": ("the reward is the length", toy({"length": letters}, 40, LONG)),
    "format_only": (
        "the form can be learnt, the answer never earns",
        toy({"format": begins_with_a, "right": constant(0.0)}, 60, SLOW),
    ),
    "reward_fell": ("a reward breaks after 40 steps", toy({"right": Fading(40 * 8)}, 60, SLOW)),
    "rewards_flat": ("`train.learning_rate=0`", toy({"share": share}, 200, STILL)),
    "not finite": ("a reward is NaN", toy({"share": constant(float("nan"))}, 1)),
    "learning rate": ("`train.learning_rate=1e30`", refused("train.learning_rate=1e30")),
}  # fmt: skip
"""The alarm -> what is wrong with the run, and the run."""
