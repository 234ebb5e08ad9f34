import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.scripted import ANSWERS, INSTRUCTIONS, benchmark, write_reasonseg

from vrft import registry
from vrft.boxes import THOUSANDTHS, Box, Coordinates
from vrft.errors import UserError
from vrft.evaluation import scoring
from vrft.evaluation.stats import bootstrap, wilson
from vrft.task import Task
from vrft.types import Completion, Prediction, Prompt, Sample, Score, Scored, View
from vrft_tasks.lisa_grounding import LisaGrounding, Target


@pytest.fixture
def task(tmp_path: Path) -> Task[Any]:
    return registry.build(benchmark(write_reasonseg(tmp_path / "data")).task)


SEEN = (View(112, 112),)


def predictions(texts: Mapping[str, str]) -> list[Prediction]:
    return [Prediction(name, text, SEEN) for name, text in texts.items()]


ALL = {name: ANSWERS[instruction] for name, instruction in INSTRUCTIONS.items()}


def test_an_unreadable_answer_counts_as_zero_in_every_mean(task: Task[Any]) -> None:
    report = scoring.summarize(task, task.samples("test"), predictions(ALL), "four")
    assert (report.benchmark, report.n, report.unreadable, report.missing) == ("four", 4, 1, 0)
    assert next(iter(report.metrics)) == "iou"
    assert report.metrics["iou"] == bootstrap([1.0, 0.5, 0.0, 0.0])
    assert report.metrics["iou"].mean == pytest.approx(0.375)
    assert report.metrics["acc@0.5"] == wilson(2, 4)


def test_subsets_have_their_own_means(task: Task[Any]) -> None:
    report = scoring.summarize(task, task.samples("test"), predictions(ALL), "four")
    assert list(report.subsets) == ["class", "use"]
    assert report.subsets["class"]["iou"].mean == pytest.approx(0.75)
    assert report.subsets["use"]["iou"] == wilson(0, 2)


def test_missing_answers_are_unreadable_and_never_shrink_the_denominator(task: Task[Any]) -> None:
    report = scoring.summarize(task, task.samples("test"), predictions({"a": ALL["a"]}), "four")
    assert (report.n, report.unreadable, report.missing) == (4, 3, 3)
    assert report.metrics["iou"].mean == pytest.approx(0.25)  # 1 of 4, not 1 of 1


def test_answers_to_no_sample_are_refused(task: Task[Any]) -> None:
    strange = predictions({**ALL, "zebra": "x"})
    with pytest.raises(UserError, match=r"^1 of the predictions .*'zebra'"):
        scoring.summarize(task, task.samples("test"), strange, "four")


def test_an_answer_beyond_the_repeats_is_refused(task: Task[Any]) -> None:
    with pytest.raises(UserError, match=r"'a' \(repeat 1\)"):
        scoring.summarize(task, task.samples("test"), [Prediction("a", "", repeat=1)], "four")


def test_several_answers_to_a_sample_score_their_mean(task: Task[Any]) -> None:
    samples = task.samples("test")[:2]
    # a: right, then unreadable: (1 + 0) / 2. b: never answered, so unreadable. (0.5 + 0) / 2.
    answers = [
        Prediction("a", ALL["a"], SEEN, repeat=0),
        Prediction("a", "?", SEEN, repeat=1),
        Prediction("b", "?", SEEN, repeat=0),
    ]
    report = scoring.summarize(task, samples, answers, "two", repeats=2)
    assert (report.n, report.unreadable, report.missing) == (2, 1, 1)
    assert report.metrics["iou"].mean == pytest.approx(0.25)


def test_of_overlaps_the_best_passes(task: Task[Any]) -> None:
    samples = task.samples("test")[:2]
    texts = {"a": ["?", ALL["a"]], "b": [ALL["b"], ALL["b"]]}
    answers = [
        Prediction(name, text, SEEN, repeat=repeat)
        for name in texts
        for repeat, text in enumerate(texts[name])
    ]
    metrics = scoring.summarize(task, samples, answers, "two", repeats=2).metrics
    assert list(metrics) == ["iou", "acc@0.5", "legacy_iou", "avg@2", "pass@2", "maj@2"]
    assert metrics["avg@2"] == metrics["iou"]
    # a: 0 and 1; b: 0.5 twice
    assert metrics["avg@2"].mean == pytest.approx((0.5 + 0.5) / 2)
    assert metrics["pass@2"].mean == pytest.approx((1 + 0.5) / 2)


def scored(name: str, right: str, answers: Sequence[str | None]) -> list[Scored[str]]:
    """Return answers to a question with their scores; a text of None cannot be read."""
    sample = Sample(name, "?", right)
    return [
        Scored(
            sample,
            Prompt("?"),
            Prediction(name, text or "", repeat=repeat),
            Score({"accuracy": float(text == right)}, text),
        )
        for repeat, text in enumerate(answers)
    ]


