"""Reports and comparisons as tables, in percent, and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from vrft.columns import counted
from vrft.config import coercion
from vrft.evaluation import settings_file
from vrft.evaluation.summary import absent
from vrft.evaluation.table_text import printable
from vrft.types import Comparison, Interval, Pairing, Report

# --- numbers as text


def percent(value: float, signed: bool = False) -> str:
    """Return a fraction as percent with one decimal: "53.4", signed "+1.2"; a dash for NaN."""
    if math.isnan(value):
        return "–"
    number = round(100 * value, 1)
    # Rounded before the sign is chosen: -0.0001 would print as "-0.0", 0.0001 as "+0.0".
    return f"{number:+.1f}" if signed and number else f"{number or 0.0:.1f}"


def ends(interval: Interval, signed: bool = False) -> str:
    """Return the interval's ends in percent: "50.1 to 56.7"; a dash where there is none."""
    low, high = percent(interval.low, signed), percent(interval.high, signed)
    return "–" if "–" in (low, high) else f"{low} to {high}"


def metric_rows(report: Report) -> list[tuple[str, str, Interval]]:
    """Return (part, metric, interval) of every line of the table; the part "all" comes first.

    A subset of this name is told from it as "subset all".
    """
    parts = [("all", report.metrics)]
    parts += [("subset all" if name == "all" else name, of) for name, of in report.subsets.items()]
    return [(part, name, value) for part, of in parts for name, value in of.items()]


def published_rows(report: Report) -> list[tuple[str, str, float, float]]:
    """Return (method, metric, ours, paper), both values in [0, 1], for every published value.

    A published value stands beside the metric and, where there is one, beside
    ``legacy_<metric>``, which scores by the published evaluator's rules.
    """
    primary = next(iter(report.metrics))
    by_metric = [(primary, report.paper), *report.paper_by_metric.items()]
    return [
        (method, name, report.metrics[name].mean, value / 100)
        for metric, values in by_metric
        for method, value in values.items()
        for name in (metric, f"legacy_{metric}")
        # Without a segmenter there are no mask metrics, though the paper has values of them.
        if name in report.metrics
    ]


def sample_counts(report: Report) -> str:
    """Return the numbers of samples in words: "300 samples, 4 unreadable, 1 with answers missing".

    Of several answers to a sample, one that is missing does not make it unreadable. Behind them
    stands how many answers were cut off, where some were.
    """
    missing = f", {report.missing} with answers missing" if report.missing else ""
    cut = f", {counted(report.cut, 'answer')} cut off" if report.cut else ""
    return f"{counted(report.n, 'sample')}, {report.unreadable} unreadable{missing}{cut}"


def answer_counts(reports: Mapping[str, Report]) -> dict[str, list[str]]:
    """Return heading -> a text for each report: of the unreadable, and of any that were cut off."""
    columns = {"unreadable": [report.unreadable for report in reports.values()]}
    if any(cut := [report.cut for report in reports.values()]):
        columns["cut off"] = cut
    return {heading: list(map(str, counts)) for heading, counts in columns.items()}


# --- tables


def table(report: Report) -> Table:
    """Return the report as a table, in percent."""
    shown = Table(title=report.benchmark, caption=sample_counts(report), caption_justify="left")
    for heading in ("part", "metric"):
        shown.add_column(heading)
    for heading in ("%", "95 % interval", "n"):
        shown.add_column(heading, justify="right")
    for part, name, value in metric_rows(report):
        shown.add_row(part, name, percent(value.mean), ends(value), str(value.n))
    for method, name, ours, paper in published_rows(report):
        # Papers give no intervals, so that their column has room for the difference.
        gap = f"ours {percent(ours - paper, True)}"
        shown.add_row(f"paper: {method}", name, percent(paper), gap, "")
    return shown


