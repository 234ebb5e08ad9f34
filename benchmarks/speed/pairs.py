"""The race: TRL's step and ours in turns in one process, after both were seen to agree."""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from benchmarks.speed import equality, limit, shapes
from benchmarks.speed.counters import counting
from benchmarks.speed.equality import Equality
from benchmarks.speed.limit import Machine
from benchmarks.speed.ours import Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs
from benchmarks.speed.watch import Step

SPREAD = 0.2
"""A pair counts if the machine multiplied as fast before, between and after its steps, to this
share."""


@dataclass(frozen=True)
class Pair:
    """A step of each side, and how fast the machine was before, between and after them."""

    theirs: Step
    ours: Step
    probes: tuple[Machine, Machine, Machine]

    @property
    def quiet(self) -> bool:
        """Whether nothing else was heard on the machine."""
        return all(a.spread(b) <= SPREAD for a, b in combinations(self.probes, 2))

    @property
    def around_ours(self) -> Machine:
        """How fast the machine was around our step."""
        _, before, after = self.probes
        return Machine(fmean((before.products, after.products)),
                       fmean((before.copies, after.copies)))  # fmt: skip


@dataclass(frozen=True)
class Race:
    """What was measured of one setting; ``prompt`` is its tokens, pictures included."""

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
    """How a race is run: at least ``least`` pairs, then up to ``pairs`` quiet ones while
    ``seconds`` last."""

    device: str
    pairs: int = 5
    least: int = 3
    seconds: float = float("inf")

    @property
    def most(self) -> int:
        """Pairs after which even a noisy machine is left alone."""
        return max(2 * self.pairs, self.least)


def race(setting: Setting, shape: Shape, plan: Plan, *, checkpointing: bool = False) -> Race:
    """Equality, counters, and pairs of steps. UserError, and no times, if the sides disagree."""
    started = time.monotonic()
    shape = shape.reading(setting.pictures)
    questions = Questions(setting, steps=1 + plan.most)
    with tempfile.TemporaryDirectory() as folder:
        model = shapes.write(shape, Path(folder), plan.device)
        theirs = Theirs(questions, model, plan.device, checkpointing=checkpointing)
        ours = Ours(questions, model, plan.device, checkpointing=checkpointing)
    turns = Turns(theirs, ours, plan, started)
    found = turns.run()
    gc.collect()
    return Race(
        setting=setting,
        shape=shape,
        device=plan.device,
        checkpointing=checkpointing,
        prompt=turns.prompt,
        equality=found,
        counts={side: dict(counts) for side, counts in turns.counts.items()},
        pairs=tuple(turns.pairs),
    )


class Turns:
    """Both sides step by step: the first step of each is compared and counted, not timed."""

    def __init__(self, theirs: Theirs, ours: Ours, plan: Plan, started: float) -> None:
        self.theirs, self.ours, self.plan, self.started = theirs, ours, plan, started
        self.pairs: list[Pair] = []
        self.equality: Equality | None = None
        self.counts: dict[str, Counter[str]] = {}
        self.counters = ExitStack()
        self.before = Machine(0.0, 0.0)

    @property
    def prompt(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.theirs.trainer.completions))

    def run(self) -> Equality:
        """TRL's loop, in which our steps take their turns; how near their first updates were."""
        self.theirs.keep_gradient = self.ours.keep_gradient = True
        if self.plan.device == "cpu":  # autocast multiplies with copies of the weights
            self.counts["theirs"] = self.counters.enter_context(counting(self.theirs))
        self.theirs.train(self.after)
        assert self.equality is not None
        return self.equality

    def after(self, theirs: Step) -> bool:
        """Our turn; whether there is to be another."""
        if self.equality is None:
            self.agree()
        else:
            between = limit.probe(self.plan.device)
            ours = self.ours.step()
            after = limit.probe(self.plan.device)
            self.pairs.append(Pair(theirs, ours, (self.before, between, after)))
        self.before = limit.probe(self.plan.device)
        return self.go_on()

    def agree(self) -> None:
        """Our first step, on TRL's completions: raises UserError where the updates differ."""
        self.counters.close()
        self.ours.policy.given = self.theirs.trainer.completions
        if self.plan.device == "cpu":
            with counting(self.ours) as self.counts["ours"]:
                self.ours.step()
        else:
            self.ours.step()
        self.equality = equality.compare(
            self.theirs.gradient,
            self.ours.gradient,
            self.theirs.trainer.logps_of,
            self.ours.policy.logps_of,
        )
        exact = self.plan.device == "cpu"
        equality.require(self.equality, equality.EXACT if exact else equality.ROUNDED)
        self.ours.policy.given = {}
        for side in (self.theirs, self.ours):
            side.keep_gradient, side.gradient = False, {}

    def go_on(self) -> bool:
        """Whether pairs are wanting and there is time for one."""
        if len(self.pairs) < self.plan.least:
            return True
        quiet = sum(pair.quiet for pair in self.pairs)
        enough = quiet >= self.plan.pairs or len(self.pairs) >= self.plan.most
        return not enough and time.monotonic() - self.started < self.plan.seconds
