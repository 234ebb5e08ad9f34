"""Saved answers are scored without a model, as the evaluation that made them has scored them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.scripted import ANSWERS, Scripted, benchmark, write_reasonseg

from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import comparison, evaluate, predictions, rescoring, results, settings_file
from vrft.system import folder_lock

MODEL = ModelConfig(name="scripted")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_reasonseg(tmp_path / "data")


def ids(out: Path) -> list[str]:
    return [line.sample_id for line in predictions.read_predictions(out / "predictions.jsonl")]


def test_saved_answers_score_the_same_without_a_model(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    assert rescoring.score_file(out / "predictions.jsonl", benchmark(data)) == report


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a file of another tool with one right answer, in thousandths."""
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps({"id": "a", "text": ANSWERS["the owl"]}) + "\n")
    return path


def test_answers_of_another_tool_are_scored_and_published(
    data: Path, foreign: Path, tmp_path: Path
) -> None:
    report = rescoring.score_file(
        foreign, benchmark(data), out=tmp_path / "scored", boxes="thousandths"
    )
    assert (report.metrics["iou"].mean, report.missing) == (pytest.approx(0.25), 3)
    scores = json.loads((tmp_path / "scored" / "scores.json").read_text())
    assert (scores["unreadable"], scores["missing"]) == (3, 3)
    assert settings_file.read_settings(tmp_path / "scored")["predictions"].endswith("other.jsonl")


def test_scored_answers_leave_a_folder_that_can_be_loaded_and_compared(
    data: Path, foreign: Path, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    evaluate.run(benchmark(data), MODEL, ours, policy=Scripted())
    report = rescoring.score_file(foreign, benchmark(data), out=theirs, boxes="thousandths")
    names = ["predictions.jsonl", "scores.json", "settings.json"]
    assert sorted(path.name for path in theirs.iterdir()) == names
    assert results.load_evaluation(theirs).report == report
    pairing = comparison.pair(ours, theirs)
    assert [change.id for change in pairing.changes] == ["b"]  # a is right in both; c, d wrong
    # scored again, in place and from the file
    for path in (theirs / "predictions.jsonl", foreign):
        boxes = "thousandths" if path == foreign else None
        assert rescoring.score_file(path, benchmark(data), out=theirs, boxes=boxes) == report


def test_answers_are_scored_where_they_lie_beside_the_settings_that_made_them(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report = evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    before = (out / "settings.json").read_bytes(), (out / "predictions.jsonl").read_bytes()
    (out / "scores.json").unlink()
    assert rescoring.score_file(out / "predictions.jsonl", benchmark(data), out=out) == report
    assert (out / "scores.json").is_file()
    after = (out / "settings.json").read_bytes(), (out / "predictions.jsonl").read_bytes()
    assert before == after
    other = benchmark(data, repeats=2)
    elsewhere = r"benchmark\.repeats: 1, not 2; score its answers into another folder, by another"
    for fresh in (False, True):  # the answers are there, and were not made so
        with pytest.raises(UserError, match=elsewhere):
            rescoring.score_file(out / "predictions.jsonl", other, out=out, fresh=fresh)
    assert (out / "scores.json").is_file()


def test_answers_to_questions_that_changed_are_not_scored_where_they_lie(
    data: Path, tmp_path: Path
) -> None:
    out, answers = tmp_path / "out", tmp_path / "out" / "predictions.jsonl"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    file = data / "test" / "a.json"
    file.write_text(file.read_text().replace("the owl", "the other owl"))
    with pytest.raises(UserError, match=r"changed since its answers were made; score its answers"):
        rescoring.score_file(answers, benchmark(data), out=out)
    # scored as they are into another folder, they can be loaded
    report = rescoring.score_file(answers, benchmark(data), out=tmp_path / "again")
    assert results.load_evaluation(tmp_path / "again").report == report


def test_a_folder_of_another_evaluation_is_not_overwritten_by_scored_answers(
    data: Path, foreign: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.run(benchmark(data), MODEL, out, policy=Scripted())
    with pytest.raises(UserError, match=r"choose another folder, or begin anew with --fresh"):
        rescoring.score_file(foreign, benchmark(data), out=out, boxes="thousandths")
    assert ids(out) == ["a", "b", "c", "d"]
    rescoring.score_file(foreign, benchmark(data), out=out, boxes="thousandths", fresh=True)
    assert ids(out) == ["a"]


def test_answers_of_another_tool_in_the_folder_are_not_overwritten(
    data: Path, foreign: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = out / "predictions.jsonl"  # not ours: without settings
    theirs.write_text('{"id": "b", "text": "no"}\n')
    with pytest.raises(UserError, match=r"settings\.json: not found; for answers of another tool"):
        rescoring.score_file(foreign, benchmark(data), out=out, boxes="thousandths")
    assert ids(out) == ["b"]
    rescoring.score_file(theirs, benchmark(data), out=out, boxes="thousandths")
    assert ids(out) == ["b"]


def test_refused_answers_leave_no_folder(data: Path, foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--boxes thousandths, pixels"):
        rescoring.score_file(foreign, benchmark(data), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_into_which_another_process_writes_is_left_alone(
    data: Path, foreign: Path, tmp_path: Path
) -> None:
    """Scores of half of the answers would look like those of all."""
    out, four = tmp_path / "out", benchmark(data)
    with folder_lock.held(out, "an evaluation"):
        predictions.prepare(out, {"benchmark": "the first's"})  # which has not answered yet
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        for file, boxes in ((foreign, "thousandths"), (out / "predictions.jsonl", None)):
            with pytest.raises(UserError, match="an evaluation writes there at this moment"):
                rescoring.score_file(file, four, out=out, boxes=boxes)  # type: ignore[arg-type]
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
