"""Arguments of Python as the options and settings of a command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft import paths
from vrft.api.results import TrainResult
from vrft.errors import UserError

ELSEWHERE = {
    "reward_funcs": "reward functions are reward=FUNCTION, or a list of them",
    "rewards": "reward functions are reward=FUNCTION, or a list of them",
    "train_dataset": "the rows are the first argument, data",
    "eval_dataset": 'held-out rows are a split: data={"train": rows, "test": others} with '
    'eval={"split": "test"}',
    "args": 'settings are given by their sections: train={"max_steps": 100}',
    "peft_config": 'an adapter is model={"lora": {"r": 16}}',
}
"""Arguments of TRL's trainers -> how these are given here."""

Model = str | os.PathLike[str] | Mapping[str, Any] | TrainResult
"""A folder or hub id, a run, or several settings below ``model``."""


def model_name(model: Any) -> str:
    """Return the name of a model that is given by a name, a path or a run."""
    if isinstance(model, TrainResult):
        return str(model.folder)
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise UserError(f"model: expected a folder, a hub id or a run, not {type(model).__name__}")


def columns_of(words: Sequence[str], source: str | None = None) -> Mapping[str, str]:
    """Return the names that settings, or the configuration below them, give to data's columns.

    ``words`` are ``key.path=value``, those of other sections than the data's among them.
    """
    from vrft import config

    source = name_of("config", source)
    about = [word for word in words if word.partition("=")[0].split(".")[0] in ("task", "data")]
    columns = config.load(source, about).task.settings.get("columns")
    return columns if isinstance(columns, Mapping) else {}  # else the task says what is wrong


def folder_of(run: str | os.PathLike[str] | TrainResult) -> Path:
    """Return the folder of a run that is given by a path or as a result; UserError for others."""
    if isinstance(run, TrainResult):
        return run.folder
    if isinstance(run, str | os.PathLike):
        return paths.expanded(run)
    raise UserError(f"run: expected its folder or vrft.train's result, not {type(run).__name__}")


def name_of(argument: str, value: Any) -> str | None:
    """Return a name or a path as a text, and None as it is; UserError for anything else."""
    from vrft.rewards.values import described

    if value is None or isinstance(value, str | os.PathLike):
        return None if value is None else os.fspath(value)
    raise UserError(f"{argument}: expected a name or a path, got {described(value)}")


def options(words: Mapping[str, Any]) -> list[str]:
    """Return the options of a command line that have a value; True is an option without one.

    A list is the option once for each of its values.
    """
    return [
        name if value is True else f"{name}={value}"
        for name, values in words.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None and value is not False  # and not 0, which equals False
    ]


def overrides(sections: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return nested settings as ``key.path=value``, without sections that are None.

    An unknown name is among them, whatever its value, so that a command refuses it. Raises
    UserError for an argument of TRL, and for a value that no configuration file can hold.
    """
    from vrft import config
    from vrft.rewards.values import to_json

    sections_of_config = {field.name for field in dataclasses.fields(config.Config)}
    words: list[str] = []
    for name, value in sections.items():
        path = f"{prefix}{name}"
        if path in ELSEWHERE:
            raise UserError(f"unknown setting {path}; {ELSEWHERE[path]}")
        if isinstance(value, TrainResult):
            # The folder, for which a command takes ``final`` or the last checkpoint, and says so.
            value = str(value.folder if path in ("model", "model.name") else value.model)
        if isinstance(value, Mapping):
            # An empty mapping changes nothing, but its name may be wrong.
            words += overrides(value, f"{path}.") or [config.to_override(path, {})]
        elif value is not None or prefix:
            given = os.fspath(value) if isinstance(value, os.PathLike) else value
            try:
                words.append(config.to_override(path, to_json(given)))
            except TypeError as error:
                if path.partition(".")[0] not in sections_of_config:
                    words.append(config.to_override(path, None))  # its name is wrong, too
                    continue
                raise UserError(f"{path}: {error} is no value of a setting") from None
    return words
