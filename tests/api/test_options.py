"""Arguments of Python as words of a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vrft.api import options
from vrft.api.results import TrainResult
from vrft.errors import UserError


def test_options_have_values_or_stand_alone_or_are_left_out() -> None:
    words = {"--out": Path("a b"), "--limit": 3, "--fresh": True, "--blank": False, "--model": None}
    assert options.options(words) == ["--out=a b", "--limit=3", "--fresh"]
    assert options.options({"--limit": 0}) == ["--limit=0"]  # for the parser to refuse


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {"max_steps": 2}}, ["train.max_steps=2"]),
        ({"model": None}, []),
        ({"train": {"max_steps": None}}, ["train.max_steps=null"]),  # a setting may be none
        ({"model": TrainResult(Path("run"))}, ['model="run/final"']),
        ({"task": {"data_dir": Path("rows")}}, ['task.data_dir="rows"']),
        ({"task": {"names": ["ä", 1]}}, ['task.names=["ä", 1]']),
    ],
)
def test_settings_are_those_of_a_command_line(sections: dict[str, Any], words: list[str]) -> None:
    assert options.overrides(sections) == words


def test_a_value_that_no_file_can_hold_is_refused_by_its_path() -> None:
    with pytest.raises(UserError, match=r"eval\.limit: .* is no value of a setting"):
        options.overrides({"eval": {"limit": object()}})


def test_a_model_is_a_name_a_path_or_a_run() -> None:
    run = TrainResult(Path("run"))
    assert [options.model_name(m) for m in ("a/b", Path("a"), run)] == ["a/b", "a", "run"]
    assert options.folder_of(run) == options.folder_of("run") == Path("run")
