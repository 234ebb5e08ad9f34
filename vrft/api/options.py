"""Arguments of Python as the options and settings of a command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vrft.api.results import TrainResult
from vrft.errors import UserError


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

    about = [word for word in words if word.partition("=")[0].split(".")[0] in ("task", "data")]
    columns = config.load(source, about).task.settings.get("columns")
    return columns if isinstance(columns, Mapping) else {}  # else the task says what is wrong


def folder_of(run: str | os.PathLike[str] | TrainResult) -> Path:
    """Return the folder of a run that is given by a path or as a result."""
    return run.folder if isinstance(run, TrainResult) else Path(run)


def options(words: Mapping[str, Any]) -> list[str]:
    """Return the options of a command line that have a value; True is an option without one."""
    return [
        name if value is True else f"{name}={value}"
        for name, value in words.items()
        if value is not None and value is not False  # and not 0, which equals False
    ]


def overrides(sections: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return nested settings as ``key.path=value``, without those that are None.

    Raises UserError for a value that no configuration file can hold.
    """
    from vrft import config
    from vrft.rewards.values import to_json

    words: list[str] = []
    for name, value in sections.items():
        path = f"{prefix}{name}"
        if isinstance(value, TrainResult):
            value = str(value.model)
        if isinstance(value, Mapping):
            words += overrides(value, f"{path}.")
        elif value is not None or prefix:
            given = os.fspath(value) if isinstance(value, os.PathLike) else value
            try:
                words.append(config.to_override(path, to_json(given)))
            except TypeError as error:
                raise UserError(f"{path}: {error} is no value of a setting") from None
    return words
