"""The best checkpoint of a run by a metric of its evaluations, as ``train.metric_for_best_model``.

best.json in the run's folder says which it is, and `--model RUN/best` means it. A checkpoint is
written whenever an evaluation beats all before it, and is not deleted before a better one is
complete. It holds the same file, so that a run that is killed before its folder has it does not
forget its best model.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vrft import paths
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.evaluation import evaluate, locate
from vrft.models import manifest
from vrft.system import durable
from vrft.task import Task
from vrft.training import checkpoint
from vrft.types import Sample

FILE = locate.BEST


@dataclass(frozen=True)
class Best:
    """The step of the best checkpoint, and the metric and value by which it is the best."""

    step: int
    metric: str
    value: float


def check(config: Config, task: Task[Any], samples: Sequence[Sample[Any]]) -> None:
    """Raise UserError for a metric that no evaluation of this run will have.

    ``samples`` are those of ``eval.split``, () where there is none.
    """
    metric = config.train.metric_for_best_model
    if metric is None:
        if config.train.greater_is_better is not None:
            raise UserError("train.greater_is_better says nothing without metric_for_best_model")
        return
    if not samples:
        raise UserError(f"train.metric_for_best_model={metric} needs evaluations: give eval.split")
    known = evaluate.metric_names(task, samples)
    if full_name(metric) not in known:
        raise UserError(
            f"train.metric_for_best_model={metric}: no evaluation has it; "
            f"{paths.suggest(full_name(metric), known)}"
        )


def full_name(metric: str) -> str:
    """Return the name of a metric in the log, which may be given without its "eval_"."""
    return metric if metric.startswith("eval_") else f"eval_{metric}"


def read(run: Path, metric: str | None) -> Best | None:
    """Return the best checkpoint by that metric so far; None where there is none or it has gone."""
    best = of(run)
    if best is None or metric is None or best.metric != full_name(metric):
        return None
    return best if checkpoint.path_of(run, best.step).is_dir() else None


def of(folder: Path) -> Best | None:
    """Return the best checkpoint that a run's folder, or a checkpoint, names; None for none."""
    try:
        row = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Best(int(row["step"]), str(row["metric"]), float(row["value"]))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


def better(config: Config, run: Path, step: int, scores: Mapping[str, float]) -> Best | None:
    """Return this step as the best so far, or None if an evaluation before was as good.

    An evaluation without a value of the metric is no better, and said so on standard error.
    """
    train = config.train
    if train.metric_for_best_model is None:
        return None
    name = full_name(train.metric_for_best_model)
    value = scores.get(name, math.nan)
    if not math.isfinite(value):
        print(f"note: step {step} has no {name}, so that it cannot be the best", file=sys.stderr)
        return None
    greater = train.greater_is_better
    if greater is None:
        greater = not name.endswith("loss")  # as in transformers
    before = read(run, train.metric_for_best_model)
    if before is not None and (value <= before.value if greater else value >= before.value):
        return None
    return Best(step, name, value)


def write(checkpoint: Path, best: Best) -> None:
    """Write into a checkpoint, before it is complete, that it is the best so far."""
    durable.write_text(checkpoint / FILE, json.dumps(asdict(best), indent=2) + "\n")


def publish(run: Path, checkpoint: Path | None) -> None:
    """Name a checkpoint of a run as its best, if it was when it was written."""
    if checkpoint is not None and (checkpoint / FILE).is_file():
        durable.write_text(run / FILE, (checkpoint / FILE).read_text(encoding="utf-8"))


def restore(run: Path, latest: Path | None, metric: str | None) -> None:
    """Name the best checkpoint of a run that goes on from its ``latest``, None before its first.

    That is the last one up to it that was the best by the metric when it was written: a later one
    may be damaged or gone, and its step is taken anew.
    """
    step = 0 if latest is None else checkpoint.step_of(latest)
    folders = [path for path in checkpoint.complete(run) if checkpoint.step_of(path) <= step]
    for folder in reversed(folders):
        best = of(folder)
        by_metric = best is not None and (metric is None or best.metric == full_name(metric))
        # By sizes: whoever loads it reads all bytes.
        if by_metric and manifest.damage(folder, hashed=False) is None:
            publish(run, folder)
            return
    former = of(run)
    if former is not None and former.step > step:
        (run / FILE).unlink()


def folder_of(run: Path, config: Config) -> Path | None:
    """Return the folder of the best checkpoint; None where there is none."""
    best = read(run, config.train.metric_for_best_model)
    return None if best is None else checkpoint.path_of(run, best.step)


def line(run: Path, config: Config) -> str:
    """Return the line that names the best checkpoint; "" where there is none."""
    best = read(run, config.train.metric_for_best_model)
    if best is None:
        return ""
    return f"best: {checkpoint.path_of(run, best.step)} ({best.metric} {best.value:.4f})"
