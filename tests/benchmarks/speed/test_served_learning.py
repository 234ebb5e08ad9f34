"""benchmarks/speed/served_learning.py: the page is made of what was measured."""

from __future__ import annotations

import json

from benchmarks.speed import served_learning


def run(reward: float, **more: list[float]) -> dict[str, list[float]]:
    return {"reward": [0.2, *[reward] * 5], "step_time": [9.0, 1.0, 1.0, 1.0, 1.0, 1.0], **more}


MEASURED = {
    "commit": "abc1234",
    "versions": {"torch": "2.13.0"},
    "steps": 6,
    "runs": {
        "vrft": {"0": run(0.5), "1": run(0.7)},
        "vllm": {
            "0": run(0.6, **{"rollout/logp_difference/max": [1e-6, 3e-6]}),
            "1": run(0.8, **{"rollout/logp_difference/max": [2e-6, 1e-6]}),
        },
    },
}


def test_rewards_are_compared_seed_by_seed() -> None:
    """Both seeds are 0.1 apart, though the seeds themselves are 0.2 apart: no interval is left."""
    text = served_learning.page(MEASURED)
    row = next(line for line in text.splitlines() if line.startswith("| vllm"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # t(0.975, 1 degree) = 12.706; half = 12.706 x 0.1414 / sqrt(2) = 1.271
    assert cells == ["vllm", "0.200", "0.700 [-0.571, 1.971]", "0.100 [0.100, 0.100]", "3.0e-06",
                     "", "1.00"]  # fmt: skip


def test_the_published_page_is_that_of_the_published_numbers() -> None:
    measured = json.loads(served_learning.RESULTS.read_text(encoding="utf-8"))
    assert set(measured["runs"]) == set(served_learning.ENGINES)
    assert all(len(runs) >= 3 for runs in measured["runs"].values())
    assert served_learning.PAGE.read_text(encoding="utf-8") == served_learning.page(measured)
