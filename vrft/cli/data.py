"""Data without a task file: their task, how they are read, ``convert`` and ``filter``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import launched, paths
from vrft.cli import next_commands
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config, TaskConfig
    from vrft.task import Task

TASKS = ("grounding", "vqa")
"""The tasks that read rows of any format; each has a configuration and a benchmark of its name."""


READING = ("allow_outside", "columns", "config", "data_format", "encoding", "rows")
"""The settings of both tasks that say how rows are read."""

CONVERSION = (*READING, "box_format", "box_unit", "max_pixels", "min_pixels")
"""The settings of the task ``grounding`` that say how rows and their boxes are read."""

OF_DATA = (*CONVERSION, "accept_any", "option_index", "picture")
"""The settings of any task that tell how one file of data is read; the others say how to ask."""

KINDS = {
    **dict.fromkeys(("option", "number", "yes_no", "text", "by_row"), "vqa"),
    **dict.fromkeys(("box", "boxes", "point", "points"), "grounding"),
}
"""``task.kind`` -> the task that has it."""


def task_of(settings: Mapping[str, Any], split: str) -> str:
    """Return the task that reads a split: "grounding" for boxes and points, else "vqa".

    ``settings`` are those of the task, the data among them; ``kind`` decides where it is given, and
    ``accept_any``, by which a list is no box but several answers.
    """
    from vrft import registry
    from vrft.config.schema import TaskConfig

    if (kind := settings.get("kind")) in KINDS:
        return KINDS[kind]
    if settings.get("accept_any"):
        return "vqa"
    reading = {name: settings[name] for name in ("data_dir", *READING) if name in settings}
    task: Any = registry.build(TaskConfig("vqa", reading))
    return "grounding" if task.read(split).geometric else "vqa"


def say_reading(task: Task[Any], split: str) -> None:
    """Print in one line on standard error how a task of TASKS reads a split; nothing for others."""
    describe = getattr(task, "describe", None)
    if describe is not None and launched.speaks():
        print(describe(split), file=sys.stderr)


def settings_of_run(model: str, place: str | None, *tasks: str) -> list[str]:
    """Return the task's settings of the run that a model is from, but for the data themselves.

    A model asked in other words than it was trained on would be measured wrongly. Settings that
    tell how data are read, OF_DATA, are among them where the data in ``place`` are the run's own:
    data of elsewhere may have other columns, and boxes of another format. [] for a model that is
    from no run here, or from a run of another task than ``tasks``. A task's file may lie elsewhere
    by now.
    """
    from vrft import config

    run = task_of_run(model)
    if not is_any_of(run.name, tasks):
        return []
    ours = same_data(run.settings.get("data_dir"), place)
    return [
        config.to_override(f"task.{name}", value)
        for name, value in run.settings.items()
        if name not in ("data_dir", "rows") and (ours or name not in OF_DATA)
    ]


def say_reading_of_run(model: str, place: str | None, given: Sequence[str], *tasks: str) -> None:
    """Note the settings by which a model's run has read its data, if other data are in ``place``.

    ``given`` are the names of settings that say themselves how these are read.
    """
    from vrft import config

    run = task_of_run(model)
    if not is_any_of(run.name, tasks) or same_data(run.settings.get("data_dir"), place):
        return
    left = [
        shlex.quote(config.to_override(spelt(name), value))
        for name, value in run.settings.items()
        if name in OF_DATA and name not in given
    ]
    if left and launched.speaks():
        print(f"note: {model} was trained on other data, read by {' '.join(left)}; "
              f"{place or 'the data of the task'}: read without; add what holds for them too",
              file=sys.stderr)  # fmt: skip


def is_any_of(task: str, tasks: Sequence[str]) -> bool:
    """Return whether a task is one of several, those in files by the names of their files."""
    files = [Path(other).name for other in tasks if other.endswith(".py")]
    return task in tasks or Path(task).name in files


def same_data(trained: object, place: str | None) -> bool:
    """Return whether two ``data_dir`` are the same data: a hub id, a file or folder, or its files.

    Files of one folder, as train.jsonl and test.jsonl, are the splits of one data set, but those of
    the cache are rows in memory of any kind.
    """
    if not isinstance(trained, str) or place is None:
        return trained is place
    ours, theirs = (os.path.realpath(os.path.expanduser(each)) for each in (trained, place))
    folder = os.path.dirname(ours)
    siblings = folder == os.path.dirname(theirs) != os.path.realpath(paths.rows())
    return ours == theirs or (siblings and os.path.isfile(ours) and os.path.isfile(theirs))


def lengths_of_run(model: str, least: int) -> list[str]:
    """Return the limits of answers and prompts of a model's run, where they are above the usual.

    An answer that the run let a model write to its end is not cut where it is measured; below
    ``least`` tokens no answer is cut either, so that a run with a low limit is asked as the model
    that it began with. [] for a model that is from no run here.
    """
    from vrft import config
    from vrft.config.rollout import SamplingConfig

    if (trained := config_of_run(model)) is None:
        return []
    longest = SamplingConfig().max_prompt_length or 0
    answer, prompt = trained.sampling.max_completion_length, trained.sampling.max_prompt_length
    given: dict[str, int | None] = {}
    if answer > least:
        given["max_completion_length"] = answer
    if prompt is None or prompt > longest:
        given["max_prompt_length"] = prompt
    return [config.to_override(f"sampling.{name}", value) for name, value in given.items()]


def task_of_run(model: str) -> TaskConfig:
    """Return the task of a model's run; a TaskConfig without a name if the model is from no run."""
    from vrft.config.schema import TaskConfig

    trained = config_of_run(model)
    return TaskConfig() if trained is None else trained.task


