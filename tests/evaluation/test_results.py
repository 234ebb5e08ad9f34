import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import viewed
from fakes.scripted import evaluate_twice

from vrft.boxes import Box
from vrft.errors import UserError
from vrft.evaluation import results, scoring, summary
from vrft.task import Reward, Task
from vrft.types import Completion, Prediction, Prompt, Sample, Score, View
from vrft_tasks.lisa_grounding import LisaGrounding


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of an evaluation before training and of one after it."""
    return evaluate_twice(tmp_path)


def test_an_evaluation_is_loaded_from_its_folder_or_its_file(runs: tuple[Path, Path]) -> None:
    evaluation = results.load_evaluation(runs[0])
    assert evaluation == results.load_evaluation(runs[0] / "predictions.jsonl")
    assert evaluation.report.metrics["iou"].mean == pytest.approx(0.375)
    assert [answer.sample.id for answer in evaluation.scored] == ["a", "b", "c", "d"]


def test_answers_are_ranked_from_unreadable_to_best(runs: tuple[Path, Path]) -> None:
    ranked = results.worst_first(results.load_evaluation(runs[0]))
    assert [answer.sample.id for answer in ranked] == ["d", "c", "b", "a"]


def test_an_exhibit_has_the_true_box_and_the_one_that_was_read(runs: tuple[Path, Path]) -> None:
    evaluation = results.load_evaluation(runs[0])
    exhibits = results.exhibits(evaluation, evaluation.scored)
    assert exhibits[1].truth == (Box(0.2, 0.2, 0.6, 0.6),)
    assert exhibits[1].answers[0].boxes == (Box(0.2, 0.2, 0.6, 0.4),)
    assert exhibits[3].answers[0].boxes == () and not exhibits[3].answers[0].readable


def test_a_box_is_shown_where_there_is_no_object(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = ("b", "c")
    boxes = LisaGrounding.boxes
    monkeypatch.setattr(
        LisaGrounding, "boxes", lambda task, s: () if s.id in none else boxes(task, s)
    )
    evaluation = results.load_evaluation(runs[0])
    shown = results.exhibits(evaluation, evaluation.scored[1:2])
    assert shown[0].truth == () and shown[0].answers[0].boxes == (Box(0.2, 0.2, 0.6, 0.4),)
    monkeypatch.setattr(LisaGrounding, "boxes", lambda task, sample: ())
    (answer,) = results.exhibits(evaluation, evaluation.scored[1:2])[0].answers
    assert answer.boxes == ()  # a task about something else


def test_an_exhibit_has_the_picture_with_the_boxes(tmp_path: Path) -> None:
    evaluation = results.load_evaluation(viewed.second_picture(tmp_path))
    (shown,) = results.exhibits(evaluation, evaluation.scored)
    assert shown.image == tmp_path / "b.png" and len(shown.marks) == 2


def test_settings_that_make_no_evaluation_are_refused(runs: tuple[Path, Path]) -> None:
    (runs[0] / "settings.json").write_text(json.dumps({"model": "x"}))
    with pytest.raises(UserError, match="not the settings of an evaluation"):
        results.load_evaluation(runs[0])


def test_loading_needs_the_settings_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises(UserError, match=r"settings\.json: not found"):
        results.load_evaluation(tmp_path / "predictions.jsonl")


@dataclass(frozen=True)
class Sums(Task[int]):
    """A task of text alone, whose answer is a number."""

    primary = "right"
    data = "nothing"

    def samples(self, split: str) -> Sequence[Sample[int]]:
        return [Sample("one", "1 + 1", 2)]

    def prompt(self, sample: Sample[int]) -> Prompt:
        return Prompt(sample.question)

    def reference(self, sample: Sample[int], views: tuple[View, ...]) -> str:
        return str(sample.answer)

    def rewards(self) -> Mapping[str, Reward[int]]:
        return {}

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        right = completion.text == str(sample.answer)
        return Score({"right": float(right)}, float(completion.text))


def test_a_task_of_text_alone_is_published_and_shown_without_pictures(tmp_path: Path) -> None:
    task = Sums()
    scored = scoring.score_answers(task, task.samples("test"), [Prediction("one", "2")])
    report = summary.report_on(task, scored, "sums")
    evaluation = results.Evaluation(task, scored, report, {})
    results.publish(evaluation, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "scores.json").read_text())["metrics"]["right"]["n"] == 1
    (shown,) = results.exhibits(evaluation, scored)
    assert (shown.question, shown.image, shown.truth) == ("1 + 1", None, ())
