"""Saving and restoring everything that a run needs to go on bit for bit."""

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


def path_of(run: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return run / f"checkpoint-{step}"


def complete(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first.

    A folder with this name is complete: it is renamed into place only when all is written.
    """
    found = [path for path in run.glob("checkpoint-*") if (path / STATE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def latest(run: Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    found = complete(run)
    return found[-1] if found else None


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name once the block has succeeded."""
    temporary = temporary_of(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


@contextmanager
def written_together(folder: Path, accelerator: Accelerator) -> Iterator[Path]:
    """``written_whole`` for a folder into which every process writes."""
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(written_whole(folder))
        accelerator.wait_for_everyone()
        yield temporary_of(folder)
        accelerator.wait_for_everyone()


def temporary_of(folder: Path) -> Path:
    """Where a folder is written before it takes its name."""
    return folder.with_name(f".{folder.name}")


def write_state(folder: Path, progress: Progress, scheduler: Any, accelerator: Accelerator) -> None:
    """The schedule and the progress, beside the model's own files.

    The global generators are not kept: every step seeds them.
    """
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    text = json.dumps(asdict(progress) | {"processes": accelerator.num_processes}, indent=2)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def write_optimizer(folder: Path, optimizer: Any, accelerator: Accelerator) -> None:
    """The optimizer's state, or this process's share of it; every process calls this."""
    if distributed.shards_optimizer(accelerator) or accelerator.is_main_process:
        state = distributed.optimizer_state(accelerator, optimizer)
        torch.save(state, folder / optimizer_file(accelerator))


def optimizer_file(accelerator: Accelerator) -> str:
    """The name of the file with this process's share of the optimizer's state."""
    if not distributed.shards_optimizer(accelerator):
        return "optimizer.pt"
    kind = accelerator.distributed_type.value.lower()
    return f"optimizer-{kind}-{accelerator.process_index}-of-{accelerator.num_processes}.pt"


def read_progress(folder: Path) -> Progress:
    """How far the run was at a checkpoint; UserError if its file does not parse."""
    path = folder / STATE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        return Progress(row["step"], row["cursor"], row["num_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the state of a run ({error}); delete this checkpoint to "
                        "resume from the one before") from error  # fmt: skip


def restore_state(folder: Path, optimizer: Any, scheduler: Any, accelerator: Accelerator) -> None:
    """Put back what was saved; UserError where the processes share the state in another way."""
    path = folder / optimizer_file(accelerator)
    if not path.is_file():
        raise UserError(
            f"{folder} has no {path.name}: it was saved by another launch; resume with the same "
            "accelerate configuration and number of processes"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    distributed.restore_optimizer(accelerator, optimizer, state)
    scheduler.load_state_dict(
        torch.load(folder / "scheduler.pt", map_location="cpu", weights_only=True)
    )
    for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate


def prune(run: Path, keep: int | None) -> None:
    """Delete all but the ``keep`` newest checkpoints; None keeps all."""
    found = complete(run)
    for path in found[: len(found) - keep] if keep else []:
        shutil.rmtree(path)
