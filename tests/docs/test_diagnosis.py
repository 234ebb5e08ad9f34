"""docs/diagnosis.md: the table of wrong runs says what each of them prints, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fakes.folders import ROOT
from fakes.wrong_runs import RUNS

from vrft.diagnosis.watchdogs import WATCHDOGS
from vrft.errors import UserError

PAGE = ROOT / "docs" / "diagnosis.md"
ROW = re.compile(r"^\| ([\w ]+?) \| (.+?) \| `` (.+) `` \|$", re.MULTILINE)
NUMBER = re.compile(r"\d[\d.,]*(?:e[-+]?\d+)?%?")
"""A number in a line: those that a machine's rounding decides are not compared."""


def printed(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line of an alarm that a wrong run prints, or with which it ends."""
    _, wrong = RUNS[name]
    monkeypatch = pytest.MonkeyPatch()
    capsys.readouterr()
    lines = []
    with monkeypatch.context() as patch:
        try:
            wrong(folder, patch)
        except UserError as error:
            lines.append(f"vrft: error: {error}")
    lines += capsys.readouterr().err.splitlines()
    named = [line for line in lines if f" {name}: " in line or line.startswith("vrft: error: ")]
    (line,) = named
    return line


def told() -> dict[str, tuple[str, str]]:
    """Return alarm -> the fault and the line, as the page's table has them."""
    text = PAGE.read_text(encoding="utf-8")
    return {name: (fault, line) for name, fault, line in ROW.findall(text)}


def test_the_table_has_every_wrong_run_and_every_watchdog() -> None:
    assert list(told()) == list(RUNS)
    assert {watchdog.name for watchdog in WATCHDOGS} <= RUNS.keys()
    assert len(RUNS) >= 12


@pytest.mark.parametrize("name", RUNS)
def test_a_wrong_run_prints_the_line_of_the_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, line = told()[name]
    assert fault == RUNS[name][0]
    assert NUMBER.sub("#", printed(name, tmp_path, capsys)) == NUMBER.sub("#", line)
