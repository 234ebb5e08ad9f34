"""Each lever's own factor: from plain transformers in our loop to our step as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from benchmarks.speed import shapes
from benchmarks.speed.ours import Ours, TimedPolicy
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs
from benchmarks.speed.watch import Clock, Step, forget
from vrft.config.schema import SamplingConfig
from vrft.models.encoding import Encoded
from vrft.models.loaded import LoadedModel
from vrft.models.vision_features import Patches
from vrft.types import Rollout

TIED = 0.5
"""Share of groups without signal, so that skipping them shows."""


@dataclass(frozen=True)
class Levers:
    """What is done once, or otherwise, or not at all; with all of them it is our step as it is."""

    own_passes: bool = False
    patches_multiplied: bool = False
    pictures_once: bool = False
    prompt_once_in_update: bool = False
    prompt_once_in_rollout: bool = False
    unpadded: bool = False
    activations_kept: bool = False
    tied_skipped: bool = False


TITLES = {
    "own_passes": "our decoding and log-probabilities, nothing shared",
    "patches_multiplied": "patches embedded by a matrix product",
    "pictures_once": "pictures once",
    "prompt_once_in_update": "prompt once in the update",
    "prompt_once_in_rollout": "prompt once in the rollout",
    "unpadded": "completions not padded",
    "activations_kept": "no checkpointing",
    "tied_skipped": "groups without signal skipped",
}
"""The levers in the order in which the ladder adds them."""


def rungs() -> Iterator[tuple[str, Levers]]:
    """From plain transformers to our step as it is, each with one lever more."""
    levers = Levers()
    yield "plain transformers in our loop", levers
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

    def __init__(self, loaded: LoadedModel, clock: Clock, setting: Setting, levers: Levers) -> None:
        super().__init__(loaded, clock, setting)
        self.levers = levers

    def draw(
        self,
        encoded: Sequence[Encoded],
        num_generations: int,
        sampling: SamplingConfig,
        seeds: Sequence[int],
    ) -> list[tuple[Rollout, ...]]:
        if self.levers.prompt_once_in_rollout or not self.levers.own_passes:
            return super().draw(encoded, num_generations, sampling, seeds)
        rows = self.repeat(encoded)
        many = [seed + g for seed in seeds for g in range(num_generations)]
        drawn = [rollout for (rollout,) in super().draw(rows, 1, sampling, many)]
        starts = range(0, len(drawn), num_generations)
        return [tuple(drawn[i : i + num_generations]) for i in starts]

    def logps(
        self, encoded: Sequence[Encoded], groups: Sequence[Sequence[Rollout]], temperature: float
    ) -> Tensor:
        if not self.levers.own_passes:
            return super().logps(encoded, groups, temperature)
        if not self.levers.unpadded:
            groups = [self.padded(group) for group in groups]
        if self.levers.prompt_once_in_update:
            return super().logps(encoded, groups, temperature)
        rows = self.repeat(encoded)
        single = [(rollout,) for group in groups for rollout in group]
        found = super().logps(rows, single, temperature)
        together: Tensor = found.squeeze(1).unflatten(0, (len(groups), -1))
        return together

    def padded(self, group: Sequence[Rollout]) -> list[Rollout]:
        """Completions as long as the longest; the loss does not count what is added."""
        longest = max(len(one.tokens) for one in group)
        pad = (self.loaded.tokenizer.pad_token_id,)
        return [
            replace(one, tokens=one.tokens + pad * (longest - len(one.tokens))) for one in group
        ]

    def repeat(self, encoded: Sequence[Encoded]) -> list[Encoded]:
        """Every prompt once for each of its completions, with pictures that are its own or not."""
        copies = range(self.setting.generations)
        if self.levers.pictures_once:
            return [one for one in encoded for _ in copies]
        return [
            replace(one, pictures=apart(one.pictures, copy)) for one in encoded for copy in copies
        ]


def apart(pictures: Sequence[Patches], copy: int) -> tuple[Patches, ...]:
    """The same pictures, taken for others."""
    return tuple(replace(one, key=one.key + b"copy %d" % copy) for one in pictures)


def climb(setting: Setting, shape: Shape, device: str, rounds: int) -> tuple[Rung, ...]:
    """TRL as it comes and every rung; a first step of each is not counted.

    On a CPU they take turns; a GPU's memory is left to one after the other.
    """
    setting = replace(setting, tied=TIED, uneven=True)
    questions = Questions(setting, steps=1 + rounds)
    model = shapes.written(shape.reading(setting.pictures), device)
    names = ["TRL as it comes", *(title for title, _ in rungs())]
    makers = [partial(levered, questions, model, device, levers) for _, levers in rungs()]
    if device == "cpu":
        times = in_turns(questions, model, makers, rounds)
    else:
        times = one_by_one(questions, model, makers, rounds, device)
    return tuple(Rung(name, tuple(own[1:])) for name, own in zip(names, times, strict=True))


Maker = Callable[[], Ours]
"""Makes one side."""


def in_turns(
    questions: Questions, model: Path, makers: Sequence[Maker], rounds: int
) -> list[list[float]]:
    """Seconds of all steps of TRL and of each side, which take their turns between TRL's."""
    theirs = Theirs(questions, model, "cpu", checkpointing=True)
    sides = [make() for make in makers]
    times: list[list[float]] = [[] for _ in (theirs, *sides)]

    def after(step: Step) -> bool:
        for own, seconds in zip(times, (step, *(side.step() for side in sides)), strict=True):
            own.append(seconds.whole)
        return len(times[0]) <= rounds

    theirs.train(after)
    return times


def one_by_one(
    questions: Questions, model: Path, makers: Sequence[Maker], rounds: int, device: str
) -> list[list[float]]:
    """The same, each side being made when the one before it is gone."""
    times: list[list[float]] = [[]]

    def after(step: Step) -> bool:
        times[0].append(step.whole)
        return len(times[0]) <= rounds

    Theirs(questions, model, device, checkpointing=True).train(after)
    for make in makers:
        forget()
        side = make()
        times.append([side.step().whole for _ in range(1 + rounds)])
        del side
    return times


def levered(questions: Questions, folder: Path, device: str, levers: Levers) -> Ours:
    """Our side with these levers."""
    side = Ours(
        questions,
        folder,
        device,
        checkpointing=not levers.activations_kept,
        skip=levers.tied_skipped,
        shared=levers.own_passes,
        policy=partial(LeveredPolicy, levers=levers),
    )
    if side.sees and not levers.patches_multiplied:
        side.model.model.visual.patch_embed.proj.__class__ = nn.Conv3d  # as transformers has it
    return side
