import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from vrft.api.results import CheckpointsResult
from vrft.boxes import IN_FRACTIONS
from vrft.evaluation import report
from vrft.evaluation.table_text import text
from vrft.types import Change, Comparison, Interval, Pairing, Report

HALF = Interval(0.534, 0.501, 0.567, 200)
FULL = Report(
    benchmark="lisa_val",
    n=200,
    unreadable=7,
    metrics={"iou": HALF, "legacy_iou": Interval(0.5, 0.47, 0.53, 200)},
    subsets={"use": {"iou": Interval(0.25, 0.2, 0.3, 80)}},
    paper={"gpg": 51.4},
    missing=2,
)
CHANGE = Comparison(
    "held-out",
    "iou",
    Interval(0.3, 0.2, 0.4, 60),
    Interval(0.5, 0.4, 0.6, 60),
    Interval(0.2, -0.01, 0.35, 60),
)
UNKNOWN = Interval(0.1, math.nan, math.nan, 60)
PAIRING = Pairing(
    "lisa_val",
    (CHANGE, Comparison("mask_ciou", "mask_ciou", UNKNOWN, UNKNOWN, UNKNOWN)),
    (Change("lamp", 0.0, 1.0), Change("stool", 0.25, 0.75), Change("kettle", 1.0, 0.5)),
)


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.5346, False, "53.5"),
        (0.2, True, "+20.0"),
        (-0.123, True, "-12.3"),
        (-0.0001, True, "0.0"),  # nothing has no sign
        (0.0001, True, "0.0"),
        (-0.1004, True, "-10.0"),
        (1.0, False, "100.0"),
        (math.nan, False, "–"),
    ],
)
def test_percent(value: float, signed: bool, text: str) -> None:
    assert report.percent(value, signed) == text


def test_a_subset_named_all_does_not_hide_the_score_of_all() -> None:
    named = replace(FULL, subsets={"all": {"iou": Interval(0.25, 0.2, 0.3, 80)}})
    parts = [(part, value.n) for part, _, value in report.metric_rows(named)]
    assert parts == [("all", 200), ("all", 200), ("subset all", 80)]


def test_a_pairing_shows_every_metric_and_counts_the_samples_that_changed() -> None:
    shown = text(report.pairing_table(PAIRING))
    assert "lisa_val" in shown.splitlines()[0]
    assert re.search(r"held-out .* 30.0 .* 50.0 .* \+20.0 .* -1.0 to \+35.0 .* 60", shown)
    assert re.search(r"mask_ciou .* \+10.0 .* – .* 60", shown)
    assert "iou of 60 samples: 2 better, 1 worse" in shown


def test_the_greatest_changes_are_listed_gains_first() -> None:
    assert report.change_lines(PAIRING, count=1) == [
        "better  +100.0    0.0 to 100.0  lamp",
        "worse    -50.0  100.0 to  50.0  kettle",
    ]
    assert len(report.change_lines(PAIRING)) == 3


def test_a_pairing_is_plain_json() -> None:
    tree = json.loads(json.dumps(report.to_json(PAIRING), allow_nan=False))
    assert tree["metrics"][1]["difference"] == {"mean": 0.1, "low": None, "high": None, "n": 60}
    assert tree["changes"][0] == {"id": "lamp", "before": 0.0, "after": 1.0}


def test_published_values_stand_beside_the_metrics_they_are_of() -> None:
    masks = {"mask_giou": Interval(0.4, 0.3, 0.5, 200), "legacy_mask_giou": HALF}
    by_metric = {"mask_giou": {"gpg": 49.5}, "mask_ciou": {"gpg": 50.0}}
    masked = replace(FULL, metrics={**FULL.metrics, **masks}, paper_by_metric=by_metric)
    assert report.published_rows(masked) == [
        ("gpg", "iou", 0.534, 0.514),
        ("gpg", "legacy_iou", 0.5, 0.514),
        ("gpg", "mask_giou", 0.4, 0.495),
        ("gpg", "legacy_mask_giou", 0.534, 0.495),
    ]


def test_an_interval_that_is_not_known_is_a_dash() -> None:
    assert report.ends(HALF) == "50.1 to 56.7"
    assert report.ends(Interval(0.5, math.nan, math.nan, 1)) == "–"


def test_the_table_has_every_part_and_metric_and_the_paper() -> None:
    lines = text(report.table(FULL)).splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
    assert cells == [
        ["all", "iou", "53.4", "50.1 to 56.7", "200"],
        ["all", "legacy_iou", "50.0", "47.0 to 53.0", "200"],
        ["use", "iou", "25.0", "20.0 to 30.0", "80"],
        ["paper: gpg", "iou", "51.4", "ours +2.0", ""],
        ["paper: gpg", "legacy_iou", "51.4", "ours -1.4", ""],
    ]
    assert "200 samples, 7 unreadable, 2 with answers missing" in lines[-1]


def test_a_missing_answer_does_not_make_a_sample_with_another_one_unreadable() -> None:
    one = Report("b", 1, 0, {"iou": HALF}, missing=1)
    assert report.sample_counts(one) == "1 sample, 0 unreadable, 1 with answers missing"


def test_answers_that_were_cut_off_are_counted_where_there_are_any() -> None:
    cut = replace(FULL, cut=28)
    assert report.sample_counts(cut).endswith(
        "7 unreadable, 2 with answers missing, 28 answers cut off"
    )
    assert "cut" not in report.sample_counts(FULL)
    assert report.to_json(cut)["cut"] == 28 and report.to_json(FULL)["cut"] == 0
    reports = {"checkpoint-1": cut, "final": FULL}
    shown = report.checkpoint_table(reports)
    assert list(shown.columns[-1].cells) == ["28", "0"] and shown.columns[-1].header == "cut off"
    html = CheckpointsResult(reports, Path())._repr_html_()
    assert "cut off" in html and "<td>28</td>" in html


@pytest.mark.parametrize("turned", [False, True])
def test_checkpoints_with_and_without_answers_in_fractions_share_a_table(turned: bool) -> None:
    some = replace(FULL, metrics={**FULL.metrics, IN_FRACTIONS: Interval(0.25, 0.2, 0.3, 200)})
    reports = {"base": some, "final": FULL}
    order = list(reports)[::-1] if turned else list(reports)
    shown = report.checkpoint_table({name: reports[name] for name in order})
    headings = [str(column.header) for column in shown.columns]
    rows = list(zip(*(column.cells for column in shown.columns), strict=True))
    cells = {row[0]: dict(zip(headings, row, strict=True)) for row in rows}
    assert headings == ["", "iou", "95 % interval", "legacy_iou", IN_FRACTIONS, "unreadable"]
    assert [cells[name][IN_FRACTIONS] for name in ("base", "final")] == ["25.0", "0.0"]
    assert [cells[name]["unreadable"] for name in ("base", "final")] == ["7", "7"]
    html = CheckpointsResult({name: reports[name] for name in order}, Path())._repr_html_()
    assert html.count("<th") == 5 and html.count("<td") == 10


def test_the_comparison_table_has_both_means_and_the_signed_difference() -> None:
    shown = text(report.comparison_table([CHANGE]))
    (line,) = [line for line in shown.splitlines() if "held-out" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["held-out", "30.0", "50.0", "+20.0", "-1.0 to +35.0", "60"]


def test_json_has_no_nan() -> None:
    lonely = Report("b", 1, 0, {"iou": Interval(0.5, math.nan, math.nan, 1)})
    tree = json.loads(json.dumps(report.to_json(lonely), allow_nan=False))
    assert tree["metrics"]["iou"] == {"mean": 0.5, "low": None, "high": None, "n": 1}
