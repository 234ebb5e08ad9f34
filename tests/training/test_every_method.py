"""Every method trains the embedded model on the demo, as a user would ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vrft import cli, paths
from vrft.config.methods import METHODS, method
from vrft.runs.run_log import read_metrics


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_by_its_name(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    few = ["train.max_steps=2", "train.per_device_train_batch_size=2", f"train.output_dir={run}"]
    argv = ["train", "--config", "demo/lisa_grounding", f"algorithm={name}", *few]
    few_rounds = ["algorithm.max_resample_rounds=2"] if method(name).min_informative else []
    assert cli.main([*argv, "algorithm.num_generations=4", *few_rounds]) == 0
    rows = read_metrics(run / "metrics.jsonl")
    assert len(rows) >= 1
    before = load_file(paths.EMBEDDED["demo"] / "model.safetensors")
    after = load_file(run / "final" / "model.safetensors")
    assert any(not torch.equal(before[key], after[key]) for key in before)
