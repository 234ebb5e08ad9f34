"""The commands before and of a training from Python: ``vrft.check`` and ``vrft.train``.

Data are a path, a hub id, a ``datasets.Dataset``, or a list of rows in any format that
``vrft.records`` knows. Settings are given by their sections, as in a configuration file:
``train={"max_steps": 200}``; or by their whole names, which those below ``data`` need, as ``data``
are the rows: ``**{"data.on_bad_picture": "skip"}``.

Rooms are imported inside functions: ``import vrft`` must not wait for torch.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vrft.api.memory import Data, data_source
from vrft.api.options import Model, columns_of, folder_of, name_of, options, overrides
from vrft.api.results import CheckResult, Plan, TrainResult
from vrft.api.rewards import Rewards, named_rewards, with_rewards
from vrft.cli import arguments, training
from vrft.cli.configuration import resolve
from vrft.cli.options import split_names
from vrft.errors import UserError
from vrft.system import python_files

if TYPE_CHECKING:
    from vrft.config.schema import Config
    from vrft.rewards.trl import TrlReward


@overload
def train(data: Data | None = None, *, dry_run: Literal[True], **options: Any) -> Plan: ...


@overload
def train(
    data: Data | None = None,
    *,
    reward: Rewards | None = None,
    model: Model | None = None,
    task: str | Mapping[str, Any] | None = None,
    config: str | None = None,
    resume: str | os.PathLike[str] | TrainResult | None = None,
    dry_run: Literal[False] = False,
    **settings: Any,
) -> TrainResult: ...


def train(
    data: Data | None = None,
    *,
    reward: Rewards | None = None,
    model: Model | None = None,
    task: str | Mapping[str, Any] | None = None,
    config: str | None = None,
    resume: str | os.PathLike[str] | TrainResult | None = None,
    dry_run: bool = False,
    **settings: Any,
) -> TrainResult | Plan:
    """Train a model as ``vrft train`` does, and return its run.

    ``reward`` is called with TRL's arguments, beside the task's own rewards; several are a list,
    or a mapping of functions to weights. ``task`` and ``config`` are those of the command line;
    without them the data choose the task vqa or grounding. ``resume`` is a run to go on with, which
    wants the functions that it was trained with again. With ``dry_run`` nothing is trained, and
    the plan of the run is returned. Raises UserError for what the user can mend, with ``dry_run``
    the same, and KeyboardInterrupt for Ctrl-C, after a checkpoint of the step that it came in.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> def brief(completions, **columns):
    ...     return [float(len(completion[0]["content"]) < 80) for completion in completions]
    >>> options = {
    ...     "reward": {brief: 0.5}, "model": "demo", "train": {"max_steps": 1},
    ...     "sampling": {"max_completion_length": 8}, "algorithm": {"num_generations": 2},
    ... }
    >>> plan = vrft.train(rows, dry_run=True, **options)
    >>> print(plan.facts["task"])
    vqa: 1 samples, rewards accuracy, format, brief x 0.5
    >>> run = vrft.train(rows, **options)
    >>> run.rewards
    {1: 0.5}
    >>> (run.model / "config.json").is_file()
    True
    """
    from vrft import registry

    if data is None and task is None and config is None and resume is None:
        raise UserError("give data, task=NAME or config=NAME; `vrft tasks` lists the tasks")
    run = None if resume is None else folder_of(resume)
    words = {"--resume": run}
    functions, resolved = resolved_by("train", data, reward, task, config, words, model, settings)
    with registry.reward_functions(functions):
        if dry_run:
            return Plan(training.planned(resolved, run))
        try:
            return TrainResult(training.begin(resolved, run))
        except SystemExit as stopped:
            if stopped.code == 128 + signal.SIGINT:  # the status of a command, which this is none
                raise KeyboardInterrupt from None
            raise


def check(
    data: Data | None = None,
    *,
    splits: str | Sequence[str] | None = None,
    reward: Rewards | None = None,
    model: Model | None = None,
    task: str | Mapping[str, Any] | None = None,
    config: str | None = None,
    limit: int | None = None,
    **settings: Any,
) -> CheckResult:
    """Check a task and its data as ``vrft check`` does, before any training.

    Every picture is opened, every prompt counted in tokens, every gold answer tried with the
    rewards and the score; splits after the first are compared with it. Without ``splits``, "train"
    is checked, and compared with the others in its folder. ``limit`` bounds the samples of each.
    The other arguments are those of ``train``. Raises UserError for data that cannot be read; what
    is wrong with single samples is a problem of the result.

    >>> import vrft
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (56, 56), "red")
    >>> rows = [{"id": "a", "images": [picture], "question": "Which colour?", "answer": "red"}]
    >>> result = vrft.check(rows, model="demo")
    >>> result.ok
    True
    >>> result.splits[0].samples
    1
    >>> print(result)  # doctest: +ELLIPSIS
    train: 1 sample, 1 picture
    ...
    ready to train
    """
    from vrft import registry

    if data is None and task is None and config is None:
        raise UserError("give data, task=NAME or config=NAME; `vrft tasks` lists the tasks")
    names = None if splits is None else joined(splits)
    words = {"--splits": names, "--limit": limit}
    functions, resolved = resolved_by("check", data, reward, task, config, words, model, settings)
    with registry.reward_functions(functions):
        result = training.checked(resolved, names and split_names(names), limit)
    return CheckResult(result.splits, result.findings)


def joined(splits: str | Sequence[str]) -> str:
    """Return names of splits with commas between them; UserError for what are no names."""
    names = [splits] if isinstance(splits, str) else splits
    if isinstance(names, Sequence) and all(isinstance(name, str) for name in names):
        return ",".join(names)
    raise UserError(f"splits: expected a name or a list of names, got {splits!r:.60}")


def resolved_by(
    verb: str,
    data: Data | None,
    reward: Rewards | None,
    task: str | Mapping[str, Any] | None,
    config: str | None,
    words: Mapping[str, Any],
    model: Model | None,
    settings: Mapping[str, Any],
) -> tuple[Mapping[str, TrlReward], Config]:
    """Return the reward functions in memory by name, and the configuration of a command.

    ``words`` are further options of the command ``verb``. Raises UserError as the command does.
    """
    functions, sources = named_rewards(reward)
    args = parsed(verb, data, task, config, words, model, settings)
    run: Path | None = getattr(args, "resume", None)
    return functions, with_rewards(resolve(args, run), sources, run)


def parsed(
    verb: str,
    data: Data | None,
    task: str | Mapping[str, Any] | None,
    config: str | None,
    words: Mapping[str, Any],
    model: Model | None,
    settings: Mapping[str, Any],
) -> argparse.Namespace:
    """Return the parsed arguments of a command; ``words`` are further options of it.

    Raises UserError as the command does.
    """
    python_files.forget_changed()
    sections = {"task": task if isinstance(task, Mapping) else None, "model": model, **settings}
    given = overrides(sections)
    named = {
        "--data": None if data is None else data_source(data, columns_of(given, config)),
        "--task": None if isinstance(task, Mapping) else name_of("task", task),
        "--config": name_of("config", config),
    }
    return arguments.parse([verb, *options({**named, **words}), *given])
