"""What ``vrft check`` found: facts, problems and notes, in words and as plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a note in one line, and the ids of all samples that it is about, if of any."""

    text: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


def about(complaint: str, ids: Iterable[str]) -> tuple[Finding, ...]:
    """One finding that counts the samples and names the first of them; none without samples."""
    unique = tuple(dict.fromkeys(ids))
    if not unique:
        return ()
    shown = ", ".join(unique[:3]) + (", ..." if len(unique) > 3 else "")
    return (Finding(f"{len(unique)} {complaint}: {shown}", unique),)


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems, which fail the check, and notes, which do not."""

    problems: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(self.problems + other.problems, self.notes + other.notes)


@dataclass(frozen=True, slots=True)
class Spread:
    """The smallest, middle, 95 % and largest of some numbers."""

    smallest: float
    median: float
    most: float
    largest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Order statistics of at least one number."""
        ranked, last = sorted(numbers), len(numbers) - 1
        return cls(ranked[0], ranked[last // 2], ranked[round(0.95 * last)], ranked[last])

    def __str__(self) -> str:
        return (
            f"smallest {self.smallest:g}, median {self.median:g}, "
            f"95 % {self.most:g}, largest {self.largest:g}"
        )


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """What was found in one split.

    ``pictures`` counts those that opened, each once; ``gold`` holds the mean of every reward and
    of the primary metric over the gold answers.
    """

    split: str
    samples: int
    pictures: int = 0
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    gold: Mapping[str, float] = field(default_factory=dict)
    findings: Findings = Findings()

    def lines(self) -> list[str]:
        """The split in words, one fact a line."""
        gold = ", ".join(f"{name} {value:.3f}" for name, value in self.gold.items())
        return [
            f"{self.split}: {self.samples} samples, {self.pictures} pictures",
            *(f"  {name}: {spread}" for name, spread in self.spreads.items()),
            *([f"  gold answers earn: {gold}"] if gold else []),
            *(f"  problem: {problem}" for problem in self.findings.problems),
            *(f"  note: {note}" for note in self.findings.notes),
        ]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All splits, and what concerns them together."""

    splits: tuple[SplitCheck, ...]
    findings: Findings = Findings()

    @property
    def ok(self) -> bool:
        """Whether no problem was found; notes are allowed."""
        return not self.count()

    def count(self) -> int:
        """How many problems there are in all."""
        found = [self.findings, *(split.findings for split in self.splits)]
        return sum(len(findings.problems) for findings in found)

    def lines(self) -> list[str]:
        """The result in words; the last line is the verdict."""
        bad = f"not ready: {self.count()} problem(s), see above"
        return [
            *(line for split in self.splits for line in split.lines()),
            *(f"problem: {problem}" for problem in self.findings.problems),
            *(f"note: {note}" for note in self.findings.notes),
            "ready to train" if self.ok else bad,
        ]

    def to_json(self) -> dict[str, Any]:
        """The whole result as plain values, every offender by its id."""
        splits = [flat(split) for split in self.splits]
        return {"ok": self.ok, **flat(self), "splits": splits}


def flat(found: SplitCheck | CheckResult) -> dict[str, Any]:
    """The fields as plain values, problems and notes beside the others."""
    fields = dataclasses.asdict(found)
    findings = fields.pop("findings")
    return {**fields, **findings}
