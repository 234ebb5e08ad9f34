"""Two evaluations of the same samples from Python: ``vrft.compare``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vrft.api.options import folder_of
from vrft.api.results import EvalResult, TrainResult
from vrft.errors import UserError
from vrft.system import python_files
from vrft.types import Comparison, Pairing
from vrft.viz.markup import html_table

if TYPE_CHECKING:
    from vrft.viz import Exhibit

Evaluated = str | os.PathLike[str] | EvalResult | TrainResult
"""An evaluation by its result or folder; or a run that has one."""

SECTIONS = {"gained": "Gained most", "lost": "Lost most", "random": "Random"}


@dataclass(frozen=True)
class CompareResult:
    """Two evaluations sample by sample; Jupyter shows each metric before and after."""

    pairing: Pairing
    before: Path
    after: Path

    @property
    def metrics(self) -> dict[str, Comparison]:
        """Return each metric before, after, and its paired difference with its interval."""
        return {row.metric: row for row in self.pairing.metrics}

    def exhibits(
        self, order: Literal["gained", "lost", "random"] = "gained", count: int = 8
    ) -> list[Exhibit]:
        """Return samples with both answers: those that gained or lost most, or random ones.

        Raises UserError where the data have gone or changed since they were answered.
        """
        from vrft.evaluation import comparison

        python_files.forget_changed()
        if order not in SECTIONS:
            raise UserError(f"order: expected {', '.join(SECTIONS)}; got {order!r}")
        return dict(comparison.change_sections(self.before, self.after, count))[SECTIONS[order]]

    def __str__(self) -> str:
        """Return the table that ``vrft compare`` prints."""
        from vrft.evaluation import report, table_text

        return table_text.text(report.pairing_table(self.pairing), notes=[self.pairing.note])

    def _repr_html_(self) -> str:
        """Return the table in percent, with its note, for Jupyter."""
        from vrft.evaluation.report import ends, pairing_table, percent

        rows = [
            (
                row.name,
                percent(row.before.mean),
                percent(row.after.mean),
                percent(row.difference.mean, True),
                ends(row.difference, True),
                str(row.difference.n),
            )
            for row in self.pairing.metrics
        ]
        title = f"{self.pairing.benchmark}: {pairing_table(self.pairing).caption}"
        headings = ("metric", "before, %", "after, %", "difference", "95 % interval", "n")
        return html_table(title, headings, rows, [self.pairing.note])


def compare(before: Evaluated, after: Evaluated) -> CompareResult:
    """Compare two evaluations of the same samples as ``vrft compare`` does.

    Of different limits, the common samples are compared. Raises UserError for evaluations of other
    samples, and for one that cannot be read.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> short = {"max_completion_length": 8}
    >>> before = vrft.evaluate("demo", rows, sampling=short, out="before")
    >>> after = vrft.evaluate("demo", rows, sampling=short, out="after")
    >>> vrft.compare(before, after).metrics["accuracy"].difference.mean
    0.0
    """
    from vrft.evaluation import comparison

    python_files.forget_changed()
    first, second = place_of(before), place_of(after)
    return CompareResult(comparison.pair(first, second), first, second)


def place_of(evaluation: Evaluated) -> Path:
    """Return the folder of an evaluation; UserError for one that was written nowhere."""
    from vrft.evaluation import locate

    if isinstance(evaluation, EvalResult):
        if evaluation.folder is None:
            raise UserError("saved answers were scored without a folder; evaluate with out=FOLDER")
        return evaluation.folder
    return locate.evaluation(folder_of(evaluation))
