"""Results of the commands from Python: their folders and numbers, in text and in Jupyter."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vrft import paths
from vrft.checks import findings
from vrft.errors import UserError
from vrft.system import python_files
from vrft.types import Prediction, Report
from vrft.viz.charts import curves
from vrft.viz.markup import escaped, html_table
from vrft.viz.shown import gallery

if TYPE_CHECKING:
    from vrft.viz import Exhibit

Order = Literal["worst", "best", "first"]
"""The answers from the worst or the best on, or in the order of the samples."""


@dataclass(frozen=True)
class Plan:
    """The plan of a run: its data, prompt, parameters, steps and memory."""

    text: str

    @property
    def facts(self) -> dict[str, str]:
        """Return the lines of the plan by their first words, such as "steps" and "memory"."""
        pairs = (line.partition(" ") for line in self.text.splitlines())
        return {name: text.strip() for name, _, text in pairs}

    def __str__(self) -> str:
        """Return the lines that ``vrft train --dry-run`` prints."""
        return self.text

    def _repr_html_(self) -> str:
        """Return the lines for Jupyter."""
        return f"<pre>{escaped(self.text)}</pre>"


class CheckResult(findings.TaskCheck):
    """The check of a task and its data; Jupyter shows the problems, the notes and the facts."""

    def __str__(self) -> str:
        """Return the lines that ``vrft check`` prints; the last is the verdict."""
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Return the findings as a table, the problems first, and the facts below."""
        parts = [("", self.findings), *((split.split, split.findings) for split in self.splits)]
        rows = [
            (kind, split, str(finding))
            for kind in ("problem", "note")
            for split, some in parts
            for finding in (some.problems if kind == "problem" else some.notes)
        ]
        shown = html_table(self.lines()[-1], ("", "split", "finding"), rows)
        return f"{shown}<pre>{escaped(str(self))}</pre>"


