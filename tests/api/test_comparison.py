"""Two evaluations compared from Python, and their samples with both answers."""

from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import vrft
from vrft.api import comparison
from vrft.api.comparison import CompareResult
from vrft.errors import UserError

ROWS = [
    {
        "id": key,
        "images": [Image.new("RGB", (56, 56), "red")],
        "question": "Which?",
        "answer": "red",
    }
    for key in ("a", "b", "c")
]


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareResult:
    """Return a comparison in which sample a was gained, b was lost and c stayed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    made = []
    for name, right in (("before", "bc"), ("after", "ac")):
        file = tmp_path / f"{name}.jsonl"
        words = {key: "red" if key in right else "<script>" for key in "abc"}
        lines = (f'{{"id": "{key}", "text": "<answer>{words[key]}</answer>"}}\n' for key in "abc")
        file.write_text("".join(lines), encoding="utf-8")
        made.append(vrft.evaluate(data=ROWS, predictions=file, out=tmp_path / name))
    return vrft.compare(*made)


def test_a_comparison_tells_its_metrics_and_shows_them(compared: CompareResult) -> None:
    change = compared.metrics["accuracy"]
    assert change.before.mean == change.after.mean == pytest.approx(2 / 3)
    assert "accuracy of 3 samples: 1 better, 1 worse" in str(compared)
    html = compared._repr_html_()
    assert "accuracy of 3 samples: 1 better, 1 worse" in html
    assert "<td>accuracy</td><td>66.7</td><td>66.7</td><td>0.0</td>" in html
    noted = replace(compared, pairing=replace(compared.pairing, note="x lacks answers"))
    assert "x lacks answers" not in html and "x lacks answers" in noted._repr_html_()


def test_samples_that_changed_have_both_answers(compared: CompareResult) -> None:
    (gained,), (lost,) = compared.exhibits("gained"), compared.exhibits("lost")
    assert (gained.name, lost.name) == ("a", "b")
    assert [answer.name for answer in gained.answers] == ["before", "after"]
    assert len(compared.exhibits("random", 2)) == 2
    with pytest.raises(UserError, match="order: expected gained, lost, random; got 'best'"):
        compared.exhibits("best")  # type: ignore[arg-type]


def test_folders_are_compared_as_results_are(compared: CompareResult) -> None:
    assert vrft.compare(compared.before, str(compared.after)).pairing == compared.pairing


def test_what_was_written_nowhere_is_one_line(compared: CompareResult, tmp_path: Path) -> None:
    result = vrft.evaluate(data=ROWS, predictions=tmp_path / "before.jsonl")
    with pytest.raises(UserError, match="evaluate with out=FOLDER"):
        vrft.compare(result, compared.after)


def test_answers_are_shown_from_the_worst_or_the_best_on(
    compared: CompareResult, tmp_path: Path
) -> None:
    result = vrft.evaluate(data=ROWS, predictions=tmp_path / "after.jsonl", out=tmp_path / "new")
    assert [exhibit.name for exhibit in result.exhibits()] == ["b", "a", "c"]
    assert [exhibit.name for exhibit in result.exhibits("first", 2)] == ["a", "b"]
    assert result.exhibits("best", 1)[0].name != "b"
    with pytest.raises(UserError, match="order: expected worst, best or first; got 'bad'"):
        result.exhibits("bad")  # type: ignore[arg-type]


def test_the_example_of_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VRFT_CACHE", str(tmp_path / "cache"))
    result = doctest.testmod(comparison)
    assert result.attempted and not result.failed
