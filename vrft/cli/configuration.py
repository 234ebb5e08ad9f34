"""The configuration of a command: what --task, --config, --data, --resume and settings name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vrft import paths
from vrft.cli import data
from vrft.errors import UserError

if TYPE_CHECKING:
    from vrft.config.schema import Config


def resolve(args: argparse.Namespace, resume: Path | None = None) -> Config:
    """Return the configuration of a command that needs a task, as ``configured``.

    Raises UserError where no task is named, and as ``configured``.
    """
    resolved = configured(args, resume)
    if not resolved.task.name:
        raise UserError("give --data with your own rows, --task or --config; `vrft tasks` and "
                        "`vrft config list` list them")  # fmt: skip
    return resolved


def configured(args: argparse.Namespace, resume: Path | None = None) -> Config:
    """Return the configuration that ``--task``, ``--config``, ``--resume`` and settings name.

    A model that is a run's folder, or RUN/best, is the one that ``locate.model`` finds there.
    Without a file, a run to resume brings its own configuration, and a task takes the shipped one
    of its name, whether ``--task`` or a setting names it. Data without a task, be there a file or
    not, are for the one that reads them, vqa or grounding. A resumed run stays in its folder,
    wherever that has been moved to. Raises UserError where ``resume`` holds no run, and for
    settings that cannot change within a run.
    """
    from vrft import config
    from vrft.evaluation import locate

    source, name = args.config, args.task
    if name is None and resume is None:
        name = named_or_read(args)
    if source is None and resume is not None:
        if not (resume / "config.yaml").is_file():
            raise UserError(f"--resume {resume}: no run there, config.yaml is missing")
        source = str(resume / "config.yaml")
    if source is None and name in paths.names("configs"):
        source = name
    resolved = config.load(source, args.settings)
    # `--model RUN` of an evaluation means the same model.
    weights = replace(resolved.model, name=locate.model(resolved.model.name))
    resolved = replace(resolved, model=weights)
    if args.task is not None:
        check_task(args, resolved.task.name)
    if name is not None:
        # Only the name: settings of the task in the file stay, as they do for task=NAME.
        resolved = replace(resolved, task=replace(resolved.task, name=name))
    if args.data is not None:
        settings = {**resolved.task.settings, "data_dir": args.data}
        resolved = replace(resolved, task=replace(resolved.task, settings=settings))
    if args.reward:
        if resume is not None:
            raise UserError(
                f"--resume {resume} goes on with the run's rewards; leave --reward out, or give "
                "algorithm.rewards=[FILE.py:FUNCTION] for a file that was moved"
            )
        # From anywhere, a resumed run must find the files again.
        rewards = (*resolved.algorithm.rewards, *map(os.path.abspath, args.reward))
        resolved = replace(resolved, algorithm=replace(resolved.algorithm, rewards=rewards))
    return resolved if resume is None else resumed(resolved, resume, args.settings)


def named_or_read(args: argparse.Namespace) -> str | None:
    """Return the task that the file or settings name, or else that which reads their data.

    None for neither.
    """
    from vrft import config

    task = config.load(args.config, args.settings).task
    settings = task.settings if args.data is None else {**task.settings, "data_dir": args.data}
    if not task.name and "data_dir" in settings:
        return data.task_of(settings, (getattr(args, "splits", None) or ["train"])[0])
    return task.name or None


def resumed(config: Config, run: Path, settings: Sequence[str]) -> Config:
    """Return the configuration of a run that goes on in its own folder.

    Raises UserError for another folder, and for settings that cannot change within a run.
    """
    from vrft.training import resume

    given = any(setting.partition("=")[0].strip() == "train.output_dir" for setting in settings)
    if given and Path(config.train.output_dir).resolve() != run.resolve():
        raise UserError(
            f"--resume {run}: train.output_dir={config.train.output_dir} names another folder; a "
            "resumed run stays in its own, so leave it out"
        )
    config = replace(config, train=replace(config.train, output_dir=str(run)))
    resume.check_settings(config, run)  # before the task is built, which may be another's
    return config


def check_task(args: argparse.Namespace, configured: str) -> None:
    """Raise UserError if the settings are ``configured`` for another task than ``--task`` names.

    A task in a file may build on a shipped one, and takes the settings of any.
    """
    if configured in ("", args.task) or args.task.endswith(".py"):
        return
    resume = getattr(args, "resume", None)
    former = f"--resume {resume}" if resume else f"task={configured}"
    source = f"--config {args.config}" if args.config else former
    raise UserError(
        f"--task {args.task}: {source} is for the task {configured}; leave one of them out, or add "
        f"task={args.task} to take its other settings"
    )
