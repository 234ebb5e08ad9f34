"""Rows of the replication study, for tests of what is made from them."""

from __future__ import annotations

from dataclasses import asdict

from benchmarks.replication import costs, ledger
from benchmarks.replication.beds import BEDS, WALKS
from benchmarks.replication.costs import Cost
from benchmarks.replication.ledger import Row, Trial
from benchmarks.replication.trials import settings_of

VERSIONS = {"vrft": "0", "torch": "0", "transformers": "0", "platform": "a test"}


def row_of(trial: Trial, score: float, seconds: float = 60.0, first: float = 0.3) -> Row:
    """Return the row of a trial whose score rises evenly from ``first`` to ``score``."""
    middle = (trial.steps // 2, (first + score) / 2)
    return Row(
        trial=trial,
        settings=tuple(settings_of(BEDS[trial.bed], trial)),
        start="0123456789ab",
        curve=((0, first), middle, (trial.steps, score)),
        completions=128 * trial.steps,
        tokens=1000 * trial.steps,
        cpu_seconds=seconds,
        commit="0000000",
        versions=VERSIONS,
    )


def finals(arm: str, scores: list[float], seconds: float = 60.0) -> list[Row]:
    """Return final rows of an arm on the bed of walks, one for each score, seeds from 1 on."""
    return [
        row_of(Trial("walks", "final", arm, 1e-4, seed, WALKS.steps), score, seconds)
        for seed, score in enumerate(scores, 1)
    ]


def measure(row: Row) -> None:
    """Note the time of a final run as one that was measured by itself."""
    trial = row.trial
    cost = Cost(
        trial.bed,
        trial.arm,
        trial.rate,
        trial.steps,
        row.start,
        row.cpu_seconds,
        row.commit,
        VERSIONS,
    )
    ledger.append_line(ledger.HERE / costs.FILE, asdict(cost))
