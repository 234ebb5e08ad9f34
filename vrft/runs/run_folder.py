"""The folder of a run, held by one process at a time."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vrft.config.loading import to_yaml
from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.runs import moved_files, trackers
from vrft.system import disk_errors, durable, folder_lock

UNNAMED = "runs"
"""The folder in which a run that names none gets its own."""

MODEL = re.compile(r"checkpoint-[0-9]+|final")
"""The names of the models in a run's folder; transformers names its checkpoints so too."""

SHOWN = 4
"""Names that a message shows of those that are in the way."""

UNPAIRED = re.compile(r"[\ud800-\udfff]")
"""A byte of a file's name that is no text, as Python holds it."""

TEMPORARY = re.compile(
    r"\.(?P<name>final|checkpoint-[0-9]+|saving|(config|config-[0-9]+|fingerprint|best|launches|wandb)\.(yaml|json)"
    r"|(metrics|bad_pictures|warnings|difficulty)\.jsonl)(?P<former>\.former)?"
)
"""The names under which a run's folders and files are written before they take their own."""


def claim(config: Config) -> None:
    """Make the folder that a fresh run names and write its config.yaml, also as config-1.yaml.

    Raises UserError if the folder holds another run or models, or cannot be made, and for a tracker
    that cannot be had.
    """
    trackers.check_trackers(config.train.report_to)  # before a folder is made in vain
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
        else:
            with deleting(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@contextmanager
def deleting(path: Path) -> Iterator[None]:
    """Say in a line what the block could not delete, and go on: a run needs none of it.

    A checkpoint may be protected, or be open elsewhere, which a disk of a network does not take.
    """
    try:
        yield
    except OSError as error:
        print(f"note: {path}: cannot be deleted ({error.strerror})", file=sys.stderr)


def check_free(config: Config) -> None:
    """Raise UserError if ``train.output_dir`` holds another run, or models; nothing is written.

    A name that is no text is refused too: libraries of tokenizers cannot write to it.
    """
    if not config.train.output_dir:
        return
    folder = Path(config.train.output_dir)
    if UNPAIRED.search(str(folder)):
        raise UserError(
            f"train.output_dir={folder}: the name is not in UTF-8, and no model can be saved there;"
            " choose another folder"
        )
    # A folder is taken from the first metrics.jsonl on: a run that failed before leaves it free,
    # so that its command can be given again once the mistake is mended.
    if (folder / "metrics.jsonl").exists() and (folder / "config.yaml").is_file():
        raise UserError(
            f"train.output_dir={folder} holds another run; go on with `{resume_command(folder)}` "
            "or choose another folder"
        )
    if others := replaced(folder):
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        raise UserError(
            f"train.output_dir={folder} holds {', '.join(others[:SHOWN])}{more} "
            "of another tool, or of an incomplete run, which a run there would replace or "
            "delete; choose another folder, or move them away"
        )


def replaced(folder: Path) -> list[str]:
    """Return the names of what others have put into a folder and a fresh run would replace.

    Those are checkpoints and models, as other trainers name theirs too, a log, and a configuration:
    a run that failed at its start has left its own with the history of it.
    """
    names = sorted(path.name for path in folder.glob("*") if MODEL.fullmatch(path.name))
    names += [name for name in ("metrics.jsonl",) if (folder / name).exists()]
    own = (folder / "config-1.yaml").is_file()
    return names + (["config.yaml"] if (folder / "config.yaml").exists() and not own else [])


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
