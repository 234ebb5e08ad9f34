"""The race: TRL's steps and ours in one process, after both were seen to agree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from torch import Tensor

from benchmarks.speed import equality, limit, shapes
from benchmarks.speed.counters import counting
from benchmarks.speed.equality import Equality, Logps
from benchmarks.speed.limit import Machine
from benchmarks.speed.ours import Completions, Ours
from benchmarks.speed.questions import Questions
from benchmarks.speed.settings import Setting
from benchmarks.speed.shapes import Shape
from benchmarks.speed.theirs import Theirs
from benchmarks.speed.watch import Step, Watched, forget

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
    ``seconds`` last.

    ``in_turns``: both sides are there at a time and their steps alternate, as a CPU that is shared
    with others needs it; else one comes after the other and has all of the memory.
    """

    device: str
    pairs: int = 5
    least: int = 3
    seconds: float = float("inf")
    in_turns: bool = True

    @property
    def most(self) -> int:
        """Pairs after which even a noisy machine is left alone."""
        return max(2 * self.pairs, self.least)


@dataclass(frozen=True)
class First:
    """TRL's first update: what ours is compared with. Nothing of it is on the device."""

    completions: Completions
    gradient: Mapping[str, Tensor]
    logps: Logps
    counts: Counter[str]

    @property
    def prompt(self) -> int:
        """Tokens of the longest prompt."""
        return max(map(len, self.completions))


def race(setting: Setting, shape: Shape, plan: Plan, *, checkpointing: bool = False) -> Race:
    """Equality, counters, and pairs of steps. UserError, and no times, if the sides disagree.

    The first step of each side is compared and counted, not timed.
    """
    started = time.monotonic()
    shape = shape.reading(setting.pictures)
    questions = Questions(setting, steps=1 + plan.most)
    model = shapes.written(shape, plan.device)
    sides = Sides(questions, model, plan, checkpointing)
    first, found, ours, pairs = (in_turns if plan.in_turns else one_by_one)(sides, started)
    forget()
    return Race(
        setting=setting,
        shape=shape,
        device=plan.device,
        checkpointing=checkpointing,
        prompt=first.prompt,
        equality=found,
        counts={"theirs": dict(first.counts), "ours": dict(ours)},
        pairs=tuple(pairs),
    )


@dataclass(frozen=True)
class Sides:
    """How both contestants are made."""

    questions: Questions
    model: Path
    plan: Plan
    checkpointing: bool

    def theirs(self) -> Theirs:
        """TRL's side."""
        return Theirs(
            self.questions, self.model, self.plan.device, checkpointing=self.checkpointing
        )

    def ours(self) -> Ours:
        """Our side."""
        return Ours(self.questions, self.model, self.plan.device, checkpointing=self.checkpointing)


Raced = tuple[First, Equality, Counter[str], list[Pair]]
"""TRL's first update, how near ours was to it, the counters of ours, and the pairs of steps."""


def in_turns(sides: Sides, started: float) -> Raced:
    """TRL's loop, in which our steps take their turns."""
    plan, theirs, ours = sides.plan, sides.theirs(), sides.ours()
    pairs: list[Pair] = []
    first: list[First] = []
    agreed: list[tuple[Equality, Counter[str]]] = []
    before = Machine(0.0, 0.0)

    def after(step: Step) -> bool:
        nonlocal before
        if not first:
            first.append(first_of(theirs, watching))
            agreed.append(agree(ours, first[0], plan.device))
        else:
            between = limit.probe(plan.device)
            own = ours.step()
            pairs.append(Pair(step, own, (before, between, limit.probe(plan.device))))
        before = limit.probe(plan.device)
        return wanting(plan, pairs, started)

    with ExitStack() as watching:
        watch(theirs, plan.device, watching)
        theirs.train(after)
    return first[0], *agreed[0], pairs


def one_by_one(sides: Sides, started: float) -> Raced:
    """All of TRL's steps, then, when it is gone, as many of ours."""
    device = sides.plan.device
    first, theirs = all_of_theirs(sides)
    forget()
    ours = sides.ours()
    found, counts = agree(ours, first, device)
    pairs = []
    for step, before in theirs:
        between = limit.probe(device)
        own = ours.step()
        pairs.append(Pair(step, own, (before, between, limit.probe(device))))
    return first, found, counts, pairs


def all_of_theirs(sides: Sides) -> tuple[First, list[tuple[Step, Machine]]]:
    """TRL's first update, and its steps, before each of which the machine was probed."""
    plan, theirs = sides.plan, sides.theirs()
    steps: list[Step] = []
    probes: list[Machine] = []
    first: list[First] = []

    def after(step: Step) -> bool:
        if first:
            steps.append(step)
        else:
            first.append(first_of(theirs, watching))
        probes.append(limit.probe(plan.device))
        return len(steps) < plan.pairs

    with ExitStack() as watching:
        watch(theirs, plan.device, watching)
        theirs.train(after)
    return first[0], list(zip(steps, probes, strict=False))


def watch(side: Watched, device: str, until: ExitStack) -> None:
    """Keep a side's next gradient and, on a CPU, count what passes its weights."""
    side.keep_gradient = True
    side.counts = Counter()
    if device == "cpu":  # autocast multiplies with copies of the weights
        side.counts = until.enter_context(counting(side))


def first_of(theirs: Theirs, watching: ExitStack) -> First:
    """What TRL's first step was, which is over; it is not watched any longer."""
    watching.close()
    found = First(
        theirs.trainer.completions,
        theirs.gradient,
        {tokens: row.cpu() for tokens, row in theirs.trainer.logps_of.items()},
        theirs.counts,
    )
    theirs.keep_gradient, theirs.gradient = False, {}
    return found


def agree(ours: Ours, first: First, device: str) -> tuple[Equality, Counter[str]]:
    """Our first step, on TRL's completions: raises UserError where the updates differ."""
    ours.policy.given = first.completions
    with ExitStack() as watching:
        watch(ours, device, watching)
        ours.step()
    logps = {tokens: row.cpu() for tokens, row in ours.policy.logps_of.items()}
    found = equality.compare(first.gradient, ours.gradient, first.logps, logps)
    equality.require(found, equality.EXACT if device == "cpu" else equality.ROUNDED)
    ours.policy.given = {}
    ours.keep_gradient, ours.gradient = False, {}
    return found, ours.counts


def wanting(plan: Plan, pairs: Sequence[Pair], started: float) -> bool:
    """Whether pairs are wanting and there is time for one."""
    if len(pairs) < plan.least:
        return True
    quiet = sum(pair.quiet for pair in pairs)
    enough = quiet >= plan.pairs or len(pairs) >= plan.most
    return not enough and time.monotonic() - started < plan.seconds
