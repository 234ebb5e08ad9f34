"""The folder of a run, held by one process at a time, and the signals that ask a run to stop."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from vrft import durable, folder_lock, launched
from vrft.config.loading import to_yaml
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.runs import disk_errors, moved_files, run_log

UNHANDLED = (
    "note: training runs in a thread beside the main one, where Ctrl-C and SIGTERM cannot be "
    "awaited; go on with the last checkpoint if it is stopped (train.save_steps)"
)

UNNAMED = "runs"
"""The folder in which a run that names none gets its own."""

TEMPORARY = re.compile(
    r"\.(?P<name>final|checkpoint-[0-9]+|saving|(config|config-[0-9]+|fingerprint|best|launches|wandb)\.(yaml|json)"
    r"|(metrics|bad_pictures|warnings|difficulty)\.jsonl)(?P<former>\.former)?"
)
"""The names under which a run's folders and files are written before they take their own."""

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
"""The signals after which a run saves and stops: of a keyboard, a batch system that ends or
preempts a job (Slurm's ``--signal``), and a terminal that is closed."""

LEFT_IGNORED = ("SIGHUP", "SIGQUIT")
"""Signals that stay ignored where whoever started the run ignores them, as ``nohup`` does."""

REPEATED = 1.0
"""Seconds in which a second signal counts as the first: launchers pass on what a process of theirs
has received by itself."""


def claim(config: Config) -> None:
    """Make the folder that a fresh run names and write its config.yaml, also as config-1.yaml.

    Raises UserError if the folder holds another run or cannot be made, and for a tracker that
    cannot be had.
    """
    run_log.check_trackers(config.train.report_to)  # before a folder is made in vain
    check_free(config)
    folder = Path(config.train.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"train.output_dir={folder}: cannot be made ({error}); choose another folder"
        ) from error
    with disk_errors.explained(folder):
        write_settings(config, folder, 1)
        write_settings(config, folder)


def write_settings(config: Config, folder: Path, step: int | None = None) -> None:
    """Write config.yaml, or config-<step>.yaml: the settings that hold from a step on.

    Paths in them are absolute, so that the run goes on from any working folder.
    """
    name = "config.yaml" if step is None else f"config-{step}.yaml"
    durable.write_text(folder / name, to_yaml(moved_files.absolute(config)))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder for the length of the block, so that no other run writes into it.

    What killed runs have left of unfinished files is deleted first. Only the main process calls
    this. Raises UserError where another process holds the folder, or it cannot be written.
    """
    with folder_lock.held(folder, "a training"):
        with disk_errors.explained(folder):
            sweep(folder)
        yield


def sweep(run: Path) -> None:
    """Delete the temporary folders and files that killed processes have left in a run's folder.

    A former folder whose place is still empty is put back. Only the process that holds the run's
    lock calls this; files of other names are left alone.
    """
    for path in run.glob(".*"):
        match = TEMPORARY.fullmatch(path.name)
        if match is None:
            continue
        if match["former"] and not (run / match["name"]).exists():
            durable.replace(path, run / match["name"])
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_free(config: Config) -> None:
    """Raise UserError if ``train.output_dir`` holds another run; nothing is written."""
    folder = config.train.output_dir
    # A folder is taken from the first metrics.jsonl on: a run that failed before leaves it free,
    # so that its command can be given again once the mistake is mended.
    if folder and (Path(folder) / "metrics.jsonl").exists():
        raise UserError(
            f"train.output_dir={folder} holds another run; go on with `{resume_command(folder)}` "
            "or choose another folder"
        )


def resume_command(folder: Path | str) -> str:
    """Return the command by which the run in a folder goes on."""
    return f"vrft train --resume {shlex.quote(str(folder))}"


def default_folder(config: Config) -> str:
    """Make and return runs/<task>-<date>-<time>, the folder of a run that names none.

    Runs that begin in the same second are told apart by -2, -3 and so on. Raises UserError where
    the folder cannot be made.
    """
    name = f"{UNNAMED}/{Path(config.task.name).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    try:
        Path(UNNAMED).mkdir(exist_ok=True)
        return next(free for free in names if is_made(Path(free)))
    except OSError as error:
        raise UserError(
            f"{name}: cannot be made ({error.strerror}); choose another folder by train.output_dir"
        ) from error


def is_made(folder: Path) -> bool:
    """Return whether this process has made a folder: of several, only one can."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


class StopSignal:
    """A context in which the signals of STOPPING ask the run to stop after its step.

    ``number`` is the signal that came, None before. A second Ctrl-C stops at once, by
    KeyboardInterrupt, and so does, by SystemExit(128 + signal), any other signal that comes
    ``REPEATED`` seconds or more after the first. The former handlers are put back when the context
    ends.

    In another thread than the main one, where Python lets nobody handle signals, nothing is
    handled and ``number`` stays None; a line on standard error says so.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.number: int | None = None
        self.former: dict[int, Any] = {}
        self.clock, self.came = clock, 0.0

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is not threading.main_thread():
            print(UNHANDLED, file=sys.stderr)
            return self
        for number in STOPPING:
            ignored = signal.getsignal(number) == signal.SIG_IGN
            if not (ignored and number.name in LEFT_IGNORED):
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
        name = signal.Signals(number).name
        if self.number is None:
            self.number, self.came = number, self.clock()
            say(f"{name}: the run saves and stops after this step; once more stops it at once")
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.clock() - self.came >= REPEATED:
            say(f"{name} once more: stopped at once; go on from the last checkpoint")
            raise SystemExit(128 + number)


def say(line: str) -> None:
    """Write a line to standard error from within a signal's handler."""
    # print() fails where the signal has interrupted another print.
    if launched.speaks():
        with suppress(OSError):
            os.write(2, f"\n{line}\n".encode())
