"""Checkpoints of supervised fine-tuning: written by transformers, checked before it reads them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from transformers import TrainerState
from trl import SFTTrainer  # type: ignore[attr-defined]

from vrft.errors import UserError
from vrft.training import checkpoint, trainer_state


def check_state(folder: Path) -> None:
    """Raise UserError for a checkpoint that transformers could not go on from.

    It reads ``trainer_state.json`` without asking for types, and leaves an optimizer out that it
    does not find.
    """
    row = trainer_state.read(folder)
    types = {field.name: field.type for field in dataclasses.fields(TrainerState)}
    for name, value in row.items():
        if name not in types:
            raise trainer_state.broken(folder, f"it has an unknown {name}")
        if types[name] is bool and not isinstance(value, bool):
            raise trainer_state.broken(folder, f"{name} is {str(value)[:40]!r}")
        if types[name] in (int, float):
            trainer_state.count(row, name, folder, whole=types[name] is int)
    checkpoint.check_step(folder, trainer_state.count(row, "global_step", folder))
    for name, expected in (("log_history", list), ("stateful_callbacks", dict)):
        if not isinstance(row.get(name), expected):
            raise trainer_state.broken(folder, f"it has no {expected.__name__} of {name}")
    for file in ("optimizer.pt", "scheduler.pt"):
        if not (folder / file).is_file():
            raise UserError(
                f"{folder} has no {file}; delete this checkpoint to resume from the one before"
            )


def tokens_seen(folder: Path) -> int:
    """Return the tokens that a run has trained on up to a checkpoint; earlier versions saved 0."""
    row = trainer_state.read(folder)
    return int(trainer_state.count(row, "num_input_tokens_seen", folder))


def check_resuming() -> None:
    """Raise UserError where transformers loads a checkpoint's weights under another name.

    ``Trainer`` could not keep it from doing so, and the run would go on with other weights.
    """
    if not hasattr(SFTTrainer, "_load_from_checkpoint"):
        raise UserError(
            "this transformers loads checkpoints in a way of its own; resume the run with the "
            "transformers that pyproject.toml names"
        )


def no_mismatch(record: logging.LogRecord) -> bool:
    """Hide transformers' warning of changed intervals, which `RunCallback` applies."""
    return "The following arguments do not match" not in record.getMessage()
