"""The page of what the fuzzer tried and what large data cost."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.reliability import report

FUZZED = {
    "measured": {"commit": "abc", "date": "2026-11-26"},
    "targets": [
        {"target": "boxes", "inputs": 1200, "refused": 0, "seconds": 1.0, "errors": {}},
        {
            "target": "COCO",
            "inputs": 300,
            "refused": 9,
            "seconds": 2.0,
            "errors": {"KeyError": "x"},
        },
    ],
}
LOADED = {
    "measured": {"cores": 1},
    "rows": [
        {
            "what": "vrft show",
            "seconds": 1.25,
            "peak_mb": 1234.5,
            "note": "rows: 3",
            "commit": "abc",
            "date": "2026-11-26",
        }
    ],
}
MET = {
    "measured": {"commit": "abc"},
    "tests": {"passed": 4, "failed": 0},
    "rows": [
        {"fault": "SIGKILL", "engine": "DDP", "passed": 3, "failed": 0, "difference": 0.0,
         "moved": 0.00123, "end": ""},
        {"fault": "hang", "engine": "DDP", "passed": 1, "failed": 0, "difference": None,
         "moved": None, "end": "all end"},
    ],
}  # fmt: skip


def test_the_page_has_what_was_measured_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "fuzz.json").write_text(json.dumps([FUZZED, FUZZED]), encoding="utf-8")
    page = report.page(tmp_path)
    assert "| boxes | 2,400 |  | 2 | 0 |" in page
    assert "| all | 3,000 | 18 | 6 | 1 |" in page
    assert "Runs: commit abc, date 2026-11-26; commit abc, date 2026-11-26." in page
    assert "## Load" not in page
    (tmp_path / "load.json").write_text(json.dumps(LOADED), encoding="utf-8")
    assert "| vrft show | 1.2 | 1,234 | rows: 3 | abc | 2026-11-26 |" in report.page(tmp_path)
    assert "## Faults" not in report.page(tmp_path)
    (tmp_path / "faults.json").write_text(json.dumps(MET), encoding="utf-8")
    page = report.page(tmp_path)
    assert "| SIGKILL | DDP | 3 | 0 | 0 | 1.2e-03 |  |" in page
    assert "| hang | DDP | 1 | 0 |  |  | all end |" in page
    assert "Tests: 4 passed, 0 failed. Measured with commit abc." in page


def test_the_published_page_is_made_of_the_published_numbers() -> None:
    assert (report.HERE / "RESULTS.md").read_text(encoding="utf-8") == report.page()
