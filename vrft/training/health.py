"""The health of a run after each update: its watchdogs and its ledger of prompts."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vrft.boxes import Box
from vrft.config.schema import Config
from vrft.diagnosis import alarms, coordinates, difficulty
from vrft.diagnosis.alarms import Alarm
from vrft.diagnosis.difficulty import Attempt
from vrft.errors import UserError
from vrft.images import image_size
from vrft.objectives.types import Batch, RewardedGroup
from vrft.processes import exchange
from vrft.rewards import further_rewards, score_of
from vrft.runs.run_log import WARNINGS
from vrft.system import durable
from vrft.task import Task
from vrft.training.run import Run
from vrft.types import Group

STATE = "diagnosis.json"
"""The file of a checkpoint with what the watchdogs remember."""

LOOKED_AT = 4
"""Groups of a device and step whose boxes are read in every frame."""


# --- the ledger, and what watchdogs look at


def keeps_ledger(run: Run) -> bool:
    """Return whether this process has the ledger: the main one, or, for a curriculum, each."""
    return run.accelerator.is_main_process or run.config.algorithm.has_curriculum


def remember(run: Run, batch: Batch) -> None:
    """Count a step's groups of all devices in the ledger, by which a curriculum lets prompts rest.

    Those that were sampled and dropped count too.
    """
    sampled = (*batch.groups, *batch.dropped)
    own = [attempt(run.config, run.task, rewarded) for rewarded in sampled]
    every = exchange.gather_objects(run.accelerator, own)
    if keeps_ledger(run):
        run.ledger.add(every)


def observed(run: Run, batch: Batch) -> dict[str, float]:
    """Return what the watchdogs look at besides a step's other metrics.

    completions/duplicates is the share of answers that repeat another of their group, 1 where all
    are the same; coordinates/FRAME is the mean IoU of boxes in each frame, of tasks with boxes.
    """
    accelerator = run.accelerator
    repeats = torch.tensor([repeated(rewarded.group) for rewarded in batch.groups])
    measured = {
        "completions/duplicates": float(exchange.gather(accelerator, repeats).mean()),
    }
    sums = exchange.gather(accelerator, frame_sums(run.task, batch)[None]).sum(0).tolist()
    if sums[0]:
        for name, total in zip(coordinates.NAMES, sums[1:], strict=True):
            measured[coordinates.METRIC + name] = total / sums[0]
    return measured


def attempt(config: Config, task: Task[Any], rewarded: RewardedGroup) -> Attempt:
    """Return a group as the ledger counts it.

    An answer is of full reward where every reward of the task itself that applies, and has a
    weight, is at least 1. Answers for which one of these is missing tell nothing and do not count.
    """
    further, weights = further_rewards(task), config.algorithm.weights
    names = [n for n in rewarded.rewards if n not in further and weights.get(n, 1.0) > 0]
    rollouts = rewarded.group.rollouts
    missing = {place for name in names for place in rewarded.missing.get(name, ())}
    known = [place for place in range(len(rollouts)) if place not in missing]
    full = 0
    for place in known:
        values = [rewarded.rewards[name][place] for name in names]
        given = [value for value in values if value is not None]
        full += bool(given) and min(given) >= difficulty.FULL
    tokens = sum(len(rollout.tokens) for rollout in rollouts)
    reward = float(rewarded.total[known].sum())
    sample_id = rewarded.group.sample.id
    return Attempt(sample_id, len(known), reward, full, tokens, rewarded.has_signal)


def repeated(group: Group[Any]) -> float:
    """Return the share in [0, 1] of a group's answers that repeat another: 1 if all are alike."""
    size = len(group.rollouts)
    distinct = len({rollout.tokens for rollout in group.rollouts})
    return (size - distinct) / (size - 1) if size > 1 else 0.0


def frame_sums(task: Task[Any], batch: Batch) -> Tensor:
    """Return [1 + frames]: how many boxes of this device were looked at, and sums of their IoU."""
    sums = torch.zeros(1 + len(coordinates.NAMES))
    looked_at = [r.group for r in batch.groups if len(r.group.rollouts[0].completion.views) == 1]
    for group in looked_at[:LOOKED_AT]:
        truth = task.boxes(group.sample)
        if len(truth) != 1:
            continue
        size = image_size(group.prompt.images[0])
        for rollout in group.rollouts:
            parsed = score_of(task, group.sample, rollout.completion).parsed
            corners = parsed if isinstance(parsed, list | tuple) and len(parsed) == 4 else None
            read = None if corners is None else Box(*corners)
            text, view = rollout.completion.text, rollout.completion.views[0]
            overlaps = coordinates.overlaps(text, truth[0], view, read, size)
            sums += torch.tensor([1.0, *overlaps])
    return sums


# --- watchdogs


def new_alarms(run: Run, metrics: dict[str, float]) -> list[Alarm]:
    """Show the watchdogs the metrics of a step, add what they count, and return their new alarms.

    Only the main process watches; the others return none.
    """
    if not run.accelerator.is_main_process:
        return []
    fresh = run.watch.after(metrics)
    metrics |= run.watch.metrics()
    return fresh


def report(run: Run, folder: Path, fresh: Sequence[Alarm]) -> None:
    """Print a step's new alarms and write them to the run's folder.

    Raises UserError, on all devices, where ``train.strict`` makes errors of them.
    """
    step, strict = run.progress.step, run.config.train.strict
    if run.accelerator.is_main_process:
        alarms.append(folder, step, fresh)
        for alarm in fresh:
            if not strict:
                print(f"warning: step {step}: {alarm.name}: {alarm.text}", file=sys.stderr)
    if strict:
        alarms.stop(step, exchange.from_main(run.accelerator, list(fresh)), strict=True)


# --- the run's folder and its checkpoints


def forget(folder: Path) -> None:
    """Delete what an earlier attempt in the same folder, which took no step, has written there."""
    for name in (WARNINGS, difficulty.FILE):
        (folder / name).unlink(missing_ok=True)


def write(run: Run, checkpoint: Path) -> None:
    """Write what ledger and watchdogs remember; only the main process calls this."""
    run.ledger.write(checkpoint / difficulty.FILE)
    (checkpoint / STATE).write_text(json.dumps(run.watch.state()) + "\n", encoding="utf-8")


def publish(folder: Path, checkpoint: Path | None) -> None:
    """Copy a checkpoint's ledger to the run's folder, where it is looked for, if there is one."""
    if checkpoint is None or not (checkpoint / difficulty.FILE).is_file():
        return
    temporary = folder / f".{difficulty.FILE}"
    shutil.copyfile(checkpoint / difficulty.FILE, temporary)
    durable.sync(temporary)
    durable.replace(temporary, folder / difficulty.FILE)


def restore(run: Run, checkpoint: Path) -> None:
    """Take over what ledger and watchdogs remembered at a checkpoint.

    One that an earlier version saved has neither: both begin anew, and a line says so.
    """
    main, file = run.accelerator.is_main_process, checkpoint / STATE
    if not file.is_file():
        if main:
            print(
                f"note: {checkpoint} has no {STATE}: warnings and {difficulty.FILE} begin anew",
                file=sys.stderr,
            )
        return
    if keeps_ledger(run):
        run.ledger.restore(checkpoint / difficulty.FILE)
    if not main:
        return
    try:
        run.watch.restore(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not what watchdogs remember ({error})") from error
