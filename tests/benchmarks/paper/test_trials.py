"""benchmarks/paper/trials.py: what is kept of a trial, and which trial it belongs to."""

from __future__ import annotations

import dataclasses

from fakes.paper_results import TRIAL, result_of

from benchmarks.paper import trials


def test_results_are_read_as_they_were_written() -> None:
    written = {TRIAL.key: result_of(TRIAL)}
    trials.write_results("t", written)
    assert trials.read_results("t") == written  # settings are tuples again
    assert trials.read_results("never written") == {}


def test_a_result_belongs_to_the_trial_with_its_settings_alone() -> None:
    result = result_of(TRIAL)
    assert result.belongs_to(TRIAL)
    for changed in (
        {"config": "demo/math"},
        {"benchmark": "demo_math"},
        {"settings": ("train.max_steps=2",)},
        {"asked": ("split=val",)},
    ):
        assert not result.belongs_to(dataclasses.replace(TRIAL, **changed))


def test_arms_stand_in_the_order_of_their_first_result() -> None:
    second, third = dataclasses.replace(TRIAL, arm="a"), dataclasses.replace(TRIAL, seed=2)
    grouped = trials.by_arm([result_of(trial) for trial in (TRIAL, second, third)])
    assert [(arm, [result.seed for result in kept]) for arm, kept in grouped.items()] == [
        ("counting", [1, 2]),
        ("a", [1]),
    ]
