"""Tasks by name or file: found without importing them, built from their settings."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from vrft import paths
from vrft.config import coercion
from vrft.config.schema import TaskConfig
from vrft.errors import UserError
from vrft.task import Task

GROUP = "vrft.tasks"
"""Entry points that name packages whose modules are tasks."""

DEMO = "demo"
"""The ``data_dir`` that stands for the generated demo data."""


def names() -> dict[str, str]:
    """Every installed task by name, with the first line of its module's docstring."""
    return {name: _summary(path) for name, (_, path) in sorted(_modules().items())}


def task_class(name: str) -> type[Task[Any]]:
    """The task of that name, or the one in the Python file of that path.

    UserError for an unknown name, a missing file, or a module without exactly one Task.
    """
    if name.endswith(".py"):
        return _only_task(_import_file(Path(name)))
    modules = _modules()
    if not name:
        raise UserError(
            f"no task: give --task NAME or FILE.py; {paths.suggest('', sorted(modules))}"
        )
    if name not in modules:
        raise UserError(f"unknown task {name!r}; {paths.suggest(name, sorted(modules))}")
    return _only_task(importlib.import_module(modules[name][0]))


def build(task: TaskConfig) -> Task[Any]:
    """The task with its settings, every value coerced to the type of its field.

    UserError for an unknown task or setting, a value of another type, or a missing setting.
    """
    cls = task_class(task.name)
    settings = dict(task.settings)
    if settings.get("data_dir") == DEMO:
        from vrft.demo import data

        settings["data_dir"] = str(data.folder(task.name))
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in settings:
            meaning = f" ({cls.data})" if field.name == "data_dir" else ""
            raise UserError(
                f"task {task.name} needs task.{field.name}{meaning}; give task.{field.name}=VALUE"
            )
    return coercion.build(cls, settings, prefix="task.")


def _modules() -> dict[str, tuple[str, Path]]:
    """Task name -> (module name, its file), for every module of every registered package."""
    found: dict[str, tuple[str, Path]] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        for path in _package_files(entry.value):
            module = f"{entry.value}.{path.stem}"
            other = found.setdefault(path.stem, (module, path))[0]
            if other != module:
                raise UserError(f"two tasks {path.stem!r}: {other}, {module}; uninstall one")
    return found


def _package_files(package: str) -> list[Path]:
    """The files of a package's public modules; the package is not imported."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return [path for folder in folders or () for path in Path(folder).glob("[!_]*.py")]


def _summary(path: Path) -> str:
    """The first line of a module's docstring, read without running the module."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _import_file(path: Path) -> Any:
    """The module in a file, imported by its stem so that what it defines can be pickled."""
    if not path.is_file():
        raise UserError(f"no task file {path}; give a Python file or the name of a task")
    if not path.stem.isidentifier():
        raise UserError(f"{path}: a task file needs a name that Python can import, as my_task.py")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.import_module(path.stem)
    if Path(module.__file__ or "").resolve() != path.resolve():
        raise UserError(f"{path}: another module is called {path.stem}; rename the file")
    return module


def _only_task(module: Any) -> type[Task[Any]]:
    """The one Task that a module defines."""
    tasks = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Task) and member.__module__ == module.__name__
    ]
    if len(tasks) != 1 or not dataclasses.is_dataclass(tasks[0]):
        raise UserError(
            f"{module.__file__}: expected one Task that is a frozen dataclass, found "
            f"{', '.join(task.__name__ for task in tasks) or 'none'}"
        )
    return tasks[0]
