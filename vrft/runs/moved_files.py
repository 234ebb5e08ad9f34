"""The files that a run's settings name: by absolute paths in its config.yaml, and after a move.

A run goes on from any working folder, and with its data, task file and rewards in another place.
"""

from __future__ import annotations

import json
import os
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft import paths, registry
from vrft.config.reward_source import PYTHON, reward_source
from vrft.config.schema import Config
from vrft.errors import UserError

Change = Callable[[str], str]
"""A function of a path."""


def absolute(config: Config) -> Config:
    """Return settings with absolute paths of the data, the task file, the model and the rewards.

    A hub id, and a name of ours such as ``demo``, stays as it is, and so do data that are not here.
    """

    def model(name: str) -> str:
        ours = name in (*paths.EMBEDDED, "smollm2")
        return os.path.abspath(name) if os.path.isdir(name) and not ours else name

    return with_paths(config, registry.absolute_data, os.path.abspath, model)


def for_others(config: Config) -> Config:
    """Return settings as a page that is published shows them, by ``shown`` paths."""
    return with_paths(config, shown, shown, shown)


def shown(path: str) -> str:
    """Return an absolute path from the working folder on, or its last name; other names as is.

    The folders above say whose machine it was.
    """
    if not os.path.isabs(path):
        return path
    inside = Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else Path(path).name


def with_paths(config: Config, data: Change, file: Change, model: Change) -> Config:
    """Return settings with changed paths of the data, of files of Python, and of the model.

    Other settings of the task that are paths are changed as the data are.
    """

    def reward(source: str) -> str:
        path = reward_source(source).file
        return source if path == PYTHON else file(path) + source.removeprefix(path)

    task, settings = config.task, dict(config.task.settings)
    for setting in path_settings(task.name):
        if isinstance(settings.get(setting), str):
            settings[setting] = data(settings[setting])
    name = file(task.name) if task.name.endswith(".py") else task.name
    rewards = tuple(map(reward, config.algorithm.rewards))
    return replace(
        config,
        task=replace(task, name=name, settings=settings),
        model=replace(config.model, name=model(config.model.name)),
        algorithm=replace(config.algorithm, rewards=rewards),
    )


def path_settings(task: str) -> set[str]:
    """Return which settings of a task are paths: ``data_dir``, and those of the type Path.

    Of a task that is not here, or no longer, ``data_dir`` alone is known.
    """
    try:
        hints = typing.get_type_hints(registry.task_class(task))
    except UserError:  # which building the task reports, where it is built
        return {"data_dir"}
    return {"data_dir", *(name for name, hint in hints.items() if is_path(hint))}


def is_path(hint: Any) -> bool:
    """Return whether a type is Path, or Path or None."""
    return Path in (hint, *typing.get_args(hint))


def is_moved(setting: str, before: Any, now: Any) -> bool:
    """Return whether a setting names a task file or rewards by the same names in another folder.

    Their code is not compared: it may be edited in its place as well.
    """
    if setting == "task.name":
        files = before.endswith(".py") and now.endswith(".py")
        return files and Path(before).name == Path(now).name
    if setting == "algorithm.rewards":
        old, new = ([Path(source).name for source in json.loads(v)] for v in (before, now))
        return old == new
    return False
