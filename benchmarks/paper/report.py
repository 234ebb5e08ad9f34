"""RESULTS.md: every table, made from the kept rows and from nothing else.

python -m benchmarks.paper.report
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper import demo_tasks, experiment, table3, table5, table9, table10
from benchmarks.paper.experiment import HERE, Page, Row, markdown

PAGES: tuple[Page, ...] = (
    demo_tasks.PAGE,
    *(one.STUDY for one in (table3, table9, table10)),
    *table5.STUDIES,
)

HEAD = """# Results at the scale of one CPU

Made by `python -m benchmarks.paper.report` from `results/*.json`, which the scripts here write; not
edited by hand. The models are the tiny embedded ones, the data the drawn demo sets: no number here
is one of a published benchmark.
"""


def main() -> None:
    """Write RESULTS.md anew."""
    print(publish())


def publish() -> Path:
    """Write RESULTS.md from the kept rows of every table and return its path."""
    kept = {page.table: (page, list(experiment.read(page.table).values())) for page in PAGES}
    sections = [page.section(rows) for page, rows in kept.values() if rows]
    path = HERE / "RESULTS.md"
    rows = [row for _, found in kept.values() for row in found]
    path.write_text("\n".join([HEAD, *sections, provenance(rows)]), encoding="utf-8")
    return path


def provenance(rows: Sequence[Row]) -> str:
    """Which commits, versions and machines the rows are from."""
    names = ("vrft", "torch", "transformers", "platform")
    found = {(row.commit, row.threads, *(row.versions[name] for name in names)) for row in rows}
    return f"## Where they are from\n\n{markdown(('commit', 'threads', *names), sorted(found))}\n"


if __name__ == "__main__":
    main()
