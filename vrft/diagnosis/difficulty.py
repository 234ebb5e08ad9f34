"""The ledger of a run's prompts: how hard each is, and how much compute it took for nothing.

``difficulty.jsonl`` in a run's folder has a line for each prompt that was sampled, as of the latest
checkpoint, which holds the same file: a run that goes on from it counts on from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vrft.errors import UserError

FILE = "difficulty.jsonl"

TOTALS = ("sampled", "answers", "reward", "full", "tokens", "tokens_without_signal")
"""The sums that are held of each prompt: groups, answers of known reward, rewards, answers of full
reward, tokens, and tokens of groups without signal."""

FULL = 1.0
"""The value of a reward from which on it is full."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A group of answers to a prompt: their number, the sum of rewards, and those of full reward.

    ``answers`` are those of known reward, none where a reward was lost. ``tokens`` are those of all
    answers; without ``signal`` they taught nothing.
    """

    sample_id: str
    answers: int
    reward: float
    full: int
    tokens: int
    signal: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A prompt in the ledger: its totals, and the means that follow from them."""

    sample_id: str
    sampled: int
    answers: int
    reward: float
    full: int
    tokens: int
    tokens_without_signal: int

    @property
    def mean_reward(self) -> float | None:
        """Return the mean weighted reward of the prompt's answers; None where none is known."""
        return self.reward / self.answers if self.answers else None

    @property
    def pass_rate(self) -> float | None:
        """Return the share of answers whose rewards were all full, in [0, 1]; None of no answer."""
        return self.full / self.answers if self.answers else None

    def row(self) -> dict[str, Any]:
        """Return the line of the file: the means, for whoever reads it, and the totals."""
        totals = {name: getattr(self, name) for name in TOTALS}
        means = {"pass_rate": self.pass_rate, "mean_reward": self.mean_reward}
        return {"sample_id": self.sample_id, **means, **totals}


class Ledger:
    """The totals of every prompt that a run has sampled, in the order of their first sampling.

    A prompt takes 48 bytes beside its id, which the samples hold anyway.
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.totals = np.zeros((64, len(TOTALS)))

    def __len__(self) -> int:
        return len(self.places)

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Count groups of answers."""
        for attempt in attempts:
            wasted = 0 if attempt.signal else attempt.tokens
            counted = (attempt.answers, attempt.reward, attempt.full, attempt.tokens, wasted)
            self.row_of(attempt.sample_id)[:] += (1, *counted)

    def row_of(self, sample_id: str) -> np.ndarray[Any, Any]:
        """Return the totals of a prompt [6] as a view, zeros for a new one."""
        place = self.places.setdefault(sample_id, len(self.places))
        if place == len(self.totals):
            self.totals = np.concatenate([self.totals, np.zeros_like(self.totals)])
        row: np.ndarray[Any, Any] = self.totals[place]
        return row

    def pass_rate(self, sample_id: str) -> float | None:
        """Return the share of a prompt's answers so far of full reward; None if none is known."""
        place = self.places.get(sample_id)
        if place is None:
            return None
        _, answers, _, full, _, _ = self.totals[place].tolist()
        return float(full / answers) if answers else None

    def standings(self) -> Iterator[Standing]:
        """Yield the prompts in their order."""
        for sample_id, place in self.places.items():
            sampled, answers, reward, full, tokens, wasted = self.totals[place].tolist()
            counts = (int(full), int(tokens), int(wasted))
            yield Standing(sample_id, int(sampled), int(answers), reward, *counts)

    def write(self, path: Path) -> None:
        """Write a line for each prompt."""
        with path.open("w", encoding="utf-8") as file:
            for standing in self.standings():
                file.write(json.dumps(standing.row(), ensure_ascii=True) + "\n")

    def restore(self, path: Path) -> None:
        """Take over the prompts of a file; UserError for one that ``write`` has not written."""
        self.places, self.totals = {}, np.zeros((64, len(TOTALS)))
        for standing in read(path):
            self.row_of(standing.sample_id)[:] = [getattr(standing, name) for name in TOTALS]


def read(path: Path) -> Iterator[Standing]:
    """Yield the prompts of a ledger's file; UserError that names the line for anything else."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                number += 1
                yield standing_of(json.loads(line))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: line {number} is no prompt of a ledger ({error})") from error


def standing_of(row: Any) -> Standing:
    """Return a line of the file as a prompt; ValueError for anything else."""
    if not isinstance(row, Mapping) or not isinstance(row.get("sample_id"), str):
        raise ValueError("no sample_id")
    totals = [row.get(name) for name in TOTALS]
    for name, value in zip(TOTALS, totals, strict=True):
        wanted = int | float if name == "reward" else int
        if not isinstance(value, wanted) or isinstance(value, bool) or not abs(value) <= 1e30:
            raise ValueError(f"{name} is {value!r:.40}")
        if name != "reward" and value < 0:
            raise ValueError(f"{name} is {value}")
    standing = Standing(row["sample_id"], *totals)  # type: ignore[arg-type]
    if standing.full > standing.answers:
        raise ValueError(f"{standing.full} of {standing.answers} answers are of full reward")
    return standing


def line(run: Path) -> str:
    """Return what a run's ledger says in one line; "" where there is none."""
    if not (run / FILE).is_file():
        return ""
    prompts = never = always = tokens = wasted = 0
    for standing in read(run / FILE):
        prompts += 1
        never += standing.pass_rate == 0
        always += standing.pass_rate == 1
        tokens += standing.tokens
        wasted += standing.tokens_without_signal
    if not prompts:
        return ""
    share = wasted / tokens if tokens else 0.0
    return (
        f"difficulty: {prompts} prompts sampled, {never} never and {always} always of full reward; "
        f"{share:.0%} of {tokens} tokens taught nothing ({run / FILE})"
    )


@dataclass(frozen=True)
class Bounds:
    """The prompts that are kept: by pass rate, by mean reward, and those of no known reward."""

    min_pass_rate: float | None = None
    max_pass_rate: float | None = None
    min_reward: float | None = None
    max_reward: float | None = None
    unsampled: bool = True

    def reason(self, standing: Standing | None) -> str | None:
        """Return why a prompt is left out, None for one that is kept."""
        if standing is None:
            return None if self.unsampled else "never sampled"
        if not standing.answers:
            return None if self.unsampled else "never rewarded"
        for name, value, low, high in (
            ("pass rate", standing.pass_rate, self.min_pass_rate, self.max_pass_rate),
            ("mean reward", standing.mean_reward, self.min_reward, self.max_reward),
        ):
            assert value is not None  # that of at least one answer
            if low is not None and value < low:
                return f"{name} under {low:g}"
            if high is not None and value > high:
                return f"{name} over {high:g}"
        return None


def left_out(
    ids: Sequence[str], standings: Iterable[Standing], bounds: Bounds
) -> tuple[list[int], dict[str, int]]:
    """Return the places of the ids that are kept, and reason -> how many are left out.

    Raises UserError where the ledger has prompts that are not among the ids.
    """
    known = set(ids)
    reasons: dict[str, str | None] = {}
    for standing in standings:
        if standing.sample_id not in known:
            raise UserError(
                f"the run has sampled {standing.sample_id!r}, which the data have not: these are "
                "other data than the run's"
            )
        reasons[standing.sample_id] = bounds.reason(standing)
    kept: list[int] = []
    counts: dict[str, int] = {}
    for place, sample_id in enumerate(ids):
        reason = reasons[sample_id] if sample_id in reasons else bounds.reason(None)
        if reason is None:
            kept.append(place)
        else:
            counts[reason] = counts.get(reason, 0) + 1
    return kept, counts
