"""The evaluation of every checkpoint of a run, in one table and one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import evaluate, locate, predictions, report, settings_file
from vrft.evaluation.benchmark import Benchmark
from vrft.types import Report

SUMMARY = "checkpoints.json"


def run_all(
    run: Path, benchmark: Benchmark, model: ModelConfig, out: Path, **options: Any
) -> dict[str, Report]:
    """Evaluate every checkpoint of a run, and ``final``, each into the folder ``out/<its name>``.

    ``model`` gives the settings of all, and ``options`` are those of ``evaluate.run``. What was
    evaluated before is not asked again. The reports are written to checkpoints.json as well.
    Raises UserError for a folder without models.
    """
    models = locate.models_of(run)
    if not models:
        raise UserError(f"--all-checkpoints {run}: neither checkpoints nor final in that folder")
    reports = {}
    with predictions.held(out):
        for path in models:
            one = replace(model, name=str(path))
            reports[path.name] = evaluate.run(benchmark, one, out / path.name, **options)
        rows = [{"model": name, **report.to_json(value)} for name, value in reports.items()]
        summary = {"benchmark": benchmark.name, "run": str(run.resolve()), "models": rows}
        settings_file.write_json(out / SUMMARY, summary)
    return reports
