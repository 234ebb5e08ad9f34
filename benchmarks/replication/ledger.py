"""Runs that were done: one line of JSON each, appended for good before the next run begins."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from vrft.errors import UserError
from vrft.system import durable

T = TypeVar("T")

HERE = Path(__file__).resolve().parent

Stage = Literal["search", "final", "card"]
"""What a run is for: to choose a rate, to judge claims, or to know the bed itself. A search has
seeds and questions (the split "val") that the other two never meet."""


@dataclass(frozen=True)
class Trial:
    """A training run that can be asked for: an arm on a bed at a rate, with a seed, for steps."""

    bed: str
    stage: Stage
    arm: str
    rate: float
    seed: int
    steps: int

    @property
    def folder(self) -> str:
        """Return the name of the run's folder."""
        arm = self.arm.replace(", ", "_").replace(" ", "-")
        return f"{self.bed}-{self.stage}-{arm}-{self.rate:g}-{self.steps}-seed-{self.seed}"


@dataclass(frozen=True)
class Row:
    """The outcome of a trial: greedy scores in [0, 1] along its steps, and what it took.

    ``curve`` holds (step, score), the start's first; ``completions`` counts those drawn, and
    ``tokens`` the sampled tokens; both are 0 for SFT. ``cpu_seconds`` are the processor time of the
    training process beside whatever else ran, its evaluations left out. ``start`` is the
    fingerprint of the model that it began with. The fields are the keys of the file: renaming one
    orphans the rows.
    """

    trial: Trial
    settings: tuple[str, ...]
    start: str
    curve: tuple[tuple[int, float], ...]
    completions: int
    tokens: int
    cpu_seconds: float
    commit: str
    versions: Mapping[str, str]

    @property
    def score(self) -> float:
        """Return the score after the last step."""
        return self.curve[-1][1]

    def score_at(self, step: float) -> float:
        """Return the score at a step between the first and the last, linear between two points."""
        for (left, low), (right, high) in zip(self.curve, self.curve[1:], strict=False):
            if step <= right:
                return low + (high - low) * (step - left) / (right - left)
        return self.score


def path_of(bed: str) -> Path:
    """Return the file that keeps a bed's rows."""
    return HERE / f"{bed}.jsonl"


def append(row: Row) -> None:
    """Append a row to its bed's file; when this returns, it is on the disk."""
    append_line(path_of(row.trial.bed), dataclasses.asdict(row))


def append_line(path: Path, fields: Mapping[str, Any]) -> None:
    """Append an object to a file of one JSON object a line, for good."""
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(fields, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        durable.sync(path.parent)


def read(bed: str) -> list[Row]:
    """Return a bed's rows in the order in which they were appended; none without a file.

    Raises UserError for a line that is no row, such as the half of one that a power cut left.
    """
    return read_lines(path_of(bed), row_of)


def read_lines(path: Path, make: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Return what is made of each line of a file; nothing without one. UserError as ``read``."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(make(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path}, line {number}: no row of a run ({error}); remove the line, and the next "
                "sitting does its run again"
            ) from error
    return rows


def row_of(fields: Mapping[str, Any]) -> Row:
    """Return the row that a line of JSON holds."""
    curve = tuple((int(step), float(score)) for step, score in fields["curve"])
    known = {"trial": Trial(**fields["trial"]), "settings": tuple(fields["settings"])}
    return Row(**{**fields, **known, "curve": curve})
