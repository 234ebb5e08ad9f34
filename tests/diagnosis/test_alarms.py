"""Alarms: which of them end a run, and the file in which they stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vrft.diagnosis import alarms
from vrft.diagnosis.alarms import Alarm
from vrft.errors import UserError
from vrft.runs.run_log import WARNINGS

MILD, GRAVE = Alarm("all_cut", "cut; raise it"), Alarm("unseen", "blind; turn it", fatal=True)


def test_a_fatal_alarm_ends_a_run_and_any_does_where_the_run_is_strict() -> None:
    alarms.stop(3, [], strict=True)
    alarms.stop(3, [MILD], strict=False)
    with pytest.raises(UserError, match=r"^step 3: all_cut: cut; raise it \(train\.strict=true"):
        alarms.stop(3, [MILD], strict=True)
    with pytest.raises(UserError, match=r"^before the first update: unseen: blind; turn it$"):
        alarms.stop(0, [MILD, GRAVE], strict=True)


def test_alarms_are_lines_of_a_file_with_their_step(tmp_path: Path) -> None:
    alarms.append(tmp_path, 1, [])
    assert not (tmp_path / WARNINGS).exists()
    alarms.append(tmp_path, 0, [GRAVE])
    alarms.append(tmp_path, 7, [MILD])
    rows = [json.loads(line) for line in (tmp_path / WARNINGS).read_text().splitlines()]
    assert rows == [
        {"step": 0, "name": "unseen", "text": "blind; turn it"},
        {"step": 7, "name": "all_cut", "text": "cut; raise it"},
    ]
