"""benchmarks/replication/costs.py: an arm's time is that of a run alone, where one was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.replication_rows import finals

from benchmarks import publishing
from benchmarks.replication import costs, ledger, report, runs
from benchmarks.replication.beds import WALKS, Bed
from benchmarks.replication.ledger import Trial
from vrft.errors import UserError

ROWS = {"grpo": finals("grpo", [0.5, 0.5], 90.0), "gpg": finals("gpg", [0.5] * 3, 60.0)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by the clock that each training takes from now on: the last one holds."""
    passed, now = [40.0], [0.0]

    def train(bed: Bed, trial: Trial, folder: Path) -> float:
        folder.mkdir(parents=True)
        now[0] += passed[-1]
        return 40.0

    monkeypatch.setattr(runs, "train", train)
    monkeypatch.setattr(runs, "command", lambda argv, folder: 1.0)
    monkeypatch.setattr(costs.time, "monotonic", lambda: now[0])
    return passed


def test_an_arm_that_was_not_measured_has_no_time() -> None:
    assert costs.measured(WALKS, ROWS) == {"grpo": {}, "gpg": {}}
    assert report.seconds_of("gpg", WALKS, ROWS) == "not measured"


def test_each_arm_is_measured_three_times_at_a_commit(
    clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [40.0] * 3, [44.0] * 3
    costs.measure(WALKS, {"gpg": ROWS["gpg"]}, tmp_path / "runs", 1)
    here = publishing.commit()
    assert costs.measured(WALKS, ROWS) == {"grpo": {}, "gpg": {here: first}}
    # what is there is not measured again
    costs.measure(WALKS, ROWS, tmp_path / "runs", 1)
    assert costs.measured(WALKS, ROWS) == {"grpo": {here: first}, "gpg": {here: first}}
    assert [cost.arm for cost in costs.read()] == ["gpg"] * 3 + ["grpo"] * 3
    assert list((tmp_path / "runs").iterdir()) == []
    # at another commit everything is, as its times are compared with no others
    monkeypatch.setattr(publishing, "commit", lambda: "another")
    monkeypatch.setattr(
        runs, "train", lambda bed, trial, folder: folder.mkdir(parents=True) or 44.0
    )
    costs.measure(WALKS, ROWS, tmp_path / "runs", 1)
    assert costs.measured(WALKS, ROWS)["gpg"] == {here: first, "another": second}
    assert report.seconds_of("gpg", WALKS, ROWS) == "42 (40 to 44)"


def test_a_run_that_waits_for_others_is_no_measurement(clock: list[float], tmp_path: Path) -> None:
    clock.append(48.0)
    with pytest.raises(UserError, match="took 48 s; measure costs on a machine that does nothing"):
        costs.measure(WALKS, ROWS, tmp_path / "runs", 1)
    assert costs.read() == []


def test_the_cost_of_another_rate_or_start_says_nothing(clock: list[float], tmp_path: Path) -> None:
    costs.measure(WALKS, ROWS, tmp_path / "runs", 1)
    text = (ledger.HERE / costs.FILE).read_text()
    for change in (('"rate": 0.0001', '"rate": 0.0002'), ("0123456789ab", "another")):
        (ledger.HERE / costs.FILE).write_text(text.replace(*change))
        assert costs.measured(WALKS, ROWS)["gpg"] == {}
