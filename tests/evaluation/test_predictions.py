import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrft.errors import UserError
from vrft.evaluation import predictions, settings_file
from vrft.types import Prediction, View

SETTINGS = {"model": {"name": "m"}, "limit": None}

VIEWS = st.builds(
    View, st.integers(1, 9999), st.integers(1, 9999), st.sampled_from(["thousandths", "pixels"])
)
ANY = st.builds(
    Prediction,
    st.text(min_size=1),
    st.text(),
    st.lists(VIEWS, max_size=3).map(tuple),
    st.integers(0, 99),
    st.integers(0, 4096),
    st.booleans(),
)


@given(ANY)
def test_a_line_reads_back_as_the_prediction_it_was(prediction: Prediction) -> None:
    line = predictions.to_line(prediction)
    assert line.count("\n") == 1
    assert predictions.from_row(json.loads(line), "here") == prediction


def test_line_separators_inside_a_text_do_not_end_a_line(tmp_path: Path) -> None:
    answers = [Prediction("a", "one\u2028two\x85\r\nthree"), Prediction("b", "four")]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(map(predictions.to_line, answers)), encoding="utf-8", newline="\n")
    assert predictions.read_predictions(path) == answers


def test_a_line_of_another_tool_needs_only_id_and_text(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"id": 7, "text": "seven", "score": 0.3}\n\n{"id": "b", "text": ""}')
    assert predictions.read_predictions(path) == [Prediction("7", "seven"), Prediction("b", "")]


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n{"id": "b", "te')
    assert predictions.read_predictions(path) == [Prediction("a", "x")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "te', "line 2: not JSON"),  # broken, and not the last line
        pytest.param("[" * 100_000, "line 2: not JSON", id="nested too deep"),
        ("[]", "line 2: expected"),  # JSON, but no object
        ('{"text": "x"}', 'line 2: expected "id" and "text"'),
        ('{"id": "a"}', 'line 2: expected "id" and "text"'),
        ('{"id": "a", "text": 3}', 'line 2: expected "id" and "text"'),
        ('{"id": "a", "text": "x", "repeat": "1"}', 'line 2: "repeat"'),
        ('{"id": "a", "text": "x", "finished": 1}', 'line 2: "repeat"'),
        ('{"id": "a", "text": "x", "views": [[112, 112]]}', 'line 2: "views"'),  # no space
        ('{"id": "a", "text": "x", "views": [[0, 112, "pixels"]]}', 'line 2: "views"'),
        ('{"id": "a", "text": "x", "views": [[9, 9, "metres"]]}', 'line 2: "views"'),
        ('{"id": "z", "text": "again"}', "line 2: a second answer to 'z'"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"id": "z", "text": "x"}}\n{line}\n{{"id": "last", "text": "x"}}\n')
    with pytest.raises(UserError, match="p.jsonl " + message.replace("[", r"\[")):
        predictions.read_predictions(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.jsonl: cannot be read"):
        predictions.read_predictions(tmp_path / "none.jsonl")


def test_a_new_folder_gets_settings_and_appended_lines(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    assert predictions.prepare(folder, SETTINGS) == []
    answers = [Prediction("a", "x"), Prediction("b", "y")]
    assert list(predictions.append(folder, answers)) == answers
    assert predictions.prepare(folder, SETTINGS) == answers
    assert settings_file.read_settings(folder) == SETTINGS


def test_each_prediction_is_on_disk_before_the_next_is_made(tmp_path: Path) -> None:
    predictions.prepare(tmp_path, SETTINGS)
    stream = predictions.append(tmp_path, iter([Prediction("a", "x"), Prediction("b", "y")]))
    next(stream)
    assert predictions.read_predictions(tmp_path / predictions.PREDICTIONS) == [
        Prediction("a", "x")
    ]
    stream.close()  # type: ignore[attr-defined]


def test_going_on_after_a_kill_removes_the_cut_line(tmp_path: Path) -> None:
    predictions.prepare(tmp_path, SETTINGS)
    list(predictions.append(tmp_path, [Prediction("a", "x")]))
    path = tmp_path / predictions.PREDICTIONS
    path.write_bytes(path.read_bytes() + b'{"id": "b", "text": "y')
    assert predictions.prepare(tmp_path, SETTINGS) == [Prediction("a", "x")]
    list(predictions.append(tmp_path, [Prediction("b", "y")]))
    assert predictions.read_predictions(path) == [Prediction("a", "x"), Prediction("b", "y")]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    predictions.prepare(tmp_path, SETTINGS)
    list(predictions.append(tmp_path, [Prediction("a", "x")]))
    with pytest.raises(UserError, match=r"with model\.name: m, not n; choose another folder"):
        predictions.prepare(tmp_path, {"model": {"name": "n"}, "limit": None})
    with pytest.raises(UserError, match="with limit: None, not 5"):
        predictions.prepare(tmp_path, {"model": {"name": "m"}, "limit": 5})


def test_settings_of_an_evaluation_that_never_answered_are_replaced(tmp_path: Path) -> None:
    predictions.prepare(tmp_path, {"model": {"name": "mistyped"}})
    assert predictions.prepare(tmp_path, SETTINGS) == []
    assert settings_file.read_settings(tmp_path) == SETTINGS


@pytest.mark.parametrize("way", ["prepare", "store"])
@pytest.mark.parametrize("done", [0, 1])  # killed before the new settings are there, and after
def test_a_kill_leaves_no_old_answers_beside_new_settings(
    way: str, done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions.prepare(tmp_path, {"model": {"name": "old"}})
    list(predictions.append(tmp_path, [Prediction("a", "of the old model")]))
    write_json = settings_file.write_json

    def killed(path: Path, value: Any) -> None:
        if done:
            write_json(path, value)
        raise KeyboardInterrupt

    monkeypatch.setattr(predictions, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        if way == "prepare":
            predictions.prepare(tmp_path, SETTINGS, fresh=True)
        else:
            predictions.store(tmp_path, SETTINGS, [Prediction("a", "of the new model")])
    monkeypatch.undo()
    assert predictions.prepare(tmp_path, SETTINGS) == []  # which begins anew


def test_a_kill_does_not_cost_answers_that_are_stored_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Prediction("a", "x")]
    predictions.store(tmp_path, SETTINGS, answers)
    monkeypatch.setattr(predictions, "to_line", MagicMock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predictions.store(tmp_path, SETTINGS, answers, in_place=True)
    assert predictions.read_predictions(tmp_path / predictions.PREDICTIONS) == answers


def test_predictions_without_settings_are_not_continued(tmp_path: Path) -> None:
    (tmp_path / predictions.PREDICTIONS).write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises(UserError, match=r"settings\.json: not found"):
        predictions.prepare(tmp_path, SETTINGS)


def test_an_evaluation_that_is_refused_before_its_first_answer_leaves_no_folder(
    tmp_path: Path,
) -> None:
    out = tmp_path / "runs" / "eval"
    with pytest.raises(UserError), predictions.held(out):
        predictions.prepare(out, SETTINGS)
        raise UserError("weights.safetensors: a Git LFS pointer")
    assert not (tmp_path / "runs").exists()
    # Answers that were written stay, whatever ends the evaluation later.
    with pytest.raises(UserError), predictions.held(out):
        predictions.prepare(out, SETTINGS)
        list(predictions.append(out, [Prediction("a", "text")]))
        raise UserError("b.png: damaged picture")
    assert len(predictions.prepare(out, SETTINGS)) == 1
