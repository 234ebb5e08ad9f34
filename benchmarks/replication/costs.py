"""What a run of an arm costs, measured with nothing else on the machine.

Runs of the study lie beside whatever else the machine does, which lengthens their processor time
too, as they share its caches and its memory. Equal compute is therefore judged by runs of their
own: the first seed of every arm some times more, for its time alone, as many runs at once as were
asked for. Such times vary too, so that each is kept, and a verdict has to hold over their range.
Another commit is other code, and often another machine: times are compared within one alone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import publishing
from benchmarks.replication import ledger, runs
from benchmarks.replication.beds import Bed, fingerprint
from benchmarks.replication.ledger import Trial
from benchmarks.replication.verdicts import Finals
from vrft.errors import UserError

FILE = "costs.jsonl"
"""The file of the measured costs, beside those of the rows."""

ENOUGH = 3
"""Measurements of an arm at a commit."""

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


def measured(bed: Bed, finals: Finals) -> dict[str, dict[str, list[float]]]:
    """Return the measured costs of every arm by commit, at the rate and of the start of its runs.

    They are processor seconds; an arm that was not measured has no commit.
    """
    found: dict[str, dict[str, list[float]]] = {arm: {} for arm in finals}
    for cost in read():
        key = (cost.bed, cost.rate, cost.steps, cost.start)
        for row in finals.get(cost.arm, ())[:1]:
            if key == (bed.name, row.trial.rate, row.trial.steps, row.start):
                found[cost.arm].setdefault(cost.commit, []).append(cost.cpu_seconds)
    return found


def measure(bed: Bed, finals: Finals, out: Path, jobs: int) -> None:
    """Measure what is missing to ENOUGH costs of each arm at this commit, and append each.

    ``jobs`` runs are done at once. Raises UserError for a run that had to wait for a processor: the
    machine does something else.
    """
    known, here = measured(bed, finals), publishing.commit()
    missing = [
        rows[0]
        # Turn by turn, so that the times of an arm are from different moments.
        for turn in range(ENOUGH)
        for arm, rows in finals.items()
        if len(known[arm].get(here, ())) <= turn
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
