"""Checkpoints: everything that a run needs to go on as if it had never stopped, bit for bit.

A checkpoint is the folder ``checkpoint-<step>`` in the run's: the model, which is loadable by
itself, the optimizer's state, the schedule and the progress. Random generators are not in it:
every step seeds them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from vrft.errors import UserError
from vrft.training import distributed
from vrft.training.types import Progress

STATE = "trainer_state.json"
"""The file with the progress, under the name that transformers gives to its own."""


def path_of(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / f"checkpoint-{step}"


def complete(run: Path) -> list[Path]:
    """Return the checkpoints of a run, the oldest first."""
    # A folder of this name is complete, as it takes the name last. The state is asked for all the
    # same: somebody may have emptied a folder to make room.
    folders = [path for path in run.glob("checkpoint-*") if (path / STATE).is_file()]
    return sorted(folders, key=lambda path: int(path.name.rpartition("-")[2]))  # 20 before 100


def latest(run: Path) -> Path | None:
    """Return the newest complete checkpoint of a run, or None."""
    folders = complete(run)
    return folders[-1] if folders else None


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which takes the name ``folder`` once the block has succeeded.

    A run that is killed meanwhile leaves no half-written folder of that name.
    """
    temporary = temporary_of(folder)
    shutil.rmtree(temporary, ignore_errors=True)  # what an earlier kill has left
    temporary.mkdir(parents=True)
    yield temporary
    if folder.exists():
        shutil.rmtree(folder)  # a rename replaces empty folders only
    temporary.rename(folder)


@contextmanager
def written_together(folder: Path, accelerator: Accelerator) -> Iterator[Path]:
    """Yield a temporary folder as ``written_whole`` does, one for all processes."""
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(written_whole(folder))
        accelerator.wait_for_everyone()  # until the folder is there
        yield temporary_of(folder)
        accelerator.wait_for_everyone()  # until all have written: then it takes its name


def temporary_of(folder: Path) -> Path:
    """Return the folder that is written before it takes its name: beside it, on the same disk."""
    # The dot hides it from the patterns for checkpoints, here and in other tools.
    return folder.with_name(f".{folder.name}")


def write_state(folder: Path, progress: Progress, scheduler: Any, accelerator: Accelerator) -> None:
    """Write the schedule and the progress; only the main process calls this."""
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    text = json.dumps(asdict(progress) | {"processes": accelerator.num_processes}, indent=2)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def write_optimizer(folder: Path, optimizer: Any, accelerator: Accelerator) -> None:
    """Write the optimizer's state, or this process's part of it; every process calls this."""
    if distributed.shards_optimizer(accelerator) or accelerator.is_main_process:
        state = distributed.optimizer_state(accelerator, optimizer)
        torch.save(state, folder / optimizer_file(accelerator))


def optimizer_file(accelerator: Accelerator) -> str:
    """Return the name of the file with this process's part of the optimizer's state."""
    # The parts fit the same engine and number of processes only, so the name tells both.
    if not distributed.shards_optimizer(accelerator):
        return "optimizer.pt"
    kind = accelerator.distributed_type.value.lower()
    return f"optimizer-{kind}-{accelerator.process_index}-of-{accelerator.num_processes}.pt"


def read_progress(folder: Path) -> Progress:
    """Read how far the run was at a checkpoint; UserError if the file does not parse."""
    path = folder / STATE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        return Progress(row["step"], row["cursor"], row["num_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the state of a run ({error}); delete this checkpoint to "
                        "resume from the one before") from error  # fmt: skip


def restore_state(folder: Path, optimizer: Any, scheduler: Any, accelerator: Accelerator) -> None:
    """Restore the optimizer and the schedule of a checkpoint.

    Raises UserError where the checkpoint was sharded over another number of processes or by
    another engine.
    """
    path = folder / optimizer_file(accelerator)
    if not path.is_file():
        raise UserError(
            f"{folder} has no {path.name}: it was saved by another launch; resume with the same "
            "accelerate configuration and number of processes"
        )
    # Loaded onto the CPU, or every process would put a copy onto the device that saved it.
    state = torch.load(path, map_location="cpu", weights_only=True)
    distributed.restore_optimizer(accelerator, optimizer, state)
    scheduler.load_state_dict(
        torch.load(folder / "scheduler.pt", map_location="cpu", weights_only=True)
    )
    # The state that is saved with DeepSpeed holds no learning rate, and a schedule sets one only
    # when it steps: the first update would be taken at the rate of step 0.
    for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate


def prune(run: Path, keep: int | None, spared: Path | None = None) -> None:
    """Delete all but the ``keep`` newest checkpoints and the one ``spared``; None keeps all."""
    if keep is None:
        return
    folders = complete(run)
    # Not [:-keep]: with fewer checkpoints than `keep` the end is negative and must mean none.
    for path in folders[: max(len(folders) - keep, 0)]:
        if path != spared:
            shutil.rmtree(path)