def test_several_right_or_wrong_answers_pass_and_vote() -> None:
    groups = [
        scored("a", "7", ["7", None, "7", "5"]),
        scored("b", "3", ["5", "3", "5", "1"]),
    ]
    metrics = scoring.repeat_intervals(groups, "accuracy")
    assert list(metrics) == ["avg@4", "pass@2", "pass@4", "maj@4"]
    assert metrics["avg@4"] == bootstrap([0.5, 0.25])  # over two samples, not eight answers
    # 1 - C(2, 2) / C(4, 2) = 5/6 and 1 - C(3, 2) / C(4, 2) = 1/2
    assert metrics["pass@2"].mean == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert metrics["pass@4"] == wilson(2, 2)
    assert metrics["maj@4"] == wilson(1, 2)  # a says 7, b says 5


def test_three_answers_pass_at_two_and_three() -> None:
    assert list(scoring.repeat_intervals([scored("a", "7", ["7", "5", "5"])], "accuracy")) == [
        *("avg@3", "pass@2", "pass@3", "maj@3"),
    ]


def test_one_answer_to_each_sample_is_not_repeated() -> None:
    assert scoring.repeat_intervals([scored("a", "7", ["7"])], "accuracy") == {}


def test_an_unreadable_answer_is_wrong_and_does_not_vote() -> None:
    metrics = scoring.repeat_intervals([scored("a", "7", ["7", None])], "accuracy")
    assert (metrics["avg@2"].mean, metrics["maj@2"].mean) == (0.5, 1.0)


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
    assert scoring.summarize(task, samples, [seen], "one").metrics["iou"].mean == pytest.approx(1)
    thousandths = replace(seen, views=(View(280, 280),))
    assert scoring.summarize(task, samples, [thousandths], "one").metrics["iou"].mean < 0.1


@dataclass(frozen=True)
class Pooled(LisaGrounding):
    """Grounding with a metric of all answers together: the best overlap among them."""

    def aggregates(self, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"best": max(answer.score.metrics["iou"] for answer in scored)}


def test_aggregates_are_taken_of_all_answers_and_of_each_subset(tmp_path: Path) -> None:
    task = Pooled(write_reasonseg(tmp_path / "data"))
    report = scoring.summarize(task, task.samples("test"), predictions(ALL), "four")
    assert list(report.metrics)[-1] == "best"
    best = report.metrics["best"]
    assert (best.mean, best.n, math.isnan(best.low)) == (pytest.approx(1), 4, True)
    # c is 0 and d unreadable
    assert report.subsets["use"]["best"].mean == 0.0


def test_an_aggregate_of_many_samples_has_an_interval_within_its_range(tmp_path: Path) -> None:
    task = Pooled(write_reasonseg(tmp_path / "data"))
    (right, *_, wrong) = scoring.score_answers(task, task.samples("test"), predictions(ALL))
    others = [replace(wrong, sample=replace(wrong.sample, id=str(i))) for i in range(29)]
    # one fold leaves the only right answer out, so that without it the best is 0
    best = scoring.report_on(task, [right, *others], "thirty").metrics["best"]
    assert (best.mean, best.low, best.high) == (pytest.approx(1), 0.0, 1.0)


@dataclass(frozen=True)
class Areas(LisaGrounding):
    """Grounding with a ratio of sums: the overlap counts once for each letter of the question."""

    def score(self, sample: Sample[Target], completion: Completion) -> Score:
        score, weight = super().score(sample, completion), len(sample.question)
        return replace(score, ratios={"weighed": (score.metrics["iou"] * weight, weight)})


def test_ratios_are_sums_over_sums_with_an_interval(tmp_path: Path) -> None:
    task = Areas(write_reasonseg(tmp_path / "data"))
    report = scoring.summarize(task, task.samples("test"), predictions(ALL), "four")
    # the owl 1 of 7 letters, the key 0.5 of 7, what flies 0 of 10, what rings 0 of 10
    weighed = report.metrics["weighed"]
    assert weighed.mean == pytest.approx(10.5 / 34)
    assert 0 <= weighed.low < weighed.mean < weighed.high <= 1
    assert report.subsets["class"]["weighed"].mean == pytest.approx(10.5 / 14)


def test_parsed_boxes_are_four_numbers_each() -> None:
    two = Score({}, (0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0))
    assert scoring.parsed_boxes(two) == (Box(0, 0, 0.5, 0.5), Box(0.5, 0.5, 1, 1))
    for parsed in (None, "text", 4.0, [], [0.0, 0.0, 0.5]):
        assert scoring.parsed_boxes(Score({}, parsed)) == ()


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
