"""benchmarks/speed/report.py: RESULTS.md and the README's table are made of what is kept."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from fakes.race import SMALL, compared, measured

from benchmarks.speed import limit, measurement, race_tables, report
from benchmarks.speed.limit import Machine
from benchmarks.speed.measurement import Measurement


def test_the_report_is_made_of_what_is_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cpu-quick.json"
    kept.write_text(json.dumps(asdict(measured())), encoding="utf-8")
    found = measurement.read_all(tmp_path)
    assert found == [measured()]
    text = report.publish(found, tmp_path).read_text(encoding="utf-8")
    assert "**7.00 [6.00, 8.00]**" in text  # 12 / 2 and 16 / 2, not 90 / 1
    assert "2 of 3" in text
    assert "| LISA at the published pixel cap | 0.000 / 0.000 | 3.500 / 0.500 |" in text
    assert "| LISA at the published pixel cap | rows | 16 | 2 |" in text
    assert "Ours takes 25% of TRL's." in text  # 100 of 400
    light = limit.parts(SMALL, race_tables.load(measured().races[0]), 4, Machine(0.925e9, 1e10), 4)
    assert f"{light['backward']:.3f} ({light['backward'] / 0.5:.0%})" in text


def test_a_count_that_one_side_lacks_is_never_shown_as_0(tmp_path: Path) -> None:
    (lisa,) = measured().races
    one_sided = replace(lisa, counts={"theirs": {"rows": 16}, "ours": {}})
    with pytest.raises(KeyError):
        report.publish([replace(measured(), races=(one_sided,))], tmp_path)
    uncounted = replace(lisa, counts={})  # as on a GPU
    text = report.publish([replace(measured(), races=(uncounted,))], tmp_path).read_text()
    assert "What passes the weights" not in text


def test_the_readme_has_the_table_of_what_is_kept(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    text = f"# Title\n\n{report.BEGIN}old\n{report.END}\nThe rest.\n"
    readme.write_text(text)
    another_model = replace(measured(), shape="test")
    for _ in range(2):  # filling it again changes nothing
        report.fill_readme([measured(), another_model], readme)
        filled = readme.read_text()
        assert filled.startswith("# Title\n\n" + report.BEGIN) and filled.endswith("The rest.\n")
        assert "old" not in filled and filled.count("LISA at the published pixel cap") == 1
        assert "| 7.0x | 7.0x |" in filled and "commit abc1234" in filled


def test_the_readme_tells_the_clock_and_the_commit_of_each_line_of_learning() -> None:
    learnt = Measurement("learning", "cpu", commit="def5678", learning=(compared(5.0),) * 2)
    timed = tuple(
        replace(comparison, clock="processor", commit="fed8765") for comparison in learnt.learning
    )
    walks = replace(learnt, bed="walks", learning=timed)
    _, *lines = report.in_short([measured(), learnt, walks]).split("Time to ")
    assert [line.strip().partition(" seeds), ")[2] for line in lines] == [
        "in wall time, commit def5678.", "in processor time, commit fed8765.",
    ]  # fmt: skip


def test_the_readme_and_the_page_show_what_was_measured_last(tmp_path: Path) -> None:
    kept = measurement.read_all()
    readme = report.HERE.parents[1] / "README.md"
    shown = readme.read_text(encoding="utf-8").split(report.BEGIN)[1].split(report.END)[0]
    assert shown == report.in_short(kept) != ""
    page = (report.HERE / "RESULTS.md").read_text(encoding="utf-8")
    assert report.publish(kept, tmp_path).read_text(encoding="utf-8") == page
