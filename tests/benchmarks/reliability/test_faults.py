"""The table of faults is made of what tests have told, and counts those that told nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes import outcomes
from fakes.folders import ROOT
from safetensors.torch import save_file

from benchmarks.reliability import faults, report
from benchmarks.reliability.faults import NoOutcome, Outcome

XML = """<testsuites><testsuite name="abc123">
<testcase name="a"><properties>
  <property name="fault" value="SIGKILL"/><property name="engine" value="DDP"/>
  <property name="difference" value="0.0"/><property name="moved" value="0.5"/>
</properties></testcase>
<testcase name="b"><properties>
  <property name="fault" value="SIGKILL"/><property name="engine" value="DDP"/>
  <property name="difference" value="0.25"/></properties><failure/></testcase>
<testcase name="c"><properties>
  <property name="fault" value="hang"/><property name="engine" value="DDP"/>
  <property name="end" value="all end"/></properties></testcase>
<testcase name="d"><failure/></testcase>
<testcase name="e"><skipped/></testcase>
<testcase name="f"/>
</testsuite></testsuites>"""


@pytest.fixture
def xml(tmp_path: Path) -> Path:
    path = tmp_path / "tests.xml"
    path.write_text(XML)
    return path


def test_outcomes_are_joined_by_fault_and_engine_and_all_tests_count(xml: Path) -> None:
    rows, counts = faults.read([xml])
    assert rows == [
        Outcome("SIGKILL", "DDP", passed=1, failed=1, difference=0.25, moved=0.5),
        Outcome("hang", "DDP", passed=1, end="all end"),
    ]
    assert counts == {"passed": 3, "failed": 2, "skipped": 1}


def test_tests_that_tell_nothing_make_no_table(tmp_path: Path) -> None:
    (tmp_path / "none.xml").write_text("<testsuites><testcase/></testsuites>")
    with pytest.raises(NoOutcome, match=r"none\.xml: no test tells its outcome"):
        faults.read([tmp_path / "none.xml"])


def test_a_failed_test_is_the_status_and_the_page_is_made_of_the_file(
    xml: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(report, "HERE", tmp_path)
    monkeypatch.setattr(report.write, "__defaults__", (tmp_path,))
    assert faults.main(["--junit", str(xml), "--publish"]) == 1
    assert "3 passed, 2 failed, 1 skipped" in capsys.readouterr().out
    tree = json.loads((tmp_path / "faults.json").read_text())
    assert tree["rows"][0]["difference"] == 0.25 and tree["measured"]["commit"] == "abc123"
    assert (
        "| SIGKILL | DDP | 1 | 1 | 2.5e-01 | 5.0e-01 |  |" in (tmp_path / "RESULTS.md").read_text()
    )


def test_a_test_tells_its_outcome_through_pytest(tmp_path: Path) -> None:
    """As the tests of faults do: 0.5 apart, where training has moved a weight by 2."""
    for name, value in (("start", 1.0), ("first/final", 3.0), ("second/final", 2.5)):
        (tmp_path / name).mkdir(parents=True)
        save_file({"w": torch.tensor([0.0, value])}, tmp_path / name / "model.safetensors")
    (tmp_path / "test_told.py").write_text(
        "from pathlib import Path\n"
        "from fakes import outcomes\n"
        "def test_told(record_property):\n"
        "    here = Path(__file__).parent\n"
        "    outcomes.compared(record_property, 'kill', 'DDP', here / 'first', here / 'second',\n"
        "                      here / 'start')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path),
               "-p", "no:cacheprovider", "-o", f"pythonpath={ROOT / 'tests'}",
               f"--junitxml={tmp_path / 'told.xml'}", "-o", "junit_family=xunit1",
               str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rows, _ = faults.read([tmp_path / "told.xml"])
    assert rows == [Outcome("kill", "DDP", passed=1, difference=0.5, moved=2.0)]


def test_runs_with_other_weights_are_not_compared(tmp_path: Path) -> None:
    for name, key in (("first", "w"), ("second", "v")):
        (tmp_path / name).mkdir()
        save_file({key: torch.zeros(1)}, tmp_path / name / "model.safetensors")
    with pytest.raises(AssertionError):
        outcomes.apart(tmp_path / "first", tmp_path / "second")
