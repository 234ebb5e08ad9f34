"""Two processes over gloo make the update that one process makes of the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from vrft import config, train
from vrft.log import read_metrics

LETTERS = Path(__file__).parent / "letters_task.py"


METHODS = {
    "gpg": ["algorithm.alpha=true", "algorithm.token_mean=global"],
    "ppo": ["algorithm.num_iterations=2"],
}


def settings(method: str, model: Path, out: Path, prompts: int) -> list[str]:
    """Three steps; many groups have no signal, not equally many on both processes."""
    return [
        f"algorithm={method}",
        *METHODS[method],
        f"task={LETTERS}",
        f"model={model}",
        "algorithm.num_generations=2",
        "sampling.max_completion_length=5",
        f"train.per_device_train_batch_size={prompts}",
        "train.gradient_accumulation_steps=3",
        "train.max_steps=3",
        "train.learning_rate=1e-3",
        "train.adam_epsilon=1e-3",  # without it Adam turns rounding of a zero into a full step
        f"train.output_dir={out}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_make_the_update_of_one(
    method: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = model_folder("qwen2_vl")
    one = train.train(config.load(None, settings(method, model, tmp_path / "one", prompts=2)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2",
               "--master_port=29517", "-m", "vrft", "train"]  # fmt: skip
    done = subprocess.run(
        [*command, *settings(method, model, tmp_path / "two", prompts=1)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = tmp_path / "two"
    start = load_file(model / "model.safetensors")
    first = load_file(one / "final" / "model.safetensors")
    second = load_file(two / "final" / "model.safetensors")
    moved = sum(float((first[name] - start[name]).square().sum()) for name in start) ** 0.5
    apart = sum(float((first[name] - second[name]).square().sum()) for name in start) ** 0.5
    assert apart < 1e-5 * moved
    keys = ("reward", "loss", "alpha", "frac_reward_zero_std", "num_tokens", "grad_norm")
    for a, b in zip(*(read_metrics(run / "metrics.jsonl") for run in (one, two)), strict=True):
        assert [a[key] for key in keys] == pytest.approx([b[key] for key in keys], abs=1e-5)
    assert any(0 < row["frac_reward_zero_std"] < 1 for row in read_metrics(two / "metrics.jsonl"))
