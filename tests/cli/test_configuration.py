"""Where the configuration of a command comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.command_line import complaint

from vrft import config
from vrft.cli import arguments, configuration

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def resolve(*argv: str) -> config.Config:
    args = arguments.parse(["train", *argv])
    return configuration.resolve(args, args.resume)


def test_a_task_brings_the_configuration_of_its_name() -> None:
    assert resolve("--task", "lisa_grounding") == config.load("lisa_grounding")
    settings = ["task=lisa_grounding", "task.data_dir=ReasonSeg"]
    assert resolve(*settings) == config.load("lisa_grounding", settings)
    assert resolve("task=my_task.py") == config.load(None, ["task=my_task.py"])


def test_a_task_on_the_command_line_replaces_the_one_in_the_file() -> None:
    got = resolve("--config", "demo/lisa_grounding", "--task", "my_task.py")
    assert got.task.name == "my_task.py"
    assert got.model.name == "demo"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--task", "geoqa", "--config", "demo/lisa_grounding"],
            "--task geoqa: --config demo/lisa_grounding is for the task lisa_grounding",
        ),
        (["--task", "geoqa", "task=counting"], "task=counting is for the task counting"),
        (["--task", "math", "--config", "spatial"], "--config spatial is for the task spatial"),
    ],
)
def test_a_configuration_for_another_task_is_refused_by_name(
    words: list[str], message: str, capsys: Capture
) -> None:
    for verb in (["train"], ["train", "--dry-run"], ["check"]):
        assert message in complaint(capsys, *verb, *words)


def test_the_settings_of_another_tasks_configuration_can_be_asked_for() -> None:
    got = resolve("--task", "geoqa", "--config", "demo/lisa_grounding", "task=geoqa")
    assert (got.task.name, got.model.name) == ("geoqa", "demo")


def test_a_resumed_run_brings_its_own_configuration_and_stays_in_its_folder(
    tmp_path: Path,
) -> None:
    former = config.load("demo/lisa_grounding", ["train.seed=9", "train.output_dir=before/moving"])
    (tmp_path / "config.yaml").write_text(config.to_yaml(former))
    got = resolve("--resume", str(tmp_path))
    assert got.train.output_dir == str(tmp_path)
    assert got == replace(former, train=replace(former.train, output_dir=str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "folder"),
    [("", "final"), ("/best", "checkpoint-5"), ("/checkpoint-5", "checkpoint-5")],
)
def test_a_run_is_a_model_to_start_from(
    name: str, folder: str, tmp_path: Path, capsys: Capture
) -> None:
    for model in ("checkpoint-5", "final"):
        (tmp_path / model).mkdir()
        (tmp_path / model / "config.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "best.json").write_text('{"step": 5}')
    got = resolve("--config", "demo/lisa_grounding", f"model={tmp_path}{name}")
    assert got.model.name == str(tmp_path / folder)
    said = capsys.readouterr().err
    assert said == ("" if name == "/checkpoint-5" else f"model: {tmp_path / folder}\n")


def test_a_run_without_a_model_is_no_start(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    words = ("--config", "demo/lisa_grounding", f"model={tmp_path}")
    for verb in (["train"], ["train", "--dry-run"], ["check"]):
        assert "has neither final nor a checkpoint" in complaint(capsys, *verb, *words)
    words = (*words[:2], f"model={tmp_path}/best")
    assert "names no best checkpoint" in complaint(capsys, "train", "--dry-run", *words)


def test_a_folder_without_a_run_cannot_be_resumed(capsys: Capture, tmp_path: Path) -> None:
    message = complaint(capsys, "train", "--resume", str(tmp_path))
    assert "no run there, config.yaml is missing" in message
