"""benchmarks/paper/demo_tasks.py: a trial for every task, and a verdict on the sure gains."""

from __future__ import annotations

import pytest
from fakes.paper_results import TRIAL, result_of

from benchmarks.paper import demo_tasks
from vrft import config


def test_every_task_can_be_trained_and_all_but_sums_are_asked_with_grey_pictures() -> None:
    trials = demo_tasks.trials(list(demo_tasks.BENCHMARKS), [1, 2])
    assert len(trials) == 2 * 7
    assert {trial.arm for trial in trials if not trial.blanked} == {"math"}
    for trial in trials:
        assert config.load(trial.config).task.name == trial.arm


def test_a_line_has_the_scores_in_percent() -> None:
    table = demo_tasks.table([result_of(TRIAL)])
    assert "| `counting` | iou | 300 | 25.0 | 1 | 37.5 | +12.5 | +10.0 to +15.0 | 11.9 |" in table


@pytest.mark.parametrize(
    ("lows", "expected", "sentence"),
    [
        ([0.1, 0.1], 2, "In 2 of 2 runs the whole interval lies above zero."),
        ([0.1, -0.1], 2, "In 1 of 2 runs the whole interval lies above zero."),
        ([0.1], 3, "In 1 of 1 runs the whole interval lies above zero; 2 not run yet."),
    ],
)
def test_the_verdict_counts_what_is_sure(lows: list[float], expected: int, sentence: str) -> None:
    assert demo_tasks.verdict([result_of(TRIAL, low) for low in lows], expected) == sentence
