"""The loop over steps: what is due when, and what is saved of weights and rewards gone wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch
from fakes.bigram import CONFIG, Echo, run, share, with_train

from vrft.config.schema import EvalConfig
from vrft.errors import UserError
from vrft.runs.run_log import RunLog, read_metrics
from vrft.runs.stop_signal import StopSignal
from vrft.runs.tracked_rollouts import RolloutGroup, Row
from vrft.runs.tracker_names import TrackerNames
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


def test_every_evaluation_is_logged_whatever_steps_are(tmp_path: Path) -> None:
    config = with_train(CONFIG, logging_steps=3, eval_steps=2, save_steps=0, max_steps=7)
    made = run(replace(config, eval=EvalConfig(split="val", limit=2)))
    log = RunLog(tmp_path)
    with StopSignal() as stop:
        loop.loop(made, tmp_path, log, stop)
    log.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    told = {row["step"]: ("reward" in row, "eval_share" in row) for row in rows}
    assert told == {2: (False, True), 3: (True, False), 4: (False, True), 6: (True, True),
                    7: (True, True)}  # fmt: skip
    assert len(rows) == len(told)
    # the completions are those of the logged steps
    assert sorted(path.stem for path in (tmp_path / "completions").iterdir()) == [
        "000003", "000006", "000007"
    ]  # fmt: skip


def test_trackers_get_completions_at_their_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 4 and 8 are logged; 1, 3, 6 and 8 are those of trackers."""
    config = with_train(CONFIG, logging_steps=4, log_completions_steps=3, save_steps=0, max_steps=8)
    made, log = run(config), RunLog(tmp_path)
    told: list[tuple[int, int]] = []

    def rollouts(step: int, rows: Sequence[Row], shown: Sequence[RolloutGroup], **_: bool) -> None:
        told.append((step, sum(len(group.rows) for group in shown)))

    monkeypatch.setattr(log, "rollouts", rollouts)
    log.trackers, log.names = {"mine": MagicMock()}, {"mine": TrackerNames("mine")}
    with StopSignal() as stop:
        loop.loop(made, tmp_path, log, stop)
    log.close()
    assert told == [(1, 8), (3, 8), (4, 0), (6, 8), (8, 8)]
    written = sorted(path.stem for path in (tmp_path / "completions").iterdir())
    assert written == ["000004", "000008"]
    assert [call.kwargs["step"] for call in log.trackers["mine"].log.mock_calls] == [4, 8]


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
