"""``vrft verify-resume`` on real runs: identical, or the state that a stand-in has spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import outcomes
from fakes.folders import FAKES
from fakes.outcomes import Record

from vrft import cli
from vrft.cli import verify_resume
from vrft.runs.run_log import read_metrics

Settings = Callable[..., list[str]]


def verified(settings: Settings, tmp_path: Path, *more: str) -> int:
    own = ("train", "train.max_steps=3", "train.save_steps=1", f"train.output_dir={tmp_path}")
    given = [word for word in settings(tmp_path, 3, *more) if word not in own]
    argv = ["verify-resume", *given, "--steps", "3", "--kill-at", "2"]
    return cli.main([*argv, "--output-dir", str(tmp_path / "out")])


def test_a_run_that_lost_nothing_is_identical(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Record,
) -> None:
    assert verified(settings, tmp_path, "algorithm=grpo", "algorithm.num_iterations=2") == 0
    out = capsys.readouterr().out
    assert out.startswith("identical: 3 steps in one go, and 2 steps + SIGKILL in step 3")
    counted = {line.split("  ")[0]: line.split()[1:3] for line in out.splitlines()[2:]}
    # checkpoints of steps 2 and 3, and final; completions of three steps
    assert counted["weights"][0] == "3" and counted["optimizer"][0] == "2"
    assert counted["completions"][0] == "3" and counted["metrics"][0] == "1"
    tell(record_property, "one device: grpo, 2 iterations", tmp_path / "out")


def tell(record: Record, engine: str, out: Path) -> None:
    runs = out / verify_resume.GO, out / verify_resume.HALVES
    outcomes.compared(record, "SIGKILL, by vrft verify-resume", engine, *runs)


def test_two_processes_that_lost_nothing_are_identical(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Record,
) -> None:
    assert verified(settings, tmp_path, "--num-processes", "2") == 0
    out = capsys.readouterr().out
    assert out.startswith("identical: 3 steps in one go, and 2 steps + SIGKILL in step 3")
    rows = read_metrics(tmp_path / "out" / verify_resume.HALVES / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    # of two processes, of 2 prompts each, 2 completions of each
    completions = tmp_path / "out" / verify_resume.HALVES / "completions" / "000003.jsonl"
    state = tmp_path / "out" / verify_resume.HALVES / "checkpoint-3" / "trainer_state.json"
    assert len(completions.read_text().splitlines()) == 4
    assert json.loads(state.read_text())["processes"] == 2
    tell(record_property, "two processes, DDP: gpg", tmp_path / "out")


def test_a_spoiled_optimizer_is_named(
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resumed run whose first moments are a little larger than they were saved."""
    script = str(FAKES / "spoiling_train.py")
    monkeypatch.setattr(verify_resume, "TRAIN", (script,))
    assert verified(settings, tmp_path) == 1
    first, last = capsys.readouterr().out.splitlines()
    # The answers of step 3 are drawn before its update; so is the loss. Then the weights differ.
    assert first.startswith("first difference: step 3, checkpoint-3/"), first
    assert " in one go, " in first and first.endswith(" killed and resumed")
    assert last == f"runs: {tmp_path / 'out'}"
