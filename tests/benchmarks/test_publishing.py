"""benchmarks/publishing.py: tables, intervals and figures that both reports share."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import pytest

from benchmarks import publishing


def test_the_interval_over_seeds_is_students() -> None:
    # mean 2, deviation 1, t(0.975, 2) = 4.303: half a width of 4.303 / sqrt(3) = 2.484
    interval = publishing.over_seeds([1.0, 2.0, 3.0])
    assert interval.mean == 2.0 and interval.n == 3
    assert (interval.low, interval.high) == pytest.approx((-0.4841, 4.4841), abs=1e-3)


def test_one_seed_has_no_interval() -> None:
    interval = publishing.over_seeds([1.5])
    assert interval.mean == 1.5 and math.isnan(interval.low) and math.isnan(interval.high)


def test_a_table_is_written_in_markdown() -> None:
    table = publishing.markdown(("a", "b"), [(1, "x"), (2.5, "")])
    assert table == "| a | b |\n| --- | --- |\n| 1 | x |\n| 2.5 |  |"


def test_the_same_drawing_is_the_same_file(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        drawing = publishing.figure(2, 1)
        # a filled area has a clip path, whose id would be random without a salt
        drawing.subplots().fill_between([0, 1], [0, 0], [1, 2])
        files.append([path.read_bytes() for path in publishing.save_figure(drawing, folder, "f")])
    assert files[0] == files[1]


def test_a_commit_is_marked_where_a_source_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"status": " M vrft/cli.py", "rev-parse": "abc1234"}
    monkeypatch.setattr(publishing, "git", lambda command, *_: said[command])
    assert publishing.commit() == "abc1234-dirty"
    said["status"] = ""
    assert publishing.commit() == "abc1234"
    said["rev-parse"] = ""
    assert publishing.commit() == "unknown"


def test_the_sources_are_the_code_and_not_what_it_writes() -> None:
    tracked = publishing.git("ls-files", "--", *publishing.SOURCES).splitlines()
    if not tracked:
        pytest.skip("no git checkout")
    scripts = [path for path in tracked if path.startswith("benchmarks/")]
    assert "benchmarks/publishing.py" in scripts and "benchmarks/paper/tables.py" in scripts
    assert all(path.endswith(".py") for path in scripts)


def test_versions_are_given_by_name() -> None:
    assert list(publishing.versions(("torch", "platform"))) == ["torch", "platform"]
    # and without the folder of the Python that measured
    assert publishing.versions(("python",)) == {"python": platform.python_version()}


def test_a_page_is_filled_between_its_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<b>\nold\n<e>\nafter\n", encoding="utf-8")
    publishing.fill(page, "<b>\n", "<e>\n", "new\n")
    assert page.read_text(encoding="utf-8") == "before\n<b>\nnew\n<e>\nafter\n"
