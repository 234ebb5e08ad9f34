"""Two evaluations of the same samples: what is paired, what changed, and what is refused."""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.scripted import (
    ANSWERS,
    BETTER,
    Scripted,
    benchmark,
    evaluate_twice,
    write_reasonseg,
)

from vrft.boxes import IN_FRACTIONS, Box
from vrft.config.schema import ModelConfig, SamplingConfig
from vrft.errors import UserError
from vrft.evaluation import comparison, evaluate, report, stats
from vrft.evaluation.stats import paired_difference
from vrft.types import Scored
from vrft.viz.palette import BEFORE, PREDICTED
from vrft_tasks.lisa_grounding import LisaGrounding, Target


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of an evaluation before training and of one after it."""
    return evaluate_twice(tmp_path)


def test_a_comparison_pairs_the_samples(runs: tuple[Path, Path]) -> None:
    row = comparison.compare("held-out", *runs)
    assert (row.name, row.metric, row.difference.n) == ("held-out", "iou", 4)
    assert row.before.mean == pytest.approx(0.375)
    assert row.after.mean == pytest.approx(0.5)
    assert row.difference.mean == pytest.approx(0.125)
    assert row.difference.low < 0 < row.difference.high


def test_a_pairing_has_every_metric_and_the_samples_that_changed(runs: tuple[Path, Path]) -> None:
    pairing = comparison.pair(*runs)
    assert pairing.benchmark == "four"
    assert [row.metric for row in pairing.metrics] == ["iou", "acc@0.5", "legacy_iou"]
    assert pairing.metrics[0] == replace(comparison.compare("x", *runs), name="iou")
    # two of four reach 0.5 before, three after: the interval is that of differences 0, 0, 0, 1
    accuracy = pairing.metrics[1]
    assert (accuracy.before.mean, accuracy.after.mean) == (0.5, 0.75)
    assert accuracy.difference == paired_difference([1, 1, 0, 0], [1, 1, 0, 1])
    assert [change.id for change in pairing.changes] == ["d", "a"]
    assert [change.gain for change in pairing.changes] == [pytest.approx(1), pytest.approx(-0.5)]


def test_an_aggregate_is_compared_without_an_interval(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def best(task: LisaGrounding, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"last": scored[-1].score.metrics["iou"]}

    monkeypatch.setattr(LisaGrounding, "aggregates", best)
    last = comparison.pair(*runs).metrics[-1]
    assert (last.metric, last.difference.mean) == ("last", pytest.approx(1))
    assert math.isnan(last.difference.low)  # four samples are too few


def test_the_difference_of_aggregates_is_paired(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mean_overlap(task: LisaGrounding, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        return {"mean": sum(answer.score.metrics["iou"] for answer in scored) / len(scored)}

    monkeypatch.setattr(LisaGrounding, "aggregates", mean_overlap)
    monkeypatch.setattr(stats, "FOLDS", 4)
    difference = comparison.pair(*runs).metrics[-1].difference
    # differences -0.5, 0, 0, +1; without one of them the mean is 1/3, 1/6, 1/6, -1/6
    # Student's 97.5 % point with 3 degrees of freedom is 3.18245 (in any table)
    spread = 3.18245 * math.sqrt(3 * np.var([1 / 3, 1 / 6, 1 / 6, -1 / 6]))
    assert difference.mean == pytest.approx(0.125)
    assert (difference.low, difference.high) == pytest.approx(
        (0.125 - spread, 0.125 + spread), abs=1e-5
    )


IN_UNIT = BETTER | {"the owl": "<think>owl</think><answer>(0.2,0.2),(0.6,0.6)</answer>"}
"""One of four answers is in fractions of the picture, and refused."""


def test_answers_in_fractions_that_come_or_go_are_compared(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "part"
    evaluate.run(benchmark(tmp_path / "data"), ModelConfig(name="x"), part,
                 policy=Scripted(IN_UNIT))  # fmt: skip
    monkeypatch.setattr(stats, "FOLDS", 4)
    for before, after, shares in ((part, runs[1], (0.25, 0.0)), (runs[1], part, (0.0, 0.25))):
        rows = {row.metric: row for row in comparison.pair(before, after).metrics}
        row = rows[IN_FRACTIONS]
        assert (row.before.mean, row.after.mean) == shares
        # Without one sample the share is 1/3, 1/3, 1/3 or 0 on one side, and 0 on the other.
        spread = 3.18245 * math.sqrt(3 * np.var([1 / 3, 1 / 3, 1 / 3, 0]))
        assert row.difference.mean == shares[1] - shares[0]
        assert row.difference.high - row.difference.mean == pytest.approx(spread, abs=1e-5)


def test_an_aggregate_that_one_of_two_has_is_not_known_of_the_other(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def readable(task: LisaGrounding, scored: Sequence[Scored[Target]]) -> Mapping[str, float]:
        every = all(answer.score.parsed is not None for answer in scored)
        return {"all": 1.0} if every else {}

    monkeypatch.setattr(LisaGrounding, "aggregates", readable)
    last = comparison.pair(*runs).metrics[-1]
    assert (last.metric, last.after.mean) == ("all", 1.0)
    assert math.isnan(last.before.mean) and math.isnan(last.difference.mean)


def test_metrics_of_several_answers_are_paired_by_samples(tmp_path: Path) -> None:
    twice = benchmark(write_reasonseg(tmp_path / "data"), repeats=2, sampling=SamplingConfig())
    folders = tmp_path / "before", tmp_path / "after"
    for folder, answers in zip(folders, (ANSWERS, BETTER), strict=True):
        evaluate.run(twice, ModelConfig(name="x"), folder, policy=Scripted(answers))
    rows = {row.metric: row.difference for row in comparison.pair(*folders).metrics}
    # Both answers to a sample are the same: every metric has its values 1, 0.5, 0, 0.
    expected = paired_difference([1, 0.5, 0, 0], [0.5, 0.5, 0, 1])
    assert expected.low < expected.high
    for name in ("avg@2", "pass@2", "maj@2"):
        row = rows[name]
        ends = (row.mean, row.low, row.high)
        assert ends == pytest.approx((expected.mean, expected.low, expected.high)), name


def test_missing_answers_are_told_beside_a_comparison(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    file = runs[1] / "predictions.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    note = f"{runs[1]} lacks answers to 3 of 4 samples, which count as wrong; if it was "
    assert comparison.pair(*runs).note == note + (
        "interrupted, the same `vrft eval` goes on with it"
    )
    part = tmp_path / "part"
    evaluate.run(benchmark(tmp_path / "data"), ModelConfig(name="x"), part, policy=Scripted(),
                 limit=2)  # fmt: skip
    note = comparison.pair(runs[1], part).note
    assert note.startswith("compared on the 2 samples that both have, of 4 and 2; ")
    assert "lacks answers to 1 of 2 samples" in note


def test_scored_answers_of_another_tool_are_compared_with_ours(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "scored"
    shutil.copytree(runs[0], folder)
    settings = json.loads((folder / "settings.json").read_text())
    del settings["blank_images"]
    (folder / "settings.json").write_text(json.dumps(settings))
    assert comparison.pair(folder, runs[0]).changes == ()


def test_changes_show_gains_and_losses_with_both_boxes(runs: tuple[Path, Path]) -> None:
    sections = dict(comparison.change_sections(*runs))
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
    data = benchmark(tmp_path / "data")
    other = tmp_path / "other"
    evaluate.run(replace(data, split="test", seed=7), ModelConfig(name="old"), other,
                 policy=Scripted())  # fmt: skip
    with pytest.raises(UserError, match=r"other differ in seed \(0 and 7\); compare two models"):
        comparison.compare("x", runs[0], other)
    blank = tmp_path / "blank"
    evaluate.run(data, ModelConfig(name="old"), blank, policy=Scripted(), blank_images=True)
    with pytest.raises(UserError, match=r"differ in blank_images \(false and true\)"):
        comparison.change_sections(runs[0], blank)


def test_evaluations_of_different_limits_are_compared_on_the_samples_of_both(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    part = tmp_path / "part"
    four = benchmark(tmp_path / "data")
    evaluate.run(four, ModelConfig(name="new"), part, policy=Scripted(BETTER), limit=3)
    for before, after, note in (
        (runs[0], part, "compared on the 3 samples that both have, of 4 and 3"),
        (part, runs[0], "compared on the 3 samples that both have, of 3 and 4"),
    ):
        pairing = comparison.pair(before, after)
        assert pairing.note == note
        assert report.to_json(pairing)["note"] == note
        assert pairing.metrics[0].difference.n == pairing.metrics[0].before.n == 3
        assert [change.id for change in pairing.changes] == ["a"]
    # before: 1, 0.5 and 0 of three; after: 0.5, 0.5 and 0
    row = comparison.compare("x", runs[0], part)
    assert (row.before.mean, row.after.mean) == (pytest.approx(0.5), pytest.approx(1 / 3))
    ((_, random), *_) = comparison.change_sections(runs[0], part)
    assert len(random) == 3
    assert comparison.pair(*runs).note == ""


def test_evaluations_of_different_pictures_are_not_compared(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = json.loads((runs[0] / "settings.json").read_text())
    settings["fingerprint"]["pictures"] = "others"
    (runs[0] / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="were asked about different pictures"):
        comparison.pair(*runs)


def test_words_and_published_values_of_a_benchmark_do_not_keep_it_from_being_compared(
    runs: tuple[Path, Path],
) -> None:
    settings = json.loads((runs[0] / "settings.json").read_text())
    settings["benchmark"] |= {"title": "Another", "paper": {"gpg": 50.0}, "paper_samples": 4}
    (runs[0] / "settings.json").write_text(json.dumps(settings))
    assert len(comparison.pair(*runs).changes) == 2
