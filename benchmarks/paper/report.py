"""RESULTS.md: every table, made from the kept rows and from nothing else.

python -m benchmarks.paper.report
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper import demo_tasks, experiment, plots, table3, table5, table9, table10
from benchmarks.paper.experiment import HERE, Page, Row, markdown
from benchmarks.paper.study import Study

PAGES: tuple[Page, ...] = (
    demo_tasks.PAGE,
    *table3.STUDIES,
    table9.STUDY,
    table10.STUDY,
    *table5.STUDIES,
)

HEAD = """# Results at the scale of one CPU

Made by `python -m benchmarks.paper.report` from `results/*.json`, which the scripts here write; not
edited by hand. The models are the tiny embedded ones, the data the drawn demo sets: no number here
is one of a published benchmark. Where all arms of a table end near the ceiling it cannot tell
methods apart, and most of these tasks are as easy as that: the untrained models have a habit that
is mended in few steps, whatever the method.
"""

FIGURE = """## Figure 3: training

The runs of `gpg` and `grpo` on photographs, from Table 3: means over seeds with 95 % intervals,
each point the mean of up to five steps. On-policy, GRPO's loss is near zero by construction.

![Figure 3](figure3.svg)
"""


def main() -> None:
    """Write RESULTS.md anew."""
    print(publish())


def publish() -> Path:
    """Write RESULTS.md and its pictures from the kept rows, and return its path."""
    kept = {page.kept: list(experiment.read(page.kept).values()) for page in PAGES}
    sections = [page.section(kept[page.kept]) for page in PAGES]
    for page in PAGES:
        if isinstance(page, Study) and (rows := page.select(kept[page.kept])):
            plots.study(page, rows, HERE)
    path = HERE / "RESULTS.md"
    parts = [
        HEAD,
        *filter(None, sections),
        provenance([row for rows in kept.values() for row in rows]),
    ]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def provenance(rows: Sequence[Row]) -> str:
    """Which commits, versions and machines the rows are from."""
    names = ("vrft", "torch", "transformers", "platform")
    found = {(row.commit, row.threads, *(row.versions[name] for name in names)) for row in rows}
    table = markdown(("commit", "threads", *names), sorted(found))
    return f"## Where they are from\n\n{table}\n\n`-dirty`: with changed files, be it this one.\n"


if __name__ == "__main__":
    main()