def checkpoint_table(reports: Mapping[str, Report]) -> Table:
    """Return a table of the models of a run, by name: every metric's mean in percent.

    The interval is that of the first metric, the task's primary one.
    """
    first = next(iter(reports.values()))
    shown = Table(title=first.benchmark, caption=counted(first.n, "sample"), caption_justify="left")
    shown.add_column("")
    rows = means_by_name(reports)
    names = list(next(iter(rows.values())))
    counts = answer_counts(reports)
    for heading in (names[0], "95 % interval", *names[1:], *counts):
        shown.add_column(heading, justify="right")
    for (name, report), *counted_answers in zip(reports.items(), *counts.values(), strict=True):
        means = [percent(value) for value in rows[name].values()]
        primary = ends(report.metrics[names[0]])
        shown.add_row(name, means[0], primary, *means[1:], *counted_answers)
    return shown


def means_by_name(reports: Mapping[str, Report]) -> dict[str, dict[str, float]]:
    """Return the mean of every metric that any of the reports has, in one order for all of them."""
    names = {name: None for report in reports.values() for name in report.metrics}
    return {
        key: {
            name: report.metrics[name].mean if name in report.metrics else absent(name)
            for name in names
        }
        for key, report in reports.items()
    }


def comparison_table(comparisons: Sequence[Comparison], title: str = "") -> Table:
    """Return before, after and difference as a table, in percent.

    Without a title the table is named after the metric of the first comparison.
    """
    metric = comparisons[0].metric if comparisons else ""
    shown = Table(title=title or f"{metric} before and after", caption_justify="left")
    shown.add_column("")
    for heading in ("before", "after", "difference", "95 % interval", "n"):
        shown.add_column(heading, justify="right")
    for row in comparisons:
        shown.add_row(
            row.name,
            percent(row.before.mean),
            percent(row.after.mean),
            percent(row.difference.mean, True),
            ends(row.difference, True),
            str(row.difference.n),
        )
    return shown


def pairing_table(pairing: Pairing) -> Table:
    """Return a table of every metric before and after, above the number of samples that changed."""
    shown = comparison_table(pairing.metrics, pairing.benchmark)
    primary, better = pairing.metrics[0], sum(change.gain > 0 for change in pairing.changes)
    worse, n = len(pairing.changes) - better, primary.difference.n
    shown.caption = f"{primary.metric} of {counted(n, 'sample')}: {better} better, {worse} worse"
    return shown


def change_lines(pairing: Pairing, count: int = 10) -> list[str]:
    """Return the ``count`` greatest gains and as many losses, in percent, ids last.

    A line reads "better   +50.0    0.0 to  50.0  a".
    """
    gains = [change for change in pairing.changes if change.gain > 0]
    # Changes go from the greatest gain to the greatest loss: losses begin at the end.
    losses = [change for change in reversed(pairing.changes) if change.gain < 0]
    return [
        printable(
            f"{heading:<6}  {percent(change.gain, True):>6}  {percent(change.before):>5} to "
            f"{percent(change.after):>5}  {change.id}"
        )
        for heading, changes in (("better", gains), ("worse", losses))
        for change in changes[:count]
    ]


# --- JSON


def to_json(value: Report | Comparison | Pairing) -> dict[str, Any]:
    """Return the report or comparison in a form that JSON takes; an unknown end is null."""
    tree: dict[str, Any] = without_nan(coercion.to_plain(value))
    return tree


def without_nan(tree: Any) -> Any:
    """Return the tree with None for every NaN, which JSON has no word for."""
    if isinstance(tree, dict):
        return {key: without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_nan(value) for value in tree]
    return None if isinstance(tree, float) and math.isnan(tree) else tree


def json_text(value: Report | Comparison | Pairing) -> str:
    """Return the report or comparison as indented JSON that any terminal can print."""
    text = json.dumps(to_json(value), indent=2, ensure_ascii=False)
    return text.encode("utf-8", settings_file.ESCAPED).decode("utf-8")
