"""Does training raise the held-out score of every demo task? Untrained against trained, by seed.

    python -m benchmarks.paper.demo_tasks [--tasks counting math ...] [--seeds 42 43 44]

Writes benchmarks/paper/results/demo_tasks.json and, from it, benchmarks/paper/RESULTS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.paper import experiment
from benchmarks.paper.experiment import Cell, Row, by_arm, markdown

TABLE = "demo_tasks"

BENCHMARKS = {
    "lisa_grounding": "demo_grounding",
    **{
        task: f"demo_{task}"
        for task in ("spatial", "geoqa", "fewshot_classification", "detection", "counting", "math")
    },
}

HEADER = ("task", "metric", "n", "untrained", "seed", "trained", "gain", "95 %", "blanked", "min")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing and write the table; 1 unless every gain is surely above zero."""
    from benchmarks.paper import report

    parser = experiment.arguments(__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    options = parser.parse_args(argv)
    cells = [
        Cell(task, f"demo/{task}", BENCHMARKS[task], seed, blanked=task != "math")
        for task in options.tasks
        for seed in options.seeds
    ]
    rows = experiment.measure(TABLE, cells, experiment.means(options))
    report.publish()
    print(table(rows))
    print(verdict(rows, len(cells)))
    return 0 if len(rows) == len(cells) and all(row.low > 0 for row in rows) else 1


@dataclass(frozen=True)
class DemoTasks:
    """The page about these runs."""

    kept: str = TABLE

    def section(self, rows: Sequence[Row]) -> str:
        """The part of RESULTS.md about them."""
        return SECTION.format(table=table(rows), verdict=verdict(rows, len(rows)))


PAGE = DemoTasks()

SECTION = """## Every demo task: untrained against trained

Greedy answers to held-out questions, strict scores in percent, after GPG with the task's
`configs/demo/` configuration. The gain is paired by question, its interval from a bootstrap over
questions; "blanked" is the trained model on grey pictures. The untrained models are made to have a
bad habit (`vrft/demo/models/README.md`): this shows that training mends it on questions that it
has not seen, on easy data.

{table}

{verdict}
"""


def table(rows: Sequence[Row]) -> str:
    """A line for every run."""
    lines = [
        (
            f"`{arm}`",
            row.metric,
            row.n,
            f"{100 * row.before:.1f}",
            row.seed,
            f"{100 * row.after:.1f}",
            f"{100 * row.gain:+.1f}",
            f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
            "" if row.blanked is None else f"{100 * row.blanked:.1f}",
            f"{row.seconds / 60:.1f}",
        )
        for arm, found in by_arm(rows)
        for row in found
    ]
    return markdown(HEADER, lines)


def verdict(rows: Sequence[Row], expected: int) -> str:
    """What the table says, in one sentence."""
    sure = sum(row.low > 0 for row in rows)
    missing = f"; {expected - len(rows)} not run yet" if len(rows) < expected else ""
    return f"In {sure} of {len(rows)} runs the whole interval lies above zero{missing}."


if __name__ == "__main__":
    sys.exit(main())
