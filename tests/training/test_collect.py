"""Groups are rewarded by the task, and resampled while too few of them have signal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fakes.bigram import CONFIG, Echo, SameForAll, run, share, take_step, with_algorithm

from vrft.config.methods import method
from vrft.errors import UserError
from vrft.processes import exchange
from vrft.rewards import FunctionReward, with_rewards
from vrft.rewards.task_rewards import LostReward
from vrft.task import Reward
from vrft.training import collect
from vrft.training.stream import next_prompts
from vrft.types import Completion, Group, Sample


def test_reward_weights_scale_the_sum_of_rewards() -> None:
    made = run(with_algorithm(CONFIG, reward_weights={"share": 3.0}))
    metrics, _ = take_step(made)
    assert metrics["reward"] == pytest.approx(3 * metrics["rewards/share/mean"], rel=1e-5)


def test_a_reward_that_does_not_apply_adds_nothing() -> None:
    class Sometimes(Echo):
        def rewards(self):  # type: ignore[no-untyped-def]
            return {"share": share, "never": lambda sample, completion: None}

    metrics, rows = take_step(run(CONFIG, Sometimes()))
    assert metrics["reward"] == pytest.approx(metrics["rewards/share/mean"])
    assert rows[0]["rewards"]["never"] is None


def test_groups_stand_in_the_order_of_the_stream_whatever_they_teach() -> None:
    made = run(CONFIG)
    drawn = [draw.sample.id for draw in next_prompts(made)]
    made = run(CONFIG)
    groups = collect.collect(made).groups
    assert [rewarded.group.sample.id for rewarded in groups] == drawn
    signals = [rewarded.has_signal for rewarded in groups]
    assert signals != sorted(signals, reverse=True)  # so that mini-batches share them


def test_resampling_replaces_groups_without_signal() -> None:
    config = with_algorithm(CONFIG, min_informative=1.0, alpha=True)
    made = run(config, SameForAll())
    metrics, rows = take_step(made)
    assert metrics["resample_rounds"] > 1
    assert metrics["frac_reward_zero_std"] == 0.0
    assert metrics["alpha"] == 1.0  # of the groups that are kept
    assert len(rows) == 6 * 4
    assert len({row["sample_id"] for row in rows}) == 6


@pytest.mark.parametrize(
    ("on_exhausted", "moves"), [("train", True), ("skip", False), ("error", None)]
)
def test_what_happens_when_too_few_groups_have_signal(
    on_exhausted: str, moves: bool | None
) -> None:
    config = with_algorithm(
        CONFIG, min_informative=1.0, max_resample_rounds=0, on_exhausted=on_exhausted
    )
    made = run(config, SameForAll())
    if moves is None:
        with pytest.raises(UserError, match="min_informative"):
            take_step(made)
        return
    take_step(made)
    parameters = next(made.policy.module.parameters())
    assert bool(parameters.abs().sum() > 0) == moves


@dataclass(frozen=True)
class Giving(Echo):
    """The echo task, whose reward is another function of the right one."""

    change: Any = float

    def rewards(self) -> Mapping[str, Reward[str]]:
        def changed(sample: Sample[str], completion: Completion) -> Any:
            return self.change(share(sample, completion))

        return {"share": changed}


def weights_after_a_step(task: Echo) -> torch.Tensor:
    made = run(CONFIG, task)
    take_step(made)
    return next(made.policy.module.parameters()).detach()


@pytest.mark.parametrize("change", [np.float64, torch.tensor, np.array])
def test_numbers_of_any_library_train_as_floats_do(change: Any) -> None:
    same = weights_after_a_step(Echo())
    assert same.abs().max() > 0.05
    # a float64 tensor rounds nothing
    exact = (lambda x: torch.tensor(x, dtype=torch.float64)) if change is torch.tensor else change
    assert torch.equal(weights_after_a_step(Giving(change=exact)), same)


@pytest.mark.parametrize("change", [bool, round, np.bool_])
def test_truth_values_and_whole_numbers_train(change: Any) -> None:
    assert weights_after_a_step(Giving(change=change)).abs().max() > 0.05


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan"), "1", [1.0], 1e30])
def test_a_value_that_is_no_reward_stops_the_run_before_the_step(value: Any) -> None:
    made = run(CONFIG, Giving(change=lambda right: value if right > 0.3 else right))
    with pytest.raises(UserError, match=r"^step 1: reward 'share', sample 'train-\d+': got"):
        take_step(made)
    assert not next(made.policy.module.parameters()).any()
    assert made.progress.step == 0


def test_the_mistake_of_one_device_stops_all_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["", "reward 'share': got nan", "reward 'share': got inf"]
    monkeypatch.setattr(exchange, "gather_object", lambda own: lines)
    three: Any = SimpleNamespace(num_processes=3)
    assert collect.first(three, None) == "reward 'share': got nan"
    alone: Any = SimpleNamespace(num_processes=1)
    assert collect.first(alone, UserError("mine")) == "mine"


def test_missing_rewards_are_counted_where_that_is_asked_for() -> None:
    config = with_algorithm(CONFIG, missing_rewards="none")
    task = Giving(change=lambda right: math.nan if right > 0.3 else right)
    metrics, rows = take_step(run(config, task))
    missing = [row["rewards"]["share"] is None for row in rows]
    assert 0 < sum(missing) < len(rows)
    assert metrics["rewards/share/missing"] == pytest.approx(sum(missing) / len(rows))
    assert math.isfinite(metrics["loss"])


def test_weights_that_make_a_sum_too_large_are_refused() -> None:
    made = run(with_algorithm(CONFIG, reward_weights={"share": 1e30}))
    with pytest.raises(UserError, match=r"the weighted sum of its rewards is \d\S*e\+29"):
        take_step(made)


def with_function(function: Any) -> Any:
    return with_rewards(Echo(), {"mine": FunctionReward(function, "mine")})


def test_a_function_of_trl_is_called_once_for_each_group() -> None:
    calls: list[dict[str, Any]] = []

    def mine(completions: Any, **columns: Any) -> list[float]:
        calls.append({"size": len(completions), **columns})
        return [float(len(ids)) for ids in columns["completion_ids"]]

    made = run(CONFIG, with_function(mine))
    metrics, rows = take_step(made)
    assert [call["size"] for call in calls] == [4] * 6
    assert [row["rewards"]["mine"] for row in rows] == [row["tokens"] for row in rows]
    assert calls[0]["trainer_state"].max_steps == 40
    assert calls[0]["trainer_state"].global_step == 0
    assert calls[0]["prompts"][0] == [{"role": "user", "content": calls[0]["question"][0]}]
    assert metrics["rewards/mine/mean"] == pytest.approx(metrics["completions/mean_length"])


def test_the_weight_behind_a_reward_counts() -> None:
    def one(completions: Any) -> list[float]:
        return [1.0] * len(completions)

    config = with_algorithm(CONFIG, rewards=("my_rewards.py:mine=0.25",))
    metrics, _ = take_step(run(config, with_function(one)))
    assert metrics["reward"] == pytest.approx(metrics["rewards/share/mean"] + 0.25)


def test_a_function_that_returns_too_few_values_stops_the_run_by_name() -> None:
    made = run(CONFIG, with_function(lambda completions: [1.0]))
    with pytest.raises(
        UserError, match=r"step 1: reward 'mine', sample '.*': expected a list of 4"
    ):
        take_step(made)


def test_a_logged_column_may_not_hide_one_of_the_logs_own() -> None:
    def mine(completions: Any, log_extra: Any) -> list[float]:
        log_extra("reward", ["x"] * len(completions))
        return [0.0] * len(completions)

    with pytest.raises(UserError, match=r"log_extra\('reward'\): completions have such a column"):
        take_step(run(CONFIG, with_function(mine)))


@dataclass
class Lost:
    """A reward of 1 for every answer, that some of its calls lose."""

    at: tuple[int, ...]
    calls: int = 0

    def of_group(self, group: Group[str], state: Any, log: Any) -> list[float]:
        self.calls += 1
        if self.calls in self.at:
            raise LostReward("reward 'one': no value", first=False)
        return [1.0] * len(group.rollouts)

    def __call__(self, sample: Sample[str], completion: Completion) -> float:
        return 1.0


@dataclass(frozen=True)
class Losing(Echo):
    """The echo task with a reward of 1 beside its own, or alone, that some of its calls lose."""

    at: tuple[int, ...] = ()
    alone: bool = False
    calls: list[Lost] = field(default_factory=list)

    def rewards(self) -> Mapping[str, Reward[str]]:
        self.calls[:] = self.calls or [Lost(self.at)]
        return {**({} if self.alone else {"share": share}), "one": self.calls[0]}


def with_row(name: str, **settings: Any) -> Any:
    return replace(
        CONFIG, algorithm=method(name, **{"num_generations": 4, "beta": 0.0, **settings})
    )


# Of six prompts the rollouts are calls 1 to 6, the greedy completions 7 to 12.
@pytest.mark.parametrize("at", [(2,), (8,), (2, 8)])
def test_a_reward_that_is_lost_pushes_no_completion_against_the_greedy_one(
    at: tuple[int, ...],
) -> None:
    metrics, rows = take_step(run(with_row("remax"), Losing(at=at, alone=True)))
    assert [row["advantage"] for row in rows] == [0.0] * 24
    assert metrics["loss"] == 0.0 and metrics["frac_without_signal"] == 1.0


def test_the_other_rewards_of_a_group_that_has_lost_one_teach_against_the_greedy_one() -> None:
    kept = take_step(run(with_row("remax")))[1]
    rows = take_step(run(with_row("remax"), Losing(at=(2, 9))))[1]
    advantages = [row["advantage"] for row in kept]
    assert [row["advantage"] for row in rows] == pytest.approx(advantages, abs=1e-6)
    assert any(advantages)


def test_a_group_that_has_lost_a_reward_is_not_compared_with_others() -> None:
    metrics, rows = take_step(run(with_row("reinforce_pp", f_norm="none"), Losing(at=(2,))))
    lost = [row["advantage"] for row in rows if row["rewards"]["one"] is None]
    assert lost == [0.0] * 4
    others = [row for row in rows if row["rewards"]["one"] is not None]
    # The mean is that of the other groups' tokens, and their advantages add up to nothing.
    total = sum(row["advantage"] * row["tokens"] for row in others)
    assert total == pytest.approx(0.0, abs=1e-4) and all(row["advantage"] for row in others)
    assert metrics["frac_without_signal"] == pytest.approx(1 / 6)


def test_where_all_groups_have_lost_a_reward_nothing_moves() -> None:
    made = run(with_row("reinforce_pp"), Losing(at=tuple(range(7))))
    assert take_step(made)[0]["loss"] == 0.0
    assert not next(made.policy.module.parameters()).any()


class BetterThanGreedy(Echo):
    """The echo task, whose answers to six prompts earn 1, and the greedy ones behind them 0."""

    calls = 0

    def rewards(self) -> Mapping[str, Reward[str]]:
        def one(sample: Sample[str], completion: Completion) -> float:
            BetterThanGreedy.calls += 1
            return float(BetterThanGreedy.calls <= 6)

        return {"one": one}


@pytest.mark.parametrize(("name", "task"), [("reinforce_pp", Echo), ("remax", BetterThanGreedy)])
def test_single_completions_have_signal_where_they_are_compared_with_more_than_each_other(
    name: str, task: type[Echo]
) -> None:
    config = with_row(name, num_generations=1, min_informative=1.0)
    metrics, rows = take_step(run(config, task()))
    assert metrics["resample_rounds"] == 1.0 and all(row["advantage"] for row in rows)
    assert metrics["frac_reward_zero_std"] == 1.0  # as TRL counts
    assert metrics["frac_without_signal"] == 0.0


def test_the_share_of_groups_without_signal_is_a_metric_where_it_is_another() -> None:
    assert "frac_without_signal" not in take_step(run(CONFIG))[0]
