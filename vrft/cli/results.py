"""Results of the commands from Python: folders with what is in them, which show in Jupyter."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vrft.errors import UserError
from vrft.types import Prediction, Report


@dataclass(frozen=True)
class TrainResult:
    """A run of training in its folder; Jupyter shows its last metrics and its rewards."""

    folder: Path

    @property
    def model(self) -> Path:
        """Return the folder of the trained model, which plain transformers loads too."""
        return self.folder / "final"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return the metrics of every logged step, the oldest first."""
        from vrft.training.run_log import read_metrics

        return read_metrics(self.folder / "metrics.jsonl")

    @property
    def rewards(self) -> dict[int, float]:
        """Return the curve of rewards: step -> the mean reward of its completions."""
        rows = self.metrics
        return {row["step"]: row["reward"] for row in rows if row.get("reward") is not None}

    def _repr_html_(self) -> str:
        """Return the last metrics as a table, and the curve of rewards, for Jupyter."""
        last = self.metrics[-1:] or [{}]
        rows = [
            (name, f"{value:.4g}") for name, value in last[0].items() if isinstance(value, float)
        ]
        title = f"{self.folder}: step {last[0].get('step', 0)}"
        return html_table(title, ("metric", "value"), rows) + html_curve(self.rewards)


@dataclass(frozen=True)
class EvalResult:
    """An evaluation in its folder; Jupyter shows its table and the worst answers."""

    report: Report
    folder: Path

    @property
    def metrics(self) -> dict[str, float]:
        """Return metric -> its mean over all samples, in [0, 1]; the primary metric comes first."""
        return {name: interval.mean for name, interval in self.report.metrics.items()}

    @property
    def predictions(self) -> list[Prediction]:
        """Return all answers of the model, in the order of the samples."""
        from vrft.evaluation.predictions import PREDICTIONS, read_predictions

        return read_predictions(self.folder / PREDICTIONS)

    def __str__(self) -> str:
        """Return the table that ``vrft eval`` prints."""
        from vrft.evaluation import report

        return report.text(report.table(self.report), notes=self.report.notes)

    def _repr_html_(self) -> str:
        """Return the table, and four of the worst answers on their pictures, for Jupyter."""
        from vrft.evaluation import report

        rows = [
            (part, name, report.percent(value.mean), report.ends(value), str(value.n))
            for part, name, value in report.metric_rows(self.report)
        ]
        title = f"{self.report.benchmark}: {report.sample_counts(self.report)}"
        table = html_table(title, ("part", "metric", "%", "95 % interval", "n"), rows)
        return table + html_pictures(self.folder)


# --- what Jupyter shows


def html_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of HTML, every text escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<tr>{line(headings, 'th')}</tr>{body}</table>"


def html_curve(points: Mapping[int, float], width: int = 480, height: int = 120) -> str:
    """Return a line of SVG through step -> value; "" for fewer than two points."""
    if len(points) < 2:
        return ""
    low, high = min(points.values()), max(points.values())
    first, last = min(points), max(points)
    line = " ".join(
        f"{width * (step - first) / (last - first):.1f},"
        f"{height - 4 - (height - 8) * (value - low) / ((high - low) or 1):.1f}"
        for step, value in points.items()
    )
    return (
        f'<svg width="{width}" height="{height}" role="img">'
        f"<title>reward, {low:.3g} to {high:.3g}, steps {first} to {last}</title>"
        f'<polyline points="{line}" fill="none" stroke="currentColor"/></svg>'
    )


def html_pictures(folder: Path, count: int = 4) -> str:
    """Return the worst answers of an evaluation on their pictures; "" where there is none."""
    from vrft.evaluation import results, viz

    sheet = io.BytesIO()
    with contextlib.suppress(UserError):  # the table is worth showing without its data
        evaluation = results.load_evaluation(folder)
        worst = results.exhibits(evaluation, results.worst_first(evaluation)[:count])
        if shown := [exhibit for exhibit in worst if exhibit.image is not None]:
            viz.gallery(shown).save(sheet, "JPEG", quality=85)
    data = base64.b64encode(sheet.getvalue()).decode("ascii")
    return f'<img alt="the worst answers" src="data:image/jpeg;base64,{data}"/>' if data else ""
