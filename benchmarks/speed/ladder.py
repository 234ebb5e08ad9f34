"""Each lever's own factor: from our loop with nothing shared to our step as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from benchmarks.speed import shapes
from benchmarks.speed.ours import Ours, TimedPolicy
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs
from benchmarks.speed.watch import Clock, Step
from vrft.config import SamplingConfig
from vrft.encoding import Encoded
from vrft.features import Picture
from vrft.models import LoadedModel
from vrft.types import Rollout

TIED = 0.5
"""Share of groups without signal, so that skipping them shows."""


@dataclass(frozen=True)
class Levers:
    """What is done once or left out; all of them is our step as it is."""

    patches_multiplied: bool = False
    pictures_once: bool = False
    prompt_once_in_update: bool = False
    prompt_once_in_rollout: bool = False
    activations_kept: bool = False
    tied_skipped: bool = False


TITLES = {
    "patches_multiplied": "patches embedded by a matrix product",
    "pictures_once": "pictures once",
    "prompt_once_in_update": "prompt once in the update",
    "prompt_once_in_rollout": "prompt once in the rollout",
    "activations_kept": "no checkpointing",
    "tied_skipped": "groups without signal skipped",
}
"""The levers in the order in which the ladder adds them."""


def rungs() -> Iterator[tuple[str, Levers]]:
    """From nothing shared to our step as it is, each with one lever more."""
    levers = Levers()
    yield "our loop, nothing shared", levers
    for name, title in TITLES.items():
        levers = replace(levers, **{name: True})
        yield title, levers


@dataclass(frozen=True)
class Rung:
    """Seconds of the steps of one rung, in the order of the rounds."""

    name: str
    seconds: tuple[float, ...]


class LeveredPolicy(TimedPolicy):
    """A policy that shares less: prompts, and pictures unless ``pictures_once``, G times over."""

    def __init__(self, loaded: LoadedModel, clock: Clock, levers: Levers, generations: int) -> None:
        super().__init__(loaded, clock)
        self.levers, self.generations = levers, generations

    def sample(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        if self.levers.prompt_once_in_rollout:
            return super().sample(encoded, num_generations, sampling, seeds)
        rows = self.repeat(encoded)
        many = [seed + g for seed in seeds for g in range(num_generations)]
        drawn = [rollout for (rollout,) in super().sample(rows, 1, sampling, many)]
        starts = range(0, len(drawn), num_generations)
        return [tuple(drawn[i : i + num_generations]) for i in starts]

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        if self.levers.prompt_once_in_update:
            return super().logps(encoded, groups, temperature)
        rows = self.repeat(encoded)
        single = [(rollout,) for group in groups for rollout in group]
        found = super().logps(rows, single, temperature)
        together: Tensor = found.squeeze(1).unflatten(0, (len(groups), -1))
        return together

    def repeat(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        """Every prompt once for each of its completions, with pictures that are its own or not."""
        copies = range(self.generations)
        if self.levers.pictures_once:
            return [one for one in encoded for _ in copies]
        return [
            replace(one, pictures=apart(one.pictures, copy)) for one in encoded for copy in copies
        ]


def apart(pictures: Sequence[Picture], copy: int) -> tuple[Picture, ...]:
    """The same pictures, taken for others."""
    return tuple(replace(one, key=one.key + b"copy %d" % copy) for one in pictures)


def climb(setting: Setting, shape: Shape, device: str, rounds: int) -> tuple[Rung, ...]:
    """TRL as it comes and every rung, in turns; a first round is not counted."""
    setting = replace(setting, tied=TIED)
    questions = Questions(setting, steps=1 + rounds)
    with tempfile.TemporaryDirectory() as folder:
        model = shapes.write(shape.reading(setting.pictures), Path(folder), device)
        theirs = Theirs(questions, model, device, checkpointing=True)
        sides = [levered(questions, model, device, levers) for _, levers in rungs()]
    times: list[list[float]] = []

    def after(step: Step) -> bool:
        times.append([step.whole, *(side.step().whole for side in sides)])
        return len(times) <= rounds

    theirs.train(after)
    names = ["TRL as it comes", *(title for title, _ in rungs())]
    columns = zip(*times[1:], strict=True)
    return tuple(Rung(name, column) for name, column in zip(names, columns, strict=True))


def levered(questions: Questions, folder: Path, device: str, levers: Levers) -> Ours:
    """Our side with these levers."""
    generations = questions.setting.generations
    side = Ours(
        questions,
        folder,
        device,
        checkpointing=not levers.activations_kept,
        skip=levers.tied_skipped,
        policy=lambda loaded, clock: LeveredPolicy(loaded, clock, levers, generations),
    )
    if side.sees and not levers.patches_multiplied:
        side.model.model.visual.patch_embed.proj.__class__ = nn.Conv3d  # as transformers has it
    return side
