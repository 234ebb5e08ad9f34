"""Fixtures of the tests of benchmarks/replication."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.replication import costs, in_words, ledger, report, runs, trials


@pytest.fixture(autouse=True)
def rows_folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Keep rows and pages of a test in a folder of its own, so that none touches the published."""
    monkeypatch.setattr(ledger, "HERE", tmp_path)
    docs = tmp_path_factory.mktemp("docs")
    monkeypatch.setattr(report, "DOCS", docs)
    page = f"# A page\n\n{in_words.BEGIN}old\n{in_words.END}\nThe rest.\n"
    (docs / "replication.md").write_text(page, encoding="utf-8")
    # The start of fakes.replication_rows, whatever start lies in the checkout.
    for module in (costs, runs, trials):
        monkeypatch.setattr(module, "fingerprint", lambda start: "0123456789ab")
    return tmp_path
