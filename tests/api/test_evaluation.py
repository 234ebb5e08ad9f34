"""``vrft.evaluate`` and ``vrft.evaluate_checkpoints``: models, rows and saved answers."""

from __future__ import annotations

import doctest
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.colour_rows import FAST, ROWS, trained
from fakes.folders import FAKES, RECORDS

import vrft
from vrft.api import evaluation
from vrft.errors import UserError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(demo_cache))


def test_the_examples_of_the_docstrings_are_true() -> None:
    result = doctest.testmod(evaluation)
    assert result.attempted > 12 and result.failed == 0


def test_a_model_is_evaluated_by_name_by_run_and_in_memory_alike() -> None:
    run, file = trained("run"), str(RECORDS / "formats" / "canonical_vqa.jsonl")
    short = FAST["sampling"]
    by_run = vrft.evaluate(run, file, out="a", sampling=short)
    by_path = vrft.evaluate("run", file, out="b", sampling=short)
    in_memory = vrft.evaluate(vrft.load(run), file, out="c", sampling=short)
    texts = [[p.text for p in result.predictions] for result in (by_run, by_path, in_memory)]
    assert texts[0] == texts[1] == texts[2]
    assert by_run.metrics == {"accuracy": 0.0} and by_run.report.n == 2
    # The same settings are recorded, so that one goes on where the other stopped.
    records = [json.loads((Path(out) / "settings.json").read_text()) for out in "abc"]
    assert records[0]["model"] == records[1]["model"] == records[2]["model"]
    assert "accuracy" in str(by_run)


def test_a_benchmark_is_evaluated_by_its_name() -> None:
    result = vrft.evaluate(
        "demo", benchmark="demo_grounding", limit=1, sampling=FAST["sampling"], blank_images=True
    )
    assert result.report.n == 1 and result.folder.name == "demo_grounding-demo-blank-first1"


def test_settings_of_the_model_are_those_of_the_command_line() -> None:
    run, short = trained("run"), FAST["sampling"]
    small = {"max_pixels": 3136}
    result = vrft.evaluate({"name": run, **small}, ROWS, out="a", sampling=short)
    vrft.evaluate(run, ROWS, out="b", sampling=short, **{"model.max_pixels": 3136})
    vrft.evaluate_checkpoints(run, ROWS, out="c", sampling=short, model=small)
    vrft.evaluate(vrft.load(run, **small), ROWS, out="d", sampling=short)
    files = [Path(out) / "settings.json" for out in ("a", "b", "c/final", "d")]
    models = [json.loads(file.read_text())["model"] for file in files]
    assert models == [models[0]] * 4 and models[0]["max_pixels"] == 3136
    assert result.report.n == len(ROWS)


def test_settings_of_a_model_that_is_loaded_or_not_asked_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^model\.dtype=.*loaded already; give its settings to vrft"
    ):
        vrft.evaluate(vrft.load("demo"), ROWS, **{"model.dtype": "float32"})
    with pytest.raises(UserError, match=r"model\.dtype=.*is for a model that is asked"):
        vrft.evaluate(data=ROWS, predictions="a.jsonl", model={"dtype": "float32"})
    with pytest.raises(UserError, match=r"give a model to ask, or predictions=FILE"):
        vrft.evaluate({"dtype": "float32"}, ROWS)
    with pytest.raises(UserError, match=r"unknown setting model\.dtyp; did you mean model\.dtype"):
        vrft.evaluate({"name": "demo", "dtyp": "float32"}, ROWS)


def test_an_adapter_on_another_base_than_it_was_trained_on_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained("run")
    file = run.folder / "config.yaml"
    file.write_text(file.read_text().replace("quantization: null", "quantization: nf4"))
    monkeypatch.setattr("vrft.models.is_adapter", lambda name: True)
    vrft.evaluate(run, ROWS, sampling=FAST["sampling"])
    said = "was trained on a base in nf4, and is asked on one in full; add"
    assert said in capsys.readouterr().err


def test_an_evaluation_without_data_is_refused() -> None:
    with pytest.raises(UserError, match="give data or benchmark=NAME"):
        vrft.evaluate("demo")
    with pytest.raises(UserError, match="model: expected a folder, a hub id or a run, not int"):
        vrft.evaluate(3, ROWS)  # type: ignore[arg-type]


def test_other_rows_in_memory_are_another_evaluation() -> None:
    for rows in (ROWS, ROWS[:1], ROWS):
        result = vrft.evaluate("demo", rows, sampling=FAST["sampling"])
        assert result.report.n == len(rows)


def test_a_model_of_a_run_is_asked_by_the_task_of_the_run() -> None:
    task = Path("own_rows_task.py")
    task.write_text(
        "from dataclasses import dataclass\n\nfrom vrft_tasks.vqa import Vqa\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(Vqa):\n    pass\n"
    )
    trained("run")
    told = Path("run/config.yaml").read_text()
    Path("run/config.yaml").write_text(told.replace("name: vqa", f"name: {task}"))
    short = FAST["sampling"]
    result = vrft.evaluate("run", ROWS, sampling=short, limit=1)
    assert (result.report.benchmark, result.report.n) == ("own_rows_task", 1)
    every = vrft.evaluate_checkpoints("run", ROWS, sampling=short, limit=1)
    assert every.results["final"].report.benchmark == "own_rows_task"
    by_name = vrft.evaluate("demo", ROWS, sampling=short, limit=1, task={"name": str(task)})
    assert by_name.report.benchmark == "own_rows_task"
    with pytest.raises(UserError, match="give data or benchmark=NAME"):
        vrft.evaluate("run")


