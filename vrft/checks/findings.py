"""The findings of ``vrft check``, in words and in plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vrft.columns import counted


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem or a note in one line, with the ids of all samples that it concerns."""

    text: str
    ids: tuple[str, ...] = ()
    """Every sample, where the text names three; () for a finding about the task itself."""

    def __str__(self) -> str:
        return self.text


def name_samples(complaint: str, ids: Iterable[str]) -> tuple[Finding, ...]:
    """Return one finding that counts the samples and names the first three; none without samples.

    ``complaint`` goes on after the count: "3 have no picture: a, b, c".
    """
    unique = tuple(dict.fromkeys(ids))  # in order, where a set would shuffle
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
    """Order statistics of some numbers."""

    smallest: float
    median: float
    most: float
    """The 95 % quantile."""
    largest: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread:
        """Return the order statistics of at least one number.

        Each of them is one of the numbers, so that counts stay whole.
        """
        ranked, last = sorted(numbers), len(numbers) - 1
        return cls(ranked[0], ranked[last // 2], ranked[round(0.95 * last)], ranked[last])

    def __str__(self) -> str:
        return (
            f"smallest {self.smallest:g}, median {self.median:g}, "
            f"95 % {self.most:g}, largest {self.largest:g}"
        )


# The names of the fields below are those of ``vrft check --json``.


@dataclass(frozen=True, slots=True)
class SplitCheck:
    """The facts and findings of one split."""

    split: str
    samples: int
    pictures: int = 0
    """How many pictures opened, a picture of several samples counted once."""
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    gold: Mapping[str, float] = field(default_factory=dict)
    """The mean of every reward and of the primary metric over the gold answers."""
    findings: Findings = Findings()

    def lines(self) -> list[str]:
        """Return the split in words, one fact a line."""
        gold = ", ".join(f"{name} {value:.3f}" for name, value in self.gold.items())
        return [
            f"{self.split}: {counted(self.samples, 'sample')}, {counted(self.pictures, 'picture')}",
            *(f"  {name}: {spread}" for name, spread in self.spreads.items()),
            *([f"  gold answers earn: {gold}"] if gold else []),
            *(f"  problem: {problem}" for problem in self.findings.problems),
            *(f"  note: {note}" for note in self.findings.notes),
        ]


@dataclass(frozen=True, slots=True)
class TaskCheck:
    """All splits, and the findings that concern several of them or none."""

    splits: tuple[SplitCheck, ...]
    findings: Findings = Findings()

    @property
    def ok(self) -> bool:
        """Tell whether there is no problem; notes are allowed."""
        return not self.count()

    def count(self) -> int:
        """Count the problems of all splits, and those of no single split."""
        parts = [self.findings, *(split.findings for split in self.splits)]
        return sum(len(findings.problems) for findings in parts)

    def lines(self) -> list[str]:
        """Return the result in words; the last line is the verdict."""
        bad = f"not ready: {self.count()} problem(s), see above"
        return [
            *(line for split in self.splits for line in split.lines()),
            *(f"problem: {problem}" for problem in self.findings.problems),
            *(f"note: {note}" for note in self.findings.notes),
            "ready to train" if self.ok else bad,
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the result in plain values, with the id of every offending sample."""
        splits = [flatten(split) for split in self.splits]
        # "splits" comes last: it replaces the one of flatten(self), whose findings are nested.
        return {"ok": self.ok, **flatten(self), "splits": splits}


def flatten(part: SplitCheck | TaskCheck) -> dict[str, Any]:
    """Return the fields in plain values, problems and notes beside the others."""
    fields = dataclasses.asdict(part)
    findings = fields.pop("findings")
    return {**fields, **findings}
