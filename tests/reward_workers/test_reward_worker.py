"""A worker that gives no values, or cannot start; what it gives: test_isolation.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.reward_workers.reward_worker import RewardWorker
from vrft.reward_workers.worker_process import LimitReached, Limits
from vrft.rewards import LostReward


class Broken:
    """A process of a worker that reaches a limit at each call."""

    alive, requests = True, 5

    def ask(self, request: Any, seconds: Any) -> Any:
        raise LimitReached("it was broken")


def test_the_groups_in_a_row_without_a_value_are_counted_for_each_reward() -> None:
    worker = RewardWorker("w", [], None, Limits(), max_missing=1)
    worker.process = Broken()  # type: ignore[assignment]
    for name in ("a", "b"):
        with pytest.raises(LostReward, match=f"^reward '{name}': no value, as it was broken"):
            worker.ask({}, name, 0)
    with pytest.raises(UserError, match=r"'a' had no value for 2 group.* the last time it was"):
        worker.ask({}, "a", 0)


def test_a_worker_that_cannot_import_its_module_raises_its_error() -> None:
    worker = RewardWorker("w", ["fakes.no_such_module"], None, Limits(), 0)
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
        worker.ask({"name": "mine"}, "mine", 0)
    assert caught.value.__notes__ == ["in worker 'w'"]
    worker.close()


def test_a_worker_without_the_memory_to_start_costs_its_reward_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never was ready: nothing is asked of it, and the next group begins another one."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "too_large_a_table.py").write_text("raise MemoryError\n")
    worker = RewardWorker("large", ["too_large_a_table"], None, Limits(), max_missing=2)
    reason = "it had not enough memory (MemoryError; train.reward_memory)"
    for starts in (1, 2):
        with pytest.raises(LostReward, match=re.escape(f"'mine': no value, as {reason}")):
            worker.ask({"name": "mine"}, "mine", 0)
        assert worker.process is not None and not worker.process.alive
        assert worker.starts == starts
