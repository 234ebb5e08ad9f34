"""Tasks by name or file: listed without importing them, built from their settings."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vrft import paths
from vrft.config import coercion
from vrft.config.loading import DATA_NAMES, DATA_OF_RUN
from vrft.config.methods import AlgorithmConfig
from vrft.config.reward_source import PYTHON, RewardSource, reward_source
from vrft.config.schema import Config, TaskConfig
from vrft.errors import UserError
from vrft.rewards import with_rewards
from vrft.rewards.function_reward import FileFunction, FunctionReward, parameters
from vrft.rewards.trl import TrlReward
from vrft.system import python_files
from vrft.task import Reward, Task

GROUP = "vrft.tasks"
"""The group of entry points that name packages whose public modules are tasks."""

DEMO = "demo"
"""The ``data_dir`` that stands for the generated demo data."""

IN_MEMORY: ContextVar[Mapping[str, TrlReward]] = ContextVar(
    "reward functions in memory", default=MappingProxyType({})
)
"""The functions that rewards named ``python:NAME`` stand for, inside ``reward_functions``."""


def names() -> dict[str, str]:
    """Return every installed task by name, with the first line of its module's docstring."""
    summaries = {}
    for name, (_, path) in sorted(_modules().items()):
        # Parsed, not imported: a list of names must not run the code of every installed task.
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        summaries[name] = docstring.partition("\n")[0]
    return summaries


def task_class(name: str) -> type[Task[Any]]:
    """Return the task of that name, or the task in the Python file of that path.

    Raises UserError for an unknown name, a missing file, or a module without exactly one Task.
    """
    if name.endswith(".py"):
        return _only_task(python_files.load(Path(name), "task"))
    modules = _modules()
    if not name:
        raise UserError(
            f"no task: give --task NAME or FILE.py; {paths.suggest('', sorted(modules))}"
        )
    if name not in modules:
        raise UserError(f"unknown task {name!r}; {paths.suggest(name, sorted(modules))}")
    return _only_task(importlib.import_module(modules[name][0]))


def build(task: TaskConfig) -> Task[Any]:
    """Return the task with its settings, every value coerced to the type of its field.

    Raises UserError for an unknown task or setting, a value of another type, or a missing setting.
    """
    cls = task_class(task.name)
    settings = dict(task.settings)
    if settings.get("data_dir") == DEMO:
        from vrft.demo import data  # other data need none of the code that draws it

        settings["data_dir"] = str(data.folder(task.name))
    if isinstance(settings.get("data_dir"), str):
        settings["data_dir"] = paths.at_home(settings["data_dir"])
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    check_data_names(settings, [field.name for field in fields])
    for field in fields:
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in settings:
            meaning = f" ({cls.data})" if field.name == "data_dir" else ""
            raise UserError(
                f"task {task.name} needs task.{field.name}{meaning}; give task.{field.name}=VALUE"
            )
        # An empty default stands for data that the task knows; elsewhere it is the current folder.
        if field.name == "data_dir" and settings.get("data_dir") == "" and field.default != "":
            raise UserError(f"task.data_dir is empty; set it to {cls.data or 'the data'}")
    return coercion.build(cls, settings, prefix="task.", root=Config)


def check_settings(task: TaskConfig) -> None:
    """Raise UserError for an unknown task, and for a setting that it has not or of another type.

    Unlike for ``build``, settings may be missing.
    """
    cls = task_class(task.name)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    check_data_names(task.settings, [field.name for field in fields])
    coercion.check(cls, task.settings, prefix="task.", root=Config)


def absolute_data(data_dir: str) -> str:
    """Return a ``data_dir`` as it is found from any folder; hub ids and ``demo`` stay as they are.

    Links are not followed: a hub's cache holds files whose names have lost their endings.
    """
    path = os.path.expanduser(data_dir)
    return os.path.abspath(path) if data_dir != DEMO and os.path.exists(path) else data_dir


def check_data_names(settings: Mapping[str, Any], fields: list[str]) -> None:
    """Raise UserError for an unknown setting that is nearest to one of ``data``, not of the task.

    All settings below ``data`` but the run's own come here as the task's: which of them it has,
    only its ``fields`` say.
    """
    spelt = [short for short, name in DATA_NAMES.items() if name in fields]
    for key in map(str, settings):
        if key in fields:
            continue
        near = difflib.get_close_matches(key, [*DATA_OF_RUN, *spelt, *fields], n=1, cutoff=0.5)
        if near and near[0] not in fields:
            raise UserError(f"unknown setting data.{key}; did you mean data.{near[0]}?")


