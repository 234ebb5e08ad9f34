"""The folder of a run, claimed for one run only, and the signals that ask a run to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from vrft.config.loading import to_yaml
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.training import run_log

UNHANDLED = (
    "note: training runs in a thread beside the main one, where Ctrl-C and SIGTERM cannot be "
    "awaited; go on with the last checkpoint if it is stopped (train.save_steps)"
)


def claim(config: Config) -> Config:
    """Make the folder of a fresh run and write its config.yaml, also as config-1.yaml.

    Returns the configuration with ``train.output_dir`` filled in. Raises UserError if the folder
    holds another run or cannot be made, and for a tracker that cannot be had.
    """
    run_log.check_trackers(config.train.report_to)  # before a folder is made in vain
    check_free(config)
    folder = Path(config.train.output_dir or default_folder(config))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"train.output_dir={folder}: cannot be made ({error}); choose another folder"
        ) from error
    config = replace(config, train=replace(config.train, output_dir=str(folder)))
    write_settings(config, folder, 1)
    write_settings(config, folder)
    return config


def write_settings(config: Config, folder: Path, step: int | None = None) -> None:
    """Write config.yaml, or config-<step>.yaml: the settings that hold from a step on."""
    name = "config.yaml" if step is None else f"config-{step}.yaml"
    write_safely(folder / name, to_yaml(config))


def write_safely(path: Path, text: str) -> None:
    """Write a file that, whenever the machine stops, is the old one or the new one."""
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def speaks() -> bool:
    """Return whether this process is the one of a launch that prints for all."""
    return os.environ.get("RANK", "0") == "0"


def check_free(config: Config) -> None:
    """Raise UserError if ``train.output_dir`` holds another run; nothing is written."""
    folder = config.train.output_dir
    # A folder is taken from the first metrics.jsonl on: a run that failed before leaves it free,
    # so that its command can be given again once the mistake is mended.
    if folder and (Path(folder) / "metrics.jsonl").exists():
        raise UserError(
            f"train.output_dir={folder} holds another run; go on with `vrft train --resume "
            f"{folder}` or choose another folder"
        )


def default_folder(config: Config) -> str:
    """Return runs/<task>-<date>-<time>, the folder of a run that names none."""
    return f"runs/{Path(config.task.name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"


class StopSignal:
    """A context in which Ctrl-C and SIGTERM ask the run to stop after its step.

    ``number`` is the signal that came, None before. A second Ctrl-C stops at once, by
    KeyboardInterrupt. The former handlers are put back when the context ends.

    In another thread than the main one, where Python lets nobody handle signals, nothing is
    handled and ``number`` stays None; a line on standard error says so.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.former: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            print(UNHANDLED, file=sys.stderr)
            return self
        # SIGTERM is what a batch system sends some seconds before it kills.
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
        """Remember the signal, for the loop to look at after each step."""
        # Nothing else is done here: a handler runs between any two instructions of the step.
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
