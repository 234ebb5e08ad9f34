"""benchmarks/replication/__main__.py: a sitting does what is outstanding, keeps it, and stops."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.replication_rows import row_of

from benchmarks.replication import __main__ as command
from benchmarks.replication import agenda, ledger, runs
from benchmarks.replication.beds import BEDS, WALKS, Bed
from benchmarks.replication.ledger import Row, Trial
from vrft.errors import UserError


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Trial]:
    """Give every trial a row instead of running it, and collect the trials."""
    trials: list[Trial] = []

    def perform(bed: Bed, trial: Trial, out: Path) -> Row:
        trials.append(trial)
        if len(trials) > 12:
            raise UserError("out of patience")
        return row_of(trial, 0.5)

    monkeypatch.setattr(runs, "perform", perform)
    monkeypatch.setattr(type(WALKS), "start", tmp_path)
    return trials


def test_a_sitting_keeps_every_row_and_the_next_goes_on_behind_them(
    done: list[Trial], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["study", "--bed", "walks", "--sitting", "1000", "--out", str(tmp_path / "runs")]
    assert command.main(argv) == 2  # the thirteenth run fails
    assert "error: out of patience" in capsys.readouterr().err
    kept = ledger.read("walks")
    assert [row.trial for row in kept] == done[:12]
    assert command.main(argv) == 2
    assert done[13] == done[12]  # what failed is asked for again, and nothing before it
    assert ledger.read("walks") == kept


def test_no_run_begins_that_would_end_too_late(done: list[Trial], tmp_path: Path) -> None:
    command.sitting(WALKS, tmp_path / "runs", minutes=command.LONGEST / 60 - 0.1, jobs=1)
    assert done == []


def test_a_run_that_fails_costs_none_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def perform(bed: Bed, trial: Trial, out: Path) -> Row:
        if trial.arm == agenda.CEILING:
            failed.set()
            raise UserError("the disk is full")
        assert failed.wait(60)
        return row_of(trial, 0.5)

    monkeypatch.setattr(runs, "perform", perform)
    monkeypatch.setattr(type(WALKS), "start", tmp_path)
    with pytest.raises(UserError, match="the disk is full"):
        command.sitting(WALKS, tmp_path / "runs", minutes=1000, jobs=2)
    assert len(ledger.read("walks")) == 1


def test_two_jobs_never_share_a_trial(done: list[Trial], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="out of patience"):
        command.sitting(WALKS, tmp_path / "runs", minutes=1000, jobs=2)
    assert len(set(done[:12])) == 12


def test_a_study_without_anything_left_ends_at_once(
    done: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "next_trial", lambda *_: None)
    command.sitting(WALKS, tmp_path / "runs", minutes=1000, jobs=2)
    assert done == []


def test_a_bed_without_a_start_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(WALKS), "start", tmp_path / "nowhere")
    argv = ["study", "--sitting", "1", "--out", str(tmp_path)]
    assert command.main([*argv, "--bed", "walks"]) == 2
    assert "no start; make it with the command start walks" in capsys.readouterr().err
    assert command.main(argv) == 0  # no bed is ready


def test_the_report_runs_nothing(done: list[Trial], rows_folder: Path) -> None:
    assert command.main(["report"]) == 0
    assert (rows_folder / "RESULTS.md").is_file() and done == []


def test_beds_are_named_after_their_tasks() -> None:
    assert all(bed.task.is_file() and name == bed.name for name, bed in BEDS.items())
    assert replace(WALKS, name="nowhere").task.is_file() is False
