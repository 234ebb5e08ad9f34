"""The metrics of a step, and the log's rows, which are made only when they are asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from fakes.bigram import CONFIG, Echo, run, share, take_step

from vrft import mathverify
from vrft.errors import UserError
from vrft.models.token_pieces import TokenPieces
from vrft.objectives.types import TokenStats
from vrft.rewards import FunctionReward, with_rewards
from vrft.rewards.trl import RewardLog
from vrft.training import metrics
from vrft.training.metrics import TOKEN_COLUMNS, check_columns, token_columns, token_metrics
from vrft.training.step import step
from vrft.types import Completion, Rollout, Sample, Score


@dataclass(frozen=True)
class Counted(Echo):
    """The echo task, which remembers what it scored."""

    scored: list[str] = field(default_factory=list)

    def score(self, sample: Sample[str], completion: Completion) -> Score:
        self.scored.append(sample.id)
        return super().score(sample, completion)


def test_completions_are_scored_only_when_their_rows_are_asked_for() -> None:
    task = Counted()
    _, rows = step(run(CONFIG, task))
    assert task.scored == []
    assert len(rows()) == 24
    assert len(task.scored) == 24


def test_the_rows_and_the_metrics_tell_of_the_same_rewards() -> None:
    metrics, rows = take_step(run(CONFIG))
    rewards = torch.tensor([row["reward"] for row in rows]).reshape(6, 4)
    assert metrics["reward"] == pytest.approx(float(rewards.mean()))
    assert metrics["reward_std"] == pytest.approx(float(rewards.std(1).mean()))
    lengths = [row["tokens"] for row in rows]
    assert metrics["completions/max_length"] == max(lengths)
    assert metrics["num_tokens"] == sum(lengths)
    truncated = [not row["finished"] for row in rows]
    assert metrics["completions/clipped_ratio"] == pytest.approx(sum(truncated) / 24)


def test_a_reward_that_never_applies_has_no_mean() -> None:
    class Never(Echo):
        def rewards(self):  # type: ignore[no-untyped-def]
            return {"share": share, "never": lambda sample, completion: None}

    metrics, _ = take_step(run(CONFIG, Never()))
    assert math.isnan(metrics["rewards/never/mean"]) and math.isnan(metrics["rewards/never/std"])


def test_token_means_divide_by_the_tokens_of_all_micro_batches() -> None:
    stats = [
        TokenStats(
            {"kl": torch.tensor(kl), "tokens": torch.tensor(tokens)}, {"far": torch.tensor(far)}
        )
        for kl, tokens, far in ((3.0, 2.0, 0.5), (1.0, 6.0, 0.25))
    ]
    # (3 + 1) / (2 + 6), not the mean of 1.5 and 1 / 6; and the largest of the largest
    assert token_metrics(Accelerator(cpu=True), stats) == {"kl": 0.5, "far": 0.5}
    assert token_metrics(Accelerator(cpu=True), []) == {}


def logging_task(function: Any) -> Any:
    return with_rewards(Echo(), {"mine": FunctionReward(function, "mine")})


def test_what_rewards_log_stands_in_metrics_and_rows() -> None:
    def mine(completions: Any, completion_ids: Any, log_metric: Any, log_extra: Any) -> Any:
        lengths = [len(ids) for ids in completion_ids]
        log_metric("longest", max(lengths))
        log_metric("never", math.nan)  # averaged over the values that are finite, here none
        log_extra("letters", lengths)
        return [0.0] * len(lengths)

    metrics, rows = take_step(run(CONFIG, logging_task(mine)))
    longest = [max(row["tokens"] for row in rows[i : i + 4]) for i in range(0, 24, 4)]
    assert metrics["longest"] == pytest.approx(sum(longest) / 6)
    assert math.isnan(metrics["never"])
    assert [row["letters"] for row in rows] == [row["tokens"] for row in rows]


@pytest.mark.parametrize("name", ["loss", "reward", "step", "learning_rate", "rewards/share/mean"])
def test_a_logged_metric_may_not_hide_one_of_the_runs_own(name: str) -> None:
    def mine(completions: Any, log_metric: Any) -> list[float]:
        log_metric(name, 1.0)
        return [0.0] * len(completions)

    with pytest.raises(UserError, match="the run has a metric of that name"):
        take_step(run(CONFIG, logging_task(mine)))


@pytest.mark.parametrize("asked", [False, True])
def test_devices_share_what_rewards_have_logged_once_one_of_them_has_asked_math_verify(
    asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This device has not asked so far: it takes part all the same where another one has."""
    monkeypatch.setattr(mathverify, "in_use", lambda: False)
    other = {"rewards/share/over_budget": (0.5, 2)}
    monkeypatch.setattr(metrics.exchange, "max_over_ranks", lambda _, own: max(own, int(asked)))
    monkeypatch.setattr(metrics.exchange, "gather_objects", lambda _, own: [*own, other])
    batch: Any = SimpleNamespace(groups=[])
    means = metrics.logged_means(run(CONFIG), batch, ())
    assert means == ({"rewards/share/over_budget": 0.25} if asked else {})


def test_a_score_that_json_cannot_hold_is_one_line() -> None:
    class Strange(Echo):
        def score(self, sample: Sample[str], completion: Completion) -> Score:
            return Score({"share": 0.0}, {1, 2})  # type: ignore[arg-type]

    with pytest.raises(UserError, match=r"parsed holds \{1, 2\} of type set"):
        take_step(run(CONFIG, Strange()))


class Letters:
    """A tokenizer of three letters, the numbers 0 to 2, and the end, 3."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return ["abc!"[id] for id in ids]


@pytest.mark.parametrize(
    ("logprobs", "drawn", "entropy", "expected"),
    [
        (None, None, None, {}),  # plain transformers sampled
        # our own engine: the policy's own, also where a server's were given
        (None, (-0.001, -1.236, -0.5), 0.25, ([0, -1.24, -0.5], 0.25)),
        ((-9.0, -9.0, -9.0), (-0.001, -1.236, -0.5), -1e-8, ([0, -1.24, -0.5], 0.0)),
        # a server: its own, and no entropy
        ((-0.25, -0.5, -2.0), None, None, ([-0.25, -0.5, -2.0], None)),
    ],
)
def test_a_row_has_the_log_probabilities_of_the_engine_that_sampled(
    logprobs: Any, drawn: Any, entropy: Any, expected: Any
) -> None:
    rollout = Rollout(Completion("ab", (), 3), (0, 1, 3), True, logprobs, drawn, entropy)
    row = token_columns(rollout, TokenPieces(Letters(), frozenset({3})))
    if expected:
        expected = dict(zip(TOKEN_COLUMNS, (expected[0], [1, 1, 0], expected[1]), strict=True))
    assert row == expected


@pytest.mark.parametrize("name", ["reward", *TOKEN_COLUMNS])
def test_rewards_may_not_log_under_a_column_of_the_logs_own(name: str) -> None:
    log = RewardLog(1)
    log.columns[name] = [0.0]
    with pytest.raises(UserError, match=f"log_extra\\('{name}'\\): completions have such a column"):
        check_columns(log)
