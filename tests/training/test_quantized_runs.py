"""Runs on a base in four bits: steps, resume, the folder that is left, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.folders import FAKES, ROOT
from peft import AutoPeftModel, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from vrft import cli, config, models
from vrft.config.schema import Config, ModelConfig
from vrft.errors import UserError
from vrft.runs.run_log import read_metrics
from vrft.training import plan, train
from vrft.training.plan_text import plan_text

NF4 = ("model.quantization=nf4", "model.lora.r=4")


def letters(model: Path, folder: Path, *settings: str) -> Config:
    """Four short steps of the letters task."""
    small = ("algorithm.num_generations=4", "sampling.max_completion_length=3", "train.max_steps=4")
    where = (f"task={FAKES / 'letters_task.py'}", f"model={model}", f"train.output_dir={folder}")
    return config.load(None, [*where, *small, "train.learning_rate=0.01", *settings])


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "final" / "adapter_model.safetensors")


def test_two_steps_and_two_resumed_ones_are_four_bit_by_bit(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    settings = (*NF4, "model.gradient_checkpointing=true", "train.lr_scheduler_type=constant")
    model = model_folder("qwen2_vl")
    whole = train.train(letters(model, tmp_path / "whole", *settings))
    train.train(letters(model, tmp_path / "part", *settings, "train.max_steps=2"))
    part = train.train(letters(model, tmp_path / "part", *settings), resume=tmp_path / "part")
    expected, given = adapter(whole), adapter(part)
    assert expected.keys() == given.keys()
    assert all(torch.equal(expected[name], given[name]) for name in expected)
    assert any(weight.any() for name, weight in given.items() if "lora_B" in name)  # it has learnt
    assert len(read_metrics(part / "metrics.jsonl")) == 4


def test_the_folder_left_loads_in_stock_peft_and_is_evaluated(
    model_folder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bitsandbytes")
    run = train.train(letters(model_folder("qwen2_vl"), tmp_path / "run", *NF4))
    stock: Any = AutoPeftModel.from_pretrained(run / "final")
    base = AutoModelForImageTextToText.from_pretrained(model_folder("qwen2_vl"))
    assert isinstance(stock, PeftModel)
    assert isinstance(PeftModel.from_pretrained(base, run / "final"), PeftModel)
    ours = models.load_model(ModelConfig(str(run / "final")), device="cpu")
    for name, weight in stock.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], weight), name
    out = ["--out", str(tmp_path / "eval"), "--limit", "2", "--benchmark", "demo_grounding"]
    short = ["sampling.max_completion_length=4"]
    assert cli.main(["eval", "--model", str(run), *out, *short, NF4[0]]) == 0
    assert "model.quantization" not in capsys.readouterr().err
    assert cli.main(["eval", "--model", str(run), *out[:1], str(tmp_path / "e"), *out[2:], *short]
                    ) == 0  # fmt: skip
    assert "add model.quantization=nf4" in capsys.readouterr().err


REFUSED = [
    (("model.quantization=nf4",), "cannot be trained themselves"),
    ((*NF4, "rollout.engine=vllm"), "rollout.engine=vllm would sample from"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_a_quantised_base_that_cannot_be_trained_on_is_refused_by_run_dry_run_and_check(
    settings: tuple[str, ...],
    message: str,
    model_folder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured = letters(model_folder("qwen2_vl"), tmp_path / "run", *settings)
    for start in (plan_text, train.train):
        with pytest.raises(UserError, match=re.escape(message)):
            start(configured)
    argv = ["check", "--task", str(FAKES / "letters_task.py"), "--limit", "1"]
    assert cli.main([*argv, f"model={model_folder('qwen2_vl')}", *settings]) == 1
    assert message in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["DEEPSPEED", "FSDP"])
def test_a_launch_that_shards_is_refused(
    engine: str, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    monkeypatch.setattr("vrft.models.quantization.find_spec", lambda name: object())
    with pytest.raises(UserError, match="launch without them"):
        plan.check(letters(model_folder("qwen2_vl"), Path("nowhere"), *NF4))


@pytest.mark.distributed
def test_two_processes_make_the_update_of_one(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    arguments = [
        f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}", *NF4,
        "algorithm.num_generations=4", "sampling.max_completion_length=3", "train.max_steps=2",
        "train.learning_rate=1e-3", "train.adam_epsilon=1e-3",
    ]  # fmt: skip
    both = [*arguments, f"train.output_dir={tmp_path / 'two'}"]
    launcher = ("torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m")
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "vrft", "train", *both],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone = [*arguments, "train.per_device_train_batch_size=2"]
    one = train.train(config.load(None, [*alone, f"train.output_dir={tmp_path / 'one'}"]))
    expected, given = adapter(one), adapter(tmp_path / "two")
    assert max(float(weight.abs().max()) for n, weight in given.items() if "lora_B" in n) > 1e-4
    for name, weight in expected.items():
        assert torch.allclose(given[name], weight, rtol=0, atol=1e-6), name
