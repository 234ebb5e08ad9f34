import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.scripted import ANSWERS, INSTRUCTIONS, write_reasonseg

from vrft.boxes import THOUSANDTHS, Box, Coordinates
from vrft.errors import UserError
from vrft.evaluation import scoring
from vrft.task import Task
from vrft.types import Completion, Prediction, Prompt, Sample, Score, View
from vrft_tasks.lisa_grounding import LisaGrounding

SEEN = (View(112, 112),)


def predictions(texts: Mapping[str, str]) -> list[Prediction]:
    return [Prediction(name, text, SEEN) for name, text in texts.items()]


ALL = {name: ANSWERS[instruction] for name, instruction in INSTRUCTIONS.items()}


def test_answers_to_no_sample_are_refused(task: Task[Any]) -> None:
    strange = predictions({**ALL, "zebra": "x"})
    with pytest.raises(UserError, match=r"^1 of the predictions .*'zebra'"):
        scoring.score_answers(task, task.samples("test"), strange)


def test_an_answer_beyond_the_repeats_is_refused(task: Task[Any]) -> None:
    with pytest.raises(UserError, match=r"'a' \(repeat 1\)"):
        scoring.score_answers(task, task.samples("test"), [Prediction("a", "", repeat=1)])


SPANS = "<think>t</think><answer>({}),({})</answer>"


@pytest.mark.parametrize(
    ("boxes", "corners", "view"),
    [
        ("thousandths", ("200,200", "600,600"), THOUSANDTHS),
        ("pixels", ("20,20", "60,60"), View(100, 100, "pixels")),  # of the file's 100 x 100
        ("fractions", ("0.2,0.2", "0.6,0.6"), THOUSANDTHS),
    ],
)
def test_boxes_of_another_tool_are_read_as_they_are_said_to_be_written(
    boxes: scoring.Written, corners: tuple[str, str], view: View, task: Task[Any]
) -> None:
    samples = task.samples("test")[:1]
    answer = Prediction("a", SPANS.format(*corners))
    (scored,) = scoring.score_answers(task, samples, [answer], boxes=boxes)
    assert scored.score.metrics["iou"] == pytest.approx(1)
    assert scored.prediction.views == (view,)


def test_boxes_that_are_written_nobody_knows_how_are_refused(task: Task[Any]) -> None:
    answers = [Prediction("a", "", (View(9, 9),)), Prediction("b", "(1,1),(2,2)")]
    with pytest.raises(UserError, match="the answer to 'b' does not say how its boxes are written"):
        scoring.score_answers(task, task.samples("test"), answers)


@pytest.mark.parametrize(
    ("boxes", "corners"),
    [("thousandths", ("200,200", "600,600")), ("pixels", ("20,20", "60,60")),
     ("fractions", ("0.2,0.2", "0.6,0.6"))],
)  # fmt: skip
@pytest.mark.parametrize("asked_for", ["thousandths", "pixels", "fractions"])
def test_a_task_that_asks_for_one_space_reads_another_tools(
    asked_for: Coordinates, boxes: scoring.Written, corners: tuple[str, str], tmp_path: Path
) -> None:
    task = LisaGrounding(write_reasonseg(tmp_path / "data"), coordinates=asked_for)
    answer = Prediction("a", SPANS.format(*corners))
    (scored,) = scoring.score_answers(task, task.samples("test")[:1], [answer], boxes=boxes)
    assert scored.score.metrics["iou"] == pytest.approx(1)


