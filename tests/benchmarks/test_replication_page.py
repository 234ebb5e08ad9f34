"""benchmarks/replication: the published pages are those that the committed rows give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.publishing import ROOT
from benchmarks.replication import ledger, report


def test_the_published_pages_are_made_of_the_committed_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, docs = tmp_path / "rows", tmp_path / "docs"
    for folder in (rows, docs):
        folder.mkdir()
    for file in (ROOT / "benchmarks/replication").glob("*.jsonl"):
        shutil.copy(file, rows)
    shutil.copy(ROOT / "docs/replication.md", docs)
    monkeypatch.setattr(ledger, "HERE", rows)
    monkeypatch.setattr(report, "DOCS", docs)
    made = report.publish().read_text(encoding="utf-8")
    assert made == (ROOT / "benchmarks/replication/RESULTS.md").read_text(encoding="utf-8")
    page = (docs / "replication.md").read_text(encoding="utf-8")
    assert page == (ROOT / "docs/replication.md").read_text(encoding="utf-8")
