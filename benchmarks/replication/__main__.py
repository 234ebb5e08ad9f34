"""A replication of GPG on small beds: make the starts, do outstanding runs, and publish.

python -m benchmarks.replication start walks
python -m benchmarks.replication study --bed walks --sitting 60 --jobs 2
python -m benchmarks.replication costs --bed walks --jobs 2
python -m benchmarks.replication report
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from benchmarks.replication import agenda, costs, ledger, report, runs
from benchmarks.replication.beds import BEDS, Bed
from benchmarks.replication.ledger import Row, Trial
from benchmarks.replication.trials import by_trial
from vrft.errors import UserError
from vrft.system.folder_lock import held

LONGEST = 180.0
"""Seconds that a run may be expected to take before any has been timed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command; return 0, or 2 for an error."""
    options = arguments().parse_args(argv)
    try:
        if options.command == "start":
            print(runs.make_start(BEDS[options.bed], options.out))
        elif options.command != "report":
            ready = [name for name, bed in BEDS.items() if bed.start.is_dir()]
            names = options.bed or ready
            for bed in (BEDS[name] for name in names):
                if options.command == "study":
                    sitting(bed, options.out, options.sitting / len(names), options.jobs)
                else:
                    costs.measure(bed, report.finals_on(bed), options.out, options.jobs)
        # Also after a sitting: the page shows what there is.
        if options.command != "start":
            print(report.publish())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replication",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="make the start of a bed; it forgets no row")
    start.add_argument("bed", choices=[name for name, bed in BEDS.items() if not bed.embedded])
    study = commands.add_parser("study", help="do the most valuable outstanding runs")
    study.add_argument("--sitting", type=float, required=True, metavar="MINUTES")
    timing = commands.add_parser("costs", help="measure what a run of every arm costs by itself")
    for command in (study, timing):
        command.add_argument(
            "--bed", nargs="+", choices=list(BEDS), help="default: all with a start"
        )
        command.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    for command in (start, study, timing):
        command.add_argument("--out", type=Path, default=Path("runs/replication"))
    commands.add_parser("report", help="publish the rows that there are, and run nothing")
    return parser


def sitting(bed: Bed, out: Path, minutes: float, jobs: int) -> None:
    """Do the most valuable outstanding runs of a bed for some minutes, and append their rows.

    No run begins that would probably end too late, by the longest wall time of the runs before.
    Raises UserError if another sitting holds the folder, if the bed has no start, or for a run that
    fails, when those beside it have ended: their rows are kept.
    """
    if not bed.start.is_dir():
        raise UserError(f"{bed.start}: no start; make it with the command start {bed.name}")
    folder = out / bed.name
    folder.mkdir(parents=True, exist_ok=True)
    deadline, longest = time.monotonic() + 60 * minutes, 0.0
    rows = by_trial(bed, ledger.read(bed.name))
    failed: UserError | None = None
    running: dict[Future[tuple[Row, float]], Trial] = {}
    with held(folder, "a sitting"), ThreadPoolExecutor(jobs) as pool:
        while True:
            ends = time.monotonic() + (longest or LONGEST)
            while failed is None and len(running) < jobs and ends < deadline:
                trial = agenda.next_trial(bed, rows, running.values())
                if trial is None:
                    break
                running[pool.submit(timed, bed, trial, folder)] = trial
            if not running:
                break
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                trial = running.pop(done)
                try:
                    row, seconds = done.result()
                except UserError as error:
                    failed = failed or error
                    continue
                ledger.append(row)
                rows[trial] = row
                longest = max(longest, seconds)
                print(f"{trial.folder}: {100 * row.score:.1f}, {row.cpu_seconds:.0f} s", flush=True)
    if failed is not None:
        raise failed


def timed(bed: Bed, trial: Trial, folder: Path) -> tuple[Row, float]:
    """Carry out a trial and return its row, and the seconds by the clock."""
    begun = time.monotonic()
    return runs.perform(bed, trial, folder), time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