@dataclass(frozen=True)
class Named(Task[int]):
    """A task whose score has the metrics and ratios that an answer names."""

    primary = "right"
    data = "nothing"

    samples = reference = rewards = None  # type: ignore[assignment]

    def prompt(self, sample: Sample[int]) -> Prompt:
        return Prompt("?")

    def score(self, sample: Sample[int], completion: Completion) -> Score:
        names = completion.text.split()
        ratios = {name: (1.0, 2.0) for name in names if name.startswith("ratio")}
        metrics = {name: 1.0 for name in names if name not in ratios and name != "lean"}
        return Score(metrics, "read", ratios)


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("right", "right more", "score, sample 'a': no metric 'more', which sample 'b' has; give"),
        ("right more", "right", "score, sample 'b': no metric 'more', which sample 'a' has; give"),
        ("right ratio", "right", "score, sample 'b': no ratio 'ratio', which sample 'a' has; give"),
        ("right", "more", "score, sample 'b': no metric 'right', which is the task's `primary`; "),
        ("more", "more", "score, sample 'a': no metric 'right', which is the task's `primary`; "),
    ],
)
def test_a_metric_that_some_answers_lack_is_refused(first: str, second: str, line: str) -> None:
    samples = [Sample("a", "?", 1), Sample("b", "?", 2)]
    answers = [Prediction("a", first), Prediction("b", second)]
    with pytest.raises(UserError, match=re.escape(line)):
        scoring.score_answers(Named(), samples, answers)


@pytest.mark.parametrize(
    ("gold", "line"),
    [
        ("right", None),
        (None, None),  # no gold answers
        ("right more", "score, sample 'a': no metric 'more', which its gold answer has; give"),
        ("lean", "score, sample 'a': no metric 'right', which an empty answer has; give"),
    ],
)
def test_a_metric_that_an_empty_answer_lacks_is_refused_before_the_first_answer(
    gold: str | None, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reference(task: Named, sample: Sample[int], views: object) -> str:
        if gold is None:
            raise NotImplementedError
        return gold

    def score(task: Named, sample: Sample[int], completion: Completion) -> Score:
        return whole(task, sample, replace(completion, text=completion.text or "right"))

    whole = Named.score
    monkeypatch.setattr(Named, "score", score)
    monkeypatch.setattr(Named, "reference", reference)
    sample = Sample("a", "?", 1)
    with (
        contextlib.nullcontext()
        if line is None
        else pytest.raises(UserError, match=re.escape(line))
    ):
        scoring.try_metrics(Named(), sample, Prompt("?"))


@dataclass(frozen=True)
class Plain(Task[int]):
    """A task without settings."""

    samples = prompt = reference = rewards = score = None  # type: ignore[assignment]


def test_fractions_are_refused_by_a_task_that_could_not_read_them() -> None:
    with pytest.raises(UserError, match="--boxes fractions: Plain has no setting `coordinates`"):
        scoring.reading(Plain(), "fractions")
    assert scoring.reading(Plain(), "pixels") == Plain()


def test_lines_that_say_themselves_how_boxes_are_written_need_no_option(task: Task[Any]) -> None:
    samples = task.samples("test")
    with pytest.raises(UserError, match="--boxes pixels: the lines of the file have views"):
        scoring.score_answers(task, samples, predictions(ALL), boxes="pixels")


def test_pictures_are_not_opened_where_the_score_does_not_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = LisaGrounding(write_reasonseg(tmp_path / "data"))
    samples = task.samples("test")
    for picture in (tmp_path / "data" / "test").glob("*.jpg"):
        picture.unlink()
    # with views; missing; and in a space that does not depend on the size
    seen = scoring.score_answers(task, samples, predictions({"a": ALL["a"]}))
    assert seen[0].score.metrics["iou"] == pytest.approx(1)
    said = scoring.score_answers(task, samples, [Prediction("a", ALL["a"])], boxes="thousandths")
    assert said[0].score.metrics["iou"] == pytest.approx(1)
    with pytest.raises(UserError, match=r"a\.jpg: no such picture"):
        scoring.score_answers(task, samples, [Prediction("a", ALL["a"])], boxes="pixels")
    # a task without boxes
    monkeypatch.setattr(LisaGrounding, "boxes", lambda task, sample: ())
    assert len(scoring.score_answers(task, samples, [Prediction("a", ALL["a"])])) == 4


def test_a_completion_is_as_long_as_its_prediction(task: Task[Any]) -> None:
    (sample, *_) = task.samples("test")
    prediction = Prediction("a", "text", tokens=7)
    assert scoring.completion_of(task.prompt(sample), prediction).tokens == 7


def test_the_views_of_a_prediction_decide_how_its_box_is_read(task: Task[Any]) -> None:
    text = "<think>t</think><answer>(56,56),(168,168)</answer>"  # fifths of 280 pixels: 0.2 to 0.6
    seen = Prediction("a", text, (View(280, 280, "pixels"),))
    samples = task.samples("test")[:1]
    (scored,) = scoring.score_answers(task, samples, [seen])
    assert scored.score.metrics["iou"] == pytest.approx(1)
    thousandths = replace(seen, views=(View(280, 280),))
    (scored,) = scoring.score_answers(task, samples, [thousandths])
    assert scored.score.metrics["iou"] < 0.1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_has_a_view_for_each_of_its_two_pictures(count: int, task: Task[Any]) -> None:
    (sample, *_) = task.samples("test")
    prompts = {sample.id: Prompt("Where?", (*sample.images, *sample.images))}
    answer = Prediction(sample.id, SPANS.format("200,200", "600,600"), SEEN * count)
    score = partial(scoring.score_answers, task, [sample], [answer], prompts=prompts)
    if count == 0:  # said by --boxes for all
        assert len(score(boxes="thousandths")[0].prediction.views) == 2
        return
    views = f"{count} view{'s' if count > 1 else ''}"
    with pytest.raises(UserError, match=f"^the answer to 'a' has {views} for 2 pictures; give one"):
        score()


def test_parsed_boxes_are_four_numbers_each() -> None:
    two = Score({}, (0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0))
    assert scoring.parsed_boxes(two) == (Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1))
    for parsed in (None, "text", 4.0, [], [0.0, 0.0, 0.5]):
        assert scoring.parsed_boxes(Score({}, parsed)) == ()
    # numbers and words of another meaning are no boxes
    assert scoring.parsed_boxes(Score({}, [3.0, 4.0, 5.0, 6.0])) == ()
    assert scoring.parsed_boxes(Score({}, ["a", "b", "c", "d"])) == ()  # type: ignore[list-item]


