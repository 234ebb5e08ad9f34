"""The folder of a run: claimed once, never mixed with another's, left in order on a signal."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from vrft.config.loading import to_yaml
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.training import run_log


def claim(config: Config) -> Config:
    """Make the run folder of a fresh run and write its config.yaml; UserError if it holds one.

    Returns the configuration with ``train.output_dir`` filled in. A run counts from its first
    metrics.jsonl on: one that failed before leaves its folder free.
    """
    run_log.check_trackers(config.train.report_to)
    folder = Path(config.train.output_dir or default_folder(config))
    check_free(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"train.output_dir={folder}: cannot be made ({error}); choose another "
                        "folder") from error  # fmt: skip
    config = replace(config, train=replace(config.train, output_dir=str(folder)))
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    return config


def check_free(config: Config) -> None:
    """Raise UserError if ``train.output_dir`` holds another run; nothing is written."""
    folder = config.train.output_dir
    if folder and (Path(folder) / "metrics.jsonl").exists():
        raise UserError(
            f"train.output_dir={folder} holds another run; go on with `vrft train --resume "
            f"{folder}` or choose another folder"
        )


def default_folder(config: Config) -> str:
    """runs/<task>-<date>-<time>."""
    return f"runs/{Path(config.task.name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


class StopSignal:
    """Ctrl-C and SIGTERM ask the run to stop after the step; a second Ctrl-C stops at once.

    A context manager: the handlers are put back when it ends.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.former: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.former[number] = signal.signal(number, self.receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; the loop looks at it after each step."""
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
