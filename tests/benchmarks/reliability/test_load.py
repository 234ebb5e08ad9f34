"""The measuring of commands on large data: their own cost, and errors that are not swallowed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes.folders import ROOT

from benchmarks.reliability import load

MEASURED = """
import sys
from benchmarks.reliability import load
code = "x = bytearray(200_000_000); print('first'); print('3 rows')"
row = load.measured("job", "a command", [sys.executable, "-c", code], "last line")
print(row.job, row.what, row.note, row.peak_mb, row.seconds, sep=";")
"""


def test_the_cost_is_the_commands_own() -> None:
    # In a process of its own: the memory of the one that runs the tests would be counted too.
    said = subprocess.run(
        [sys.executable, "-c", MEASURED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *words, peak_mb, seconds = said.stdout.strip().split(";")
    assert words == ["job", "a command", "3 rows"]
    assert 190 < float(peak_mb) < 400 and 0 < float(seconds) < 60


def test_a_command_that_fails_is_an_error_with_its_words() -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such data')"]
    with pytest.raises(load.LoadError, match="a command: exit 1\nno such data"):
        load.measured("job", "a command", words)


def test_the_metrics_of_a_run_are_read(tmp_path: Path) -> None:
    (row,) = load.metrics(tmp_path, 0.001)
    assert row.note == "100 steps"


def test_rows_have_their_sums_for_answers() -> None:
    assert load.question(5, images=["a.png"]) == {
        "id": "r5", "question": "What is 5 + 5?", "answer": 10, "images": ["a.png"]
    }  # fmt: skip
