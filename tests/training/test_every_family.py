"""Families with layers of their own train by every kind of training, go on, and are evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.folders import FAKES
from safetensors.torch import load_file
from torch import Tensor

from vrft import cli
from vrft.runs.run_log import read_metrics

FAMILIES = ("qwen3_vl", "qwen3_5")

METHODS = {
    "gpg": ["model.gradient_checkpointing=true"],
    "ppo": ["algorithm.num_iterations=2"],
    "sft": [],
}


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_moves_all_weights_and_goes_on_as_one_never_stopped(
    family: str, method: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Train on prompts with two pictures, one and none."""
    run = tmp_path / "run"
    argv = [
        "train", f"task={FAKES / 'mixed_task.py'}", f"algorithm={method}", *METHODS[method],
        f"model={model_folder(family)}", "algorithm.num_generations=4",
        "sampling.max_completion_length=6", "train.per_device_train_batch_size=4",
        "train.max_steps=3", "train.learning_rate=1e-3", "train.save_steps=2",
        f"train.output_dir={run}",
    ]  # fmt: skip
    assert cli.main(argv) == 0
    before, after = weights(model_folder(family)), weights(run / "final")
    still = {name for name in before if before[name].equal(after[name])}
    # The second level of DeepStack comes after the last of two layers, where no token reads it.
    assert still == {name for name in before if "deepstack_merger_list.1." in name}

    for later in ("checkpoint-3", "final"):
        shutil.rmtree(run / later)
    assert cli.main(["train", "--resume", str(run)]) == 0
    assert all(after[name].equal(weight) for name, weight in weights(run / "final").items())
    steps = [row["step"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_checked_and_evaluated(
    family: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = model_folder(family)
    assert cli.main(["check", "--config", "demo/counting", "--limit", "4", f"model={model}"]) == 0
    argv = ["eval", "--benchmark", "demo_counting", "--model", str(model), "--limit", "3"]
    assert cli.main([*argv, "--out", str(tmp_path / "scores")]) == 0
    assert (tmp_path / "scores" / "scores.json").is_file()
