"""Checkpoints: everything that a run needs to go on as if it had never stopped, bit for bit.

A checkpoint is the folder ``checkpoint-<step>`` in the run's: the model, which is loadable by
itself, the optimizer's state and the progress. Random generators are not in it, as every step seeds
them, nor is the schedule, which is a function of the step and the settings.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from vrft import launched
from vrft.errors import UserError
from vrft.models import manifest
from vrft.processes import optimizer_parts, shards
from vrft.rollouts.rollout_rows import ROLLOUTS
from vrft.runs import run_folder
from vrft.system import disk_errors, durable
from vrft.training import trainer_state
from vrft.training.trainer_state import STATE, Progress

CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]*)")
"""The name of a checkpoint's folder, with its step."""

SCALER = "scaler.pt"
"""The file with the state of float16's gradient scaler, of the name that transformers gives it."""


def path_of(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / f"checkpoint-{step}"


def complete(run: Path) -> list[Path]:
    """Return the checkpoints of a run, the oldest first; damaged ones are among them."""
    # A folder of this name is complete, as it takes the name last. The state is asked for all the
    # same: somebody may have emptied a folder to make room. Copies under other names, such as
    # checkpoint-8.bak, belong to the user.
    folders = [path for path in run.glob("checkpoint-*") if CHECKPOINT.fullmatch(path.name)]
    return sorted([path for path in folders if (path / STATE).is_file()], key=step_of)


def latest(run: Path) -> Path | None:
    """Return the newest checkpoint of a run whose files are those that were saved, or None.

    Raises UserError where there are checkpoints, and all of them are damaged.
    """
    folders = complete(run)
    reasons = []
    for folder in reversed(folders):
        reason = damage(folder)
        if reason is None:
            return folder
        reasons.append(f"{folder.name}: {reason}")
    if reasons:
        raise UserError(
            f"{run}: no checkpoint is undamaged ({'; '.join(reasons)}); copy one back, or begin a "
            "new run"
        )
    return None


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint's files by its manifest; None where nothing is."""
    # One process of a launch reads all bytes; the others take the checkpoint that it has chosen.
    return manifest.damage(folder, hashed=launched.speaks())


def damaged(run: Path) -> list[tuple[Path, str]]:
    """Return the checkpoints that are newer than the latest undamaged one, with what is wrong."""
    newest = latest(run)
    newer = [folder for folder in complete(run) if newest and step_of(folder) > step_of(newest)]
    return [(folder, reason) for folder in newer if (reason := damage(folder))]


def set_aside(run: Path) -> list[str]:
    """Rename the damaged checkpoints behind the latest good one, and return a line for each.

    They keep their files, under names that no checkpoint has. Only the main process calls this.
    """
    lines = []
    for folder, reason in damaged(run):
        names = (f"{folder.name}.damaged{'-' + str(n) if n else ''}" for n in itertools.count())
        target = next(run / name for name in names if not (run / name).exists())
        durable.replace(folder, target)
        lines.append(f"{folder}: {reason}; passed over, and set aside as {target.name}")
    newest = latest(run)
    if newest is not None and not manifest.is_in(newest):
        lines.append(
            f"note: {newest} has no {manifest.NAME}, as an earlier version or another trainer "
            "saved it: whether its files are undamaged, and this run's, cannot be told"
        )
    return lines


@contextmanager
def written_whole(folder: Path, needed: int = 0) -> Iterator[Path]:
    """Yield a temporary folder, which takes the name ``folder`` once the block has succeeded.

    A run that is killed meanwhile, or a machine without power, leaves no half-written folder of
    that name: all bytes are on the disk before, with a manifest of them. ``needed`` are the bytes
    that will be written, as far as they are known. Raises UserError where the disk is full or
    cannot be written; what has been written so far is deleted then.
    """
    temporary, former = temporary_of(folder), former_of(folder)
    with disk_errors.explained(folder, needed, discard=temporary):
        shutil.rmtree(temporary, ignore_errors=True)  # what an earlier kill has left
        temporary.mkdir(parents=True)
        yield temporary
        manifest.write(temporary)
        # A rename replaces empty folders only, so that the old one steps aside and is deleted when
        # the new one is there.
        if folder.exists():
            shutil.rmtree(former, ignore_errors=True)
            folder.rename(former)
        durable.replace(temporary, folder)
    shutil.rmtree(former, ignore_errors=True)


@contextmanager
def written_together(folder: Path, accelerator: Accelerator, needed: int = 0) -> Iterator[Path]:
    """Yield a temporary folder as ``written_whole`` does, one for all processes."""
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(written_whole(folder, needed))
        accelerator.wait_for_everyone()  # until the folder is there
        yield temporary_of(folder)
        accelerator.wait_for_everyone()  # until all have written: then it takes its name


def temporary_of(folder: Path) -> Path:
    """Return the folder that is written before it takes its name: beside it, on the same disk."""
    # The dot hides it from the patterns for checkpoints, here and in other tools.
    return folder.with_name(f".{folder.name}")


def former_of(folder: Path) -> Path:
    """Return the name under which a folder waits until the one in its place is there."""
    return folder.with_name(f".{folder.name}.former")


def bytes_of(weights: Mapping[str, Any] | None, optimizer: Any) -> int:
    """Return about how many bytes a checkpoint takes: the weights, and the optimizer's tensors.

    Sharded weights are gathered on the main process alone; the others, without them, write none.
    """
    states = [value for state in optimizer.state.values() for value in state.values()]
    tensors = [*(weights or {}).values(), *(value for value in states if torch.is_tensor(value))]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def write_rollouts(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rollouts that no step has used yet, if any; only the main process calls this."""
    if rows:
        (folder / ROLLOUTS).write_text(json.dumps(rows) + "\n", encoding="utf-8")


def write_optimizer(folder: Path, optimizer: Any, accelerator: Accelerator) -> None:
    """Write the optimizer's state, or this process's part of it; every process calls this."""
    if shards.shards_optimizer(accelerator) or accelerator.is_main_process:
        state = optimizer_parts.state(accelerator, optimizer)
        # To a file of Python's: torch's own would hide the reason why a disk takes no more.
        with (folder / optimizer_parts.file_name(accelerator)).open("wb") as file:
            torch.save(state, file)
    # The scale is the same on all devices, which skip a step together. DeepSpeed has its own.
    if accelerator.scaler is not None and accelerator.is_main_process:
        with (folder / SCALER).open("wb") as file:
            torch.save(accelerator.scaler.state_dict(), file)


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint by its name."""
    return int(folder.name.rpartition("-")[2])


def check_step(folder: Path, step: int) -> None:
    """Raise UserError if the step in a checkpoint's state is not the one in its name."""
    if CHECKPOINT.fullmatch(folder.name) and step != step_of(folder):
        raise trainer_state.broken(folder, f"its step is {step}")


def read_progress(folder: Path) -> Progress:
    """Read how far the run was at a checkpoint; UserError if that is no state of a run."""
    progress = trainer_state.progress_in(folder)
    check_step(folder, progress.step)
    return progress


def restore_state(
    folder: Path, optimizer: Any, scheduler: Any, accelerator: Accelerator, step: int
) -> None:
    """Restore the optimizer of a checkpoint and its scaler, and put a fresh schedule to its step.

    The optimizer's rates, decay and betas stay those it was made with: they may have been changed.
    Raises UserError as ``optimizer_parts.restore`` does.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    optimizer_parts.restore(folder, accelerator, optimizer)
    for group, given in zip(optimizer.param_groups, settings, strict=True):
        group.update(given)
    # None stands in a checkpoint of an earlier version, or of a run in another precision.
    if accelerator.scaler is not None and (folder / SCALER).is_file():
        accelerator.scaler.load_state_dict(torch.load(folder / SCALER, weights_only=True))
    set_schedule(scheduler, step)


def set_schedule(scheduler: Any, step: int) -> None:
    """Put a schedule and the rates of its optimizer to where they are after a number of steps.

    ``scheduler`` is torch's LambdaLR, of transformers' ``get_scheduler``: its rates are functions
    of the step, so that a longer or another schedule goes on as if it had always been there.
    """
    factors = [factor(step) for factor in scheduler.lr_lambdas]
    rates = [base * factor for base, factor in zip(scheduler.base_lrs, factors, strict=True)]
    state = {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
    scheduler.load_state_dict(scheduler.state_dict() | state)
    for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def prune(run: Path, step: int, keep: int | None, spared: Path | None = None) -> None:
    """Delete a run's checkpoints but the ``keep`` newest and the one ``spared``; None keeps all.

    Its own are those with a manifest, of steps up to the ``step`` that it has taken: others in the
    folder, as another trainer names its own, are neither counted nor deleted, and no damaged ones.
    """
    if keep is None:
        return
    # By sizes: the newest was hashed as it was read back a moment ago.
    folders = [
        path
        for path in complete(run)
        if step_of(path) <= step
        and manifest.is_in(path)
        and manifest.damage(path, hashed=False) is None
    ]
    # Not [:-keep]: with fewer checkpoints than `keep` the end is negative and must mean none.
    for path in folders[: max(len(folders) - keep, 0)]:
        if path != spared:
            # Renamed first: a kill leaves no half of a checkpoint under its name, and the next
            # start sweeps what it leaves.
            with run_folder.deleting(path):
                durable.replace(path, temporary_of(path))
                shutil.rmtree(temporary_of(path))
