"""Fixtures of the tests of benchmarks/paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.paper import trials


@pytest.fixture(autouse=True)
def results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the results of a test in a folder of its own, so that none touches the published."""
    monkeypatch.setattr(trials, "RESULTS", tmp_path / "results")
    return tmp_path / "results"
