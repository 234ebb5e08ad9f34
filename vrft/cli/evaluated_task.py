"""The task and data of an evaluation: named, of a benchmark, of the model's run, or the rows'."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vrft.cli import data
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import TaskConfig
    from vrft.evaluation.benchmark import Benchmark


def benchmark_of(args: argparse.Namespace, settings: Sequence[str]) -> Benchmark:
    """Return the benchmark of the options and settings, and say how its data are read.

    Settings of the model are none of the benchmark's. Without a benchmark the task is the one that
    a setting names, or else that of the model's run, or else vqa or grounding, as the data are; a
    model of a run is then asked as it was trained, and data other than the run's are read by
    themselves. The benchmark of vqa or grounding is left in ``args``.
    """
    from vrft import config
    from vrft.evaluation.benchmark import LONGEST_ANSWER, load_benchmark, of_task

    settings = [word for word in settings if not is_of_model(word)]
    task = None
    if args.benchmark is None:
        model, place = model_here(args), data_of(args, settings)
        named = own_task(args, settings)
        given = config.load(None, about_data(settings)).task.settings
        data.say_reading_of_run(model, place, [*given], *([named] if named else data.TASKS))
        task = named or task_of_rows(args, settings)
        trained = data.settings_of_run(model, place, task)
        settings = [*trained, *data.lengths_of_run(model, LONGEST_ANSWER), *settings]
        args.benchmark = task if task in data.TASKS else None
    if task is not None and args.benchmark is None:
        check_file_and_data(task, args)
        return of_task(task, settings, args.data)
    benchmark = load_benchmark(args.benchmark, settings, args.data)
    if not benchmark.task.name:
        benchmark = dataclasses.replace(benchmark, task=reader_of(benchmark, args.benchmark))
    if benchmark.task.name in data.TASKS:
        from vrft import registry

        data.say_reading(registry.build(benchmark.task), benchmark.split)
    return benchmark


def reader_of(benchmark: Benchmark, source: str) -> TaskConfig:
    """Return the task that reads the rows of a benchmark whose file names none; UserError without.

    ``source`` is the benchmark as it was given.
    """
    from vrft.config.schema import TaskConfig

    settings = benchmark.task.settings
    if "data_dir" not in settings:
        raise UserError(f"{source}: names no task; add `task: NAME` to it, or give --data with your"
                        " own rows")  # fmt: skip
    return TaskConfig(data.task_of(settings, benchmark.split), settings)


def model_here(args: argparse.Namespace) -> str:
    """Return the model to load, which may be a run's; "" for none, and for one behind a server."""
    served = getattr(args, "endpoint", None) is not None
    return "" if served else str(args.model or getattr(args, "all_checkpoints", None) or "")


def data_of(args: argparse.Namespace, settings: Sequence[str]) -> str | None:
    """Return the data that are evaluated, by ``--data`` or a setting; None for the task's own."""
    from vrft import config

    place = config.load(None, about_data(settings)).task.settings.get("data_dir")
    return args.data if args.data is not None or place is None else str(place)


def own_task(args: argparse.Namespace, settings: Sequence[str]) -> str:
    """Return the task that settings name, or else that of the model's run unless it reads rows.

    "" for none: the data decide between the tasks that read rows.
    """
    trained = data.task_of_run(model_here(args)).name
    return named_task(settings) or ("" if trained in data.TASKS else trained)


def named_task(settings: Sequence[str]) -> str:
    """Return the task that settings name, "" for none."""
    from vrft import config

    return config.load(None, about_data(settings)).task.name


def about_data(settings: Sequence[str]) -> list[str]:
    """Return those of an evaluation's settings that are about its task and data."""
    return [word for word in settings if key_of(word).split(".")[0] in ("task", "data")]


def task_of_rows(args: argparse.Namespace, settings: Sequence[str]) -> str:
    """Return the task that reads rows, vqa or grounding, and note if the run had the other one."""
    from vrft import config

    model = model_here(args)
    read_by = data.settings_of_run(model, args.data, *data.TASKS)
    splits = [config.parse_override(word) for word in settings if key_of(word) == "split"]
    split = str(splits[-1]["split"]) if splits else "test"
    reading = config.load(None, [*read_by, *about_data(settings)]).task.settings
    task = data.task_of({**reading, "data_dir": args.data}, split)
    if (trained := data.task_of_run(model).name) not in ("", task):
        print(
            f"note: {model} was trained on the task {trained}, and these rows are read as {task}; "
            f"add task={trained} to ask as it was trained",
            file=sys.stderr,
        )
    return task


def check_file_and_data(task: str, args: argparse.Namespace) -> None:
    """Raise UserError for a task file that is gone, and for ``--data`` where the task has none."""
    if task.endswith(".py") and not Path(task).is_file():
        raise UserError(f"no task file {task}; name the file by task=PATH/{Path(task).name}")
    if args.data is not None and not takes_data(task):
        raise UserError(f"--data {args.data}: the task {task} has no data_dir; leave --data out")


def takes_data(task: str) -> bool:
    """Return whether a task has the setting that ``--data`` gives."""
    from vrft import registry

    fields = dataclasses.fields(registry.task_class(task))  # type: ignore[arg-type]
    return "data_dir" in [field.name for field in fields]


def asks_nothing(args: argparse.Namespace, settings: Sequence[str]) -> bool:
    """Return whether the options name nothing to ask: no benchmark, data or task with its own."""
    if args.benchmark is not None or args.data is not None or named_task(settings):
        return False
    task = own_task(args, settings)
    return not task or takes_data(task)


def key_of(word: str) -> str:
    """Return the path of a setting, such as "model.dtype" of model.dtype=float32."""
    return word.partition("=")[0].strip()


def is_of_model(word: str) -> bool:
    """Return whether a setting is one of the model: of what is measured, not of the benchmark."""
    return key_of(word).startswith("model.")
