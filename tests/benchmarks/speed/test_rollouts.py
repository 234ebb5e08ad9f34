"""benchmarks/speed/rollouts.py: the page is made of what was measured."""

from __future__ import annotations

import json

from benchmarks.speed import rollouts

MEASURED = {
    "commit": "abc1234",
    "versions": {"torch": "2.13.0"},
    "models": {
        "qwen2_vl": {
            "start_seconds": 41.4,
            "parameters": 620_000,
            "compared_tokens": 900,
            "difference_mean": 6.6e-7,
            "difference_max": 4.2e-6,
            "sync_seconds": [0.05, 0.07, 0.08],
            "tokens_per_second": {"vllm": [100.0, 300.0, 200.0], "vrft": [400.0, 600.0, 500.0]},
        }
    },
}


def test_medians_stand_with_their_ranges() -> None:
    text = rollouts.page(MEASURED)
    row = next(line for line in text.splitlines() if line.startswith("| qwen2_vl"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        *("qwen2_vl", "0.62 M", "900", "6.6e-07", "4.2e-06"),
        *("70 [50, 80]", "200 [100, 300]", "500 [400, 600]", "41"),
    ]


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    measured = json.loads(rollouts.RESULTS.read_text(encoding="utf-8"))
    assert set(measured["models"]) == set(rollouts.FAMILIES)
    assert all(len(m["sync_seconds"]) == rollouts.SYNCS for m in measured["models"].values())
    assert rollouts.PAGE.read_text(encoding="utf-8") == rollouts.page(measured)
