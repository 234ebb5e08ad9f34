"""The trackers of a run: a run of the folder's name, its settings once, and none that is lost."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY, MagicMock, call

import pytest
import yaml

from vrft.errors import UserError
from vrft.runs import run_log, trackers
from vrft.runs.run_log import RunLog


@pytest.mark.parametrize(
    ("report_to", "message"),
    [
        # a slip of the finger, and nothing like any tracker
        (["tensorbord"], r"unknown tracker 'tensorbord'; did you mean 'tensorboard'\?"),
        (["xyz"], "unknown tracker 'xyz'; known: aim, clearml, "),
        # none beside another
        (["wandb", "none"], "train.report_to: 'none' excludes every tracker; give it alone"),
        # known, but its package is not there
        (["mlflow"], "report_to=mlflow: the package mlflow is not installed; run `pip install mlf"),
    ],
)
def test_a_tracker_that_cannot_be_had_is_one_clear_line(
    report_to: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.utils.is_mlflow_available", lambda: False)
    monkeypatch.setattr("accelerate.utils.is_wandb_available", lambda: True)
    with pytest.raises(UserError, match=message) as caught:
        RunLog(tmp_path, report_to)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "metrics.jsonl").exists()  # the folder is still free


def test_none_alone_is_no_tracker(tmp_path: Path) -> None:
    assert trackers.check_trackers(["none"]) == trackers.check_trackers([]) == []


def test_tensorboard_gets_the_metrics_and_forgets_what_a_resumed_run_repeats(
    tmp_path: Path,
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for resume_step, steps in ((None, (1, 2, 3)), (1, (2,))):
        log = RunLog(tmp_path, ["tensorboard"], resume_step, {"train.seed": 7})
        for step in steps:
            log.metrics(step, {"loss": step / 2})
        log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]
    # the hyper-parameters lie beside, once for both launches
    (settings,) = (tmp_path / "tensorboard").glob("*/hparams.yml")
    assert yaml.safe_load(settings.read_text()) == {"train.seed": 7}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], MagicMock]:
    """A stand-in for a tracker's package that takes every call and remembers it."""

    def install(name: str) -> MagicMock:
        module = MagicMock(__version__="9.0.0")
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(f"accelerate.utils.is_{name}_available", lambda: True)
        return module

    return install


NEW, RESUMED = None, 4


@pytest.mark.parametrize(
    ("name", "resume_step", "begun"),
    [
        # a W&B run is found again by its id, which is its own
        ("wandb", NEW, call.init(project="vrft", name="run", id=ANY, dir=ANY, resume=None)),
        ("wandb", RESUMED, call.init(project="vrft", name="run", id=ANY, dir=ANY, resume="allow")),
        # a Trackio run by its name
        ("trackio", NEW, call.init(project="vrft", name="run", resume="never")),
        ("trackio", RESUMED, call.init(project="vrft", name="run", resume="allow")),
        # a ClearML task by its name, which a fresh run must not overwrite
        ("clearml", NEW, call.Task.init(project_name="vrft", task_name="run",
                                        reuse_last_task_id=False, continue_last_task=False)),
        ("clearml", RESUMED, call.Task.init(project_name="vrft", task_name="run",
                                            reuse_last_task_id=False, continue_last_task=True)),
        # DVCLive by its folder
        ("dvclive", RESUMED, call.Live(dir=ANY, exp_name="run", resume=True)),
        # the others begin another run of the same name
        ("swanlab", RESUMED, call.init(project="vrft", experiment_name="run")),
        ("comet_ml", RESUMED, call.start().set_name("run")),
        ("aim", RESUMED, call.Run(repo=".", experiment="vrft")),
    ],
)  # fmt: skip
def test_a_tracker_gets_a_run_of_the_folders_name_in_the_project_vrft(
    name: str,
    resume_step: int | None,
    begun: Any,
    package: Callable[[str], MagicMock],
    tmp_path: Path,
) -> None:
    module = package(name)
    module.Task.current_task.return_value = None  # ClearML would join a task that is running
    RunLog(tmp_path / "run", [name], resume_step).close()
    assert begun in module.mock_calls


def test_a_wandb_run_overwrites_no_other_of_its_name_and_goes_on_in_its_own(
    package: Callable[[str], MagicMock], tmp_path: Path
) -> None:
    wandb = package("wandb")
    # two runs in folders of one name, which W&B would not take as an id; the first goes on
    for parent, resume_step in (("monday", NEW), ("tuesday", NEW), ("monday", RESUMED)):
        random.seed(42)  # as a run does
        RunLog(tmp_path / parent / "lr:1e-6#2", ["wandb"], resume_step).close()
    first, second, resumed = (made.kwargs for made in wandb.init.call_args_list)
    assert first["name"] == second["name"] == resumed["name"] == "lr:1e-6#2"
    assert first["id"] == resumed["id"] != second["id"]
    assert first["id"].isalnum()
    # a run that has W&B only since it was resumed begins a record
    (tmp_path / "monday" / "lr:1e-6#2" / trackers.WANDB_RUN).unlink()
    RunLog(tmp_path / "monday" / "lr:1e-6#2", ["wandb"], RESUMED).close()
    assert wandb.init.call_args.kwargs["id"] not in (first["id"], second["id"])


