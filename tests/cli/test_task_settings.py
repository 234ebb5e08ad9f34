"""The settings of a task, as they are listed."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fakes.command_line import complaint

from vrft import cli, config, registry
from vrft.cli import task_settings
from vrft.config.coercion import Range

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (str, ["TEXT"]),
        (Annotated[int, Range(1)] | None, ["NUMBER", "null"]),
        (Literal["a", "b"] | None, ["a", "b", "null"]),
        (bool, ["true", "false"]),
        (Path, ["PATH"]),
        (tuple[str, ...], ["LIST"]),
        (Mapping[str, str], ["MAPPING"]),
        (Any, ["VALUE"]),
    ],
)
def test_an_annotation_is_told_by_its_values_or_by_a_word(hint: Any, words: list[str]) -> None:
    assert task_settings.words(hint) == words
    assert {word for word in words if word.isupper()} <= task_settings.WORDS


def test_a_task_tells_its_settings_with_their_values_defaults_and_remarks(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    assert cli.main(["tasks", "grounding"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("grounding: Pointing at what a question means")
    lines = out.splitlines()[2:]
    told = dict(zip(lines[::2], lines[1::2], strict=True))
    for setting, remark in {
        "task.data_dir: TEXT; required": "^    rows of questions and boxes or points",
        "data.boxes: pixels | thousandths | fractions | resized | null; default null": "The unit",
        "task.picture: NUMBER | null; default null": "Which picture the boxes are in",
        "task.system: TEXT | null; default null": "A system text for the rows that have none",
        "task.template: TEXT | null; default null": r"\{question\} .* \{form\} .* \{turns\}",
        "data.allow_outside: true | false; default false": "Whether rows may",
        "data.columns: MAPPING; default empty": "column -> the data's, as in `data.columns.answer=",
    }.items():
        assert re.search(remark, told[setting])
    assert cli.main(["tasks", "math"]) == 0
    shortened = "default You solve problems that a user asks, in English. First ...\n"
    assert shortened in capsys.readouterr().out


@pytest.mark.parametrize("task", registry.names())
def test_every_setting_of_a_task_says_what_it_is(task: str, capsys: Capture) -> None:
    assert cli.main(["tasks", task, "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    fields = dataclasses.fields(registry.task_class(task))  # type: ignore[arg-type]
    assert len(settings) == len(fields) > 3
    for setting, field in zip(settings, fields, strict=True):
        assert len(setting["text"]) > 15 and "``" not in setting["text"]
        assert setting["values"] and setting["required"] == ("default" not in setting)
        if not setting["required"]:
            # As it is told, it can be given.
            given = [f"task={task}", config.to_override(setting["name"], setting["default"])]
            settled = config.load(None, given).task
            registry.check_settings(settled)
            assert list(settled.settings) == [field.name]


def test_a_task_in_a_file_has_the_settings_of_the_one_that_it_builds_on(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / "my_counting_task.py"
    file.write_text(
        "from dataclasses import dataclass\n"
        "from vrft_tasks.counting import Counting\n\n"
        "@dataclass(frozen=True)\nclass Mine(Counting):\n"
        '    loud: bool = False\n    """Whether to shout."""\n'
    )
    assert cli.main(["tasks", str(file)]) == 0
    out = capsys.readouterr().out
    assert "\ntask.loud: true | false; default false\n    Whether to shout.\n" in out
    assert re.search("^task.template: TEXT; default .*\n    The user's text", out, re.MULTILINE)
    assert complaint(capsys, "tasks", "groundin").endswith("did you mean 'grounding'?")
