"""The loop over steps: what is due when, and what is saved of weights and rewards gone wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from fakes.bigram import CONFIG, Echo, run, share, with_train

from vrft.errors import UserError
from vrft.runs.run_log import RunLog, read_metrics
from vrft.runs.stop_signal import StopSignal
from vrft.task import Reward
from vrft.training import checkpoint, loop
from vrft.training.step import check_weights
from vrft.types import Completion, Sample


@pytest.mark.parametrize(
    ("step", "every", "due"),
    [(1, 2, False), (2, 2, True), (3, 0, False), (10, 0, True), (10, 3, True)],
)
def test_something_is_due_every_so_many_steps_and_after_the_last(
    step: int, every: int, due: bool
) -> None:
    assert loop.is_due(step, every, 10) is due


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    made = run(CONFIG)
    table = next(made.policy.module.parameters())
    check_weights(made, {"table": table})
    with torch.no_grad():
        table[0, 0, 0] = math.inf
    with pytest.raises(UserError, match="weights table and 0 more are not finite"):
        loop.save(made, tmp_path)
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class BadAt(Echo):
    """The echo task, whose reward is NaN from a number of calls on."""

    good: int = 0
    calls: list[int] = field(default_factory=list)

    def rewards(self) -> Mapping[str, Reward[str]]:
        def reward(sample: Sample[str], completion: Completion) -> float:
            self.calls.append(0)
            return share(sample, completion) if len(self.calls) <= self.good else math.nan

        return {"share": reward}


def test_the_checkpoint_before_a_bad_reward_stays(tmp_path: Path) -> None:
    config = with_train(CONFIG, save_steps=2, save_total_limit=1, max_steps=4)
    # 24 completions a step: the fourth step, on which a checkpoint is due, meets a NaN
    made = run(config, BadAt(good=3 * 24))
    log = RunLog(tmp_path)
    with (
        pytest.raises(UserError, match=r"^step 4: reward 'share'"),
        StopSignal() as stop,
    ):
        loop.loop(made, tmp_path, log, stop)
    log.close()
    assert [path.name for path in checkpoint.complete(tmp_path)] == ["checkpoint-2"]
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert torch.load(tmp_path / "checkpoint-2" / "table.pt")["table"].isfinite().all()