def test_mlflow_gets_a_run_of_the_folders_name_in_the_experiment_vrft(
    package: Callable[[str], MagicMock], tmp_path: Path
) -> None:
    mlflow = package("mlflow")
    mlflow.search_experiments.return_value = []
    RunLog(tmp_path / "run", ["mlflow"]).close()
    assert mlflow.create_experiment.call_args.kwargs["name"] == "vrft"
    assert mlflow.start_run.call_args.kwargs["run_name"] == "run"


def test_mlflow_is_told_of_metrics_and_settings_by_names_that_it_takes(
    package: Callable[[str], MagicMock], tmp_path: Path
) -> None:
    mlflow = package("mlflow")
    mlflow.search_experiments.return_value = []
    mlflow.utils.validation.MAX_PARAM_VAL_LENGTH = 6000
    mlflow.utils.validation.MAX_PARAMS_TAGS_PER_BATCH = 100
    log = RunLog(tmp_path, ["mlflow"], settings={"algorithm.weights.mine.py:near": 2.0})
    log.metrics(1, {"reward": 0.5, "eval_acc@0.5": 0.25})
    log.close()
    assert mlflow.log_params.call_args == call({"algorithm.weights.mine.py_near": 2.0})
    assert mlflow.log_metrics.call_args == call({"reward": 0.5, "eval_acc_at_0.5": 0.25}, step=1)
    # our own file has our own names
    assert "eval_acc@0.5" in run_log.read_metrics(tmp_path / "metrics.jsonl")[0]


def test_a_tracker_gets_the_settings_once_and_then_the_metrics_of_each_step(
    package: Callable[[str], MagicMock], tmp_path: Path
) -> None:
    wandb = package("wandb")
    log = RunLog(tmp_path, ["wandb", "wandb"], settings={"train.seed": 7})
    log.metrics(1, {"loss": 0.5})
    log.metrics(2, {"loss": 0.25})
    log.close()
    wandb.config.update.assert_called_once_with({"train.seed": 7}, allow_val_change=True)
    run = wandb.init.return_value
    assert run.log.mock_calls == [call({"loss": 0.5}, step=1), call({"loss": 0.25}, step=2)]
    run.finish.assert_called_once_with()


def test_a_tracker_that_fails_costs_neither_the_metrics_nor_the_other_trackers(
    package: Callable[[str], MagicMock], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb, trackio = package("wandb"), package("trackio")
    trackio.init.return_value.log.side_effect = ConnectionError("no\nnetwork")
    trackio.init.return_value.finish.side_effect = ConnectionError("no network")
    log = RunLog(tmp_path, ["trackio", "wandb"])
    for step in (1, 2):
        log.metrics(step, {"loss": 0.5})
    log.close()
    assert capsys.readouterr().err.splitlines() == [
        "warning: train.report_to=trackio: no network; it gets no more of this run, whose records "
        f"are in {tmp_path}"
    ]
    assert trackio.init.return_value.log.call_count == 1
    assert wandb.init.return_value.log.call_count == 2
    wandb.init.return_value.finish.assert_called_once_with()
    assert [row["step"] for row in run_log.read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]


def test_a_tracker_that_fails_to_close_is_told_of_and_the_others_are_closed(
    package: Callable[[str], MagicMock], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb, trackio = package("wandb"), package("trackio")
    trackio.init.return_value.finish.side_effect = ConnectionError
    log = RunLog(tmp_path, ["wandb", "trackio"])
    log.close()
    assert "train.report_to=trackio: ConnectionError; it gets no more" in capsys.readouterr().err
    assert log.file.closed
    wandb.init.return_value.finish.assert_called_once_with()


def test_a_tracker_that_does_not_start_leaves_the_folder_free_and_the_others_closed(
    package: Callable[[str], MagicMock], tmp_path: Path
) -> None:
    wandb, trackio = package("wandb"), package("trackio")
    trackio.init.side_effect = ConnectionError("no network")
    with pytest.raises(
        UserError, match=r"^train\.report_to=trackio: does not start \(no network\)"
    ):
        RunLog(tmp_path, ["wandb", "trackio"])
    wandb.init.return_value.finish.assert_called_once_with()
    assert not (tmp_path / "metrics.jsonl").exists()
