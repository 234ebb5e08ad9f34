"""Saving and restoring everything that a run needs to go on bit for bit."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vrft.errors import UserError

STATE = "trainer_state.json"


@dataclass
class Progress:
    """How far a run is: optimizer steps done, prompts drawn, tokens generated."""

    step: int = 0
    cursor: int = 0
    num_tokens: int = 0


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
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def write_state(
    folder: Path, progress: Progress, optimizer: Any, scheduler: Any, accelerator: Accelerator
) -> None:
    """Optimizer, schedule, random states and progress, beside the model's own files."""
    state = {
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "random": random_state(),
    }
    torch.save(state, folder / "trainer_state.pt")
    text = json.dumps(asdict(progress) | {"processes": accelerator.num_processes}, indent=2)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def read_progress(folder: Path) -> Progress:
    """How far the run was at a checkpoint; UserError if its file does not parse."""
    path = folder / STATE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        return Progress(row["step"], row["cursor"], row["num_tokens"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the state of a run ({error}); delete this checkpoint to "
                        "resume from the one before") from error  # fmt: skip


def restore_state(folder: Path, optimizer: Any, scheduler: Any) -> None:
    """Put back what ``write_state`` saved."""
    state = torch.load(folder / "trainer_state.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    set_random_state(state["random"])


def random_state() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's global generators, as plain values."""
    version, internal, gauss = random.getstate()
    numpy: Any = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what ``random_state`` took."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def prune(run: Path, keep: int | None) -> None:
    """Delete all but the ``keep`` newest checkpoints; None keeps all."""
    found = complete(run)
    for path in found[: len(found) - keep] if keep else []:
        shutil.rmtree(path)
