"""Reports and comparisons as tables, as JSON, and as pages that need no other file."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

from vrft import columns
from vrft.config import coercion
from vrft.evaluation import predictions
from vrft.types import Comparison, Interval, Pairing, Report
from vrft.viz import COLOURS, Exhibit
from vrft.viz.drawing import draw_exhibit
from vrft.viz.markup import in_order

Sections = Sequence[tuple[str, Sequence[Exhibit]]]
"""Exhibits under headings, in the order in which a page shows them."""

UNBOUNDED = 10_000
"""Columns of a table that goes to a file or a pipe: more than any table has."""

CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
"""The characters that move a terminal's cursor, colour it or beep, but for the line end."""


# --- numbers as text, shared by tables and pages


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
    """Return (part, metric, interval) of every line of the table; the part "all" comes first."""
    parts = {"all": report.metrics, **report.subsets}
    return [(part, name, value) for part, of in parts.items() for name, value in of.items()]


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
    """Return the numbers of answers in words: "300 samples, 4 unreadable (1 of them missing)"."""
    missing = f" ({report.missing} of them missing)" if report.missing else ""
    return f"{report.n} samples, {report.unreadable} unreadable{missing}"


# --- tables for the console


def table(report: Report) -> Table:
    """Return the report as a table for the console, in percent."""
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
    shown = Table(title=first.benchmark, caption=f"{first.n} samples", caption_justify="left")
    shown.add_column("")
    names = list(first.metrics)
    for heading in (names[0], "95 % interval", *names[1:], "unreadable"):
        shown.add_column(heading, justify="right")
    for name, report in reports.items():
        means = [percent(value.mean) for value in report.metrics.values()]
        primary = ends(report.metrics[names[0]])
        shown.add_row(name, means[0], primary, *means[1:], str(report.unreadable))
    return shown


def comparison_table(comparisons: Sequence[Comparison], title: str = "") -> Table:
    """Return before, after and difference as a table for the console, in percent.

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
    shown.caption = f"{primary.metric} of {n} samples: {better} better, {worse} worse"
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


def text(shown: Table, width: int | None = None, notes: Sequence[str] = ()) -> str:
    """Return a table as plain text, and below it the notes, each in a line of its own.

    It is as wide as ``width``, or as the terminal; for files and pipes, as it needs. Names go on
    in the next line where they are too long, and numbers that do not fit beside each other stand
    in a second table.
    """
    width = width or columns.terminal_width()
    # A file of its own and no colours: the text must not depend on the terminal it is printed to.
    # Nor markup and emoji: a subset may be called "[/b]" or ":cat:".
    console = Console(
        file=io.StringIO(),
        width=width or UNBOUNDED,
        color_system=None,
        force_terminal=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for part in parts(shown, width or UNBOUNDED):
            console.print(part)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    told = [columns.wrapped(note, width, 2) for note in notes if note]
    return printable("\n".join([*lines, *told]) + "\n")


def parts(shown: Table, width: int) -> list[Table]:
    """Return a table, or several with the same names and some of its numbers each, that fit.

    Names may go on in a further line, numbers never.
    """
    names = [column for column in shown.columns if column.justify != "right"]
    numbers = [column for column in shown.columns if column.justify == "right"]
    words = [longest(column, column.cells, words=True) for column in names]
    taken = 1 + sum(3 + min(word, width // 4) for word in words)
    groups: list[list[Column]] = [[]]
    for column in numbers:
        sizes = [3 + longest(each, each.cells) for each in (*groups[-1], column)]
        if groups[-1] and taken + sum(sizes) > width:
            groups.append([])
        groups[-1].append(column)
    tables = [
        Table(
            *(Column(c.header, justify=c.justify, overflow="fold", no_wrap=c in group)
              for c in (*names, *group)),
            title=shown.title if group is groups[0] else None,
            caption=shown.caption if group is groups[-1] else None,
            caption_justify="left",
        )
        for group in groups
    ]  # fmt: skip
    for made, group in zip(tables, groups, strict=True):
        for row in zip(*(column.cells for column in (*names, *group)), strict=True):
            made.add_row(*row)
    return tables


def longest(column: Column, cells: Iterable[Any], words: bool = False) -> int:
    """Return the columns of the longest entry or heading of a column, or of the longest word."""
    entries = [str(column.header), *map(str, cells)]
    if words:
        entries = " ".join(entries).split() or [""]
    return max(map(cell_len, entries))


def printable(text: str) -> str:
    """Return a text that any terminal can print.

    Half a surrogate pair, control characters but the line end, and marks that turn the direction of
    writing are escaped, as ``\\ud83d``, ``\\x1b`` and ``\\u202e``.
    """
    text = in_order(text)
    text = CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return text.encode("utf-8", predictions.ESCAPED).decode("utf-8")


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
    return text.encode("utf-8", predictions.ESCAPED).decode("utf-8")


# --- pages


def page(report: Report, sections: Sections, settings: Mapping[str, Any]) -> str:
    """Return the report as one page of HTML with pictures inside.

    ``settings`` are those of settings.json. The page names the model, or the file of answers.
    """
    asked = settings.get("endpoint", {})
    model = settings.get("model", {}).get("name") or settings.get("predictions", "")
    if asked.get("url"):
        model = f"{asked['model']} ({asked['url']})"
    return render(
        "report.html.j2",
        sections,
        title=settings.get("benchmark", {}).get("title"),
        report=report,
        model=model,
        limit=settings.get("limit"),
        blanked=settings.get("blank_images", False),
        settings=json.dumps(settings, indent=2, ensure_ascii=False),
    )


def comparison_page(title: str, comparisons: Sequence[Comparison], sections: Sections) -> str:
    """Return comparisons, and exhibits of answers before and after, as one page of HTML."""
    return render("comparison.html.j2", sections, title=title, comparisons=comparisons)


def render(template: str, sections: Sections, **names: Any) -> str:
    """Fill in a template of vrft/evaluation/templates; every text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vrft.evaluation", "templates"),
        # Models write <script> when they like: raw answers must never become markup.
        autoescape=True,
        finalize=lambda value: in_order(value) if isinstance(value, str) else value,
        # A name that a template misspells is an error, not an empty place on the page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Globals and not variables of the context: macros imported from parts.html.j2 see only these.
    environment.globals |= {
        "colours": COLOURS,
        "percent": percent,
        "ends": ends,
        "metric_rows": metric_rows,
        "published_rows": published_rows,
        "sample_counts": sample_counts,
        "picture": picture,
        "known": math.isfinite,
    }
    # The legend of colours is shown where some picture has a box.
    boxed = any(exhibit.marks for _, exhibits in sections for exhibit in exhibits)
    return environment.get_template(template).render(names, sections=sections, boxed=boxed)


def picture(exhibit: Exhibit) -> str:
    """Return the exhibit's picture with its marks as a data URI of JPEG; "" without a picture.

    A picture that cannot be read is shown as a sheet of paper that says so.
    """
    drawn = draw_exhibit(exhibit)
    if drawn is None:
        return ""
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