def test_saved_answers_are_scored_again_from_a_file_and_from_a_result() -> None:
    Path("answers.jsonl").write_text(
        '{"id": "red", "text": "<answer>red</answer>"}\n'
        '{"id": "blue", "text": "<answer>green</answer>"}\n'
    )
    scored = vrft.evaluate(data=ROWS, predictions="answers.jsonl")
    assert (scored.metrics, scored.folder) == ({"accuracy": 0.5}, None)
    assert [p.sample_id for p in scored.predictions] == ["red", "blue"]
    assert "<img" not in scored._repr_html_() and "<td>accuracy</td>" in scored._repr_html_()
    assert not Path("runs").exists()
    # Of a result, other rows give another score; ``out`` keeps it.
    green = [ROWS[0], {**ROWS[1], "answer": "green"}]
    again = vrft.evaluate(data=green, predictions=scored, out="again")
    assert again.metrics == {"accuracy": 1.0} and again.folder == Path("again")
    assert (Path("again") / "scores.json").is_file()
    twice = vrft.evaluate(data=green, predictions=again)
    assert twice.metrics == again.metrics


def test_rows_of_a_run_are_read_as_in_its_training_and_other_rows_by_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ROWS[0]["images"][0].save("a.png")
    rows = [{"img": "a.png", "question": "Which colour?", "answer": "red"}] * 2
    columns = {"columns": {"images": "img"}}
    train = {"max_steps": 1, "output_dir": "run"}
    run = vrft.train(rows, model="demo", train=train, task=columns, **FAST)
    capsys.readouterr()
    short = FAST["sampling"]
    assert vrft.evaluate(run, iter(rows), sampling=short, limit=1).report.n == 1
    assert "note" not in capsys.readouterr().err
    assert vrft.evaluate(run, ROWS[:1], sampling=short).report.n == 1
    assert (
        """note: run/final was trained on other data, read by 'data.columns={"images": "img"}'"""
        in (capsys.readouterr().err)
    )
    assert vrft.evaluate(run, rows[:1], sampling=short, task=columns).report.n == 1
    assert "note" not in capsys.readouterr().err


def test_a_task_file_that_was_edited_is_evaluated_as_it_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    code = (FAKES / "letters_task.py").read_text(encoding="utf-8")
    Path("answers.jsonl").write_text('{"id": "test-0", "text": "abcde"}\n')
    scores = []
    for most in (20, 10):
        Path("edited_letters.py").write_text(code.replace("/ 20", f"/ {most}"))
        result = vrft.evaluate(predictions="answers.jsonl", task={"name": "edited_letters.py"})
        scores.append(result.metrics["different"] * 12)
    assert scores == pytest.approx([5 / 20, 5 / 10])


def test_boxes_of_another_tool_are_read_as_they_are_said_to_be_written() -> None:
    picture = ROWS[0]["images"][0]  # type: ignore[index]
    rows = [{"id": "a", "images": [picture], "question": "Where?", "answer": [0, 0, 28, 28]}]
    Path("boxes.jsonl").write_text('{"id": "a", "text": "<answer>[0, 0, 28, 28]</answer>"}\n')
    given: dict[str, Any] = {"data": rows, "predictions": "boxes.jsonl"}
    frame = {"data.boxes": "pixels"}  # the whole name, as ``data`` are the rows
    assert vrft.evaluate(**given, boxes="pixels", **frame).metrics["match"] == 1.0
    with pytest.raises(UserError, match="boxes"):
        vrft.evaluate(**given, **frame)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "give a model to ask, or predictions=FILE to score, and not both"),
        ({"model": "demo", "predictions": "a.jsonl"}, "and not both"),
        ({"model": "demo", "boxes": "pixels"}, "--boxes says how the answers of --predictions"),
        ({"predictions": "a.jsonl", "boxes": "inches"}, "invalid choice: 'inches'"),
        ({"predictions": "a.jsonl", "blank_images": True}, "--predictions are made already"),
        ({"predictions": "a.jsonl", "batch_size": 3}, "--predictions are made already"),
        ({"predictions": "absent.jsonl"}, "absent.jsonl: cannot be read"),
        ({"model": "demo", "limit": -1}, "expected a whole number above zero"),
    ],
)
def test_options_that_say_nothing_together_are_refused(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        vrft.evaluate(data=ROWS, **options)


def test_all_checkpoints_are_those_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("run")
    short = FAST["sampling"]
    result = vrft.evaluate_checkpoints(run, ROWS, out="all", sampling=short)
    assert list(result.metrics) == ["checkpoint-1", "final"]
    one = vrft.evaluate(run, ROWS, out="one", sampling=short)
    assert result.metrics["final"] == one.metrics
    assert result.results["final"].folder == Path("all/final")
    texts = [[p.text for p in r.predictions] for r in (result.results["final"], one)]
    assert texts[0] == texts[1]
    assert "checkpoint-1" in str(result) and (Path("all") / "checkpoints.json").is_file()
    assert "<td>final</td><td>0.0</td>" in result._repr_html_()
    with pytest.raises(UserError, match="neither checkpoints nor final"):
        vrft.evaluate_checkpoints("all", ROWS)
    with pytest.raises(UserError, match="give data or benchmark=NAME"):
        vrft.evaluate_checkpoints(run)
