"""The race: steps of TRL's and of ours in turns, once both were seen to compute the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from benchmarks.speed import counters, equality, limit, shapes
from benchmarks.speed.contestant import Step, forget
from benchmarks.speed.equality import Equality
from benchmarks.speed.limit import Machine
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs

SPREAD = 0.2
"""The share by which the machine's speed may differ around the two steps of a quiet pair."""


@dataclass(frozen=True)
class Pair:
    """A step of each side, and how fast the machine was before, between and after them."""

    theirs: Step
    ours: Step
    probes: tuple[Machine, Machine, Machine]

    @property
    def quiet(self) -> bool:
        """Tell whether the machine multiplied equally fast all the time: nobody else used it."""
        return all(a.spread(b) <= SPREAD for a, b in combinations(self.probes, 2))

    @property
    def around_ours(self) -> Machine:
        """Return how fast the machine was around our step."""
        _, before, after = self.probes  # the first was before TRL's step
        return Machine(fmean((before.products, after.products)),
                       fmean((before.copies, after.copies)))  # fmt: skip


@dataclass(frozen=True)
class Race:
    """Everything that was measured of one setting; ``prompt`` counts tokens, image tokens included.

    The fields are the keys of the JSON files: renaming one orphans what is kept.
    """

    setting: Setting
    shape: Shape
    device: str
    checkpointing: bool
    prompt: int
    equality: Equality
    counts: Mapping[str, Mapping[str, int]]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Plan:
    """The length of a race: ``least`` pairs, then ``pairs`` quiet ones while ``seconds`` last."""

    device: str
    pairs: int = 5
    least: int = 3
    seconds: float = float("inf")

    @property
    def most(self) -> int:
        """Return the pairs after which a race ends on a noisy machine as well."""
        return max(2 * self.pairs, self.least)


def race(setting: Setting, shape: Shape, plan: Plan, *, checkpointing: bool = False) -> Race:
    """Compare and count the first step of each side, then time pairs of steps.

    Raises UserError, and times nothing, if the sides disagree; RuntimeError for counts that cannot
    be true.
    """
    started = time.monotonic()
    shape = shape.reading(setting.pictures)
    questions = Questions(setting, steps=1 + plan.most)  # the first step is not timed
    folder = shapes.written(shape, plan.device)
    theirs = Theirs(questions, folder, plan.device, checkpointing=checkpointing)
    ours = Ours(questions, folder, plan.device, checkpointing=checkpointing)
    turns = Turns(theirs, ours, setting, plan, started)
    turns.run()
    finished = Race(
        setting=setting,
        shape=shape,
        device=plan.device,
        checkpointing=checkpointing,
        prompt=turns.reference.prompt,
        equality=turns.equality,
        counts={"theirs": dict(turns.reference.counts), "ours": dict(turns.answer.counts)},
        pairs=tuple(turns.pairs),
    )
    del theirs, ours, turns
    forget()  # the next race of this process needs the memory
    return finished


class Turns:
    """TRL's own loop, in which our steps take their turns.

    TRL cannot be asked for one step: its loop runs, and after each of its steps asks whether to go
    on. That is where our side steps. The first step of each side also warms it up: it is recorded
    and compared, and not timed.
    """

    def __init__(
        self, theirs: Theirs, ours: Ours, setting: Setting, plan: Plan, started: float
    ) -> None:
        self.theirs, self.ours, self.setting, self.plan = theirs, ours, setting, plan
        self.started = started
        self.pairs: list[Pair] = []
        self.before = Machine(0.0, 0.0)  # probed after the first step

    def run(self) -> None:
        """Take all steps."""
        with ExitStack() as self.first_step:
            recording = counters.recorded(self.theirs, self.plan.device)
            self.reference = self.first_step.enter_context(recording)
            self.theirs.train(self.after_step)

    def after_step(self, step: Step) -> bool:
        """Take our turn after a step of TRL's, and tell whether another pair is wanted."""
        device = self.plan.device
        if self.theirs.record is not None:
            self.first_step.close()
            self.answer_first_step()
            self.before = limit.probe(device)
        else:
            between = limit.probe(device)
            own = self.ours.step()
            after = limit.probe(device)
            self.pairs.append(Pair(step, own, (self.before, between, after)))
            self.before = after
        if len(self.pairs) < self.plan.least:
            return True
        quiet = sum(pair.quiet for pair in self.pairs)
        enough = quiet >= self.plan.pairs or len(self.pairs) >= self.plan.most
        return not enough and time.monotonic() - self.started < self.plan.seconds

    def answer_first_step(self) -> None:
        """Take our first step on TRL's completions.

        Raises UserError if the updates differ, RuntimeError if products were not counted.
        """
        self.ours.policy.given = self.reference.completions
        with counters.recorded(self.ours, self.plan.device) as self.answer:
            self.ours.step()
        self.ours.policy.given = {}
        tied = self.setting.prompts - self.setting.informative
        skipped = tied * self.setting.generations
        self.equality = equality.compare(self.reference, self.answer, skipped)
        allowed = equality.EXACT if self.plan.device == "cpu" else equality.ROUNDED
        equality.require(self.equality, allowed)
        if self.plan.device == "cpu":
            for record in (self.reference, self.answer):
                counters.require_complete(record.counts, self.setting, self.reference.prompt)
