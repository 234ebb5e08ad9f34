"""The limits of a run's settings for the workers of its rewards, and their logs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.bigram import CONFIG
from fakes.folders import FAKES
from fakes.naming import Naming

from vrft import cli
from vrft.config.schema import Config, TrainConfig
from vrft.reward_workers.isolation import workers_of
from vrft.rewards import FunctionReward, with_rewards
from vrft.rewards.function_reward import FileFunction
from vrft.runs.run_log import read_metrics
from vrft.training import isolated_rewards
from vrft.types import Completion, Sample

SAMPLE = Sample("s", "?", "red")


def isolated(**settings: Any) -> Any:
    mine: Any = FunctionReward(FileFunction("fakes.hostile_rewards", "prints_a_little"), "mine")
    return isolated_rewards.isolated(
        settings_of(settings), with_rewards(Naming(), {"mine": mine}), SAMPLE
    )


def settings_of(settings: dict[str, Any]) -> Config:
    return replace(CONFIG, train=replace(CONFIG.train, **settings))


def test_limits_are_those_of_the_settings() -> None:
    task = isolated(reward_timeout=2.5, reward_memory=0.5, max_missing_rewards=7)
    workers = workers_of(task)
    assert workers
    for worker in workers:
        assert (worker.limits.seconds, worker.limits.memory) == (2.5, 2**29)
        assert worker.max_missing == 7


@pytest.mark.parametrize(("timeout", "start"), [(2.5, 300.0), (900.0, 900.0)])
def test_the_first_call_has_no_less_time_than_any_other(timeout: float, start: float) -> None:
    workers = workers_of(isolated(reward_timeout=timeout))
    assert workers and all(worker.limits.start == start for worker in workers)


def test_without_a_time_there_are_no_workers() -> None:
    assert workers_of(isolated(reward_timeout=0.0)) == ()


def test_output_is_kept_in_the_folder_of_the_run_and_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = isolated()
    task.rewards()["mine"](SAMPLE, Completion("bad"))
    isolated_rewards.begin(CONFIG, task, tmp_path)
    isolated_rewards.close(task)
    log = tmp_path / "rewards" / "fakes.hostile_rewards.log"
    assert log.read_text() == "a word of the reward\n"
    assert capfd.readouterr() == ("", "")


def test_each_process_of_a_launch_has_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    task = isolated()
    isolated_rewards.begin(CONFIG, task, tmp_path)
    paths = {worker.output.path for worker in workers_of(task)}
    assert tmp_path / "rewards" / "fakes.hostile_rewards-1.log" in paths


def test_a_reward_without_a_worker_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine: Any = FunctionReward(lambda completions: [0.0], "mine")
    task = with_rewards(Naming(), {"mine": mine})
    isolated_rewards.begin(CONFIG, isolated_rewards.isolated(CONFIG, task, SAMPLE), tmp_path)
    assert "note: mine: computed in this process, without limits" in capsys.readouterr().err


def test_a_step_has_a_seed_on_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    # The place of step 3 on the second of two devices is 7: the seed of `training.step.step`.
    expected = np.random.SeedSequence([42, 7]).generate_state(1, np.uint32)[0]
    assert isolated_rewards.seed_of_step(TrainConfig(), 3) == expected


REWARDS = '''
import sys
calls = 0

def leaving(completions, **columns):
    """Leave the process from the third call on: the trial and one group have values."""
    global calls
    calls += 1
    if calls > 2:
        sys.exit(0)
    print("a call")
    return [float(len(c[0]["content"])) for c in completions]

def gone(completions, **columns):
    sys.exit(0)
'''


def rewards_of(folder: Path) -> Path:
    """Return the file of rewards in a test's folder, of a name that no other test has."""
    return folder / f"rewards_of_{folder.name.replace('-', '_')}.py"


@pytest.fixture
def settings(
    tmp_path: Path, model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    rewards_of(tmp_path).write_text(REWARDS)
    return [f"task={FAKES / 'letters_task.py'}", f"model={model_folder('qwen2_vl')}",
            f"train.output_dir={tmp_path / 'run'}", "train.max_steps=3", "train.canaries=false",
            "sampling.max_completion_length=4", "algorithm.num_generations=2"]  # fmt: skip


def test_a_run_goes_on_without_a_reward_that_is_missing(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward = f"{rewards_of(tmp_path)}:leaving"
    # A worker begins anew after each death: two calls have values, the third has none.
    assert cli.main(["train", "--reward", reward, *settings]) == 0
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["rewards/leaving/missing"] for row in rows] == [0.0, 1.0, 0.0]
    assert all(row["rewards/leaving/seconds_p50"] > 0 for row in rows)
    said = capsys.readouterr().err
    assert "note: reward 'leaving': no value, as its process ended with exit status 0" in said
    assert "a call" not in said
    (log,) = (tmp_path / "run" / "rewards").iterdir()
    assert log.read_text() == "a call\n" * 3


def test_check_the_dry_run_and_the_run_refuse_a_reward_that_gives_nothing(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reward = f"{rewards_of(tmp_path)}:gone"
    lines = []
    for verb in (["check", "--splits", "train"], ["train", "--dry-run"], ["train"]):
        assert cli.main([*verb, "--reward", reward, *settings]) == 2
        lines.append(capsys.readouterr().err.splitlines()[-1])
    assert len(set(lines)) == 1
    assert "reward 'gone': no value, as its process ended with exit status 0" in lines[0]
    assert not (tmp_path / "run").exists()
