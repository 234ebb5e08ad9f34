"""benchmarks/replication/trials.py: a row counts for the bed and the arm that it was run on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.replication_rows import finals

from benchmarks.replication import arms, trials
from benchmarks.replication.arms import Arm
from benchmarks.replication.beds import WALKS


def test_rows_of_another_start_do_not_count() -> None:
    (row,) = finals("gpg", [0.5])
    assert trials.by_trial(WALKS, [row]) == {row.trial: row}
    assert trials.by_trial(WALKS, [replace(row, start="another")]) == {}


def test_rows_of_a_bed_or_an_arm_as_it_was_before_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (row,) = finals("gpg", [0.5])
    for change in ({"prompts": 128}, {"warmup_steps": 30}, {"rows": 20_000}):
        assert trials.by_trial(replace(WALKS, **change), [row]) == {}, change
    monkeypatch.setitem(arms.ARMS, "gpg", Arm("gpg", ("algorithm=gpg", "algorithm.alpha=false")))
    assert trials.by_trial(WALKS, [row]) == {}
