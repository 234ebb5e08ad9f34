"""Curves of metrics over the steps of runs, as SVG whose texts can be selected."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vrft import paths
from vrft.errors import UserError
from vrft.system import durable
from vrft.viz.markup import escaped, page
from vrft.viz.palette import LINES

WIDTH, HEIGHT = 460, 180
"""The size of a chart in pixels."""

LEFT, RIGHT, TOP, BOTTOM = 52, 10, 26, 24
"""Its margins in pixels, where the ticks and the title stand."""

DASHES = ("", "6 3", "2 2", "8 3 2 3", "1 3")
"""The dashes of lines beside each other: colour is not all that tells them apart."""

Points = Mapping[int, float]
"""Step -> value, in the order of steps."""


class Measured(Protocol):
    """A run whose metrics can be drawn, such as that of ``vrft.train``."""

    @property
    def metrics(self) -> Sequence[Mapping[str, Any]]:
        """Return a row of metrics for each logged step, the oldest first, with ``step`` in each."""
        ...


@dataclass(frozen=True)
class Chart:
    """A metric over steps, with a line for each run by its name."""

    metric: str
    lines: Mapping[str, Points]


@dataclass(frozen=True, repr=False)
class Curves:
    """Charts beside each other, which Jupyter shows."""

    charts: tuple[Chart, ...]
    columns: int = 2

    def __repr__(self) -> str:
        """Return the metrics that are drawn."""
        return f"<Curves: {', '.join(chart.metric for chart in self.charts)}>"

    def _repr_html_(self) -> str:
        """Return the charts as SVG within HTML."""
        return svg(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save as .svg or as a page (.html), and return where it lies.

        Raises UserError for another end of the name, and for a file that cannot be written.
        """
        target = Path(path)
        made = {".svg": lambda: svg(self), ".html": lambda: page(repr(self), svg(self))}
        if target.suffix.lower() not in made:
            raise UserError(f"{target}: curves are saved as .svg or .html; name it so")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            durable.write_text(target, made[target.suffix.lower()]())
        except OSError as error:
            raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
        return target


def curves(
    *runs: Measured | Mapping[str, Measured],
    metrics: str | Sequence[str] = "reward",
    columns: int = 2,
) -> Curves:
    """Draw metrics of runs over their steps, each in a chart with a line for every run.

    ``runs`` are results of ``vrft.train``, or mappings of names to them; others are called by their
    folders. A value that is not finite leaves a gap; a metric that is not measured at each step,
    such as an evaluation's, is a line from one of its steps to the next. Raises UserError for what
    is no run, and for a metric that none of them has.
    """
    rows = {name: rows_of(name, run) for name, run in named(runs).items()}
    if not rows:
        raise UserError("curves need at least one run")
    if not any(rows.values()):
        raise UserError(f"curves of {', '.join(rows)}: no step is logged yet")
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    known = {name for some in rows.values() for row in some for name in row} - {"step", "time"}
    for name in wanted:
        if name not in known:
            raise UserError(f"no run has a metric {name!r}; {paths.suggest(name, sorted(known))}")
    charts = [Chart(m, {name: points(some, m) for name, some in rows.items()}) for m in wanted]
    return Curves(tuple(charts), columns)


def named(runs: Sequence[Any]) -> dict[str, Any]:
    """Return runs by their names; those without one are called by their folder or their place."""
    names: dict[str, Any] = {}
    for place, given in enumerate(runs, start=1):
        folder = getattr(given, "folder", None)
        called = folder.name if isinstance(folder, Path) else f"run {place}"
        for name, run in (given if isinstance(given, Mapping) else {called: given}).items():
            names[str(name) if name not in names else f"{name} ({place})"] = run
    return names


def rows_of(name: str, run: Any) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a run's metrics; UserError for what has none."""
    rows = getattr(run, "metrics", None)
    if not isinstance(rows, Sequence) or not all("step" in row for row in rows):
        raise UserError(
            f"curves of {name!r}: expected a run of vrft.train, got {type(run).__name__}; "
            "vrft.TrainResult(folder) is one that has been trained before"
        )
    return rows


