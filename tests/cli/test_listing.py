"""The commands that list and show what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.command_line import complaint

from vrft import cli, config
from vrft.config.methods import METHODS

ModelFolder = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


def test_tasks_are_listed_with_what_they_are(capsys: Capture) -> None:
    assert cli.main(["tasks"]) == 0
    assert re.search("^lisa_grounding +Reasoning grounding", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.bxes=1"], "unknown setting data.bxes; did you mean data.boxes?"),
        (["task.kind=bx"], "task.kind: 'bx' is not one of box, boxes, point, points"),
        (["task.radius=wide"], "task.radius: expected float"),
        (["task=groundin"], "unknown task 'groundin'; did you mean 'grounding'?"),
    ],
)
def test_a_configuration_is_shown_with_settings_that_its_task_has(
    words: list[str], message: str, capsys: Capture, tmp_path: Path
) -> None:
    assert message in complaint(capsys, "config", "show", "grounding", *words)
    assert cli.main(["config", "show", "grounding"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "# `vrft tasks grounding` lists the settings that the task has"
    # Whose file has gone since its run.
    assert cli.main(["config", "show", "grounding", f"task={tmp_path / 'gone.py'}"]) == 0


def test_a_shown_configuration_is_one_that_can_be_used(capsys: Capture, tmp_path: Path) -> None:
    assert cli.main(["config", "show", "demo/lisa_grounding", "train.seed=5"]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capsys.readouterr().out)
    assert config.load(str(path)) == config.load("demo/lisa_grounding", ["train.seed=5"])


def test_a_configuration_is_copied_but_never_over_another(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["config", "copy", "demo/lisa_grounding"]) == 0
    assert config.load("lisa_grounding.yaml") == config.load("demo/lisa_grounding")
    again = complaint(capsys, "config", "copy", "demo/lisa_grounding")
    assert "lisa_grounding.yaml exists already" in again
    # `--config` takes no file of another ending
    message = complaint(capsys, "config", "copy", "lisa_grounding", "my.run")
    assert "my.run: a configuration is known by its ending; name it my.run.yaml" in message
    assert cli.main(["config", "copy", "lisa_grounding", "my.yml"]) == 0
    assert config.load("my.yml") == config.load("lisa_grounding")


def test_a_copy_that_cannot_be_written_is_one_clear_line(capsys: Capture, tmp_path: Path) -> None:
    target = str(tmp_path / "nowhere" / "a.yaml")
    message = complaint(capsys, "config", "copy", "lisa_grounding", target)
    assert f"{target}: cannot be written (No such file or directory)" in message


def test_env_names_versions_and_devices(capsys: Capture) -> None:
    assert cli.main(["env"]) == 0
    out = capsys.readouterr().out
    for name in ("python", "vrft", "torch", "transformers", "torchvision", "devices"):
        assert f"\n{name} " in f"\n{out}"


def test_the_table_of_algorithms_names_their_differences_and_their_papers(
    capsys: Capture,
) -> None:
    assert cli.main(["algorithms"]) == 0
    out = capsys.readouterr().out
    table, _, papers = out.partition("\n\n")
    head, *lines = table.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert [head.split()[0], *rows] == ["method", *METHODS]
    # the paper's Table 1: who needs a value model, who a reference model
    assert [name for name in METHODS if "critic (shared)" in rows[name]] == ["ppo"]
    needs_reference = [name for name in METHODS if "policy, reference" in rows[name]]
    assert needs_reference == ["grpo", "rloo", "reinforce_pp", "ppo"]
    assert "clip(ratio, 0.8, 1.28) A" in rows["dapo"]
    assert re.search("r - mean of group / std of group +-log pi A", rows["gpg"])
    assert re.search("^gpg +Chu et al. 2025, arXiv:2504.02546", papers, re.MULTILINE)


def test_config_schema_prints_a_schema_of_json(capsys: Capture) -> None:
    assert cli.main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["train"]["properties"]["save_steps"]["type"] == "integer"


@pytest.mark.parametrize(
    ("argv", "name", "entry"),
    [
        (["tasks"], "lisa_grounding", ("summary", "Reasoning grounding")),
        (["config", "list"], "demo/lisa_grounding", ("path", "lisa_grounding.yaml")),
        (["algorithms"], "gpg", ("source", "arXiv:2504.02546")),
    ],
)
def test_a_listing_is_printed_as_json(
    argv: list[str], name: str, entry: tuple[str, str], capsys: Capture
) -> None:
    assert cli.main([*argv, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    by_name = {row.get("name") or row["method"]: row for row in rows}
    assert len(by_name) == len(rows) and entry[1] in by_name[name][entry[0]]


def test_a_configuration_and_the_versions_are_printed_as_json(capsys: Capture) -> None:
    assert cli.main(["config", "show", "demo/lisa_grounding", "train.seed=5", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["train"]["seed"] == 5 and shown["task"]["name"] == "lisa_grounding"
    assert cli.main(["env", "--json"]) == 0
    assert {"python", "vrft", "torch", "devices"} <= set(json.loads(capsys.readouterr().out))
