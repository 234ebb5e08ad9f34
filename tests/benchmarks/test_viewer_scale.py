"""The table of docs/viewer.md: where it stands, and what it measures."""

from __future__ import annotations

import re

import pytest

from benchmarks import viewer_scale

ROWS = [("first rows", "0.40 s"), ("a filter", "30 ms")]


def test_the_table_stands_between_its_marks() -> None:
    start, end = viewer_scale.MARKS
    page = viewer_scale.written(f"before\n{start}old\n{end}\nafter\n", ROWS, 20_000)
    head, _, rest = page.partition(start)
    table, _, tail = rest.partition(end)
    assert (head, tail) == ("before\n", "\nafter\n")
    assert "| 20,000 answers | takes |" in table and "| a filter | 30 ms |" in table
    assert "old" not in table and "Measured at commit " in table
    # Written again, it stands there once.
    assert viewer_scale.written(page, ROWS, 20_000) == page


@pytest.mark.parametrize(
    ("commit", "line"),
    [
        ("0123abc", "Measured at commit 0123abc."),
        ("0123abc-dirty", "Measured at commit 0123abc, with files that were changed after it."),
    ],
)
def test_a_commit_whose_files_were_changed_is_told_in_words(
    commit: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_scale, "commit", lambda: commit)
    start, end = viewer_scale.MARKS
    assert f"\n{line}\n" in viewer_scale.written(f"{start}{end}", ROWS, 20_000)
    assert "dirty" not in viewer_scale.PAGE.read_text(encoding="utf-8")


def test_the_page_has_numbers_of_twenty_thousand_answers() -> None:
    page = viewer_scale.PAGE.read_text(encoding="utf-8")
    table = page[page.index(viewer_scale.MARKS[0]) : page.index(viewer_scale.MARKS[1])]
    assert "| 20,000 answers | takes |" in table
    assert len(re.findall(r"\| [\d.]+ (?:s|ms|MB) \|", table)) == 8
