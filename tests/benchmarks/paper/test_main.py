"""benchmarks/paper/__main__.py: a command for every table, whose exit status is its outcome."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.paper_results import result_of

from benchmarks.paper import __main__ as command
from benchmarks.paper import experiment, report
from benchmarks.paper.tables import STUDIES, TITLES
from benchmarks.paper.trials import Result, Trial
from vrft.errors import UserError


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Publish into a folder of the test."""
    publish = report.publish
    monkeypatch.setattr(report, "publish", lambda: publish(tmp_path))


def run_instead(monkeypatch: pytest.MonkeyPatch, low: float) -> list[Trial]:
    """Give every trial a result without running it; return the list of those that were asked for.

    A trial that was run has the result; the gains are above ``low``.
    """
    begun: list[Trial] = []

    def run(trial: Trial, *_: object) -> Result:
        begun.append(trial)
        return result_of(trial, low)

    monkeypatch.setattr(experiment, "command", lambda *_: None)
    monkeypatch.setattr(experiment, "run", run)
    return begun


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert TITLES.keys() == STUDIES.keys()
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out
    for name in ("table3", "table5", "table9", "table10", "figure3", "demo_tasks", "report"):
        assert f"    {name} " in shown


def test_a_table_runs_the_chosen_task_with_every_seed_and_is_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = run_instead(monkeypatch, low=0.1)
    argv = ["table5", "--tasks", "geoqa", "--seeds", "1", "2", "--out", str(tmp_path / "runs")]
    assert command.main(argv) == 0
    assert len(begun) == 3 * 4 + 3 * 2  # three arms at four rates, then with two seeds
    assert {trial.config for trial in begun} == {"demo/geoqa"}
    assert "| `sft` |" in capsys.readouterr().out
    assert "the demo of geoqa" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert command.main([*argv, "--budget", "0"]) == 0 and len(begun) == 18  # all is kept


def test_a_table_that_the_budget_left_incomplete_is_status_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_instead(monkeypatch, low=0.1)
    assert command.main(["table9", "--budget", "0", "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(("low", "status"), [(0.1, 0), (-0.1, 1)])
def test_demo_tasks_succeed_where_every_gain_is_surely_above_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, low: float, status: int
) -> None:
    run_instead(monkeypatch, low)
    assert command.main(["demo_tasks", "--tasks", "math", "--out", str(tmp_path)]) == status


def test_a_failing_command_is_told_in_one_line_and_is_status_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise UserError("vrft eval failed (2)")

    monkeypatch.setattr(experiment, "command", fail)
    assert command.main(["demo_tasks", "--out", str(tmp_path)]) == 2
    assert "error: vrft eval failed (2)" in capsys.readouterr().err
