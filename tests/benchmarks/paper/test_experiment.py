"""benchmarks/paper/experiment.py: results are kept, and nothing is run twice or half."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest
from fakes.paper_results import TRIAL, result_of

from benchmarks.paper import experiment
from benchmarks.paper.experiment import Resources
from vrft.errors import UserError


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the commands instead of running them; every trial has the same result."""
    said: list[str] = []
    monkeypatch.setattr(experiment, "command", lambda argv, *_: said.append(" ".join(argv)))
    monkeypatch.setattr(
        experiment, "run", lambda trial, *_: said.append(trial.key) or result_of(trial)
    )
    return said


def test_results_are_kept_and_a_trial_that_has_one_is_not_run_again(
    tmp_path: Path, commands: list[str]
) -> None:
    other = dataclasses.replace(TRIAL, seed=2)
    assert experiment.measure("t", [TRIAL], Resources(tmp_path)) == [result_of(TRIAL)]
    both = experiment.measure("t", [TRIAL, other], Resources(tmp_path))
    assert both == [result_of(TRIAL), result_of(other)]
    assert [said for said in commands if not said.startswith("eval")] == [TRIAL.key, other.key]


def test_another_setting_is_another_trial(tmp_path: Path, commands: list[str]) -> None:
    experiment.measure("t", [TRIAL], Resources(tmp_path))
    changed = dataclasses.replace(TRIAL, settings=("train.max_steps=2",))
    assert experiment.measure("t", [changed], Resources(tmp_path)) == [result_of(changed)]


def test_no_trial_begins_after_the_budget(tmp_path: Path, commands: list[str]) -> None:
    assert experiment.measure("t", [TRIAL], Resources(tmp_path, budget=0)) == []
    assert TRIAL.key not in commands


def test_the_untrained_model_is_evaluated_once_for_all_seeds(
    tmp_path: Path, commands: list[str]
) -> None:
    trials = [dataclasses.replace(TRIAL, seed=seed) for seed in (1, 2, 3)]
    experiment.measure("t", trials, Resources(tmp_path))
    (evaluation,) = [said for said in commands if said.startswith("eval")]
    assert "--benchmark demo_grounding --model demo " in evaluation


def test_a_trial_that_fails_stops_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def run(trial: experiment.Trial, *_: object) -> experiment.Result:
        begun.append(trial.seed)
        if trial.seed == 0:
            raise UserError("out of memory")
        time.sleep(0.5)  # the next one may have begun before the failure was seen
        return result_of(trial)

    monkeypatch.setattr(experiment, "command", lambda *_: None)
    monkeypatch.setattr(experiment, "run", run)
    trials = [dataclasses.replace(TRIAL, seed=seed) for seed in range(20)]
    with pytest.raises(UserError, match="out of memory"):
        experiment.measure("t", trials, Resources(tmp_path))
    assert len(begun) <= 2


def test_a_command_that_fails_says_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vrft eval failed \(2\): .*unknown name 'nobody'.*log"):
        experiment.command(["eval", "--benchmark", "nobody", "--model", "demo"], tmp_path, 1)


def test_a_begun_training_is_resumed_and_a_finished_one_left_alone(
    tmp_path: Path, commands: list[str]
) -> None:
    experiment.train(TRIAL, tmp_path, 1)
    (tmp_path / "config.yaml").touch()
    experiment.train(TRIAL, tmp_path, 1)
    (tmp_path / "final").mkdir()
    experiment.train(TRIAL, tmp_path, 1)
    assert commands == [
        f"train --config demo/lisa_grounding train.max_steps=1 train.seed=1 "
        f"train.output_dir={tmp_path}",
        f"train --resume {tmp_path}",
    ]


def test_runs_at_a_time_share_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert Resources(tmp_path).threads_each == 8
    assert Resources(tmp_path, jobs=3).threads_each == 2
    assert Resources(tmp_path, jobs=16).threads_each == 1
    assert Resources(tmp_path, threads=5).threads_each == 5
