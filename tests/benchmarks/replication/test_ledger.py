"""benchmarks/replication/ledger.py: rows outlive whatever stops a sitting."""

from __future__ import annotations

import pytest
from fakes.replication_rows import finals

from benchmarks.replication import ledger
from vrft.errors import UserError


def test_rows_come_back_as_they_were_appended() -> None:
    rows = finals("gpg", [0.5, 0.6])
    assert ledger.read("walks") == []
    for row in rows:
        ledger.append(row)
    assert ledger.read("walks") == rows


def test_half_a_line_is_refused_by_its_number() -> None:
    (row,) = finals("gpg", [0.5])
    ledger.append(row)
    path = ledger.path_of("walks")
    path.write_text(path.read_text() + '{"trial": {"bed": "walks"', encoding="utf-8")
    with pytest.raises(UserError, match=r"walks\.jsonl, line 2: no row of a run .*remove the line"):
        ledger.read("walks")


@pytest.mark.parametrize("line", ["[]", "{}", '{"trial": {}}', '{"curve": [[1]]}', "1"])
def test_a_line_that_is_no_row_is_refused(line: str) -> None:
    ledger.path_of("walks").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1: no row"):
        ledger.read("walks")


def test_a_score_between_two_points_is_linear() -> None:
    (row,) = finals("gpg", [0.7])  # from 0.3 over 0.5 in the middle
    steps = row.trial.steps
    assert row.score == 0.7
    assert row.score_at(0) == 0.3
    assert row.score_at(steps / 4) == pytest.approx(0.4)
    assert row.score_at(3 * steps / 4) == pytest.approx(0.6)
    assert row.score_at(2 * steps) == 0.7
