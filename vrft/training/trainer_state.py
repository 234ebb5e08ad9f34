"""The state of a checkpoint, a file of JSON: how far the run was."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from vrft.errors import UserError

STATE = "trainer_state.json"
"""The file with the progress, under the name that transformers gives to its own."""


@dataclass
class Progress:
    """Optimizer steps taken, prompts of the stream that they took, and tokens of completions.

    With ``use_adaptive_entropy`` also the weight of the entropy bonus and the mean entropy of the
    last update, None before the first.
    """

    step: int = 0
    cursor: int = 0
    num_tokens: int = 0
    entropy_coef: float | None = None
    entropy: float | None = None


def write(folder: Path, progress: Progress, accelerator: Accelerator) -> None:
    """Write the progress; only the main process calls this."""
    text = json.dumps(asdict(progress) | {"processes": accelerator.num_processes}, indent=2)
    (folder / STATE).write_text(text + "\n", encoding="utf-8")


def progress_in(folder: Path) -> Progress:
    """Read how far the run was at a checkpoint; UserError if it is no state of a run."""
    row = read(folder)
    step, cursor, tokens = (count(row, name, folder) for name in ("step", "cursor", "num_tokens"))
    # A checkpoint of an earlier version has neither of the two.
    control = (
        None if row.get(name) is None else count(row, name, folder, whole=False)
        for name in ("entropy_coef", "entropy")
    )
    return Progress(step, cursor, tokens, *control)


def read(folder: Path) -> dict[str, Any]:
    """Read the state of a checkpoint, ours or transformers'; UserError if it is no JSON object."""
    path = folder / STATE
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise broken(folder, str(error)) from error
    if not isinstance(row, dict):
        raise broken(folder, f"a {type(row).__name__} and no object")
    return row


def broken(folder: Path, reason: str) -> UserError:
    """Return the error for a checkpoint whose state cannot be that of a run."""
    return UserError(
        f"{folder / STATE}: not the state of a run ({reason}); move this checkpoint elsewhere "
        "to resume from the one before"
    )


def count(row: Mapping[str, Any], name: str, folder: Path, *, whole: bool = True) -> Any:
    """Return a count of a checkpoint's state; UserError unless it is a ``whole`` number of a run.

    A number of another kind, such as a part of an epoch, may have decimals, and be larger.
    """
    value: Any = row.get(name)
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    # A run of 2**53 steps or tokens has not been made; operations may be as many as floats count.
    if not number or not 0 <= value <= (2**53 if whole else sys.float_info.max):
        raise broken(folder, f"{name} is {json.dumps(value)[:40]}")
    return value
