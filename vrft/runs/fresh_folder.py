"""The folder of a fresh run, which leaves none that it made if it is refused at its start."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vrft.config.schema import Config
from vrft.errors import UserError
from vrft.runs import console, run_folder
from vrft.runs.run_log import BAD_PICTURES, WARNINGS

SERVER_LOG = "vllm.log"
"""The file in a run's folder in which a server says why it does not start."""

REWARDS = "rewards"
"""The folder in a run's folder in which the output of its rewards is kept."""

LOGS = (SERVER_LOG, f"{REWARDS}/*.log", console.NAME, BAD_PICTURES)
"""The files in a run's folder in which others have said what went wrong."""


@contextmanager
def held(folder: Path, steps: Callable[[], int]) -> Iterator[None]:
    """Hold a fresh run's folder as ``run_folder.held`` does, and give it up with a refused run.

    A run is refused by a UserError before it has taken a step, which ``steps`` counts.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with run_folder.held(folder):
        try:
            yield
        except UserError:
            if steps() == 0:
                give_up(folder, made)
            raise


@contextmanager
def unnamed(config: Config) -> Iterator[str]:
    """Make the folder of a run that names none, and give it up with a run that has not begun."""
    place = Path(run_folder.UNNAMED)
    above = [] if place.exists() else [place]
    folder = Path(run_folder.default_folder(config))
    try:
        yield str(folder)
    except BaseException as error:
        # ``held`` has freed the folder of a run that was refused before its first step.
        refused = isinstance(error, UserError) and not (folder / "metrics.jsonl").exists()
        if refused or not any(folder.glob("*")):
            give_up(folder, [folder, *above])
        raise


def give_up(folder: Path, made: Sequence[Path]) -> None:
    """Delete a run's folder if it is among those that the run has ``made``, else free it.

    Folders above it go with it as far as they were made and nothing else is in them. A folder that
    was there before keeps all but the empty log by which the next start would take it for a run's,
    and so does one with warnings or a log of LOGS, which say more than the refusal and may be named
    by it.
    """
    logs = (path for pattern in LOGS for path in folder.glob(pattern))
    telling = (folder / WARNINGS).exists() or any(path.stat().st_size for path in logs)
    if folder not in made or telling:
        log = folder / "metrics.jsonl"
        if log.exists() and not log.stat().st_size:
            log.unlink()
        return
    shutil.rmtree(folder, ignore_errors=True)  # its lock too, which is held to the last
    for parent in made[1:]:
        with suppress(OSError):  # another has put something there
            parent.rmdir()
