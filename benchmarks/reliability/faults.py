"""The faults that a run may meet, and what becomes of it, engine by engine.

python benchmarks/reliability/faults.py [--junit FILE.xml ...] [--publish]

Runs `make test-faults` and `make test-distributed`, whose tests tell their outcomes as properties
of their junit XML (tests/fakes/outcomes.py), and makes a row of each fault and engine. ``--junit``
takes the files of earlier runs in place of that. With ``--publish`` the table is written to
RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # run as a script, whose folder alone is on the path
    sys.path.insert(0, str(ROOT))

from benchmarks.publishing import commit, versions  # noqa: E402
from benchmarks.reliability import report  # noqa: E402

TARGETS = ("test-faults", "test-distributed")
"""The targets of make whose tests meet faults."""


class NoOutcome(Exception):
    """Tests that did not end, or told no outcome."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a fault under an engine, by one test or several.

    ``difference`` is the largest difference of a weight between runs that must be the same, and
    ``moved`` how far training has moved one: None where nothing is compared. ``end`` says in words
    how a run ends that cannot go on.
    """

    fault: str
    engine: str
    passed: int = 0
    failed: int = 0
    difference: float | None = None
    moved: float | None = None
    end: str = ""


def run_tests(folder: Path) -> list[Path]:
    """Run the tests of all TARGETS, and return their junit XML in a folder.

    A target whose tests fail still has its outcomes. Raises NoOutcome for one that has not run.
    """
    files = []
    for target in TARGETS:
        file = folder / f"{target}.xml"
        # The family that has properties, and a suite that is named after its commit.
        options = f"--junitxml={file} -o junit_family=xunit1 -o junit_suite_name={commit()}"
        subprocess.run(["make", target], cwd=ROOT, env={**os.environ, "PYTEST_ADDOPTS": options})
        if not file.is_file():
            raise NoOutcome(f"make {target} has left no {file}")
        files.append(file)
    return files


def commits(files: Iterable[Path]) -> str:
    """Return the commits whose tests are in junit XML, as the names of its suites tell them."""
    suites = [suite for file in files for suite in ElementTree.parse(file).iter("testsuite")]
    return " and ".join(dict.fromkeys(suite.get("name", "unknown") for suite in suites))


def read(files: Iterable[Path]) -> tuple[list[Outcome], dict[str, int]]:
    """Return the outcomes of junit XML, a fault and engine each, and how many tests there were.

    Raises NoOutcome where no test tells one. A test that fails or is skipped tells none: it is
    counted by itself.
    """
    made: dict[tuple[str, str], Outcome] = {}
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            state = state_of(case)
            counts[state] += 1
            told = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
            if "fault" not in told:
                continue
            key = (told["fault"], told["engine"])
            made[key] = joined(made.get(key, Outcome(*key)), told, state)
    if not made:
        raise NoOutcome(f"{', '.join(map(str, files))}: no test tells its outcome")
    return list(made.values()), counts


def state_of(case: ElementTree.Element) -> str:
    """Return what became of a test: passed, failed or skipped."""
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def joined(before: Outcome, told: Mapping[str, str], state: str) -> Outcome:
    """Return an outcome with that of a further test: the larger of both differences."""
    difference, moved = (
        max((float(v) for v in (old, told.get(name)) if v is not None), default=None)
        for name, old in (("difference", before.difference), ("moved", before.moved))
    )
    return Outcome(
        before.fault,
        before.engine,
        before.passed + (state == "passed"),
        before.failed + (state == "failed"),
        difference,
        moved,
        told.get("end", before.end),
    )


def tree_of(outcomes: Sequence[Outcome], counts: Mapping[str, int], tested: str) -> dict[str, Any]:
    """Return what is written to faults.json; ``tested`` names the commits of the tests."""
    where = {
        "commit": tested,
        "date": datetime.now(UTC).date().isoformat(),
        **versions(("python", "torch")),
    }
    return {
        "measured": where,
        "tests": dict(counts),
        "rows": [asdict(outcome) for outcome in outcomes],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of faults; status 1 if a test has failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--junit", nargs="+", type=Path, metavar="FILE.xml")
    parser.add_argument("--publish", action="store_true", help="write it to RESULTS.md")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        files = args.junit or run_tests(Path(folder))
        (outcomes, counts), tested = read(files), commits(files)
    tree = tree_of(outcomes, counts, tested)
    print(report.faults_table(tree["rows"]))
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    if args.publish:
        text = json.dumps(tree, indent=2) + "\n"
        (report.HERE / "faults.json").write_text(text, encoding="utf-8")
        report.write()
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoOutcome as mistake:
        sys.exit(f"faults: {mistake}")
