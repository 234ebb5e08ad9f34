"""The table of docs/plan.md, from the plan itself: `python -m benchmarks.plan_table`."""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks.publishing import ROOT, markdown
from vrft import config
from vrft.step_plans import cards, lengths, shape, step_plan
from vrft.step_plans.budget import Devices
from vrft.step_plans.cards import GIB
from vrft.step_plans.step_plan import Job

PAGE = ROOT / "docs" / "plan.md"

MODELS = (
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Qwen/Qwen3-VL-4B-Instruct",
)
SIZES = (24, 40, 80)
"""Memories of cards in GiB."""

MARKS = "<!-- table -->\n", "<!-- end -->"


def table() -> str:
    """Return the table: a line a model, the settings with which it fits each card, and the peak."""
    lines = []
    for name in MODELS:
        settings = config.load(None, [f"model={name}"])
        model = shape.read(name)
        measured = lengths.of_sizes([(1008, 756)], 100, model, settings.model)
        job = Job(settings, model, measured, Devices())
        answers = [step_plan.remedy(job, cards.usable(size)) for size in SIZES]
        peak = step_plan.budget(job).peak / GIB
        lines.append([name.removeprefix("Qwen/"), f"{peak:.1f}", *map(words, answers)])
    return markdown(["model", "as it is", *(f"{size} GB" for size in SIZES)], lines)


def words(remedy: step_plan.Remedy | None) -> str:
    """Return the settings with which a step fits a card, and its peak."""
    if remedy is None:
        return "does not fit"
    settings = " ".join(f"`{setting}`" for setting in remedy.settings)
    return f"{settings or 'fits'}: {remedy.peak / GIB:.1f}"


def written(page: str) -> str:
    """Return a page with the table between its marks."""
    start, end = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    return f"{page[:start]}\n{table()}\n\n{page[end:]}"


def main(page: Path = PAGE) -> None:
    """Write the table into the page."""
    with warnings.catch_warnings(action="ignore"):
        text = written(page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
