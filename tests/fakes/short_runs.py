"""Short runs of the embedded models, also before a first step, which nobody need take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fakes.bigram import on_cpu
from vrft import config
from vrft.evaluation import evaluate
from vrft.runs.run_log import read_metrics
from vrft.training import plan, train
from vrft.training.run import Run

SMALL = (
    *("algorithm.num_generations=2", "sampling.max_completion_length=24"),
    *("train.per_device_train_batch_size=2", "train.max_steps=3", "train.save_steps=0"),
    *("train.learning_rate=1e-4", "train.dataloader_num_workers=0"),
)
"""Settings of three short steps of the demo."""


def ready(folder: Path, *settings: str, name: str = "demo/lisa_grounding") -> Run:
    """Return a run of a demo's configuration before its first step."""
    made = config.load(name, [*SMALL, f"train.output_dir={folder}", *settings])
    task, samples = plan.check(made)
    return train.prepare(made, task, samples, on_cpu())


def without_clock(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, less those of the clock."""
    rows = read_metrics(folder / "metrics.jsonl")
    return [
        {k: v for k, v in row.items() if "time" not in k and "seconds" not in k} for row in rows
    ]


def autocast_of_evaluations(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list that gets whether autocast is on, at each evaluation in training from now."""
    autocast: list[bool] = []

    def scores(*args: Any) -> dict[str, float]:
        autocast.append(torch.is_autocast_enabled("cpu"))
        return {"eval_different": 0.0}

    monkeypatch.setattr(evaluate, "while_training", scores)
    return autocast
