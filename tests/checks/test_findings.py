"""Findings in words and in plain values: samples named, problems counted, spreads of numbers."""

from __future__ import annotations

import json

import pytest

from vrft.checks.findings import (
    Finding,
    Findings,
    SplitCheck,
    Spread,
    TaskCheck,
    name_samples,
)

PROBLEM = Findings(problems=(Finding("no samples"),))
NOTE = Findings(notes=(Finding("1 lose by rounding: a", ("a",)),))


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (["a"], "1 are wrong: a"),
        (["b", "a", "c"], "3 are wrong: b, a, c"),  # in the order in which they were given
        (["a", "b", "c", "d"], "4 are wrong: a, b, c, ..."),  # three are named
        (["a", "b", "a"], "2 are wrong: a, b"),  # a sample is counted once
    ],
)
def test_samples_are_counted_and_three_of_them_named(ids: list[str], text: str) -> None:
    (finding,) = name_samples("are wrong", ids)
    assert str(finding) == text
    assert finding.ids == tuple(dict.fromkeys(ids))


def test_without_samples_there_is_nothing_to_say() -> None:
    assert name_samples("are wrong", []) == ()


@pytest.mark.parametrize(
    ("numbers", "spread"),
    [
        # of an even number the lower middle; 0.95 * 3 = 2.85 is rounded to the last
        ([4, 1, 3, 2], Spread(1, 2, 4, 4)),
        # 1 to 21: the median is 11, and 95 % of the way from the first to the last is 20
        ([*range(21, 0, -1)], Spread(1, 11, 20, 21)),
        ([7], Spread(7, 7, 7, 7)),
    ],
)
def test_a_spread_is_made_of_order_statistics(numbers: list[float], spread: Spread) -> None:
    assert Spread.of(numbers) == spread


def test_a_spread_is_one_line() -> None:
    assert str(Spread(1, 2.5, 9, 10)) == "smallest 1, median 2.5, 95 % 9, largest 10"


def test_notes_do_not_fail_the_check_and_problems_anywhere_do() -> None:
    noted = SplitCheck("train", 1, findings=NOTE)
    empty = SplitCheck("val", 0, findings=PROBLEM)
    assert TaskCheck((noted,)).ok
    assert not TaskCheck((noted, empty)).ok
    assert not TaskCheck((noted,), PROBLEM).ok
    assert TaskCheck((empty, empty), PROBLEM).count() == 3


def test_the_lines_of_a_result_end_in_the_verdict() -> None:
    split = SplitCheck("val", 0, 0, {"tokens": Spread(1, 1, 1, 1)}, {"iou": 0.98765}, PROBLEM)
    assert TaskCheck((split,), NOTE).lines() == [
        "val: 0 samples, 0 pictures",
        "  tokens: smallest 1, median 1, 95 % 1, largest 1",
        "  gold answers earn: iou 0.988",
        "  problem: no samples",
        "note: 1 lose by rounding: a",
        "not ready: 1 problem(s), see above",
    ]
    assert TaskCheck(()).lines() == ["ready to train"]


def test_in_json_problems_and_notes_stand_beside_the_other_fields() -> None:
    result = TaskCheck((SplitCheck("val", 0, findings=PROBLEM),), NOTE)
    assert json.loads(json.dumps(result.to_json())) == {
        "ok": False,
        "problems": [],
        "notes": [{"text": "1 lose by rounding: a", "ids": ["a"]}],
        "splits": [
            {
                **{"split": "val", "samples": 0, "pictures": 0, "spreads": {}, "gold": {}},
                "problems": [{"text": "no samples", "ids": []}],
                "notes": [],
            }
        ],
    }
