"""The commands before and of a training: ``vrft check`` and ``vrft train``.

Imports of rooms stand inside the functions: `vrft --help` must not wait for torch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vrft import columns, launched
from vrft.cli import data, next_commands
from vrft.cli.configuration import resolve
from vrft.errors import UserError
from vrft.runs.console import logs_on_error
from vrft.system.imports import lasting

if TYPE_CHECKING:
    from vrft.checks.findings import Findings, TaskCheck
    from vrft.config.schema import Config, ModelConfig
    from vrft.task import Task


def train(args: argparse.Namespace) -> int:
    """Train a model, or print the plan of it."""
    config = resolve(args, args.resume)
    if args.dry_run:
        facts = planned(config, args.resume).splitlines()
        lines = [columns.facts(facts, columns.terminal_width())]
        commands = next_commands.after_check(args)[1:]
    else:
        run = begin(config, args.resume)
        lines = [f"run: {run}", f"model: {run / 'final'}"]
        own_rows = config.task.name in data.TASKS
        commands = next_commands.after_train(config, run, own_rows=own_rows)
    if launched.speaks():
        print("\n".join(lines))
        next_commands.say(*commands)
    return 0


@logs_on_error()
def begin(config: Config, resume: Path | None) -> Path:
    """Begin or resume a run, by reward or by reference answers, and return its folder."""
    say_rows(config)
    if not config.algorithm.by_reward:
        with lasting():
            from vrft.sft import fine_tune

        return fine_tune.train(config, resume=resume)
    with lasting():
        from vrft.training import train

    return train.train(config, resume=resume)


def planned(config: Config, resume: Path | None) -> str:
    """Return what a run would do, one fact a line; for a resumed one, what changes for it.

    Raises UserError for everything that would stop the run at its start.
    """
    with lasting():
        from vrft.training import plan_text

    say_rows(config)
    return plan_text.plan_text(config, resume)


def say_rows(config: Config) -> None:
    """Say in one line how data without a task file are read; nothing for other tasks."""
    if config.task.name in data.TASKS:
        from vrft import registry

        data.say_reading(registry.build(config.task), "train")


def check(args: argparse.Namespace) -> int:
    """Check a task and its data before training; status 1 if a problem is found."""
    result = checked(resolve(args), args.splits, args.limit)
    if args.json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print(columns.facts(result.lines(), columns.terminal_width()))
        next_commands.say(*(next_commands.after_check(args) if result.ok else ()))
    return 0 if result.ok else 1


def checked(config: Config, splits: Sequence[str] | None, limit: int | None) -> TaskCheck:
    """Check the task of a configuration and its data; ``limit`` bounds the samples of a split.

    Without ``splits`` that is the split "train", compared with others that lie in its folder.
    Prompts are counted by the model's processor where that can be had, and the result says so
    where it cannot.
    """
    from vrft import registry
    from vrft.checks import check, other_splits
    from vrft.checks.findings import Finding, Findings
    from vrft.models import prompt_tokens
    from vrft.training import isolated_rewards

    task = registry.build_rewarded(config.task, config.algorithm)
    beside: Sequence[str] = ()
    if splits is None:
        splits, place = ["train"], config.task.settings.get("data_dir")
        beside = other_splits.beside(place, splits[0])
    data.say_reading(task, splits[0])
    task = isolated_rewards.isolated_for_check(config, task, splits[0])
    seen, counter, uncounted = check.SEEN, None, Findings()
    try:
        # By the model's processor alone: counting a prompt's tokens needs no weights.
        counter = prompt_tokens.load_counter(config.model)
    except UserError as error:
        # A check of the data is worth having without the model: offline, or before its download.
        seen, whose = picture_sizes(config.model)
        note = f"prompts are not counted in tokens, pictures as {whose} sees them: {error}"
        uncounted = Findings(notes=(Finding(note),))
    result = check.check(
        task,
        splits,
        counter,
        limit=limit,
        seen=seen,
        longest=config.sampling.max_prompt_length,
        skip=config.data.on_bad_picture == "skip",
        portable=portable_task(config),
        beside=beside,
    )
    isolated_rewards.close(task)
    return replace(result, findings=result.findings + uncounted + rollout_findings(config))


def picture_sizes(config: ModelConfig) -> tuple[tuple[int, int, int], str]:
    """Return how a model without its processor sees pictures, as ``check.check`` takes it.

    The second is the name of the model that sees them so: this one, if its shape is at hand, or
    Qwen2-VL.
    """
    from vrft.checks import check
    from vrft.step_plans import shape

    (smallest, largest, factor), whose = check.SEEN, "Qwen2-VL"
    with contextlib.suppress(UserError):
        model = shape.read(config.name)
        if model.family.has_vision:
            smallest, largest = model.family.min_pixels, model.family.max_pixels
            factor, whose = model.factor, "this model"
    return (config.min_pixels or smallest, config.max_pixels or largest, factor), whose


def rollout_findings(config: Config) -> Findings:
    """Return why the run could not hold its weights or sample as configured, if so."""
    from vrft.checks.findings import Finding, Findings
    from vrft.models import quantization
    from vrft.rollouts import rollout_plan

    try:
        quantization.check_training(config)
        rollout_plan.check(config)
    except UserError as error:
        return Findings((Finding(str(error)),))
    return Findings()


def portable_task(config: Config) -> Task[Any]:
    """Return the task with those of its rewards that another process can import from files."""
    from vrft import registry
    from vrft.config.reward_source import PYTHON, reward_source

    files = tuple(text for text in config.algorithm.rewards if reward_source(text).file != PYTHON)
    return registry.build_rewarded(config.task, replace(config.algorithm, rewards=files))
