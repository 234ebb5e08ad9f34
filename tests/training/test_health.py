"""The health of a run: its ledger and its warnings survive a kill, and may end a strict run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.bigram import CONFIG, Echo, SameForAll, run, take_step, with_algorithm
from fakes.folders import FAKES
from fakes.short_runs import without_clock

from vrft import config
from vrft.config.schema import Config
from vrft.diagnosis import difficulty
from vrft.diagnosis.difficulty import Attempt
from vrft.errors import UserError
from vrft.objectives.types import RewardedGroup
from vrft.rewards import with_rewards
from vrft.runs.run_log import WARNINGS, read_metrics
from vrft.training import health, train
from vrft.training.run import Run
from vrft.types import Completion, Group, Prompt, Rollout, Sample


def test_groups_that_are_sampled_and_dropped_stand_in_the_ledger_too() -> None:
    # Prompts of a, b and c have groups without signal, always; those of d, e and f may have some.
    # A batch of six is sampled anew until half of it has signal, and the rest is dropped.
    made = run(with_algorithm(CONFIG, min_informative=1.0, max_resample_rounds=3), SameForAll())
    metrics, rows = take_step(made)
    standings = {standing.sample_id: standing for standing in made.ledger.standings()}
    assert (
        sum(standing.sampled for standing in standings.values())
        == (made.progress.cursor)
        > len({row["sample_id"] for row in rows})
    )
    for standing in standings.values():
        dead = made.samples[int(standing.sample_id.partition("-")[2])].answer in "abc"
        assert (standing.tokens_without_signal == standing.tokens) >= dead
        assert standing.answers == 4 * standing.sampled
        if dead:
            assert standing.mean_reward == pytest.approx(0.7) and standing.pass_rate == 0
    assert 0 <= metrics["completions/duplicates"] < 1
    assert metrics["surprisal"] == pytest.approx(1.95, abs=0.05)  # log 7: all tokens alike


def test_full_reward_asks_for_every_reward_of_the_task_that_has_a_weight() -> None:
    group = Group(Sample("s", "?", "a"), Prompt("a"), (Rollout(Completion("a"), (1, 2), True),) * 3)
    rewards: dict[str, list[float | None]] = {
        "right": [1.0, 1.0, 0.5],
        "format": [1.0, None, 1.0],
        "brief": [-1.0, -1.0, -1.0],  # beside the task's own
        "muted": [0.0, 0.0, 0.0],
    }
    rewarded = RewardedGroup(group, None, rewards, torch.tensor([1.0, 0, 0.5]), has_signal=False)
    weighted = with_algorithm(CONFIG, reward_weights={"muted": 0.0})
    task = with_rewards(Echo(), {"brief": lambda s, c: -1.0})
    assert health.attempt(weighted, task, rewarded) == Attempt("s", 3, 1.5, 2, 6, signal=False)


def test_answers_without_a_reward_that_applies_make_no_prompt_solved_or_hopeless() -> None:
    group = Group(Sample("s", "?", "a"), Prompt("a"), (Rollout(Completion("a"), (1, 2), True),) * 3)
    rewards: dict[str, list[float | None]] = {"right": [1.0, None, 0.0], "format": [1.0] * 3}
    rewarded = RewardedGroup(
        group, None, rewards, torch.tensor([2.0, 1.0, 1.0]), has_signal=True,
        missing={"right": frozenset({1})},
    )  # fmt: skip
    found = health.attempt(CONFIG, Echo(), rewarded)
    assert found == Attempt("s", 2, 3.0, 1, 6, signal=True)
    every = replace(rewarded, missing={"right": frozenset(range(3))})
    assert health.attempt(CONFIG, Echo(), every) == Attempt("s", 0, 0.0, 0, 6, signal=True)
    beside = replace(rewarded, missing={"brief": frozenset(range(3))})
    task = with_rewards(Echo(), {"brief": lambda s, c: -1.0})
    assert health.attempt(CONFIG, task, beside).answers == 3


def test_the_share_of_repeats_is_1_where_all_answers_are_alike() -> None:
    def group(*tokens: int) -> Group[Any]:
        rollouts = tuple(Rollout(Completion(""), (token,), True) for token in tokens)
        return Group(Sample("s", "?", "a"), Prompt("a"), rollouts)

    assert health.repeated(group(1, 1, 1)) == 1
    assert health.repeated(group(1, 2, 3)) == 0
    assert health.repeated(group(1, 1, 3)) == 0.5
    assert health.repeated(group(1)) == 0


class Killed(BaseException):
    """The end of a run in the middle of it."""


def test_ledger_and_warnings_survive_a_run_that_ends_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Callable[[str], Path]
) -> None:
    def settings(name: str) -> Config:
        return config.load(
            None,
            [
                *(f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}"),
                *("algorithm.num_generations=2", "sampling.max_completion_length=3"),
                *("train.per_device_train_batch_size=2", "train.max_steps=8", "train.save_steps=3"),
                f"train.output_dir={tmp_path / name}",
            ],
        )

    whole = train.train(settings("whole"))
    report = health.report

    def killed(run: Run, folder: Path, fresh: Any) -> None:
        report(run, folder, fresh)
        if run.progress.step == 5:
            raise Killed  # two steps and a warning after the checkpoint

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(health, "report", killed)
        train.train(settings("parts"))
    parts = tmp_path / "parts"
    first = (parts / difficulty.FILE).read_text()
    assert sum(json.loads(line)["sampled"] for line in first.splitlines()) == 3 * 2
    train.train(config.load(str(parts / "config.yaml")), resume=parts)
    assert without_clock(parts) == without_clock(whole)
    for name in (WARNINGS, difficulty.FILE):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    lines = [json.loads(line) for line in (whole / WARNINGS).read_text().splitlines()]
    # of three tokens no answer ends: the canary knows at once, the watchdog after five steps
    assert [(line["step"], line["name"]) for line in lines] == [
        (0, "answers_endless"),
        (5, "all_cut"),
    ]
    cut = [row["completions/clipped_ratio"] == 1 for row in without_clock(whole)]
    held = sum(all(cut[end - 5 : end]) for end in range(5, 9))
    assert without_clock(whole)[-1]["warnings/all_cut"] == held >= 1
    standings = list(difficulty.read(whole / difficulty.FILE))
    assert sum(standing.sampled for standing in standings) == 8 * 2


def test_a_checkpoint_without_a_diagnosis_begins_it_anew_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(CONFIG)
    health.restore(made, tmp_path)
    health.publish(tmp_path, tmp_path)
    assert "warnings and difficulty.jsonl begin anew" in capsys.readouterr().err
    health.write(made, tmp_path)
    (tmp_path / health.STATE).write_text("[7]")
    with pytest.raises(UserError, match="not what watchdogs remember"):
        health.restore(made, tmp_path)


def test_a_strict_run_ends_at_the_first_warning_once_its_step_is_logged(
    tmp_path: Path, model_folder: Callable[[str], Path]
) -> None:
    settings = [
        *(f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}"),
        *("algorithm.num_generations=2", "sampling.max_completion_length=3"),
        *("train.max_steps=8", "train.strict=true", "train.canaries=false"),
        f"train.output_dir={tmp_path / 'run'}",
    ]
    with pytest.raises(UserError, match=r"^step 5: all_cut: .*\(train\.strict=true"):
        train.train(config.load(None, settings))
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [
        *range(1, 6)
    ]
