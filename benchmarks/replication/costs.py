"""What a run of an arm costs, measured with nothing else on the machine.

Runs of the study lie beside whatever else the machine does, which lengthens their processor time
too, as they share its caches and its memory. Equal compute is therefore judged by runs of their
own: the first seed of every arm some times more, for its time alone, as many runs at once as were
asked for. Such times vary too, so that each is kept, and a verdict has to hold over their range.
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import publishing
from benchmarks.replication import ledger, runs
from benchmarks.replication.beds import Bed, fingerprint
from benchmarks.replication.ledger import Row, Trial
from vrft.errors import UserError

FILE = "costs.jsonl"
"""The file of the measured costs, beside those of the rows."""

ENOUGH = 3
"""Measurements of an arm; with fewer the times of its final runs count as well."""

VERSIONS = ("vrft", "torch", "transformers", "platform")

BUSY = 1.1
"""The time by the clock over that of the processor, from which on a run had to wait for others."""

START_UP = 3.0
"""Seconds in which a run that has begun may wait for the disk."""


@dataclass(frozen=True)
class Cost:
    """The processor seconds of a run on a quiet machine; ``start`` and ``rate`` as in its row."""

    bed: str
    arm: str
    rate: float
    steps: int
    start: str
    cpu_seconds: float
    commit: str
    versions: Mapping[str, str]


def read() -> list[Cost]:
    """Return all costs that were measured; UserError for a line that is none."""
    return ledger.read_lines(ledger.HERE / FILE, lambda fields: Cost(**fields))


def measured(bed: Bed, finals: Mapping[str, Sequence[Row]]) -> dict[str, list[float]]:
    """Return the measured costs of arms at the rates, and of the start, of their final runs."""
    known: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
    for cost in read():
        known[cost.bed, cost.arm, cost.rate, cost.steps, cost.start].append(cost.cpu_seconds)
    found = {arm: known.get((bed.name, arm, rows[0].trial.rate, rows[0].trial.steps, rows[0].start))
             for arm, rows in finals.items()}  # fmt: skip
    return {arm: seconds for arm, seconds in found.items() if seconds}


def of_arms(bed: Bed, finals: Mapping[str, Sequence[Row]]) -> dict[str, list[float]]:
    """Return the processor seconds of every arm, those of its final runs if few were measured."""
    alone = measured(bed, finals)
    return {
        arm: alone[arm]
        if len(alone.get(arm, ())) >= ENOUGH
        else [*alone.get(arm, ()), *(row.cpu_seconds for row in rows)]
        for arm, rows in finals.items()
    }


def measure(bed: Bed, finals: Mapping[str, Sequence[Row]], out: Path, jobs: int) -> None:
    """Measure what is missing to ENOUGH costs of each arm, ``jobs`` runs at once; append each.

    Raises UserError for a run that had to wait for a processor: the machine does something else.
    """
    known = measured(bed, finals)
    missing = [
        rows[0]
        # Turn by turn, so that the times of an arm are from different moments.
        for turn in range(ENOUGH)
        for arm, rows in finals.items()
        if len(known.get(arm, ())) <= turn
    ]
    if missing:
        runs.command(["tasks"], out / "first")  # which waits for all imports, as no run does later
    pool = ThreadPoolExecutor(jobs)
    try:
        for cost in pool.map(lambda row: cost_of(bed, row.trial, out), missing):
            ledger.append_line(ledger.HERE / FILE, asdict(cost))
            print(f"{cost.bed}, {cost.arm}: {cost.cpu_seconds:.0f} s", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)


def cost_of(bed: Bed, trial: Trial, out: Path) -> Cost:
    """Train once more as a final run did, and return what it cost."""
    folder = out / f"{trial.folder}-cost"
    began = time.monotonic()
    seconds = runs.train(bed, trial, folder)
    wall = time.monotonic() - began
    shutil.rmtree(folder)
    if wall > BUSY * seconds + START_UP:
        raise UserError(
            f"{trial.folder}: {seconds:.0f} s of processor time took {wall:.0f} s; measure costs "
            "on a machine that does nothing else, with no more --jobs than cores"
        )
    return Cost(
        bed.name, trial.arm, trial.rate, trial.steps, fingerprint(bed.start), round(seconds, 1),
        publishing.commit(), publishing.versions(VERSIONS),
    )  # fmt: skip
