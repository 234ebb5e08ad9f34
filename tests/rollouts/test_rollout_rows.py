"""Rollouts come back from a checkpoint's file as they were, those of other prompts do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.rollouts import rollout_rows
from vrft.rollouts.rollout_rows import Drawn, Sampled
from vrft.types import Completion, Prompt, Rollout, Sample, View


def drawn(number: int) -> Drawn:
    sample = Sample(f"s{number}", "q", number)
    return Drawn(sample, 100 + number, Prompt("q"), None)


def sampled(text: str) -> Sampled:
    views = (View(56, 84, "pixels"),)
    rollout = Rollout(Completion(text, views, 2), (5, 6), True, (-0.1, -1 / 3))
    greedy = Rollout(Completion(text), (7,), False)
    return Sampled((rollout, rollout), (greedy,))


def test_rollouts_are_read_as_they_were_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    rows = rollout_rows.rows_of([drawn(0), drawn(1)], [sampled("a"), sampled("b\u00e9")])
    path.write_text(json.dumps(rows))
    assert rollout_rows.read(path, [drawn(1), drawn(0)]) == [sampled("b\u00e9"), sampled("a")]
    assert rollout_rows.read(path, [drawn(2)]) == []
    other = Drawn(Sample("other", "q", 0), 100, Prompt("q"), None)  # a seed of another sample
    assert rollout_rows.read(path, [other]) == []


@pytest.mark.parametrize("content", ["", "{}{", "[1]", "[{}]", '[{"seed": 100}]'])
def test_a_file_without_such_rows_is_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    path.write_text(content)
    with pytest.raises(
        UserError, match=r"rollouts\.json: no rollouts of a run .* delete this checkpoint"
    ):
        rollout_rows.read(path, [drawn(0)])


def test_a_row_of_any_rollout_is_plain_json() -> None:
    row: Any = json.loads(json.dumps(rollout_rows.rows_of([drawn(0)], [sampled("a")])))[0]
    assert rollout_rows.rollout_of(row["greedy"][0]) == sampled("a").greedy[0]
