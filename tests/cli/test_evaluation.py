"""``vrft eval``, ``vrft show`` and ``vrft compare``: lists, and options that say nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.command_line import complaint
from fakes.scripted import evaluate_twice

from vrft import cli
from vrft.diagnosis.difficulty import FILE, Attempt, Ledger

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def test_benchmarks_are_listed_with_their_titles(capsys: Capture) -> None:
    assert cli.main(["eval", "--list"]) == 0
    assert "lisa_val " in (out := capsys.readouterr().out)
    assert "ReasonSeg val" in out


def test_a_benchmark_without_its_data_is_one_clear_line(capsys: Capture) -> None:
    message = complaint(capsys, "eval", "--benchmark", "lisa_val", "--model", "demo")
    assert "lisa_val: give its data with --data DIR" in message


def test_options_that_say_nothing_together_are_one_clear_line(capsys: Capture) -> None:
    benchmark = ("eval", "--benchmark", "demo_grounding")
    message = complaint(capsys, *benchmark, "--predictions", "a.jsonl", "--blank-images")
    assert "--blank-images is for a model to look at" in message
    message = complaint(capsys, *benchmark, "--model", "demo", "--boxes", "pixels")
    assert "--boxes says how the answers of --predictions are written" in message


def test_a_missing_predictions_file_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, "show", str(tmp_path / "predictions.jsonl"))
    assert "predictions.jsonl: cannot be read" in message


def test_the_ledger_of_a_run_is_told_in_one_line(capsys: Capture, tmp_path: Path) -> None:
    folder, _ = evaluate_twice(tmp_path)
    assert cli.main(["show", str(folder)]) == 0
    assert "difficulty:" not in capsys.readouterr().out
    ledger = Ledger()
    ledger.add([Attempt("a", 2, 1.0, 1, 10, signal=True)])
    ledger.write(folder / FILE)
    assert cli.main(["show", str(folder)]) == 0
    page, line, *_ = capsys.readouterr().out.splitlines()
    assert page.startswith("page: ") and line.startswith("difficulty: 1 prompts sampled, 0 never")