def build_rewarded(task: TaskConfig, algorithm: AlgorithmConfig) -> Task[Any]:
    """Return the task with its settings, and with the further rewards of ``algorithm.rewards``.

    It counts rewards that are no finite numbers as ``algorithm.missing_rewards`` says.

    Raises UserError as ``build`` does, for a file or function that is not there, and for a
    function that cannot be called as TRL calls rewards.
    """
    built = build(task)
    own = built.rewards()
    if not isinstance(own, Mapping) or not all(map(callable, own.values())):
        raise UserError(
            f"task {task.name}: rewards() gave {own!r:.60}; return functions by name, as in "
            '{"right": right}'
        )
    if not own and not algorithm.rewards and algorithm.by_reward:
        raise UserError(
            f"task {task.name}: no reward, so that nothing would be learned; add one to rewards(), "
            "or give --reward FILE.py:FUNCTION"
        )
    further: dict[str, Reward[Any]] = {}
    for text in algorithm.rewards:
        source = reward_source(text)
        if source.name in further:
            raise UserError(f"reward {source.name!r} is given twice; leave one out or rename it")
        further[source.name] = _reward(source, built)
    return with_rewards(built, further, algorithm.missing_rewards)


@contextlib.contextmanager
def reward_functions(functions: Mapping[str, TrlReward]) -> Iterator[None]:
    """Let the rewards ``python:NAME`` of a configuration stand for functions in memory."""
    token = IN_MEMORY.set(functions)
    try:
        yield
    finally:
        IN_MEMORY.reset(token)


def _reward(source: RewardSource, task: Task[Any]) -> Reward[Any]:
    """Return a reward function in memory, or import it from its file.

    Raises UserError if it is not there, or is no function to call.
    """
    if source.file == PYTHON:
        given = IN_MEMORY.get().get(source.name)
        if given is None:
            raise UserError(
                f"reward {source.name!r} was a function in memory of Python; go on from there, by "
                "vrft.train(resume=RUN, reward=FUNCTION)"
            )
        parameters(given, source.name)
        return FunctionReward(given, source.name, prompt=task.prompt)
    module = python_files.load(Path(source.file), "reward")
    function = getattr(module, source.name, None)
    if not callable(function) or inspect.isclass(function):
        known = [
            name
            for name, member in inspect.getmembers(module, inspect.isfunction)
            if member.__module__ == module.__name__
        ]
        raise UserError(
            f"{source.file}: no function {source.name!r}; {paths.suggest(source.name, known)}"
        )
    named = FileFunction(module.__name__, source.name)
    parameters(named, source.name)  # raises for a signature that is no reward's
    return FunctionReward(named, source.name, prompt=task.prompt)


def _modules() -> dict[str, tuple[str, Path]]:
    """Return task name -> (module's name, its file) for all packages of the entry points.

    Raises UserError where two packages have a task of the same name.
    """
    modules: dict[str, tuple[str, Path]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        # find_spec of a top-level package tells its folders without importing it.
        spec = importlib.util.find_spec(entry.value)
        folders = (spec and spec.submodule_search_locations) or ()
        # A name with an underscore marks a module that helps a task, such as its reader.
        for path in (p for folder in folders for p in Path(folder).glob("[!_]*.py")):
            module = f"{entry.value}.{path.stem}"
            # A package may be listed twice, as by an old and an editable installation.
            other = modules.setdefault(path.stem, (module, path))[0]
            if other != module:
                raise UserError(f"two tasks {path.stem!r}: {other}, {module}; uninstall one")
    return modules


def _only_task(module: Any) -> type[Task[Any]]:
    """Return the Task that a module defines.

    Raises UserError unless it defines exactly one, none of whose settings has the name of another
    thing.
    """
    tasks = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        # A task that the module imports, to build on it, is not its own.
        if issubclass(member, Task) and member.__module__ == module.__name__
    ]
    if len(tasks) != 1 or not dataclasses.is_dataclass(tasks[0]):
        raise UserError(
            f"{module.__file__}: expected one Task that is a frozen dataclass, found "
            f"{', '.join(task.__name__ for task in tasks) or 'none'}"
        )
    if missing := ", ".join(sorted(tasks[0].__abstractmethods__)):
        raise UserError(
            f"{module.__file__}: {tasks[0].__name__} has no {missing}; write it as tasks/README.md "
            "says"
        )
    if not isinstance(getattr(tasks[0], "primary", None), str):
        raise UserError(
            f"{module.__file__}: {tasks[0].__name__} has no `primary`; name the metric of score() "
            'that stands for the task, as in primary = "accuracy"'
        )
    # The configuration keeps the task's name and settings beside each other; a field with the name
    # of a method or of `primary` and `data` would take its place.
    taken = {"name", "settings", *Task.__annotations__, *(n for n in vars(Task) if n[0] != "_")}
    for field in dataclasses.fields(tasks[0]):
        if field.name in taken:
            raise UserError(
                f"{module.__file__}: the setting {field.name!r} of {tasks[0].__name__} has the "
                "name of a part of every task; rename it, or leave out its type if it is no setting"
            )
    return tasks[0]
