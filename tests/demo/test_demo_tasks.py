"""Every demo from its data to a report, by the commands that a user would type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vrft import cli, paths
from vrft.demo import data

BENCHMARKS = {task: f"demo_{task}" for task in data.MODULES} | {"lisa_grounding": "demo_grounding"}

SIZE = 3_500_000
"""Largest size of an embedded model's weights in bytes; not of ``demo``, which is in float32."""


@pytest.fixture(autouse=True)
def _cache(demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))


@pytest.mark.slow
@pytest.mark.parametrize("task", data.MODULES)
def test_a_demo_is_ready_to_train(task: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["check", "--task", task, "--config", f"demo/{task}", "--splits", "train,val,test"]
    status = cli.main([*argv, "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert status == 0 and findings["ok"], findings
    sizes = {split["split"]: split["samples"] for split in findings["splits"]}
    assert sizes["train"] >= 40 and sizes["val"] >= 100 and sizes["test"] >= 300


@pytest.mark.slow
@pytest.mark.parametrize("task", data.MODULES)
def test_a_demo_is_trained_and_evaluated(task: str, tmp_path: Path) -> None:
    few = ["train.max_steps=3", "train.per_device_train_batch_size=2", "train.save_steps=0"]
    run = tmp_path / "run"
    train = ["train", "--config", f"demo/{task}", *few, f"train.output_dir={run}"]
    assert cli.main(train) == 0
    out = tmp_path / "eval"
    asked = ["--benchmark", BENCHMARKS[task], "--limit", "8", "--out", str(out)]
    assert cli.main(["eval", *asked, "--model", str(run / "final")]) == 0
    scores = json.loads((out / "scores.json").read_text())
    assert scores["n"] == 8


@pytest.mark.parametrize("task", sorted(set(data.MODULES) - {"lisa_grounding"}))
def test_an_embedded_model_is_small_and_whole(task: str) -> None:
    folder = paths.EMBEDDED[f"demo-{task}"]
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert (folder / "model.safetensors").stat().st_size < SIZE
