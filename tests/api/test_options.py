"""Arguments of Python as words of a command line."""

from __future__ import annotations

import re
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
    cards = {"--gpu": ["24GB", "A100"], "--picture": []}
    assert options.options(cards) == ["--gpu=24GB", "--gpu=A100"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"train": {"max_steps": 2}}, ["train.max_steps=2"]),
        ({"model": None}, []),
        ({"train": {"max_steps": None}}, ["train.max_steps=null"]),  # a setting may be none
        ({"model": TrainResult(Path("run"))}, ['model="run"']),  # whose model is looked for
        ({"model": {"name": TrainResult(Path("run"))}}, ['model.name="run"']),
        ({"task": {"data_dir": Path("rows")}}, ['task.data_dir="rows"']),
        ({"task": {"names": ["ä", 1]}}, ['task.names=["ä", 1]']),
        # nothing to set, but a name to check; a value that is worth no complaint, as its name is
        ({"sampling": {}, "model": {"lora": {}}}, ["sampling={}", "model.lora={}"]),
        ({"callbacks": [print]}, ["callbacks=null"]),
    ],
)
def test_settings_are_those_of_a_command_line(sections: dict[str, Any], words: list[str]) -> None:
    assert options.overrides(sections) == words


def test_a_value_that_no_file_can_hold_is_refused_by_its_path() -> None:
    with pytest.raises(UserError, match=r"eval\.limit: .* is no value of a setting"):
        options.overrides({"eval": {"limit": object()}})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("reward_funcs", "reward=FUNCTION"),
        ("rewards", "reward=FUNCTION"),
        ("train_dataset", "first argument"),
        ("eval_dataset", 'data={"train": rows, "test": others} with eval={"split": "test"}'),
        ("args", "by their sections"),
        ("peft_config", 'model={"lora": {"r": 16}}'),
    ],
)
def test_an_argument_of_trl_is_refused_with_its_name_here(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown setting {name}; .*{re.escape(hint)}"):
        options.overrides({name: [object()]})


def test_a_name_is_a_text_or_a_path() -> None:
    assert options.name_of("task", Path("mine.py")) == "mine.py"
    assert options.name_of("task", None) is None
    with pytest.raises(UserError, match="task: expected a name or a path, got 3 of type int"):
        options.name_of("task", 3)


def test_a_run_is_no_truth_value() -> None:
    with pytest.raises(UserError, match=r"expected its folder or vrft\.train's result, not bool"):
        options.folder_of(True)  # type: ignore[arg-type]


def test_a_model_is_a_name_a_path_or_a_run() -> None:
    run = TrainResult(Path("run"))
    assert [options.model_name(m) for m in ("a/b", Path("a"), run)] == ["a/b", "a", "run"]
    assert options.folder_of(run) == options.folder_of("run") == Path("run")
