"""benchmarks/replication/costs.py: an arm's time is that of a run alone, where one was measured."""

from __future__ import annotations

from dataclasses import asdict
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


def test_without_measurements_costs_are_those_of_the_final_runs() -> None:
    rows = {"gpg": [*finals("gpg", [0.5, 0.5], 60.0), *finals("gpg", [0.5], 600.0)]}
    assert costs.of_arms(WALKS, rows) == {"gpg": {costs.SHARED: [60.0, 60.0, 600.0]}}
    assert report.seconds_of("gpg", WALKS, rows) == "~60 (60 to 600)"


def test_with_few_measurements_the_final_runs_count_as_well(clock: list[float]) -> None:
    one = costs.cost_of(WALKS, ROWS["gpg"][0].trial, ledger.HERE / "runs")
    ledger.append_line(ledger.HERE / costs.FILE, asdict(one))
    shared = {costs.SHARED: [60.0] * 3}
    assert costs.of_arms(WALKS, ROWS)["gpg"] == {one.commit: [40.0], **shared}
    assert report.seconds_of("gpg", WALKS, ROWS) == "~60 (40 to 60)"


def test_what_is_measured_takes_the_place_of_shared_runs_and_is_measured_once(
    clock: list[float], tmp_path: Path
) -> None:
    costs.measure(WALKS, {"gpg": ROWS["gpg"]}, tmp_path / "runs", 1)
    here = publishing.commit()
    # as long as an arm is compared by its shared runs, every arm has to be
    assert costs.of_arms(WALKS, ROWS) == {
        "grpo": {costs.SHARED: [90.0] * 2},
        "gpg": {here: [40.0] * 3, costs.SHARED: [60.0] * 3},
    }
    costs.measure(WALKS, ROWS, tmp_path / "runs", 1)
    assert costs.of_arms(WALKS, ROWS) == {"grpo": {here: [40.0] * 3}, "gpg": {here: [40.0] * 3}}
    assert report.seconds_of("gpg", WALKS, ROWS) == "40 (40 to 40)"
    assert [cost.arm for cost in costs.read()] == ["gpg"] * 3 + ["grpo"] * 3
    assert list((tmp_path / "runs").iterdir()) == []


def test_arms_that_have_no_commit_in_common_are_compared_by_their_shared_runs(
    clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arm in ROWS:
        monkeypatch.setattr(publishing, "commit", lambda arm=arm: f"that of {arm}")
        costs.measure(WALKS, {arm: ROWS[arm]}, tmp_path / "runs", 1)
    assert costs.of_arms(WALKS, ROWS)["grpo"] == {
        "that of grpo": [40.0] * 3,
        costs.SHARED: [90.0] * 2,
    }


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
        assert costs.measured(WALKS, ROWS) == {}