def points(rows: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """Return step -> value of a metric where it was measured; NaN for one that is no number.

    A step may have several rows, as of its evaluation and of its loss: each has its own metrics.
    """
    values = {row["step"]: row[metric] for row in rows if metric in row}
    return {
        step: float(value) if isinstance(value, int | float) else math.nan
        for step, value in values.items()
    }


# --- SVG


def svg(shown: Curves) -> str:
    """Return charts in rows of ``columns`` as one element of SVG."""
    columns = max(1, min(shown.columns, len(shown.charts)))
    width, height = columns * WIDTH, math.ceil(len(shown.charts) / columns) * HEIGHT
    body = "".join(
        f'<g transform="translate({k % columns * WIDTH} {k // columns * HEIGHT})">{drawn}</g>'
        for k, drawn in enumerate(map(chart_svg, shown.charts))
    )
    title = escaped(repr(shown)[1:-1])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="11" '
        f'fill="currentColor"><title>{title}</title>{body}</svg>'
    )


def chart_svg(chart: Chart) -> str:
    """Return a chart: its title, ticks, and a line for each run with its name."""
    values = [v for line in chart.lines.values() for v in line.values() if math.isfinite(v)]
    steps = [step for line in chart.lines.values() for step in line]
    parts = [f'<text x="{LEFT}" y="14" font-weight="bold">{escaped(chart.metric)}</text>']
    if not values:
        return parts[0] + f'<text x="{LEFT}" y="60">no finite value</text>'
    low, high = bounds(min(values), max(values))
    first, last = min(steps), max(steps)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    for value in ticks(low, high):
        parts.append(
            f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="currentColor" '
            f'stroke-opacity="0.2"/><text x="{LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:.4g}</text>'
        )
    for step, anchor in {first: "start", last: "end"}.items():
        place = f'x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}"'
        parts.append(f"<text {place}>step {step}</text>")
    for k, (name, line) in enumerate(chart.lines.items()):
        colour, dash = LINES[k % len(LINES)], DASHES[k % len(DASHES)]
        style = f'fill="none" stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"'
        for stretch in stretches(line, x, y):
            path = " ".join(f"{across:.1f},{up:.1f}" for across, up in stretch)
            parts.append(f'<polyline points="{path}" {style}/>')
        if len(chart.lines) > 1:
            place = f'x="{WIDTH - RIGHT}" y="{14 + 12 * k}" text-anchor="end" fill="{colour}"'
            parts.append(f"<text {place}>{escaped(name)}</text>")
    return "".join(parts)


def stretches(line: Points, x: Any, y: Any) -> list[list[tuple[float, float]]]:
    """Return the places of a line in pixels, in stretches between its gaps.

    Of all values in a column of pixels the first, lowest, highest and last are drawn, which look
    like all of them. A value alone is drawn as a short dash.
    """
    made: list[list[tuple[int, float]]] = [[]]
    for step, value in line.items():
        if math.isfinite(value):
            made[-1].append((step, value))
        elif made[-1]:
            made.append([])
    return [placed(stretch, x, y) for stretch in made if stretch]


def placed(stretch: Sequence[tuple[int, float]], x: Any, y: Any) -> list[tuple[float, float]]:
    """Return the places of a stretch without gaps, at most four in a column of pixels."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for step, value in stretch:
        columns.setdefault(int(x(step)), []).append((x(step), y(value)))
    made: list[tuple[float, float]] = []
    for column in columns.values():
        kept = {0, len(column) - 1}
        kept |= {f(range(len(column)), key=lambda k: column[k][1]) for f in (min, max)}
        made += [column[k] for k in sorted(kept)]
    return made if len(made) > 1 else [made[0], (made[0][0] + 2, made[0][1])]


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis around values; a single value stands in its middle."""
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    room = 0.05 * (high - low)
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Return two to five round numbers between two ends."""
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    pace = next((power * k for k in (1, 2, 2.5, 5) if power * k >= raw), 10 * power)
    first = math.ceil(low / pace)
    return [k * pace for k in range(first, math.floor(high / pace) + 1)]
