"""The folder of a run by reward or by references: its name, its holder, what is in it at first."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrft.config.schema import Config
from vrft.processes import exchange
from vrft.runs import data_fingerprint, fresh_folder, run_folder
from vrft.training import checkpoint
from vrft.types import Sample


def named(config: Config, together: Any, stack: ExitStack) -> Config:
    """Return the settings with a run's folder: where none is named, one that is made here.

    ``together`` knows the processes of the run; ``stack`` gives the folder up with a run that has
    not begun.
    """
    if config.train.output_dir:
        return config
    # The name tells the time: all processes take the main one's.
    name = stack.enter_context(fresh_folder.unnamed(config)) if together.is_main_process else ""
    name = exchange.from_main(together, name)
    return replace(config, train=replace(config.train, output_dir=name))


def held_checkpoint(folder: Path, together: Any, stack: ExitStack) -> Path | None:
    """Return the checkpoint that a resumed run goes on from, None before its first.

    ``stack`` holds the folder from here on. Raises UserError as ``checkpoint.latest`` does.
    """
    exchange.wait_for_everyone(together)  # until all have seen that nobody holds the folder
    if together.is_main_process:
        stack.enter_context(run_folder.held(folder))
    # One process has read all bytes of the checkpoints, and chooses for all.
    latest: Path | None = exchange.from_main(together, checkpoint.latest(folder))
    return latest


def claim(config: Config, samples: Sequence[Sample[Any]], processes: int) -> None:
    """Write what a fresh run's folder, which the settings name, holds from its beginning.

    Only the main process calls this. Raises UserError as ``run_folder.claim`` does.
    """
    run_folder.claim(config)
    prompts = config.train.prompts_per_device * processes
    data_fingerprint.write(Path(config.train.output_dir), samples, prompts)
