"""The command that comes next, printed at the end of one: exact, and quoted for a shell."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import paths
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config

OWN_ROWS = "rows.jsonl"
"""The name of a user's own rows, where there are none to name."""


def say(*commands: Sequence[str]) -> None:
    """Print commands, each the words behind ``vrft``, below the word "next"."""
    if commands:
        print("\n".join(["next:", *(f"  {line(words)}" for words in commands)]))


def line(words: Sequence[str]) -> str:
    """Return a command as it is typed; the words are those behind ``vrft``."""
    return shlex.join(["vrft", *words])


def options(args: argparse.Namespace, *names: str) -> list[str]:
    """Return options of a command as they were given, such as ``--data rows.jsonl``."""
    words: list[str] = []
    for name in names:
        value = getattr(args, name, None)
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                words += [f"--{name.replace('_', '-')}", str(each)]
    return words


def after_check(args: argparse.Namespace) -> list[list[str]]:
    """Return the training of what has been checked or planned, first without its steps."""
    given = ["train", *options(args, "task", "config", "data", "reward", "resume"), *args.settings]
    return [[*given, "--dry-run"], given]


def after_plan(args: argparse.Namespace) -> list[list[str]]:
    """Return the training of what has been planned; nothing after a prompt that was described."""
    return [] if args.picture or args.words is not None else after_check(args)


def after_verify(args: argparse.Namespace) -> list[list[str]]:
    """Return the training whose resuming has been verified."""
    return after_check(args)[1:]


def after_train(config: Config, run: Path, *, own_rows: bool) -> list[list[str]]:
    """Return the evaluation of a run's model, where a benchmark is known, and a look at the run.

    ``own_rows`` says that the task reads anyone's rows, which need no benchmark.
    """
    look = ["view", str(run)]
    benchmark = benchmark_of(config, own_rows=own_rows)
    if benchmark is None:
        return [look]
    return [["eval", *benchmark, "--model", str(run)], look]


def benchmark_of(config: Config, *, own_rows: bool) -> list[str] | None:
    """Return the options of the shipped benchmark with a configuration's task and data.

    Own rows are evaluated by themselves, and so is a task that no benchmark is for, such as one in
    a file. None where no benchmark fits, as one whose classes or template are others than the
    run's, and where several fit that ask in different ways.
    """
    from vrft.config import loading

    given = config.task.settings
    folder = given.get("data_dir")
    if own_rows:
        return ["--data", str(folder)] if isinstance(folder, str | Path) else None
    brought: dict[str, Any] = {}  # benchmark -> its data; None where it asks for them
    asking: dict[str, Any] = {}  # benchmark -> its other settings of the task
    for each in paths.names("benchmarks"):
        task = loading.read(paths.find("benchmarks", each)).get("task", {})
        if task.get("name") == config.task.name:
            asking[each] = dict(task.get("settings", {}))
            brought[each] = asking[each].pop("data_dir", None)
    if not asking:
        # The run says which task it is; where no data are named, a setting has to.
        return [f"task={config.task.name}"] if folder is None else ["--data", str(folder)]
    # A benchmark that brings its data is that of a training on data of the same name. Of several
    # it is the one with most of the run's settings and fewest others, as of examples in prompts.
    own = [each for each, place in brought.items() if place == folder]
    alike = {
        each: sum(1 if given.get(name) == value else -1 for name, value in asking[each].items())
        for each in own
    }
    own = [each for each in own if alike[each] == max(alike.values())]
    fitting = {
        each: asking[each]
        for each in own or [each for each, place in brought.items() if place is None]
        if all(given.get(setting, value) == value for setting, value in asking[each].items())
    }
    if folder is None or not fitting or any(a != b for a, b in pairwise(fitting.values())):
        return None
    return ["--benchmark", next(iter(fitting)), *([] if own else ["--data", str(folder)])]


def after_eval(args: argparse.Namespace, out: Path | None) -> list[list[str]]:
    """Return the look at an evaluation, and its comparison with another of the same samples.

    Answers that were scored and not kept are to be kept first.
    """
    if out is None:
        names = [args.benchmark or args.data, args.predictions]
        stem = "-".join(Path(name).stem for name in names if name is not None)
        given = options(args, "benchmark", "data", "predictions", "boxes", "processor", "limit")
        return [["eval", *given, "--out", str(Path("runs", "eval", stem)), *args.settings]]
    others = [] if (other := comparable(out)) is None else [["compare", str(other), str(out)]]
    return [["view", str(out)], *others]


def comparable(out: Path) -> Path | None:
    """Return the newest other evaluation that has the same questions and pictures; None of none.

    It lies beside this one, or in runs/eval where none does.
    """
    from vrft.evaluation import locate, predictions, settings_file

    def asked(folder: Path) -> Any:
        try:
            settings = settings_file.read_settings(folder)
        except UserError:
            return None  # a folder of another tool
        questions = [settings.get(name) for name in ("benchmark", "limit", "blank_images")]
        return questions, (settings.get("fingerprint") or {}).get("pictures")

    def same(first: Any, second: Any) -> bool:
        if first is None or second is None or first[0] != second[0]:
            return False
        # Saved answers of other tools were scored without a look at pictures.
        return None in (first[1], second[1]) or first[1] == second[1]

    here, folder = asked(out), out.resolve()
    for place in (out.parent, locate.EVALUATIONS):
        files = [*place.glob("*/" + predictions.PREDICTIONS)]
        # An evaluation without its scores was interrupted: missing answers would count as wrong.
        others = [
            file
            for file in files
            if file.parent.resolve() != folder and (file.parent / predictions.SCORES).is_file()
        ]
        for file in sorted(others, key=lambda file: file.stat().st_mtime_ns, reverse=True):
            if same(here, asked(file.parent)):
                return file.parent
    return None


def after_prompts(args: argparse.Namespace, words: Sequence[str]) -> list[list[str]]:
    """Return the evaluation of the answers of a batch service; ``words`` are its settings."""
    given = options(args, "benchmark", "data", "processor", "limit")
    answers = args.out.with_name(f"{args.out.stem}-answers.jsonl")
    return [["eval", *given, "--predictions", str(answers), *words]]
