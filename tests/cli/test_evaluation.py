"""``vrft eval`` and ``vrft compare``: lists, options that say nothing, and pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.command_line import complaint
from fakes.scripted import evaluate_twice

import vrft
from vrft import cli
from vrft.cli import view

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
    for words in (("--batch-size", "3"), ("model.max_pixels=100",), ("model.nme=3",), ("model=a",)):
        message = complaint(capsys, *benchmark, "--predictions", "a.jsonl", *words)
        assert words[0] in message and "--predictions are made already" in message
    for word in ("model.name=nobody/x", "model=nobody/x"):
        for named in ("--model", "--all-checkpoints"):
            message = complaint(capsys, *benchmark, named, "demo", word)
            assert f"{word}: --model and --all-checkpoints name the model" in message
    message = complaint(capsys, *benchmark, "--model", "demo", "--boxes", "pixels")
    assert "--boxes says how the answers of --predictions are written" in message


def test_a_missing_predictions_file_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    benchmark = ("eval", "--benchmark", "demo_grounding")
    message = complaint(capsys, *benchmark, "--predictions", str(tmp_path / "predictions.jsonl"))
    assert "predictions.jsonl: cannot be read" in message


def test_a_comparison_names_the_command_that_shows_it(capsys: Capture, tmp_path: Path) -> None:
    before, after = evaluate_twice(tmp_path / "my runs")
    capsys.readouterr()
    assert cli.main(["compare", str(before), str(after)]) == 0
    shown = capsys.readouterr().out
    assert "better  +100.0    0.0 to 100.0  d" in shown
    assert shown.endswith(f"next:\n  vrft view '{before}' '{after}'\n")
    assert cli.main(["compare", str(before), str(after), "--export", str(tmp_path / "page")]) == 0
    shown = capsys.readouterr().out
    assert shown.endswith(f"page: {tmp_path / 'page' / 'index.html'}\n") and "next:" not in shown
    assert '"start":"c0-1"' in (tmp_path / "page" / "data" / "catalogue.js").read_text()


def test_a_comparison_is_opened_in_the_browser(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []

    def serve(site: view.Site, port: int, *, in_browser: bool) -> None:
        served.append(f"{site.start} {port} {in_browser}")

    monkeypatch.setattr(view, "serve_page", serve)
    assert cli.main(["compare", *map(str, evaluate_twice(tmp_path)), "--open"]) == 0
    assert served == ["c0-1 0 True"] and "next:" not in capsys.readouterr().out


def test_settings_of_a_benchmark_are_given_to_own_rows_too(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").write_text('{"id": "a", "question": "1 + 1?", "answer": 2}\n')
    (tmp_path / "saved.jsonl").write_text('{"id": "a", "text": "<answer>2</answer>"}\n')
    asked = ["--data", str(tmp_path), "--predictions", str(tmp_path / "saved.jsonl")]
    assert cli.main(["eval", *asked, "--json", "split=val", "seed=3"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    assert vrft.evaluate(data=tmp_path, predictions=asked[-1], split="val").report.n == 1
    message = complaint(capsys, "eval", *asked, "split=val", "sed=3")
    assert "unknown setting sed; did you mean seed?" in message


def test_benchmarks_and_a_report_are_printed_as_json(capsys: Capture, tmp_path: Path) -> None:
    assert cli.main(["eval", "--list", "--json"]) == 0
    titles = {row["name"]: row["title"] for row in json.loads(capsys.readouterr().out)}
    assert "ReasonSeg val" in titles["lisa_val"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "a", "question": "1 + 1?", "answer": 2}\n')
    (tmp_path / "saved.jsonl").write_text('{"id": "a", "text": "<answer>2</answer>"}\n')
    asked = ["eval", "--data", str(rows), "--predictions", str(tmp_path / "saved.jsonl")]
    assert cli.main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["n"], report["metrics"]["accuracy"]["mean"]) == (1, 1.0)
