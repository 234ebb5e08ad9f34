import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fakes.scripted import ANSWERS, Scripted, benchmark, write_reasonseg

from vrft.boxes import Box
from vrft.config.schema import ModelConfig
from vrft.errors import UserError
from vrft.evaluation import evaluate, results, scoring, stats
from vrft.evaluation.stats import paired_difference
from vrft.evaluation.viz import BEFORE, PREDICTED
from vrft.task import Reward, Task
from vrft.types import Completion, Prediction, Prompt, Sample, Score, Scored, View
from vrft_tasks.lisa_grounding import LisaGrounding, Target

BETTER = ANSWERS | {
    "what rings": "<think>bell</think><answer>(200,200),(600,600)</answer>",  # 0 -> 1
    "the owl": "<think>owl</think><answer>(200,200),(600,400)</answer>",  # 1 -> 0.5
}
"""The differences to ANSWERS are -0.5, 0, 0, +1: their mean is 0.125."""


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of an evaluation before and one after training."""
    made = benchmark(write_reasonseg(tmp_path / "data"))
    before, after = tmp_path / "before", tmp_path / "after"
    evaluate.run(made, ModelConfig(name="old"), before, policy=Scripted())
    evaluate.run(made, ModelConfig(name="new"), after, policy=Scripted(BETTER))
    return before, after


def test_an_evaluation_is_loaded_from_its_folder_or_its_file(runs: tuple[Path, Path]) -> None:
    found = results.load_evaluation(runs[0])
    assert found == results.load_evaluation(runs[0] / "predictions.jsonl")
    assert found.report.metrics["iou"].mean == pytest.approx(0.375)
    assert [graded.sample.id for graded in found.graded] == ["a", "b", "c", "d"]


def test_the_worst_page_starts_with_the_unreadable_answer(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path / "data")  # from anywhere
    page = results.show(runs[0] / "predictions.jsonl", worst=2)
    assert page == runs[0] / "worst.html"
    html = page.read_text(encoding="utf-8")
    assert 0 < html.index("I cannot tell.") < html.index("(700,700)")
    assert html.count("<figure") == 2
    assert results.show(runs[0], tmp_path / "new" / "mine.html").read_text(encoding="utf-8")


def test_answers_are_ranked_from_unreadable_to_best(runs: tuple[Path, Path]) -> None:
    order = [graded.sample.id for graded in results.ranked(results.load_evaluation(runs[0]))]
    assert order == ["d", "c", "b", "a"]


def test_an_exhibit_has_the_true_box_and_the_one_that_was_read(runs: tuple[Path, Path]) -> None:
    found = results.load_evaluation(runs[0])
    exhibits = results.exhibits(found, found.graded)
    assert exhibits[1].truth == (Box(0.2, 0.2, 0.6, 0.6),)
    assert exhibits[1].answers[0].boxes == (Box(0.2, 0.2, 0.6, 0.4),)
    assert exhibits[3].answers[0].boxes == () and not exhibits[3].answers[0].readable


def test_a_comparison_pairs_the_samples(runs: tuple[Path, Path]) -> None:
    found = results.compare("held-out", *runs)
    assert (found.name, found.metric, found.difference.n) == ("held-out", "iou", 4)
    assert found.before.mean == pytest.approx(0.375)
    assert found.after.mean == pytest.approx(0.5)
    assert found.difference.mean == pytest.approx(0.125)
    assert found.difference.low < 0 < found.difference.high


def test_a_pairing_has_every_metric_and_the_samples_that_changed(runs: tuple[Path, Path]) -> None:
    found = results.pairing(*runs)
    assert found.benchmark == "four"
    assert [one.metric for one in found.metrics] == ["iou", "acc@0.5", "legacy_iou"]
    assert found.metrics[0] == replace(results.compare("x", *runs), name="iou")
    # two of four reach 0.5 before, three after: the interval is that of differences 0, 0, 0, 1
    accuracy = found.metrics[1]
    assert (accuracy.before.mean, accuracy.after.mean) == (0.5, 0.75)
    assert accuracy.difference == paired_difference([1, 1, 0, 0], [1, 1, 0, 1])
    assert [change.id for change in found.changes] == ["d", "a"]
    assert [change.gain for change in found.changes] == [pytest.approx(1), pytest.approx(-0.5)]


def test_an_aggregate_is_compared_without_an_interval(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def best(task: LisaGrounding, graded: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"last": graded[-1].score.metrics["iou"]}

    monkeypatch.setattr(LisaGrounding, "aggregates", best)
    last = results.pairing(*runs).metrics[-1]
    assert (last.metric, last.difference.mean) == ("last", pytest.approx(1))
    assert math.isnan(last.difference.low)  # four samples are too few


def test_the_difference_of_aggregates_is_paired(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mean_overlap(task: LisaGrounding, graded: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"mean": sum(answer.score.metrics["iou"] for answer in graded) / len(graded)}

    monkeypatch.setattr(LisaGrounding, "aggregates", mean_overlap)
    monkeypatch.setattr(stats, "FOLDS", 4)
    found = results.pairing(*runs).metrics[-1].difference
    # differences -0.5, 0, 0, +1; without one of them the mean is 1/3, 1/6, 1/6, -1/6
    spread = stats.T * math.sqrt(3 * np.var([1 / 3, 1 / 6, 1 / 6, -1 / 6]))
    assert found.mean == pytest.approx(0.125)
    assert (found.low, found.high) == pytest.approx((0.125 - spread, 0.125 + spread))


def test_scored_answers_of_another_tool_are_compared_with_ours(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    scored = tmp_path / "scored"
    shutil.copytree(runs[0], scored)
    settings = json.loads((scored / "settings.json").read_text())
    del settings["blank_images"]
    (scored / "settings.json").write_text(json.dumps(settings))
    assert results.pairing(scored, runs[0]).changes == ()


def test_changes_show_gains_and_losses_with_both_boxes(runs: tuple[Path, Path]) -> None:
    sections = dict(results.changes(*runs))
    assert [exhibit.name for exhibit in sections["Gained most"]] == ["d"]
    assert [exhibit.name for exhibit in sections["Lost most"]] == ["a"]
    assert sorted(exhibit.name for exhibit in sections["Random"]) == ["a", "b", "c", "d"]
    colours = [(a.name, a.colour, *a.boxes) for a in sections["Lost most"][0].answers]
    assert colours == [
        ("before", BEFORE, Box(0.2, 0.2, 0.6, 0.6)),
        ("after", PREDICTED, Box(0.2, 0.2, 0.6, 0.4)),
    ]


def test_evaluations_of_different_samples_are_not_compared(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    part = tmp_path / "part"
    data = benchmark(tmp_path / "data")
    evaluate.run(data, ModelConfig(name="old"), part, policy=Scripted(), limit=2)
    with pytest.raises(UserError, match="differ in limit"):
        results.compare("x", runs[0], part)
    blank = tmp_path / "blank"
    evaluate.run(data, ModelConfig(name="old"), blank, policy=Scripted(), blank_images=True)
    with pytest.raises(UserError, match="differ in blank_images"):
        results.changes(runs[0], blank)


def test_settings_that_make_no_evaluation_are_refused(runs: tuple[Path, Path]) -> None:
    (runs[0] / "settings.json").write_text(json.dumps({"model": "x"}))
    with pytest.raises(UserError, match="not the settings of an evaluation"):
        results.load_evaluation(runs[0])


def test_showing_needs_the_settings_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises(UserError, match=r"settings\.json: not found"):
        results.show(tmp_path / "predictions.jsonl")


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


def test_a_task_of_text_alone_is_published_without_pictures(tmp_path: Path) -> None:
    task = Sums()
    graded = scoring.score_answers(task, task.samples("test"), [Prediction("one", "2")])
    found = results.Evaluation(task, graded, scoring.tally(task, graded, "sums"), {})
    results.publish(found, tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "1 + 1" in html and "<img" not in html and 'class="legend' not in html