@dataclass(frozen=True)
class TrainResult:
    """A run of training in its folder; Jupyter shows its last metrics and its rewards."""

    folder: Path
    """A path as a text becomes one of pathlib."""

    def __post_init__(self) -> None:
        """Take the folder as a path."""
        object.__setattr__(self, "folder", paths.expanded(self.folder))

    @property
    def model(self) -> Path:
        """Return the folder of the trained model, which plain transformers loads too.

        That is ``final``, or the last checkpoint of a run that was stopped before its end.
        """
        from vrft.evaluation import locate

        return next(reversed(locate.models_of(self.folder)), self.folder / "final")

    @property
    def best(self) -> Path:
        """Return the best checkpoint by ``train.metric_for_best_model``; UserError without one."""
        from vrft.evaluation import locate

        return locate.best(self.folder)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return a row of metrics for every logged step, the oldest first; [] before the first.

        Raises UserError for a folder that holds no run.
        """
        from vrft.runs.run_log import by_step, read_metrics

        file = self.folder / "metrics.jsonl"
        if file.is_file():
            return by_step(read_metrics(file))
        if not (self.folder / "config.yaml").is_file():
            raise UserError(f"{self.folder}: no run there, config.yaml is missing")
        return []

    @property
    def rewards(self) -> dict[int, float]:
        """Return the curve of rewards: step -> the mean reward of its completions."""
        rows = self.metrics
        return {row["step"]: row["reward"] for row in rows if row.get("reward") is not None}

    def _repr_html_(self) -> str:
        """Return the last metrics as a table, and the curve of rewards, for Jupyter."""
        last = self.metrics[-1:] or [{}]
        rows = [
            (name, f"{value:.4g}")
            for name, value in last[0].items()
            if isinstance(value, float) and name != "time"
        ]
        title = f"{self.folder}: step {last[0].get('step', 0)}"
        shown = html_table(title, ("metric", "value"), rows)
        return shown + (curves(self)._repr_html_() if len(self.rewards) > 1 else "")


@dataclass(frozen=True)
class EvalResult:
    """An evaluation in its folder; Jupyter shows its table and the worst answers."""

    report: Report
    folder: Path | None
    """The folder of predictions and scores; None where saved answers were only scored."""
    answers: Path
    """The file of the answers."""

    @classmethod
    def of(cls, report: Report, folder: Path) -> EvalResult:
        """Return the evaluation whose answers are in its own folder."""
        from vrft.evaluation.predictions import PREDICTIONS

        return cls(report, folder, folder / PREDICTIONS)

    @property
    def metrics(self) -> dict[str, float]:
        """Return metric -> its mean over all samples, in [0, 1]; the primary metric comes first."""
        return {name: interval.mean for name, interval in self.report.metrics.items()}

    @property
    def predictions(self) -> list[Prediction]:
        """Return all answers of the model, in the order of the samples."""
        from vrft.evaluation.predictions import read_predictions

        return read_predictions(self.answers)

    def exhibits(self, order: Order = "worst", count: int | None = None) -> list[Exhibit]:
        """Return answers on their pictures beside the truth, for ``vrft.viz``; all without a count.

        Raises UserError for an evaluation that was written nowhere, and where the data have gone
        or changed since they were answered.
        """
        from vrft.evaluation import results

        if self.folder is None:
            raise UserError("saved answers were scored without a folder; evaluate with out=FOLDER")
        python_files.forget_changed()
        evaluation = results.load_evaluation(self.folder)
        match order:
            case "worst":
                ranked = results.worst_first(evaluation)
            case "best":
                ranked = results.worst_first(evaluation)[::-1]
            case "first":
                ranked = list(evaluation.scored)
            case _:
                raise UserError(f"order: expected worst, best or first; got {order!r}")
        return results.exhibits(evaluation, ranked[:count])

    def __str__(self) -> str:
        """Return the table that ``vrft eval`` prints."""
        from vrft.evaluation import report, table_text

        return table_text.text(report.table(self.report), notes=self.report.notes)

    def _repr_html_(self) -> str:
        """Return the table, and four of the worst answers on their pictures, for Jupyter."""
        from vrft.evaluation import report

        rows = [
            (part, name, report.percent(value.mean), report.ends(value), str(value.n))
            for part, name, value in report.metric_rows(self.report)
        ]
        title = f"{self.report.benchmark}: {report.sample_counts(self.report)}"
        headings = ("part", "metric", "%", "95 % interval", "n")
        table = html_table(title, headings, rows, self.report.notes)
        with contextlib.suppress(UserError):  # the table is worth showing without its data
            worst = [exhibit for exhibit in self.exhibits(count=4) if exhibit.image is not None]
            table += gallery(worst, side=224)._repr_html_() if worst else ""
        return table


@dataclass(frozen=True)
class CheckpointsResult:
    """The evaluations of all models of a run, by name, "final" last; Jupyter shows their table."""

    reports: Mapping[str, Report]
    folder: Path

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Return model -> metric -> its mean over all samples, in [0, 1]."""
        return {name: result.metrics for name, result in self.results.items()}

    @property
    def results(self) -> dict[str, EvalResult]:
        """Return the evaluation of every model, each in a folder of its own."""
        of = EvalResult.of
        return {name: of(report, self.folder / name) for name, report in self.reports.items()}

    def __str__(self) -> str:
        """Return the table that ``vrft eval --all-checkpoints`` prints."""
        from vrft.evaluation import report, table_text

        notes = next(iter(self.reports.values())).notes
        return table_text.text(report.checkpoint_table(self.reports), notes=notes)

    def _repr_html_(self) -> str:
        """Return the table of all models in percent for Jupyter."""
        from vrft.evaluation import report

        first, means_of = next(iter(self.reports.values())), report.means_by_name(self.reports)
        counts = report.answer_counts(self.reports)
        rows = [
            (name, *map(report.percent, means.values()), *counted)
            for (name, means), *counted in zip(means_of.items(), *counts.values(), strict=True)
        ]
        title = f"{first.benchmark}: {first.n} samples, in %"
        metrics = next(iter(means_of.values()))
        return html_table(title, ("model", *metrics, *counts), rows, first.notes)