class Repeating:
    """A task-like object whose split "twice" has the same id twice, and "none" no sample."""

    def samples(self, split: str) -> list[Sample[str]]:
        return [] if split == "none" else [Sample("a", "?", "yes"), Sample("a", "?", "no")]


@pytest.mark.parametrize(
    ("split", "message"),
    [("none", "split 'none' has no samples"), ("twice", "the id 'a' occurs twice")],
)
def test_a_split_that_cannot_be_scored_is_refused(split: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scoring.read_samples(Repeating(), split)  # type: ignore[arg-type]


def test_the_limit_takes_the_first_samples(task: Task[Any]) -> None:
    assert [sample.id for sample in scoring.read_samples(task, "test", 3)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        # a row's number taken as its id
        (Sample(7, "?", ""), "sample 1 has the id 7, of type int"),
        # NumPy's and other texts' look-alikes
        (Sample(Path("a"), "?", ""), r"sample 1 has the id PosixPath\('a'\), of type PosixPath"),
        (Sample(None, "?", ""), "sample 1 has the id None, of type NoneType"),
        # a class's number as the part that a report counts
        (Sample("b", "?", "", (), 3), "sample 1 has the subset 3, of type int"),
        (Sample("b", 4, ""), "sample 1 has the question 4, of type int"),
    ],
)
def test_an_id_question_or_subset_that_is_no_text_is_refused_by_its_number(
    sample: Sample[str], message: str
) -> None:
    with pytest.raises(UserError, match=f"split 'test': {message}; make it a text"):
        scoring.check_texts([Sample("a", "?", ""), sample], "test")


def test_reading_samples_checks_their_texts() -> None:
    task = SimpleNamespace(samples=lambda split: [Sample(7, "?", "yes")])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the id 7, of type int"):
        scoring.read_samples(task, "train")  # type: ignore[arg-type]


def test_samples_of_another_type_are_refused_by_their_number() -> None:
    listed: list[Any] = [Sample("a", "?", ""), {"id": "b"}]
    with pytest.raises(UserError, match=r"split 'test': sample 1 is of type dict; return a list"):
        scoring.check_texts(listed, "test")
