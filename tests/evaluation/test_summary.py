"""Scores of answers are summed up with every sample in the denominator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted import ANSWERS, INSTRUCTIONS, write_reasonseg

from vrft.evaluation import scoring, summary
from vrft.evaluation.stats import bootstrap, wilson
from vrft.task import Task
from vrft.types import Completion, Prediction, Prompt, Sample, Score, Scored, View
from vrft_tasks.lisa_grounding import LisaGrounding, Target

SEEN = (View(112, 112),)


def predictions(texts: Mapping[str, str]) -> list[Prediction]:
    return [Prediction(name, text, SEEN) for name, text in texts.items()]


ALL = {name: ANSWERS[instruction] for name, instruction in INSTRUCTIONS.items()}


def test_an_unreadable_answer_counts_as_zero_in_every_mean(task: Task[Any]) -> None:
    report = summary.summarize(task, task.samples("test"), predictions(ALL), "four")
    assert (report.benchmark, report.n, report.unreadable, report.missing) == ("four", 4, 1, 0)
    assert next(iter(report.metrics)) == "iou"
    assert report.metrics["iou"] == bootstrap([1.0, 0.5, 0.0, 0.0])
    assert report.metrics["iou"].mean == pytest.approx(0.375)
    assert report.metrics["acc@0.5"] == wilson(2, 4)


def test_subsets_have_their_own_means(task: Task[Any]) -> None:
    report = summary.summarize(task, task.samples("test"), predictions(ALL), "four")
    assert list(report.subsets) == ["class", "use"]
    assert report.subsets["class"]["iou"].mean == pytest.approx(0.75)
    assert report.subsets["use"]["iou"] == wilson(0, 2)


def test_missing_answers_are_unreadable_and_never_shrink_the_denominator(task: Task[Any]) -> None:
    report = summary.summarize(task, task.samples("test"), predictions({"a": ALL["a"]}), "four")
    assert (report.n, report.unreadable, report.missing) == (4, 3, 3)
    assert report.metrics["iou"].mean == pytest.approx(0.25)  # 1 of 4, not 1 of 1


def test_answers_that_were_cut_at_the_limit_are_counted(task: Task[Any]) -> None:
    samples = task.samples("test")
    answers = [
        replace(each, finished=each.sample_id not in ("a", "b")) for each in predictions(ALL)
    ]
    report = summary.summarize(task, samples, answers, "four")
    assert report.cut == 2
    # an answer that is missing was not cut, and of several to a sample each counts
    again = [replace(answer, repeat=1) for answer in answers[:1]]
    report = summary.summarize(task, samples, [*answers, *again], "four", repeats=2)
    assert (report.cut, report.missing) == (3, 3)


def test_several_answers_to_a_sample_score_their_mean(task: Task[Any]) -> None:
    samples = task.samples("test")[:2]
    # a: right, then unreadable: (1 + 0) / 2. b: never answered, so unreadable. (0.5 + 0) / 2.
    answers = [
        Prediction("a", ALL["a"], SEEN, repeat=0),
        Prediction("a", "?", SEEN, repeat=1),
        Prediction("b", "?", SEEN, repeat=0),
    ]
    report = summary.summarize(task, samples, answers, "two", repeats=2)
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
    metrics = summary.summarize(task, samples, answers, "two", repeats=2).metrics
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
    metrics = summary.repeat_intervals(groups, "accuracy")
    assert list(metrics) == ["avg@4", "pass@2", "pass@4", "maj@4"]
    assert metrics["avg@4"] == bootstrap([0.5, 0.25])  # over two samples, not eight answers
    # 1 - C(2, 2) / C(4, 2) = 5/6 and 1 - C(3, 2) / C(4, 2) = 1/2
    assert metrics["pass@2"].mean == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert metrics["pass@4"] == wilson(2, 2)
    assert metrics["maj@4"] == wilson(1, 2)  # a says 7, b says 5


def test_three_answers_pass_at_two_and_three() -> None:
    assert list(summary.repeat_intervals([scored("a", "7", ["7", "5", "5"])], "accuracy")) == [
        *("avg@3", "pass@2", "pass@3", "maj@3"),
    ]


def test_one_answer_to_each_sample_is_not_repeated() -> None:
    assert summary.repeat_intervals([scored("a", "7", ["7"])], "accuracy") == {}


def test_an_unreadable_answer_is_wrong_and_does_not_vote() -> None:
    metrics = summary.repeat_intervals([scored("a", "7", ["7", None])], "accuracy")
    assert (metrics["avg@2"].mean, metrics["maj@2"].mean) == (0.5, 1.0)


@dataclass(frozen=True)
class Pooled(LisaGrounding):
    """Grounding with a metric of all answers together: the best overlap among them."""

    def aggregates(self, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"best": max(answer.score.metrics["iou"] for answer in scored)}


def test_aggregates_are_taken_of_all_answers_and_of_each_subset(tmp_path: Path) -> None:
    task = Pooled(write_reasonseg(tmp_path / "data"))
    report = summary.summarize(task, task.samples("test"), predictions(ALL), "four")
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
    best = summary.report_on(task, [right, *others], "thirty").metrics["best"]
    assert (best.mean, best.low, best.high) == (pytest.approx(1), 0.0, 1.0)


@dataclass(frozen=True)
class Areas(LisaGrounding):
    """Grounding with a ratio of sums: the overlap counts once for each letter of the question."""

    def score(self, sample: Sample[Target], completion: Completion) -> Score:
        score, weight = super().score(sample, completion), len(sample.question)
        return replace(score, ratios={"weighed": (score.metrics["iou"] * weight, weight)})


def test_ratios_are_sums_over_sums_with_an_interval(tmp_path: Path) -> None:
    task = Areas(write_reasonseg(tmp_path / "data"))
    report = summary.summarize(task, task.samples("test"), predictions(ALL), "four")
    # the owl 1 of 7 letters, the key 0.5 of 7, what flies 0 of 10, what rings 0 of 10
    weighed = report.metrics["weighed"]
    assert weighed.mean == pytest.approx(10.5 / 34)
    assert 0 <= weighed.low < weighed.mean < weighed.high <= 1
    assert report.subsets["class"]["weighed"].mean == pytest.approx(10.5 / 14)