def config_of_run(model: str) -> Config | None:
    """Return the settings of the run that a model is from; None for one of no run here."""
    from vrft import config
    from vrft.evaluation import locate

    folder = locate.run_of(model)
    return None if folder is None else config.load(str(folder / "config.yaml"))


def convert(args: argparse.Namespace) -> int:
    """Write data in another format."""
    from vrft import config, registry
    from vrft.config.schema import TaskConfig
    from vrft.formats import foreign

    if args.to not in foreign.WRITERS:
        raise UserError(f"--to {args.to}: expected one of {', '.join(foreign.WRITERS)}")
    settings = {**config.load(None, args.settings).task.settings, "data_dir": args.source}
    # The task that knows the settings of boxes; its reader takes rows without boxes as well.
    task: Any = registry.build(TaskConfig("grounding", settings))
    check_conversion(args.settings)
    reading = task.read(args.split)
    count = foreign.convert(reading, task.frame(reading), args.to, args.out)
    print(f"read as {reading.title}", file=sys.stderr)
    if columns := reading.left_out():
        print(f"left out: the columns {', '.join(columns)}", file=sys.stderr)
    print(f"{args.out}: {count} rows")
    given = ["--data", str(args.out)]
    if foreign.names_outside(reading, args.to, args.out):
        print("its pictures lie outside its folder: read it by data.allow_outside=true",
              file=sys.stderr)  # fmt: skip
        given.append("data.allow_outside=true")
    next_commands.say(["check", *given], ["train", *given])
    return 0


def spelt(name: str) -> str:
    """Return a task's setting as it is given: below ``data`` where it says how rows are read."""
    from vrft.config.loading import DATA_NAMES

    short = {long: short for short, long in DATA_NAMES.items()}.get(name, name)
    return f"data.{short}" if name in CONVERSION else f"task.{name}"


def check_conversion(words: Sequence[str]) -> None:
    """Raise UserError for a setting that a conversion would ignore."""
    from vrft import config

    for word in words:
        tree = config.parse_override(word)
        task = tree.pop("task", {})
        if tree or task.keys() != {"settings"} or not task["settings"].keys() <= {*CONVERSION}:
            known = ", ".join(sorted(map(spelt, CONVERSION)))
            raise UserError(f"{word}: a conversion reads rows alone, and does not use it; leave it "
                            f"out (its settings: {known})")  # fmt: skip


def filter_rows(args: argparse.Namespace) -> int:
    """Write the rows of a run's data that remain by their difficulty."""
    from dataclasses import replace

    from vrft import config, registry
    from vrft.diagnosis import filtered_rows
    from vrft.diagnosis.difficulty import Bounds

    path = args.run / "config.yaml"
    if not path.is_file():
        raise UserError(f"--run {args.run}: no run there, config.yaml is missing")
    settings = config.load(str(path)).task
    if args.data is not None:
        settings = replace(settings, settings={**settings.settings, "data_dir": args.data})
    names = ("min_pass_rate", "max_pass_rate", "min_reward", "max_reward")
    bounds = {name: getattr(args, name) for name in names}
    if all(value is None for value in bounds.values()) and args.unsampled == "keep":
        raise UserError("give a bound, such as --max-pass-rate 0.9, or --unsampled drop")
    kept = Bounds(**bounds, unsampled=args.unsampled == "keep")
    print(filtered_rows.write(registry.build(settings), "train", args.run, kept, args.out))
    return 0
